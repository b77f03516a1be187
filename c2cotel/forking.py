"""What objects do when their process forks, and what no fork may come in the middle of.

Python does not renew its locks on modules in a forked process: who forks while another thread
imports something leaves the child with a lock that nobody will ever release, and with it whatever
the child imports from there.
"""

import os
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

# Seconds that a fork waits; on a slow machine the import of an exporter takes half of one.
_LONGEST_IMPORT = 2.0


def at_fork(
    before: Callable[[], None],
    after_in_parent: Callable[[], None],
    after_in_child: Callable[[], None],
) -> None:
    """``os.register_at_fork`` with methods of an object that it does not keep alive."""

    def weakly(method: Callable[[], None]) -> Callable[[], None]:
        reference = weakref.WeakMethod(method)

        def call() -> None:
            if (alive := reference()) is not None:
                alive()

        return call

    os.register_at_fork(
        before=weakly(before),
        after_in_parent=weakly(after_in_parent),
        after_in_child=weakly(after_in_child),
    )


class FirstTime:
    """Runs what imports something when it runs for the first time; a fork waits for that.

    Not long: after a while it is not an import any more that takes time but somebody who does not
    answer, and the next fork does not wait for him either.
    """

    _lock: threading.RLock
    _over: bool
    _held: bool
    _patience: float

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(
            before=self._wait, after_in_parent=self._go_on, after_in_child=self._renew
        )

    def run(self, action: Callable[[], _T]) -> _T:
        """What *action* returns."""
        if self._over:
            return action()
        with self._lock:
            result = action()
            self._over = True
            return result

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._over = False
        self._held = False
        self._patience = _LONGEST_IMPORT

    def _wait(self) -> None:
        self._held = self._lock.acquire(timeout=self._patience)
        if not self._held:
            self._patience = 0.0

    def _go_on(self) -> None:
        if self._held:
            self._lock.release()
