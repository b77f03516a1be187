"""What the threads of all processes are doing, put together."""

import os
import re
import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from c2cotel import broadcast
from c2cotel.broadcast.messages import Process, Replies
from c2cotel.debug.stacks.capture import Capture
from c2cotel.debug.stacks.told import Frame, Thread, Told, Wait
from c2cotel.debug.texts import masked, truncated

CHANNEL: Final = "c2c_dump_stacks"
"""The predecessor's: its processes on the same Redis answer what it asks, and we answer them."""

_PATIENCE: Final = 5.0  # seconds
_LOCKED: Final = frozenset({"lock", "thread"})

T = TypeVar("T")


class SeedThread(msgspec.Struct, frozen=True):
    """A thread as the predecessor told it: ``name(ident)`` and its frames, the outermost first."""

    name: str
    frames: list[Frame]


class SeedTold(msgspec.Struct, frozen=True):
    """What a process of the predecessor answers."""

    threads: list[SeedThread]


@dataclass(frozen=True)
class Row:
    """One thread of the service.

    Attributes:
        process: ``host/pid``.
        stack: Its frames, the outermost first.
        number: Of its stack, among those of the report.
    """

    process: Process
    thread: Thread
    stack: tuple[Frame, ...]
    number: int

    @property
    def label(self) -> str:
        return _label(self.process, self.thread.name, self.thread.ident)

    @property
    def anchor(self) -> str:
        """Where it stands on the page."""
        host = re.sub(r"[^A-Za-z0-9]", "-", self.process.host)
        return f"thread-{host}-{self.process.pid}-{self.thread.ident}"

    @property
    def where(self) -> Frame | None:
        """The application's frame, or nearest to it; else the innermost one."""
        index = self.thread.where
        if index is None or not 0 <= index < len(self.stack):
            return self.stack[-1] if self.stack else None
        return self.stack[index]

    @property
    def seconds(self) -> float:
        return 0.0 if self.thread.request is None else self.thread.request.seconds

    @property
    def is_locked(self) -> bool:
        """Whether it waits for a lock, or for a thread, and has not moved."""
        wait = self.thread.waiting
        return wait is not None and wait.kind in _LOCKED and self.thread.moved is False


@dataclass(frozen=True)
class Report:
    """The threads of all processes that have answered.

    Attributes:
        rows: In requests first, the longest of them first.
        stacks: Those that differ.
        cycles: Threads that wait for each other in a circle, each for the next one.
        perhaps: Those that seem to: of who has a ``Lock``, Python says nothing.
        silent: Processes that did not answer in time.
        failed: Those that answered something else, and what.
        left_out: Threads that a process has not told, because it has so many.
    """

    rows: list[Row] = field(default_factory=list)
    stacks: list[tuple[Frame, ...]] = field(default_factory=list)
    cycles: list[list[Row]] = field(default_factory=list)
    perhaps: list[list[Row]] = field(default_factory=list)
    silent: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def owner(self, row: Row) -> Row | None:
        """The thread that *row* waits for."""
        wait = row.thread.waiting
        owner = None if wait is None else wait.owner
        return None if owner is None else next(self._threads(row.process, (owner,)), None)

    def may_have(self, row: Row) -> list[Row]:
        """The threads of which one may have what *row* waits for."""
        wait = row.thread.waiting
        return [] if wait is None else list(self._threads(row.process, wait.perhaps))

    def _threads(self, process: Process, idents: Collection[int]) -> Iterator[Row]:
        for row in self.rows:
            if row.process == process and row.thread.ident in idents:
                yield row

    def grouped(self, rows: Iterable[Row]) -> list[list[Row]]:
        """*rows* that stand and wait at the same place side by side, the largest groups first."""
        groups: dict[tuple[int, Wait | None], list[Row]] = {}
        for row in rows:
            groups.setdefault((row.number, row.thread.waiting), []).append(row)
        return sorted(groups.values(), key=len, reverse=True)


