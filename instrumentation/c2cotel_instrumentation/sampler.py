"""Where all threads of this process are, many times a second: only while it is asked for.

One thread of ours looks at the stacks of the others (:func:`sys._current_frames`), and at the
request that each is answering (:mod:`~c2cotel_instrumentation.running`). That needs no rights, no
restart and no library; off, it costs nothing. What it emits is :class:`Samples`; the attribute
``c2c.profile.id`` of the spans is :meth:`Running.mark`'s.

``wall`` is the time between two looks, for every thread. ``cpu`` is the CPU time that a thread used
since the last look, by the kernel's clock of that thread. So the sums by thread, route and request
are what was really used; the stack is where the thread is when it is looked at. Python lets the
sampler look when the running thread waits, or after 5 ms: of work that is shorter and then waits
for something, the wait is what is seen, in the function that called both. A thread that
:mod:`threading` does not know, one of C or of ``_thread``, has no clock that can be found safely:
it is left out, and counted in ``unmeasured``.

Each stack is walked at each look: the walk of 30 frames takes 2 to 7 us, and all walks a third of
what a look costs. To skip a thread whose frame and instruction are the same as before would be
wrong: frames are allocated again at the same address, and ``recv`` waits for another caller then.
No frame outlives the look, as it would keep its variables; only code objects are kept, until the
end.
"""

import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from types import FrameType
from typing import Final, NamedTuple

from c2cotel_instrumentation.errors import type_name
from c2cotel_instrumentation.running import Answering, Running
from c2cotel_instrumentation.sample_tally import MOST_DEPTH, Codes, Tally
from c2cotel_instrumentation.samples import Frame, Mode, Order, Request, Samples, Stack
from c2cotel_instrumentation.thread_clocks import ThreadClocks, cpu_clock

__all__ = [
    "BusyError",
    "Current",
    "Frame",
    "Mode",
    "Order",
    "Request",
    "Sampler",
    "Samples",
    "Stack",
    "UnsupportedError",
]

NAME: Final = "c2cotel-sampler"
_DEPTHS: Final = range(MOST_DEPTH)

_logger = logging.getLogger(__name__)


class BusyError(RuntimeError):
    """There is one profile at a time."""


class UnsupportedError(RuntimeError):
    """This process cannot be profiled like that."""


class Current(NamedTuple):
    """A profile that is on.

    Attributes:
        started: Seconds since the epoch.
        left: Seconds.
    """

    profile_id: str
    order: Order
    started: float
    left: float


