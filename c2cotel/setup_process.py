"""Scripts that have the application: its settings, its logging, its telemetry.

::

    def main() -> None:
        parser = argparse.ArgumentParser(description="Import the tiles.")
        c2cotel.setup_process.fill_arguments(parser)
        args = parser.parse_args()
        env = c2cotel.setup_process.bootstrap_application_from_options(args)
        settings = env["registry"].settings

    if __name__ == "__main__":
        sys.exit(c2cotel.setup_process.run(main))

Everything from there to the end of the process is one span, named after the script. It is an error
with the exception, the signal or the exit status that ended it; a status that ``main`` returns is
known through :func:`run` only, one of ``sys.exit(3)`` also without it. Log records, statements and
outgoing calls are below it and have its request id. A ``TRACEPARENT`` in the environment is its
parent, so that a job belongs to the trace of what has started it. What the command line says is not
on it: there may be secrets.

The exit status is the script's own. What is left is sent before the end, within
``C2C_EXIT_TIMEOUT``, also after ``SIGTERM`` or Ctrl-C. ``opentelemetry-instrument`` before the
command is not needed; with it, what is imported before the bootstrap is measured, too.

**Counting what cron jobs do.** A process that lives for a minute is not scraped. Either give it the
``C2C_RUN_DIR`` of the service on this host: what it counts stays in the service's store when it has
ended, and is in the next scrape. Or push: with ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or
``OTEL_METRICS_EXPORTER=otlp``) its metrics are sent at its end.
"""

import argparse
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast

from pyramid.paster import bootstrap
from pyramid.scripts.common import get_config_loader, parse_vars

from c2cotel import broadcast, otel, sentry
from c2cotel.otel import script
from c2cotel.settings import Loaded, load

if TYPE_CHECKING:
    from pyramid.registry import Registry
    from pyramid.request import Request
    from pyramid.router import Router

DEFAULT_URI = "c2c:///app/production.ini"


class PyramidEnv(TypedDict, total=True):
    """What bootstrapping gives; ``closer()`` ends the request that the script has."""

    app: "Router"
    root: Any
    root_factory: Any
    request: "Request"
    registry: "Registry"
    closer: Callable[..., Any]


def fill_arguments(
    parser: argparse.ArgumentParser,
    use_attribute: bool = False,  # noqa: FBT001, FBT002 - as in the seed
    default_config_uri: str = DEFAULT_URI,
) -> None:
    """Add ``config_uri`` and ``config_vars``; with *use_attribute* as ``--config-uri VALUE``."""
    parser.add_argument(
        "--config-uri" if use_attribute else "config_uri",
        nargs=None if use_attribute else "?",
        default=default_config_uri,
        help="the ini file of the application (default: %(default)s)",
    )
    parser.add_argument(
        "--config-vars" if use_attribute else "config_vars",
        nargs="*",
        default=(),
        metavar="NAME=VALUE",
        help="variables of the ini file, which win over those of the environment",
    )


def bootstrap_application_from_options(options: argparse.Namespace) -> PyramidEnv:
    """:func:`bootstrap_application` with what :func:`fill_arguments` has asked for."""
    try:
        given = parse_vars(options.config_vars) if options.config_vars else None
    except ValueError as error:
        raise SystemExit(f"config_vars: {error}. Write NAME=VALUE.") from error
    return bootstrap_application(options.config_uri, given)


def bootstrap_application(
    config_uri: str = DEFAULT_URI, options: Mapping[str, str] | None = None
) -> PyramidEnv:
    """Set up logging, telemetry and the application of *config_uri*; *options* are its variables.

    Returns what :func:`pyramid.paster.bootstrap` does.

    Raises:
        SettingsError: the ini or a setting is wrong; the text says where.
    """
    _begin(config_uri, options)
    env: PyramidEnv = bootstrap(config_uri, options=dict(options) if options else None)
    return env


def run(main: Callable[[], Any]) -> Any:
    """What *main* returns, the exit status for ``sys.exit``; the span of the script has it, too."""
    return script.run(otel.set_up(), main)


def init(config_file: str = DEFAULT_URI) -> None:
    """Set up what the application has around it, without it: logging, telemetry, Sentry, broadcast.

    The settings are those of ``[app:main]``.
    """
    registry = _Registry(_begin(config_file, None))
    broadcast.includeme(cast("Any", registry))


def init_logging(config_file: str = DEFAULT_URI) -> None:
    """Set up the logging of *config_file* only; :func:`init` does that, too."""
    warnings.warn(
        "c2cotel.setup_process.init_logging is deprecated: init and bootstrap_application set up "
        "the logging.",
        DeprecationWarning,
        stacklevel=2,
    )
    get_config_loader(config_file).setup_logging(None)


def _begin(config_uri: str, options: Mapping[str, str] | None) -> Loaded:
    """Telemetry, logging, the script's span and Sentry, in this order.

    Raises:
        SettingsError: a setting that is not telemetry's is wrong.
    """
    given = dict(options) if options else None
    loader = get_config_loader(config_uri)
    ini = settings_of(loader, given)
    telemetry = otel.set_up(ini=ini)
    # Its formats may ask for what the telemetry puts on each record.
    loader.setup_logging(given)
    otel.instrument()
    script.begin(telemetry)
    loaded = load(ini=ini)
    loaded.raise_for_application()
    sentry.start(loaded.settings)
    return loaded


def settings_of(loader: Any, given: dict[str, str] | None) -> Mapping[str, Any]:
    """What the ini says to the application, which may be at the end of a pipeline."""
    name = loader.uri.fragment or "main"
    if f"pipeline:{name}" in loader.get_sections():
        pipeline = loader.get_settings(f"pipeline:{name}", given).get("pipeline", "").split()
        name = pipeline[-1] if pipeline else name
    settings: Mapping[str, Any] = loader.get_wsgi_app_settings(name, given)
    return settings


class _Registry:
    """As much of a Configurator as the broadcast reads, where there is no application."""

    def __init__(self, loaded: Loaded) -> None:
        self.registry = self
        self.c2c_settings = loaded
        self.settings: dict[str, Any] = {}
