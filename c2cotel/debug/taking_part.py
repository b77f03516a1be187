"""One process's share of the jobs of one kind, see :mod:`c2cotel.debug.jobs`."""

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from c2cotel.broadcast.alarm import Alarm
from c2cotel.debug.job_records import AnnouncedError, BusyError, Job, Participant, State
from c2cotel.debug.parts import OVERDUE, Parts
from c2cotel.forking import at_fork

LOGGER = logging.getLogger(__name__)

# Seconds that a process which ends waits for what it has found so far.
_PATIENCE_AT_EXIT: Final = 2.0
# Seconds after which a job that was announced counts: as one that begins everywhere if it has
# begun here, else as one that never will.
_ANNOUNCED: Final = 10.0
_MOST_NAMED: Final = 20


class Work(Protocol):
    """What one process does of a job."""

    def stop(self) -> None:
        """End it early: what there is goes to its :class:`End`, soon or before this returns."""


class End:
    """Takes what a process has found; used once, from any thread."""

    def __init__(self, give: Callable[..., None]) -> None:
        self._give = give
        self._lock = threading.Lock()
        self._used = False
        self.over = threading.Event()

    def done(
        self, body: bytes, *, early: bool = False, summary: dict[str, Any] | None = None
    ) -> None:
        """It has found *body*; lists show the *summary*. *early*: it was not to end by now."""
        self._once("early" if early else "done", body=body, summary=summary)

    def failed(self, text: str) -> None:
        """It has found nothing, and why."""
        self._once("failed", note=text)

    def _once(self, state: State, **what: Any) -> None:
        with self._lock:
            if self._used:
                return
            self._used = True
        try:
            self._give(state, **what)
        finally:
            self.over.set()


Begin = Callable[[Job, End], Work]


@dataclass
class Share:
    """What this process does at the moment, or has been announced to it.

    Attributes:
        sure: Whether the job has begun everywhere.
    """

    job: Job
    mine: Participant
    began: float
    end: End | None = None
    work: Work | None = None
    off: bool = False
    sure: bool = False

    @property
    def overdue(self) -> bool:
        """Whether its end has been forgotten: it must not keep others from beginning for ever."""
        return self.left < -OVERDUE or (self.end is None and self._old)

    @property
    def settled(self) -> bool:
        """Whether it is sure to go on."""
        return self.sure or (self.end is not None and self._old)

    @property
    def _old(self) -> bool:
        return not 0 <= time.time() - self.began <= _ANNOUNCED

    @property
    def left(self) -> float:
        """Seconds until it ends."""
        return self.job.seconds - (time.time() - self.began)


class TakingPart:
    """What this process does when it is told to, one thing at a time."""

    def __init__(self, begin: Begin, parts: Parts, title: str) -> None:
        self._begin = begin
        self._parts = parts
        self._title = title
        self._lock = threading.RLock()
        self._share: Share | None = None
        self._tidy_at: float | None = None
        self._alarm = Alarm(lambda: self._tidy_at, self.tidy)
        at_fork(self._freeze, self._thaw, self._renew)
        ending = weakref.WeakMethod(self._end_early)
        atexit.register(lambda: (method := ending()) and method())

    @property
    def share(self) -> Share | None:
        """What it does now."""
        share = self._share
        return None if share is None or share.overdue else share

    def announce(self, job: Job, mine: Participant) -> None:
        """Leave room for *job*, which is to begin at once.

        Raises:
            BusyError: this process does something of the kind already.
        """
        with self._lock:
            self._check_free(mine)
            self._share = Share(job, mine, time.time())

    def begin(self, job: Job, mine: Participant) -> None:
        """Do the share *mine* of *job*.

        Raises:
            BusyError: this process does something of the kind already.
            ValueError: it cannot.
        """
        with self._lock:
            self._check_free(mine, unless=job.id)
            share = self._share = Share(job, mine, time.time())
        share.end = End(lambda state, **what: self._ended(share, state, **what))
        try:
            self._parts.note(job)
            self._parts.begin(job, mine)
            share.work = self._begin(job, share.end)
        except BaseException:
            self._forget(share)
            raise
        if share.off:
            share.work.stop()
        self.tidy()

    def _check_free(self, mine: Participant, unless: str = "") -> None:
        other = self.share
        if other is None or (other.job.id == unless and other.end is None):
            return
        text = busy_text(self._title, [(str(mine), other.job, other.left)])
        raise BusyError(text) if other.settled else AnnouncedError(text)

    def settle(self, id_: str) -> None:
        """The job *id_* has begun everywhere."""
        share = self._share
        if share is not None and share.job.id == id_:
            share.sure = True

    def stop(self, id_: str) -> bool:
        """End the job *id_* early, and keep what there is; whether it ran here."""
        share = self.share
        if share is None or share.job.id != id_ or share.work is None:
            return False
        share.work.stop()
        return True

    def call_off(self, id_: str) -> None:
        """The job *id_* has not begun everywhere: nothing of it remains."""
        share = self._share
        if share is not None and share.job.id == id_:
            self._forget(share)
            if share.work is not None:
                share.work.stop()
        self._parts.drop(id_)

    def tidy(self) -> None:
        """Remove what is too old, and look again when something else is."""
        due = self._parts.tidy()
        # A second later: what is removed then is surely old enough.
        self._tidy_at = None if due is None else time.monotonic() + due + 1.0
        self._alarm.set()

    def _ended(self, share: Share, state: State, **what: Any) -> None:
        try:
            if not share.off:
                self._parts.end(share.job, share.mine, state, began=share.began, **what)
        except Exception:
            # It is in the thread of whoever did the work.
            LOGGER.exception("What this process found for %s is lost.", share.job.id)
        finally:
            with self._lock:
                if self._share is share:
                    self._share = None
            self.tidy()

    def _forget(self, share: Share) -> None:
        share.off = True
        with self._lock:
            if self._share is share:
                self._share = None
        self._parts.drop(share.job.id)

    def _end_early(self) -> None:
        """The process ends: what it has found so far is kept."""
        share = self._share
        if share is None or share.work is None or share.end is None:
            return
        try:
            share.work.stop()
            share.end.over.wait(_PATIENCE_AT_EXIT)
        except Exception:
            LOGGER.exception("What this process found for %s is lost.", share.job.id)

    def _freeze(self) -> None:
        self._lock.acquire(timeout=1.0)

    def _thaw(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:  # it was not to be had in time
            LOGGER.debug("Process %d forked while a job began.", os.getpid())

    def _renew(self) -> None:
        """In a forked child: the work goes on in its parent only."""
        self._lock = threading.RLock()
        self._share = None
        self._tidy_at = None
        self._parts.renew()
        self._alarm.renew()


def busy_text(title: str, busy: Iterable[tuple[str, Job, float]]) -> str:
    """Which processes do what for how long yet, in one sentence for each job."""
    jobs: dict[str, tuple[Job, float]] = {}
    where: dict[str, list[str]] = {}
    for process, job, left in busy:
        jobs[job.id] = job, left
        where.setdefault(job.id, []).append(process)
    return "; ".join(
        f"{names(where[id_])}: the {title} {id_} by {job.actor or 'somebody'} runs there, "
        f"for another {max(0.0, left):.0f} s"
        for id_, (job, left) in jobs.items()
    )


def names(found: Iterable[object]) -> str:
    """Names of processes, if they are not too many."""
    texts = [str(each) for each in found]
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(texts[:_MOST_NAMED]) + more
