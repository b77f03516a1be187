"""Count the workers of gunicorn in its master: those there are, that have begun, that have ended.

================================  ===============  ========  ============================
name                              kind             unit      attributes
================================  ===============  ========  ============================
c2c.gunicorn.workers              up-down counter  {worker}
c2c.gunicorn.workers.configured   up-down counter  {worker}
c2c.gunicorn.worker.starts        counter          {worker}
c2c.gunicorn.worker.exits         counter          {worker}  c2c.gunicorn.exit.reason
================================  ===============  ========  ============================

====================  =====================================================================
``requested``         gunicorn was told to: HUP, TTOU, TERM; or the worker itself was (TERM)
``max_requests``      it has answered as many as ``--max-requests`` says
``timeout``           it was silent for longer than ``--timeout``, and killed by gunicorn
``graceful_timeout``  it was told to end, did not within ``--graceful-timeout``, and was killed
``failed``            its exit status is not 0: the application could not be loaded, say
``signal SIGKILL``    somebody else has killed it, the kernel for want of memory most likely;
                      likewise the names of other signals
``unknown``           it has ended unseen
====================  =====================================================================

An end with status 0 that gunicorn has not asked for is ``max_requests`` where that is configured.
The master looks at how a worker has ended before it reaps it (``WNOWAIT``); nothing is done for a
request.
"""

import functools
import logging
import os
import signal
import sys
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, Final, NamedTuple

from opentelemetry.metrics import CallbackOptions, Counter, Observation, get_meter

from c2cotel_instrumentation.wrapping import Wrappings

LOGGER = logging.getLogger(__name__)

REASON: Final = "c2c.gunicorn.exit.reason"
# Told as zero from the start: the first one of each is an increase, then.
_KNOWN: Final = (
    "requested",
    "max_requests",
    "timeout",
    "graceful_timeout",
    "failed",
    "signal SIGKILL",
)
_ENDING: Final = frozenset({signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGKILL})


class _End(NamedTuple):
    """How a process has ended: a number of the system's ``CLD_…``, and its status or signal."""

    code: int
    status: int


