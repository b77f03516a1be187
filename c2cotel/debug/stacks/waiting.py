"""What a thread waits for, as its frames show it.

====================  ============================================================================
``SQL``               a statement with ``?`` for its literals, or ``COMMIT`` and the like, by
                      SQLAlchemy or psycopg, and the engine
``connection pool``   a free connection of SQLAlchemy's or psycopg's
``HTTP``              the answer of another host, which is named
``Redis``             the answer to a command
``lock``              Python's ``Lock`` or ``RLock``, a file's
``condition`` …       also ``event``, ``semaphore``, ``barrier``, ``queue``, ``future``, ``thread``:
                      that another thread does something
``network``           a socket, of whatever library
``subprocess``        another program, which is named
``sleep``             time
``idle``              work: it is in no request, and stands where servers and pools wait for one
====================  ============================================================================

A thread that waits for none of these has none: it computes, or waits in code that is not Python's.
"""

import fcntl
import os
import queue
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Final

from c2cotel.debug.stacks import libraries, locks
from c2cotel.debug.stacks.frames import MISSING, Operation, Sight, attribute, is_one, module
from c2cotel.debug.texts import masked, printable, truncated

IDLE: Final = "idle"
LOCK: Final = "lock"

# Frames within the standard library that stand for one wait, such as those of Queue.get().
_DEEPEST: Final = 10
_POLLS: Final = (select.epoll, type(select.poll()))
# What a thread without a request does when it has nothing to do.
_FOR_WORK: Final = frozenset({"select", "queue", "condition", "event"})


@dataclass(frozen=True)
class Waiting:
    """What a thread waits for.

    Attributes:
        kind: As above.
        detail: For people, in few words.
        lock: The lock itself.
        owner: ``ident`` of the thread that has to do something first, as far as it is known.
        certain: Whether Python says so; else, it is in the ``with`` of the lock.
        perhaps: If no owner is known: those that may have the lock.
    """

    kind: str
    detail: str = ""
    lock: Any = None
    owner: int | None = None
    certain: bool = True
    perhaps: tuple[int, ...] = ()


def waiting(frames: Sequence[FrameType], sight: Sight, *, in_request: bool) -> Waiting | None:
    """What the thread with these *frames*, the innermost one first, waits for."""
    found = _here(frames, sight)
    # Of a library, a lock is what matters: somebody else may hold it for ever.
    if found is None or found.kind != LOCK:
        inside = libraries.inside(frames, sight)
        if inside is not None:
            return Waiting(*inside)
    if found is not None and not in_request and found.kind in _FOR_WORK:
        return Waiting(IDLE)
    if found is not None and found.kind == "select":
        return replace(found, kind="network")
    return found


def _here(frames: Sequence[FrameType], sight: Sight) -> Waiting | None:
    """The wait that the innermost frames stand for; the outermost one of those tells most."""
    found = None
    for frame in frames[:_DEEPEST]:
        name = module(frame)
        rules = _RULES.get(name)
        if rules is None:
            break
        rule = rules.get(frame.f_code.co_qualname) or rules.get("")
        if rule is not None:
            found = rule(frame, sight) or found
    if found is None and frames:
        operation = sight.operation(frames[0])
        found = None if operation is None else _called(operation)
    return found


def _called(operation: Operation) -> Waiting | None:
    """The same where no Python is involved."""
    if operation.name in ("acquire", "__enter__"):
        return _acquired(operation)
    function, owner = operation.function.found, type(operation.owner.found)
    if function is select.select or is_one(owner, _POLLS):
        return Waiting("select", "a socket")
    if owner is queue.SimpleQueue:
        return Waiting("queue", "until something is in it")
    if issubclass(owner, socket.socket):
        return Waiting("network", "a socket")
    return next((wait for called, wait in _FUNCTIONS if function is called), None)


def _acquired(operation: Operation) -> Waiting | None:
    owner = operation.owner
    lock = locks.lock_of(owner.found)
    if lock is not None:
        # One that is free is about to be taken.
        return _lock(lock, owner.text) if locks.is_locked(lock) else None
    # Of an object that could not be found: what else takes its time to be acquired?
    unknown = owner.found is MISSING and operation.name == "acquire"
    return Waiting(LOCK, truncated(printable(owner.text))) if unknown else None


def _lock(lock: Any, text: str) -> Waiting:
    name = " ".join(filter(None, (locks.kind_of(lock), text)))
    return Waiting(LOCK, truncated(printable(name)), lock, locks.owner_of(lock))


def _joined(frame: FrameType, sight: Sight) -> Waiting:
    thread = sight.local(frame, "self")
    name, ident = attribute(thread, "_name"), attribute(thread, "_ident")
    return Waiting(
        "thread",
        f"until {truncated(printable(name))} ends" if type(name) is str else "until it ends",
        owner=ident if type(ident) is int else None,
    )


def _python_lock(frame: FrameType, sight: Sight) -> Waiting | None:
    lock = locks.lock_of(sight.local(frame, "self"))
    return None if lock is None else _lock(lock, "")


def _address(frame: FrameType, sight: Sight) -> Waiting:
    host = sight.local(frame, "host")
    known = type(host) is str
    return Waiting("network", f"the address of {truncated(printable(host))}" if known else "")


def _program(frame: FrameType, sight: Sight) -> Waiting | None:
    command = attribute(sight.local(frame, "self"), "args")
    if is_one(type(command), (list, tuple)) and command:
        command = command[0]
    elif type(command) is str:
        command = command.split(maxsplit=1)[0] if command.strip() else ""
    # Its arguments may be secrets.
    name = os.path.basename(command) if type(command) is str else ""  # noqa: PTH119 - a mere text
    return Waiting("subprocess", truncated(printable(masked(name))))


_Rule = Callable[[FrameType, Sight], Waiting | None]


def _said(kind: str, detail: str = "") -> _Rule:
    return lambda _frame, _sight: Waiting(kind, detail)


_FUNCTIONS: Final = (
    (time.sleep, Waiting("sleep")),
    (fcntl.flock, Waiting(LOCK, "of a file")),
    (fcntl.lockf, Waiting(LOCK, "of a file")),
    (os.waitpid, Waiting("subprocess")),
    (os.wait, Waiting("subprocess")),
)
_RESULT: Final = _said("future", "until it has a result")
_EXCHANGE: Final = _said("network", "a socket")
# By module and qualified name; the empty name is for all others of that module.
_RULES: Final[dict[str, dict[str, _Rule]]] = {
    "threading": {
        "Condition.wait": _said("condition", "until it is notified"),
        "Event.wait": _said("event", "until it is set"),
        "Semaphore.acquire": _said("semaphore", "until it is released"),
        "Barrier.wait": _said("barrier", "until enough threads have come"),
        "Thread.join": _joined,
        "_RLock.acquire": _python_lock,
    },
    "queue": {
        "Queue.get": _said("queue", "until something is in it"),
        "Queue.put": _said("queue", "until there is room in it"),
        "Queue.join": _said("queue", "until all of it is done"),
    },
    "concurrent.futures._base": {
        "Future.result": _RESULT,
        "Future.exception": _RESULT,
        "wait": _RESULT,
        "as_completed": _RESULT,
        "_WorkItem.run": lambda _frame, _sight: None,
    },
    "selectors": {"": _said("select", "a socket")},
    "socket": {"getaddrinfo": _address, "": _EXCHANGE},
    "ssl": {"": _EXCHANGE},
    "subprocess": {
        "Popen.wait": _program,
        "Popen.communicate": _program,
        "Popen._wait": _program,
        "Popen._communicate": _program,
    },
}
