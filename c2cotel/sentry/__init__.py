"""Errors sent to Sentry, with the trace and the request that they happened in.

``SENTRY_URL`` (``c2c.sentry.url``), the DSN of a project, turns it on; it needs
``pip install 'c2cotel[sentry]'``. An application that includes c2cotel needs nothing else.

=============================  ====================================================================
what makes an event            log records from ``SENTRY_LEVEL`` on (default ERROR), exceptions
                               that leave the application or that a view answers with a 5xx,
                               uncaught ones of threads and scripts, :func:`capture_exceptions`
what is on it                  trace and span id of OpenTelemetry, the tag ``request_id``, the
                               route, request, breadcrumbs of log records, SQL and Redis, and the
                               tags of ``SENTRY_TAG_X``
what is not                    secrets, see :mod:`c2cotel.sentry.scrubbing`; the arguments of log
                               records but within their text; cookies, addresses and users unless
                               ``SENTRY_CLIENT_SEND_DEFAULT_PII``
``SENTRY_TRACES_SAMPLE_RATE``  this share of the traces is sent as transactions: OpenTelemetry's
                               spans, Sentry's own are off
``SENTRY_EXCLUDES``            loggers that make no events, separated by colons or commas
``SENTRY_INTEGRATION_X``       logging, pyramid, sqlalchemy, redis and asyncio: off with ``false``
``SENTRY_CLIENT_X``            option ``x`` of ``sentry_sdk.init``; ``_IGNORE_EXCEPTIONS`` is a
                               list (default SystemExit), ``_RELEASE`` wins over ``GIT_HASH``
                               unless it is ``latest``, ``_ENVIRONMENT`` is dev, int, prod…
=============================  ====================================================================

Sentry's headers (``sentry-trace``, ``baggage``) are sent with outgoing requests only to the URLs of
``SENTRY_CLIENT_TRACE_PROPAGATION_TARGETS`` (regular expressions), or to all with
``SENTRY_CLIENT_PROPAGATE_TRACES=true``; they have the same trace id.

Events are sent by a thread of each process. A Sentry that does not answer costs no request
anything: its queue is bounded (``SENTRY_CLIENT_TRANSPORT_QUEUE_SIZE``), what is lost is counted as
``c2c.sentry.lost`` and said once, and the end of a process stays within ``C2C_EXIT_TIMEOUT`` and
``SENTRY_CLIENT_SHUTDOWN_TIMEOUT``.
"""

import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from pyramid.config import Configurator
from pyramid.events import ApplicationCreated

from c2cotel.pyramid import settings_of
from c2cotel.sentry.client import start
from c2cotel.settings import SettingsError, load

__all__ = [
    "capture_exceptions",
    "filter_factory",
    "filter_wsgi_app",
    "includeme",
    "init",
    "start",
]

Application = Callable[..., Iterable[bytes]]


@contextmanager
def capture_exceptions() -> Generator[None, None, None]:
    """Send the exceptions raised within; they go on. Nothing happens where Sentry is off.

    For what somebody catches later: an exception that ends a request, a thread or the process is
    sent without it.
    """
    try:
        yield
    except Exception as error:
        if "sentry_sdk" in sys.modules:
            from c2cotel.sentry.requests import capture

            capture(error)
        raise


def filter_wsgi_app(application: Application) -> Application:
    """*application*, of any framework, whose exceptions and requests Sentry gets to know.

    Sentry is set up from the environment if it is not yet; without ``SENTRY_URL`` it is the same
    application. Harmless around a Pyramid application that includes c2cotel.
    """
    return _filter(application, {})


def filter_factory(
    _global_conf: dict[str, str] | None = None, /, **options: str
) -> Callable[[Application], Application]:
    """The same as a filter of an ini file, ``use = egg:c2cotel#sentry``.

    *options* are those of its section: ``c2c.sentry.url`` and the like.

    Raises:
        SettingsError: an option is none, or has a value that cannot be used.
    """
    for name in options:
        if not name.startswith("c2c."):
            raise SettingsError(
                f"Filter sentry: {name} is no option of it. Write for example c2c.sentry.url."
            )
    return lambda application: _filter(application, options)


def _filter(application: Application, options: dict[str, Any]) -> Application:
    loaded = load(ini=options)
    loaded.raise_for_application()
    if not start(loaded.settings):
        return application
    from c2cotel.sentry.requests import wrapped

    return wrapped(application)


def init(config: Configurator | None = None) -> None:
    """The former name of :func:`includeme`."""
    warnings.warn(
        "c2cotel.sentry.init is deprecated: use config.include('c2cotel.sentry').",
        DeprecationWarning,
        stacklevel=2,
    )
    if config is not None:
        includeme(config)
    else:
        start(load().settings)


def _attach(event: ApplicationCreated) -> None:
    from c2cotel.sentry.requests import attach

    attach(event.app)


def includeme(config: Configurator) -> None:
    """Set up Sentry, if there is a ``SENTRY_URL``, and give each request its scope."""
    settings = settings_of(config)
    if start(settings) and settings.sentry.integration.pyramid:
        config.add_subscriber(_attach, ApplicationCreated)
