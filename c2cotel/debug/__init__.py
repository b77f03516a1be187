"""What a running service is doing: its threads, its processor, its memory.

With ``C2C_DEBUG_VIEW_ENABLED`` there is ``{base_path}/debug/…``; without it, nothing of this
exists. Each part is told in its own package.

:func:`init_daemon` lets a process that serves nothing be looked at, too. ``get_size`` tells what an
object has in memory, ``dump_memory_maps`` what this process has.
"""

from typing import Any

from pyramid.config import Configurator

from c2cotel.pyramid import settings_of
from c2cotel.settings import load

__all__ = ["dump_memory_maps", "get_size", "includeme", "init_daemon"]

_PARTS = (
    "stacks",
    "profile",
    "request_profile",
    "memory",
    "memory_trace",
    "references",
    "plain",
)


def __getattr__(name: str) -> Any:
    if name == "get_size":
        from c2cotel.debug.sizes import get_size

        return get_size
    if name == "dump_memory_maps":
        from c2cotel.debug.memory import dump_memory_maps

        return dump_memory_maps
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def init_daemon(config: Configurator | None = None) -> None:
    """Answer what the consoles of other processes ask, if ``C2C_DEBUG_VIEW_ENABLED``.

    For a process that serves nothing: a daemon, a script that runs for long. It has to listen
    besides: ``c2cotel.broadcast.includeme()``.

    Raises:
        SettingsError: a setting is wrong; the message says which.
    """
    if config is not None:
        settings = settings_of(config)
    else:
        loaded = load()
        loaded.raise_for_application()
        settings = loaded.settings
    if not settings.debug_view_enabled:
        return
    from c2cotel.debug import memory, memory_trace, profile, references, stacks

    stacks.listen()
    for part in (profile, memory, memory_trace, references):
        part.listen()


def includeme(config: Configurator) -> None:
    """Serve the views of all parts, if ``C2C_DEBUG_VIEW_ENABLED``."""
    if not settings_of(config).debug_view_enabled:
        return
    for part in _PARTS:
        config.include(f"{__name__}.{part}")
