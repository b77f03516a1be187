"""Threads for work that nobody waits for at the end of the process."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from c2cotel.forking import at_fork

LOGGER = logging.getLogger(__name__)

# Seconds after which a thread without work ends.
_IDLE = 30.0


class DaemonPool:
    """At most *threads* threads, made when there is work, and *pending* pieces of work that wait.

    Not :class:`concurrent.futures.ThreadPoolExecutor`: that keeps an unlimited queue, and a
    process does not end before its threads have.
    """

    def __init__(self, threads: int, pending: int, name: str) -> None:
        self._most = threads
        self._pending = pending
        self._name = name
        self._reset()
        at_fork(self._freeze, self._thaw, self._reset)

    def _reset(self) -> None:
        """In a forked child: no thread came along, and the work is the parent's."""
        self._work: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._changed = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._frozen = False

    def _freeze(self) -> None:
        self._frozen = self._changed.acquire(timeout=1.0)

    def _thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._changed.release()

    def submit(self, function: Callable[..., object], *args: Any) -> bool:
        """Have a thread call *function*; false if there is no room, or no thread to be had.

        What it raises is logged.
        """
        with self._changed:
            if len(self._work) - self._idle >= self._pending:
                return False
            self._work.append((function, args))
            if self._idle >= len(self._work) or len(self._threads) >= self._most:
                self._changed.notify()
                return True
            thread = threading.Thread(
                target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True
            )
            self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError as error:  # the limit of the system, or the interpreter is ending
                self._threads.discard(thread)
                if not self._threads:
                    self._work.pop()
                    LOGGER.warning("%s: no thread is to be had: %s", self._name, error)
                    return False
                self._changed.notify()
            return True

    def is_mine(self) -> bool:
        """Whether the calling thread is one of this pool's."""
        return threading.current_thread() in self._threads

    def _run(self) -> None:
        while (work := self._next()) is not None:
            function, args = work
            try:
                function(*args)
            except Exception:
                # Whatever it was asked to do: the next piece of work must not suffer.
                LOGGER.exception("%s: %r failed.", self._name, function)
            del work, function, args

    def _next(self) -> tuple[Callable[..., object], tuple[Any, ...]] | None:
        deadline = time.monotonic() + _IDLE
        with self._changed:
            self._idle += 1
            try:
                while not self._work:
                    if not self._changed.wait(deadline - time.monotonic()) and not self._work:
                        self._threads.discard(threading.current_thread())
                        return None
                return self._work.popleft()
            finally:
                self._idle -= 1
