"""An OpenTelemetry distribution for Pyramid, SQLAlchemy and gunicorn.

``config.include("c2cotel")`` in the application's main is :mod:`c2cotel.pyramid`. Importing this
package imports neither Pyramid nor the OpenTelemetry SDK: every instrumented process does.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyramid.config import Configurator


def includeme(config: "Configurator") -> None:
    """Set up everything, see :func:`c2cotel.pyramid.includeme`."""
    config.include("c2cotel.pyramid")
