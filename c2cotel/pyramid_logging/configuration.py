"""The logging configuration of an application that brings none."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from c2cotel.settings import Settings

_HANDLERS: Final = {"console": "ConsoleLogHandler", "json": "JsonLogHandler"}


def dict_config(settings: "Settings", packages: Iterable[str] = ()) -> dict[str, Any]:
    """The configuration of :func:`logging.config.dictConfig` that *settings* ask for.

    Everything goes to stdout, as ``logging.type`` says, from ``logging.level`` on; where there is a
    ``logging.other_level``, that is the level of everything but *packages*, the application's own.
    gunicorn's own lines go the same way, its access lines whatever the level. Good for gunicorn's
    ``logconfig_dict``; existing loggers stay.
    """
    chosen = settings.logging
    levels: dict[str, str | int] = {
        "c2cotel": chosen.c2c_level,
        "c2cotel_instrumentation": chosen.c2c_level,
        "sqlalchemy.engine": chosen.sql_level,
    }
    root = chosen.level
    # Without a package to name, everything may be the application.
    if chosen.other_level is not None and (named := tuple(packages)):
        root = chosen.other_level
        levels |= dict.fromkeys(named, chosen.level)
    # Without handlers and propagating: gunicorn's defaults would write each line twice.
    levels |= {"gunicorn.error": settings.gunicorn.log_level, "gunicorn.access": "INFO"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        # Empty, not absent: gunicorn has formatters of its own for what is absent.
        "formatters": {},
        "handlers": {
            "stdout": {
                "class": f"{__package__}.{_HANDLERS[chosen.type]}",
                "stream": "ext://sys.stdout",
            }
        },
        "root": {"level": root, "handlers": ["stdout"]},
        "loggers": {
            name: {"level": level, "handlers": [], "propagate": True}
            for name, level in levels.items()
        },
    }
