"""Read what other threads change meanwhile."""

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

_TRIES: Final = 10


def undisturbed(read: Callable[[], T]) -> T:
    """What *read* returns, which does one thing that is not written in Python.

    No other thread goes on during that, as one would if Python chose this moment to look for
    garbage: finalisers and :data:`gc.callbacks` are the application's.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        return read()
    finally:
        if enabled:
            gc.enable()


def first(items: Callable[[], Iterator[T]], most: int) -> list[T]:
    """The first *most* of *items*, of a container of Python's own, as they are at one moment.

    Nothing of one that would never stand still.
    """
    for _ in range(_TRIES):
        # Two of us at once may let it go on.
        with suppress(RuntimeError):
            return undisturbed(lambda: list(islice(items(), most)))
    return []
