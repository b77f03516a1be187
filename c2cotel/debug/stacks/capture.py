"""The threads of this process at one moment: what it answers when all are asked.

To see who moves, one looks twice. In between nothing is kept of a thread but its innermost frame.
"""

import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import FrameType
from typing import Final

from c2cotel.debug.stacks import locks
from c2cotel.debug.stacks.frames import Sight, module, stack
from c2cotel.debug.stacks.shelf import Shelf
from c2cotel.debug.stacks.told import Request, Thread, Told, Wait
from c2cotel.debug.stacks.waiting import LOCK, Waiting, waiting
from c2cotel.debug.texts import printable, truncated
from c2cotel_instrumentation.running import Answering
from c2cotel_instrumentation.thread_clocks import cpu_clock

MOST_THREADS: Final = 200
_BETWEEN: Final = 0.1  # seconds
_PATHS: Final = sysconfig.get_paths()
_PYTHON: Final = (_PATHS["stdlib"], _PATHS["platstdlib"], "<frozen")
_OURS: Final = ("c2cotel", "c2cotel_instrumentation")
_INSTALLED: Final = ("/site-packages/", "/dist-packages/")


@dataclass(frozen=True)
class _Glance:
    """Where threads stand, and how much they have computed."""

    at: float
    frames: dict[int, FrameType]
    steps: dict[int, int]
    cpu: dict[int, float]


class Capture:
    """Looks at this process; *package* is the application's, which is looked for in stacks."""

    def __init__(self, package: str, running: Callable[[], dict[int, Answering]]) -> None:
        self._package = package.partition(".")[0]
        self._running = running

    def once(self) -> Told:
        """The stacks alone."""
        return self._told(None)

    def twice(self) -> Told:
        """With all that can be seen of the threads."""
        before = _glance()
        time.sleep(_BETWEEN)
        return self._told(before)

    def _told(self, before: _Glance | None) -> Told:
        now = _glance()
        running = self._running()
        kept = _chosen(now.frames, running)
        stacks = {ident: stack(now.frames[ident]) for ident in kept}
        waits = {} if before is None else self._waits(stacks, running)
        moved = {} if before is None else _moved(before, now)
        shelf = Shelf(len(kept))
        known = {thread.ident: thread for thread in threading.enumerate()}
        threads = [
            _thread(
                known.get(ident),
                ident,
                shelf.add(frames),
                where=shelf.position(self._where(frames), len(frames)),
                moved=moved.get(ident),
                cpu=None if before is None else _cpu(before, now, ident),
                wait=waits.get(ident),
                request=running.get(ident),
            )
            for ident, frames in stacks.items()
        ]
        certain, perhaps = _cycles({i: wait for i, wait in waits.items() if not moved.get(i)})
        return Told(
            threads=threads,
            stacks=shelf.stacks,
            frames=shelf.frames(),
            cycles=certain,
            perhaps=perhaps,
            left_out=len(now.frames) - len(kept),
        )

    def _waits(
        self, stacks: dict[int, list[FrameType]], running: dict[int, Answering]
    ) -> dict[int, Waiting]:
        sight = Sight()
        waits = {
            ident: found
            for ident, frames in stacks.items()
            if (found := waiting(frames, sight, in_request=ident in running)) is not None
        }
        ownerless = {
            ident: wait.lock
            for ident, wait in waits.items()
            if wait.kind == LOCK and wait.lock is not None and wait.owner is None
        }
        holders = locks.holders(ownerless, stacks, sight)
        for ident, lock in ownerless.items():
            seen = holders[id(lock)]
            waits[ident] = replace(
                waits[ident], owner=seen.owner, certain=False, perhaps=seen.several
            )
        return waits

    def _where(self, frames: list[FrameType]) -> int | None:
        """The innermost frame that is the application's, or nearest to it."""
        nearest = None
        for index, frame in enumerate(frames):
            root = module(frame).partition(".")[0]
            if root == self._package:
                return index
            if nearest is None and root not in _OURS and _is_own_code(frame.f_code.co_filename):
                nearest = index
        return nearest


def _cycles(waits: dict[int, Waiting]) -> tuple[list[list[int]], list[list[int]]]:
    """The threads that wait for each other in a circle; those of which it only seems so."""
    known = {i: wait.owner for i, wait in waits.items() if wait.owner and wait.certain}
    certain = locks.cycles(known)
    seen = dict(known)
    for ident, wait in waits.items():
        if (owner := wait.owner) is not None:
            seen[ident] = owner
        elif len(wait.perhaps) == 1:
            (seen[ident],) = wait.perhaps
    perhaps = [each for each in locks.cycles(seen) if not all(ident in known for ident in each)]
    return certain, perhaps


def _glance() -> _Glance:
    frames = sys._current_frames()  # noqa: SLF001 - documented: what the sampler and we live on
    native = {thread.ident: _native_id(thread) for thread in threading.enumerate()}
    return _Glance(
        at=time.monotonic(),
        frames=frames,
        steps={ident: frame.f_lasti for ident, frame in frames.items()},
        cpu={
            ident: seconds
            for ident in frames
            if (seconds := _computed(native.get(ident))) is not None
        },
    )


def _native_id(thread: threading.Thread) -> int | None:
    # After a fork, Python still says the parent's of what has become the main thread.
    return os.getpid() if thread is threading.main_thread() else thread.native_id


def _computed(native_id: int | None) -> float | None:
    """Seconds that a thread has computed since its beginning."""
    if native_id is None:
        return None
    try:
        return cpu_clock(native_id)
    except OSError:
        return None


def _cpu(before: _Glance, now: _Glance, ident: int) -> float | None:
    if ident not in before.cpu or ident not in now.cpu:
        return None
    share = (now.cpu[ident] - before.cpu[ident]) / max(now.at - before.at, 1e-6)
    return round(min(max(share, 0.0), 1.0), 2)


def _moved(before: _Glance, now: _Glance) -> dict[int, bool]:
    return {
        ident: before.frames.get(ident) is not frame or before.steps[ident] != now.steps[ident]
        for ident, frame in now.frames.items()
    }


def _chosen(idents: Iterable[int], running: dict[int, Answering]) -> list[int]:
    """Those that are told: in requests first, the longest of them first."""
    ranked = sorted(idents, key=lambda i: running[i].since if i in running else float("inf"))
    return ranked[:MOST_THREADS]


def _is_own_code(file: str) -> bool:
    return not file.startswith(_PYTHON) and not any(part in file for part in _INSTALLED)


def _thread(  # noqa: PLR0913 - its parts
    thread: threading.Thread | None,
    ident: int,
    number: int,
    *,
    where: int | None,
    moved: bool | None,
    cpu: float | None,
    wait: Waiting | None,
    request: Answering | None,
) -> Thread:
    return Thread(
        ident=ident,
        name="" if thread is None else truncated(printable(thread.name)),
        native_id=None if thread is None else _native_id(thread),
        stack=number,
        where=where,
        moved=moved,
        cpu=cpu,
        waiting=None
        if wait is None
        else Wait(
            kind=wait.kind,
            detail=wait.detail,
            lock=None if wait.lock is None else hex(id(wait.lock)),
            owner=wait.owner,
            perhaps=wait.perhaps,
        ),
        request=None if request is None else _request(request),
    )


def _request(request: Answering) -> Request:
    return Request(
        method=truncated(request.method),
        route=request.route,
        trace_id=request.trace_id,
        request_id=request.request_id,
        seconds=round(time.perf_counter() - request.since, 3),
    )
