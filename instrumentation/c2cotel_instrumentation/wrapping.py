"""Methods of other people's classes, wrapped and unwrapped again."""

from collections.abc import Callable
from typing import Any


class Wrappings:
    """What one instrumentor has wrapped.

    A wrapper looks by itself whether its instrumentor is on. It has to: somebody may wrap our
    wrapper and go on calling it after :meth:`undo`, which leaves it in its place then.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[Any, str], tuple[Any, Any]] = {}

    def wrap(self, owner: Any, name: str, wrapping: Callable[[Any], Any]) -> None:
        """Put ``wrapping(original)`` in the place of ``owner.name``, unless it is there."""
        if (owner, name) not in self._made:
            original = getattr(owner, name)
            wrapper = wrapping(original)
            self._made[owner, name] = original, wrapper
            setattr(owner, name, wrapper)

    def undo(self) -> None:
        """Put back every original that nobody else has wrapped meanwhile."""
        for (owner, name), (original, wrapper) in tuple(self._made.items()):
            if getattr(owner, name) is wrapper:
                setattr(owner, name, original)
                del self._made[owner, name]
