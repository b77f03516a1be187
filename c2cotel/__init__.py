"""An OpenTelemetry distribution for Pyramid, SQLAlchemy and gunicorn.

``config.include("c2cotel")`` in the application's main is :mod:`c2cotel.pyramid`. Importing this
package imports neither Pyramid nor the OpenTelemetry SDK: every instrumented process does.

For a ``gunicorn.conf.py`` of the application: :func:`get_paste_config`,
:func:`get_logconfig_dict` and :func:`get_config_defaults`, see :mod:`c2cotel.ini`.

PYTEST_DONT_REWRITE: pytest would want to rewrite the distribution of its plugin, and under
opentelemetry-instrument this is imported before pytest is.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyramid.config import Configurator

    from c2cotel.ini import get_config_defaults, get_logconfig_dict, get_paste_config

__all__ = ["get_config_defaults", "get_logconfig_dict", "get_paste_config", "includeme"]


def __getattr__(name: str) -> Any:
    # Not before it is asked for: msgspec and others come with it.
    if name in __all__:
        from c2cotel import ini

        return getattr(ini, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def includeme(config: "Configurator") -> None:
    """Set up everything, see :func:`c2cotel.pyramid.includeme`."""
    config.include("c2cotel.pyramid")
