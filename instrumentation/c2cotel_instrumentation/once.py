"""What is said once."""

import os
from collections.abc import Hashable


class Once:
    """Tells what is new, in any of the threads; a process that is forked begins anew."""

    __slots__ = ("_known", "_process")

    def __init__(self) -> None:
        self._known: dict[Hashable, object] = {}
        self._process = os.getpid()

    def __call__(self, about: Hashable) -> bool:
        """Whether it is the first time that this process asks about *about*."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._known = {}
        mine = object()
        return self._known.setdefault(about, mine) is mine