class Workers:
    """The counting for one instrumentor; *active* tells whether it is on.

    A forked worker has it, too, and counts nothing.
    """

    def __init__(self, active: Callable[[], bool]) -> None:
        self._active = active
        self._arbiter: Callable[[], Any] = lambda: None
        self._asked: dict[int, set[int]] = {}
        self._starts: Counter | None = None
        self._exits: Counter | None = None

    def wrap(self, wrappings: Wrappings, module: ModuleType) -> None:
        """Wrap the methods of ``gunicorn.arbiter``'s class that begin and end workers."""
        wrappings.wrap(module.Arbiter, "start", self._starting)
        wrappings.wrap(module.Arbiter, "spawn_worker", self._spawning)
        wrappings.wrap(module.Arbiter, "kill_worker", self._killing)
        wrappings.wrap(module.Arbiter, "reap_workers", self._reaping)

    def _starting(self, start: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(start)
        def wrapper(arbiter: Any) -> None:
            start(arbiter)
            if self._active():
                _guarded(self._begin, arbiter)

        return wrapper

    def _spawning(self, spawn_worker: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(spawn_worker)
        def wrapper(arbiter: Any) -> Any:
            # A worker does not come back from there: it exits.
            pid = spawn_worker(arbiter)
            if self._active() and self._starts is not None:
                self._starts.add(1)
            return pid

        return wrapper

    def _killing(self, kill_worker: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(kill_worker)
        def wrapper(arbiter: Any, pid: int, sig: int) -> None:
            if not self._active():
                kill_worker(arbiter, pid, sig)
                return
            if sig in _ENDING:
                self._asked.setdefault(pid, set()).add(sig)
            # Where there is no such process any more, gunicorn forgets the worker.
            with self._counted(arbiter, [pid]):
                kill_worker(arbiter, pid, sig)

        return wrapper

    def _reaping(self, reap_workers: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(reap_workers)
        def wrapper(arbiter: Any) -> None:
            if not self._active():
                reap_workers(arbiter)
                return
            # One that could not boot ends it with an exception.
            with self._counted(arbiter, list(arbiter.WORKERS)):
                reap_workers(arbiter)

        return wrapper

    @contextmanager
    def _counted(self, arbiter: Any, pids: Iterable[int]) -> Iterator[None]:
        """Around what may take some of *pids* out of gunicorn's workers."""
        there = {pid: arbiter.WORKERS[pid] for pid in pids if pid in arbiter.WORKERS}
        ends = {pid: end for pid in there if (end := _end(pid)) is not None}
        try:
            yield
        finally:
            for pid, worker in there.items():
                if pid not in arbiter.WORKERS:
                    _guarded(self._count, pid, worker, ends.get(pid))

    def _begin(self, arbiter: Any) -> None:
        self._arbiter = weakref.ref(arbiter)
        if self._starts is not None:
            return
        meter = get_meter(__name__)
        self._starts = meter.create_counter(
            "c2c.gunicorn.worker.starts", "{worker}", "Workers that gunicorn has forked."
        )
        self._exits = meter.create_counter(
            "c2c.gunicorn.worker.exits", "{worker}", "Workers that have ended, by the reason."
        )
        self._starts.add(0)
        for reason in _KNOWN:
            self._exits.add(0, {REASON: reason})
        meter.create_observable_up_down_counter(
            "c2c.gunicorn.workers", [self._alive], "{worker}", "Workers of gunicorn, as they are."
        )
        meter.create_observable_up_down_counter(
            "c2c.gunicorn.workers.configured",
            [self._configured],
            "{worker}",
            "Workers that gunicorn is to have.",
        )

    def _count(self, pid: int, worker: Any, end: _End | None) -> None:
        asked = self._asked.pop(pid, set())
        if self._exits is not None:
            self._exits.add(1, {REASON: _reason(worker, asked, end)})

    def _alive(self, _: CallbackOptions) -> Iterator[Observation]:
        if (arbiter := self._here()) is not None:
            yield Observation(len(arbiter.WORKERS))

    def _configured(self, _: CallbackOptions) -> Iterator[Observation]:
        if (arbiter := self._here()) is not None:
            yield Observation(arbiter.num_workers)

    def _here(self) -> Any:
        """The arbiter, if this process is the master."""
        arbiter = self._arbiter()
        here = self._active() and arbiter is not None and arbiter.pid == os.getpid()
        return arbiter if here else None


def _end(pid: int) -> _End | None:
    """How the child *pid* has ended, if it has; it stays to be reaped."""
    if not hasattr(os, "waitid"):
        return None
    with suppress(OSError):
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return None if found is None else _End(found.si_code, found.si_status)
    return None


def _reason(worker: Any, asked: Collection[int], end: _End | None) -> str:
    if getattr(worker, "aborted", False):
        return "timeout"
    if end is None:
        return "requested" if asked else "unknown"
    if end.code != os.CLD_EXITED:
        return _by_signal(end.status, asked)
    if end.status:
        return "failed"
    limited = getattr(worker, "max_requests", sys.maxsize) < sys.maxsize
    return "max_requests" if limited and not asked else "requested"


def _by_signal(number: int, asked: Collection[int]) -> str:
    if number in asked:
        return "graceful_timeout" if number == signal.SIGKILL else "requested"
    try:
        return f"signal {signal.Signals(number).name}"
    except ValueError:  # one of the real-time signals
        return "signal of another kind"


def _guarded(action: Callable[..., None], *arguments: Any) -> None:
    try:
        action(*arguments)
    except Exception:
        # Whatever is wrong with the counting, gunicorn goes on.
        LOGGER.exception("A worker of gunicorn is not counted.")
