"""The CPU time of other threads, by the clock that the kernel has of each."""

import os
import time
from collections.abc import Iterable
from threading import Thread, main_thread


class ThreadClocks:
    """What threads used since it was asked last."""

    def __init__(self) -> None:
        # By the kernel's ids. Python gives the id of a thread that ended to the next one at once.
        self._before: dict[int, float] = {}
        self._main = main_thread()
        self._main_id = _id_of(self._main)

    def used(self, threads: Iterable[Thread]) -> dict[int, float]:
        """By ident, the CPU seconds of each of *threads* that used some.

        What was not among them the last time has begun since.
        """
        before, now = self._before, {}
        used = {}
        for thread in threads:
            ident = thread.ident
            native = self._main_id if thread is self._main else thread.native_id
            if ident is None or native is None:  # it is about to start
                continue
            try:
                clock = now[native] = cpu_clock(native)
            except OSError:  # it has ended
                continue
            seconds = clock - before.get(native, 0.0)
            if seconds > 0:
                used[ident] = seconds
        self._before = now
        return used


def _id_of(main: Thread) -> int:
    """The kernel's id of the main thread; after a fork, Python 3.11 to 3.13 tell the parent's."""
    try:
        if main.native_id is not None:
            cpu_clock(main.native_id)
            return main.native_id
    except OSError:
        pass
    return os.getpid()


def cpu_clock(native_id: int) -> float:
    """CPU seconds of a thread of this process.

    Unlike :func:`time.pthread_getcpuclockid`, which reads the memory of the thread, this may be
    asked of one that has ended.

    Raises:
        OSError: There is none of this id any more, or no such clock.
    """
    # MAKE_THREAD_CPUCLOCK(native_id, CPUCLOCK_SCHED) of include/linux/posix-timers_types.h
    return time.clock_gettime(~native_id << 3 | 6)
