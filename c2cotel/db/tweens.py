"""The tweens of :func:`c2cotel.db.setup_session`: ``c2cotel.db.tweens.sqlalchemy`` is that of the
sessions of this name. Pyramid wants tweens by name, and each application has its own sessions.
"""

from collections.abc import Callable
from typing import Any


def __getattr__(name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)

    def factory(handler: Callable[[Any], Any], registry: Any) -> Callable[[Any], Any]:
        tween: Callable[[Any], Any] = registry.c2c_db_choosers[name].tween(handler)
        return tween

    return factory
