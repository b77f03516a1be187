"""The seed's way to the clients of Redis; see :mod:`c2cotel.redis`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from c2cotel.redis import close_shared, shared
from c2cotel.settings import load

if TYPE_CHECKING:
    import redis
    from redis.sentinel import Sentinel

__all__ = ["cleanup", "get"]


def get(
    settings: Mapping[str, Any] | None = None,
) -> "tuple[redis.Redis | None, redis.Redis | None, Sentinel | None]":
    """The clients of the primary, a replica and the Sentinels; three ``None`` without Redis.

    *settings* are those of the ini. Without Sentinels primary and replica are one client.

    Raises:
        SettingsError: a setting is wrong.
    """
    loaded = load(ini=settings or {})
    loaded.raise_for_application()
    connections = shared(loaded.settings.redis)
    if connections is None:
        return None, None, None
    return connections.primary, connections.replica, connections.sentinel


def cleanup() -> None:
    """Close all clients that :func:`get` gave; the next call gives new ones."""
    close_shared()
