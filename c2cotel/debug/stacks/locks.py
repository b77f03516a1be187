"""Locks of Python: what kind one is, and which thread has it.

An ``RLock`` tells its owner. A ``Lock`` does not: its owner seems to be who stands in a ``with`` of
it. It may be who has called ``acquire`` of it in a function that calls ``release`` further down,
unless that was in vain.
"""

import re
import threading
from _thread import LockType, RLock
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, Final, NamedTuple

from c2cotel.debug.stacks.frames import MISSING, Sight, attribute, is_one, module

_OWNER: Final = re.compile(r"owner=(\d+)")
# The one written in Python, for want of the other.
_PYTHON_RLOCK: Final = threading._PyRLock  # type: ignore[attr-defined] # noqa: SLF001 - as said
_KINDS: Final = {LockType: "Lock", RLock: "RLock", _PYTHON_RLOCK: "RLock"}


def lock_of(found: object) -> Any:
    """*found* if it is a lock, the lock of a condition; None for anything else."""
    if is_one(type(found), _KINDS):
        return found
    if found is not MISSING and issubclass(type(found), threading.Condition):
        inner = attribute(found, "_lock")
        return inner if is_one(type(inner), _KINDS) else None
    return None


def kind_of(lock: Any) -> str:
    return _KINDS.get(type(lock), "")


def is_locked(lock: Any) -> bool:
    if type(lock) is LockType:
        return lock.locked()
    return owner_of(lock) is not None


def owner_of(lock: Any) -> int | None:
    """``ident`` of the thread that has *lock*; None if it is free, or cannot be known."""
    if type(lock) is _PYTHON_RLOCK:
        owner = attribute(lock, "_owner")
        return owner if type(owner) is int else None
    if type(lock) is RLock:
        found = _OWNER.search(repr(lock))
        return int(found[1]) or None if found else None
    return None


class Holders(NamedTuple):
    """By ``ident``, the threads that seem to have a lock: they are in its ``with``, or may be."""

    within: set[int]
    perhaps: set[int]

    @property
    def owner(self) -> int | None:
        return next(iter(self.within)) if len(self.within) == 1 else None

    @property
    def several(self) -> tuple[int, ...]:
        """Those of which it may be one, if there is no saying which."""
        return () if self.owner is not None else tuple(sorted(self.within or self.perhaps))


def holders(
    wanted: Mapping[int, Any], stacks: Mapping[int, Sequence[FrameType]], sight: Sight
) -> dict[int, Holders]:
    """Who seems to have the locks *wanted*, each by a thread that waits for it; by their ids."""
    found = {id(lock): Holders(set(), set()) for lock in wanted.values()}
    if not found:
        return found
    for ident, frames in stacks.items():
        given_back = id(_given_back(frames, sight))
        waits_for = id(wanted[ident]) if ident in wanted else None
        for frame in frames:
            for held in sight.held(frame):
                lock = id(lock_of(held.found))
                if lock not in found or lock == given_back:
                    continue
                if held.within:
                    found[lock].within.add(ident)
                # Who waits for it has none of it, however often it tried before.
                elif lock != waits_for:
                    found[lock].perhaps.add(ident)
    return found


def _given_back(frames: Sequence[FrameType], sight: Sight) -> Any:
    """The lock that a thread is within the ``with`` of, but does not have while it waits."""
    for frame in frames[:1]:
        if module(frame) == "threading" and frame.f_code.co_qualname == "Condition.wait":
            return lock_of(sight.local(frame, "self"))
    return None


def cycles(waits: Mapping[int, int]) -> list[list[int]]:
    """The circles in *waits*, in each of which every thread waits for the next one."""
    found: list[list[int]] = []
    done: set[int] = set()
    for start in waits:
        path: list[int] = []
        at: int | None = start
        while at is not None and at not in done:
            done.add(at)
            path.append(at)
            at = waits.get(at)
        if at in path:
            found.append(path[path.index(at) :])
    return found