class Answers:
    """What this process answers on :data:`CHANNEL`."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def __call__(self, *, details: bool = False) -> Any:
        if details:
            return msgspec.to_builtins(self._capture.twice())
        return msgspec.to_builtins(_as_seed(self._capture.once()))


def grouped_stacks() -> list[dict[str, Any]]:
    """All stacks, each with the threads that stand there, as the predecessor told them."""
    replies = broadcast.ask(CHANNEL, timeout=_PATIENCE)
    found: dict[tuple[Frame, ...], list[str]] = {}
    for process, told in _read(replies, SeedTold, {}):
        for thread in told.threads:
            name = f"{process}/{thread.name}"
            found.setdefault(tuple(thread.frames), []).append(name)
    return [_group(frames, threads) for frames, threads in found.items()]


def report() -> Report:
    """Ask all processes for their threads, with all that can be seen of them; but who asks."""
    me = broadcast.broadcaster().process
    replies = broadcast.ask(CHANNEL, {"details": True}, timeout=_PATIENCE)
    return merged(replies, (me.host, os.getpid(), threading.get_ident()))


def merged(replies: Replies, without: tuple[str, int, int] | None = None) -> Report:
    """What the processes have answered, as one; *without* the thread of this host, pid, ident."""
    found = Report(silent=tuple(str(process) for process in replies.silent))
    numbers: dict[tuple[Frame, ...], int] = {}
    for process, told in _read(replies, Told, found.failed):
        try:
            rows = list(_rows(process, told, numbers, without))
        except IndexError:
            found.failed[str(process)] = "its answer cannot be read"
            continue
        found.rows.extend(rows)
        known = {row.thread.ident: row for row in rows}
        for into, cycles in ((found.cycles, told.cycles), (found.perhaps, told.perhaps)):
            for cycle in cycles:
                if all(ident in known for ident in cycle):
                    into.append([known[ident] for ident in cycle])
        if told.left_out:
            found.left_out[str(process)] = told.left_out
    found.stacks.extend(numbers)
    found.rows.sort(key=lambda row: (row.thread.request is None, -row.seconds, row.label))
    return found


def as_json(found: Report) -> dict[str, Any]:
    """The report for programs."""
    by_stack: dict[int, list[str]] = {number: [] for number in range(len(found.stacks))}
    for row in found.rows:
        by_stack[row.number].append(row.label)
    return {
        "threads": [_thread(row, found) for row in found.rows],
        "stacks": [_group(found.stacks[n], threads) for n, threads in by_stack.items()],
        "deadlocks": [[row.label for row in cycle] for cycle in found.cycles],
        "perhaps": [[row.label for row in cycle] for cycle in found.perhaps],
        "silent": list(found.silent),
        "failed": found.failed,
        "left_out": found.left_out,
    }


def _thread(row: Row, found: Report) -> dict[str, Any]:
    owner = found.owner(row)
    thread, request, wait = row.thread, row.thread.request, row.thread.waiting
    return {
        "thread": row.label,
        "host": row.process.host,
        "pid": row.process.pid,
        "name": thread.name,
        "ident": thread.ident,
        "native_id": thread.native_id,
        "method": request and request.method,
        "route": request and request.route,
        "trace_id": request and request.trace_id,
        "request_id": request and request.request_id,
        "seconds": request and request.seconds,
        "waiting": wait
        and {
            "for": wait.kind,
            "detail": wait.detail,
            "lock": wait.lock,
            "held_by": owner and owner.label,
            "may_be_held_by": [other.label for other in found.may_have(row)],
        },
        "moved": thread.moved,
        "cpu": thread.cpu,
        "stack": row.number,
    }


def _group(frames: Iterable[Frame], threads: list[str]) -> dict[str, Any]:
    return {"frames": msgspec.to_builtins(list(frames)), "threads": threads}


def _as_seed(told: Told) -> SeedTold:
    stacks = [[told.frames[index] for index in stack] for stack in told.stacks]
    return SeedTold(
        [SeedThread(f"{each.name}({each.ident})", stacks[each.stack]) for each in told.threads]
    )


def _rows(
    process: Process,
    told: Told,
    numbers: dict[tuple[Frame, ...], int],
    without: tuple[str, int, int] | None,
) -> Iterator[Row]:
    stacks = [tuple(told.frames[index] for index in stack) for stack in told.stacks]
    for thread in told.threads:
        if (process.host, process.pid, thread.ident) == without:
            continue
        stack = stacks[thread.stack]
        yield Row(process, thread, stack, numbers.setdefault(stack, len(numbers)))


def _label(process: Process, name: str, ident: int) -> str:
    return f"{process}/{name}({ident})"


def _read(replies: Replies, kind: type[T], failed: dict[str, str]) -> Iterator[tuple[Process, T]]:
    """The answers that are of this *kind*; of the others it is said in *failed* what they are."""
    for process, answer in zip(replies.answered, replies.answers, strict=True):
        try:
            yield process, msgspec.convert(answer, kind)
        except msgspec.ValidationError:
            message = answer.get("message") if isinstance(answer, dict) else None
            failed[str(process)] = (
                truncated(masked(message))
                if isinstance(message, str)
                else "its answer cannot be read: it may run another version"
            )
