"""What a running service is doing: its threads, its processor, its memory.

With ``C2C_DEBUG_VIEW_ENABLED`` there is ``{base_path}/debug/…``; without it, nothing of this
exists. Each part is told in its own package.
"""

from importlib.util import find_spec

from pyramid.config import Configurator

from c2cotel.pyramid import settings_of

__all__ = ["includeme"]

_PARTS = (
    "stacks",
    "profile",
    "request_profile",
    "memory",
    "memory_trace",
    "references",
    "plain",
)


def includeme(config: Configurator) -> None:
    """Serve the views of all parts, if ``C2C_DEBUG_VIEW_ENABLED``."""
    if not settings_of(config).debug_view_enabled:
        return
    for part in _PARTS:
        if find_spec(f"{__name__}.{part}"):
            config.include(f"{__name__}.{part}")
