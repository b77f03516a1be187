"""Which of Sentry's integrations are used, and how.

They make breadcrumbs and events, never spans. The request on an event is not from Sentry's
integration of Pyramid but from :mod:`c2cotel.sentry.requests`, at a fifth of its cost.
"""

import logging
import sys
from importlib import import_module
from typing import Any, Final

import wrapt

from c2cotel.settings import Sentry, SentryIntegration
from c2cotel.values import level_number

LOGGER = logging.getLogger(__name__)

_CLASSES: Final = {
    "pyramid": "PyramidIntegration",
    "sqlalchemy": "SqlalchemyIntegration",
    "redis": "RedisIntegration",
    "asyncio": "AsyncioIntegration",
}
# Importing these takes long: they are not imported for the breadcrumbs that nobody will make. (The
# integration of asyncio patches the loop that runs while it is set up, and there may be none.)
_LATE: Final = ("sqlalchemy", "redis")


def integrations(settings: Sentry, chosen: dict[str, Any]) -> dict[str, Any]:
    """The options of the SDK that say it; *chosen* are those of ``SENTRY_CLIENT_*``."""
    from sentry_sdk.consts import DEFAULT_OPTIONS

    used: list[Any] = [_logging(settings)]
    off: list[Any] = []
    for name in _CLASSES:
        if name in sys.modules and (kind := _kind(name)) is not None:
            used.extend([kind()] if _is_wanted(settings.integration, name) else [])
            off.extend([] if _is_wanted(settings.integration, name) else [kind])
    options: dict[str, Any] = {
        "integrations": used,
        "auto_enabling_integrations": chosen.get("auto_enabling_integrations", False),
    }
    # An older SDK cannot switch them off, and needs not unless they enable themselves.
    if "disabled_integrations" in DEFAULT_OPTIONS:
        options["disabled_integrations"] = off
    return options


def await_imports(settings: Sentry) -> None:
    """Set up the integrations of libraries as soon as those are imported."""
    for name in _LATE:
        if name not in sys.modules and _is_wanted(settings.integration, name):
            wrapt.register_post_import_hook(_add, name)


def _add(module: Any) -> None:
    import sentry_sdk
    from sentry_sdk.integrations import setup_integrations

    name: str = module.__name__
    client = sentry_sdk.get_client()
    try:
        if client.is_active() and name not in client.integrations:
            client.integrations.update(setup_integrations([_kind(name)()], with_defaults=False))
    except Exception as error:  # noqa: BLE001 - whoever imports the library shall have it
        LOGGER.warning("Sentry has no breadcrumbs of %s: %s", name, error)


def _is_wanted(settings: SentryIntegration, name: str) -> bool:
    # Pyramid's is ours, see above.
    return name != "pyramid" and bool(getattr(settings, name))


def _logging(settings: Sentry) -> Any:
    from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger

    for item in (*settings.excludes, "c2cotel.sentry.*"):
        for name in item.split(":"):
            if name.strip():
                ignore_logger(name.strip())
    if not settings.integration.logging:
        return LoggingIntegration(level=None, event_level=None)
    return LoggingIntegration(level=logging.DEBUG, event_level=level_number(settings.level))


def _kind(name: str) -> Any:
    """The integration's class; None if the library is too old for it."""
    from sentry_sdk.integrations import DidNotEnable

    try:
        return getattr(import_module(f"sentry_sdk.integrations.{name}"), _CLASSES[name])
    except DidNotEnable:
        return None