class Sampler:
    """Makes profiles of this process, one at a time; a forked child has none on.

    *running* tells which request each thread is answering.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self._forget()
        forget = weakref.WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._last: _Profile | None = None

    @property
    def current(self) -> Current | None:
        """The profile that is on."""
        profile = self._last
        return None if profile is None or profile.over else profile.current()

    def start(self, order: Order, profile_id: str, on_end: Callable[[Samples], None], /) -> None:
        """Begin; *on_end* gets the samples, in our thread, when there is none on any more.

        When the interpreter exits, nobody waits for the samples: :meth:`stop` it before.

        Raises:
            BusyError: One is on.
            UnsupportedError: ``cpu`` needs Linux; threads need to be real ones, not gevent's.
        """
        _check(order.mode)
        with self._lock:
            if (current := self.current) is not None:
                raise BusyError(
                    f"Process {os.getpid()} is being profiled (profile {current.profile_id}). "
                    f"Try again in {current.left:.0f} s, or stop it."
                )
            profile = _Profile(order, profile_id, on_end, self._running)
            profile.thread = threading.Thread(
                target=self._run, args=[profile], name=NAME, daemon=True
            )
            profile.thread.start()
            self._last = profile

    def _run(self, profile: "_Profile") -> None:
        profile.run()
        with self._lock:
            if self._last is profile:  # on_end may have begun the next one
                self._last = None

    def stop(self, timeout: float = 5.0) -> bool:
        """End early what is on, and wait until ``on_end`` has returned.

        Returns whether it has within *timeout* seconds. Called from ``on_end``, it does not wait.
        """
        profile = self._last
        if profile is None or profile.thread is threading.current_thread():
            return True
        profile.end()
        profile.thread.join(timeout)
        return not profile.thread.is_alive()


class _Profile:
    """Once per ``start()``."""

    thread: threading.Thread

    def __init__(
        self,
        order: Order,
        profile_id: str,
        on_end: Callable[[Samples], None],
        running: Running,
    ) -> None:
        self._order = order
        self._on_end = on_end
        self._running = running
        self._samples = Samples(profile_id, order, started=time.time())
        self._began = time.monotonic()
        self._tally = Tally(order.route, ours=order.ours)
        self._clocks = ThreadClocks()
        self._unknown: set[int] = set()
        self.over = False
        # Held until it is to end: to wait for it takes a third less than to wait for an Event.
        self._going = threading.Lock()
        self._going.acquire()

    def current(self) -> Current:
        left = self._began + self._order.seconds - time.monotonic()
        return Current(self._samples.profile_id, self._order, self._samples.started, max(0.0, left))

    def end(self) -> None:
        """Soon."""
        with suppress(RuntimeError):  # somebody has said so already
            self._going.release()

    def run(self) -> None:
        """Until the time has passed or :meth:`end` is called, and then ``on_end``."""
        samples = self._samples
        try:
            try:
                self._sample()
            finally:
                self._tally.into(samples)
        except Exception as error:
            samples.problem = f"{type_name(error)}: {error}"
            _logger.exception("Sampling failed, profile %s ends.", samples.profile_id)
        samples.cost = time.thread_time()
        self.over = True
        try:
            self._on_end(samples)
        except (Exception, SystemExit):  # threading says nothing of the second
            _logger.exception("The samples of profile %s are lost.", samples.profile_id)

    def _sample(self) -> None:
        samples, hz, began = self._samples, self._order.hz, time.monotonic()
        self._began = last = began
        end = began + self._order.seconds
        self._look(0.0)  # where the clocks stand
        number = 0
        due = began
        while due < end and not samples.ended_early:
            number += 1
            due = min(began + number / hz, end)
            samples.ended_early = self._going.acquire(timeout=max(0.0, due - time.monotonic()))
            now = time.monotonic()
            self._look(now - last)
            samples.ticks += 1
            samples.seconds = now - began
            last = now
            passed = int((min(time.monotonic(), end) - began) * hz) - number
            if passed > 0:
                samples.late += passed
                number += passed
                due = began + number / hz

    def _look(self, elapsed: float) -> None:
        """Once at all threads, *elapsed* seconds after the last time.

        The GIL is ours for 5 ms from now on unless we wait for something. What might is asked
        first, so that clocks, requests and frames are of the same moment.
        """
        threads = {thread.ident: thread for thread in threading.enumerate()}
        used = self._clocks.used(threads.values()) if self._order.mode == "cpu" else None
        if not elapsed:
            if used is not None:  # or the first tick could not tell who has just begun
                self._unknown = sys._current_frames().keys() - threads.keys()  # noqa: SLF001
            return
        requests = self._running.all()
        tally = self._tally
        for ident, kind, codes in self._stacks(threads, requests, used):
            seconds = elapsed if used is None else used[ident]
            answering = requests.get(ident)
            tally.add(answering.route if answering else None, kind, codes, seconds)
            if answering is not None:
                tally.add_request(answering, seconds, requests.values())

    def _stacks(
        self,
        threads: dict[int | None, threading.Thread],
        requests: dict[int, Answering],
        used: dict[int, float] | None,
    ) -> list[tuple[int, str, Codes]]:
        """Ident, kind and codes of each thread that is to be counted."""
        tally, stacks = self._tally, []
        unknown = set()
        frames = sys._current_frames()  # noqa: SLF001 - documented, and the only way
        # Ours has this dictionary among its variables: a circle that would keep all of them.
        del frames[get_ident()]
        try:
            for ident, frame in frames.items():
                thread = threads.get(ident)
                if used is not None and ident not in used:
                    if thread is None:
                        unknown.add(ident)
                    continue
                if not tally.wants(requests.get(ident)):
                    continue
                kind = tally.kind("(unknown)" if thread is None else thread.name)
                if kind is not None:
                    stacks.append((ident, kind, _codes(frame)))
        finally:
            frames.clear()
        # One that is just about to begin is not known yet.
        unmeasured = sum(tally.wants(requests.get(ident)) for ident in unknown & self._unknown)
        self._samples.unmeasured = max(self._samples.unmeasured, unmeasured)
        self._unknown = unknown
        return stacks


def _codes(frame: FrameType | None) -> Codes:
    """What *frame* and those that called it execute."""
    codes: Codes = []
    add = codes.append
    for _ in _DEPTHS:
        if frame is None:
            return codes
        add(frame.f_code)
        frame = frame.f_back
    if frame is not None:
        add(None)
    return codes


def _check(mode: Mode) -> None:
    for library, question, module in (
        ("gevent.monkey", "is_module_patched", "threading"),
        ("eventlet.patcher", "is_monkey_patched", "thread"),
    ):
        patcher = sys.modules.get(library)
        if patcher is not None and getattr(patcher, question)(module):
            raise UnsupportedError(
                f"The threads of this process are those of {library.partition('.')[0]}, which run "
                "in turn and cannot look at each other. Profile it with real threads (gthread)."
            )
    if mode == "cpu":
        try:
            cpu_clock(threading.get_native_id())
        except (AttributeError, OSError) as error:
            raise UnsupportedError(
                "mode='cpu' needs the clocks that Linux has of each thread. Use mode='wall'."
            ) from error
