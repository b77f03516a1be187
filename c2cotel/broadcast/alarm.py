import logging
import threading
import time
from collections.abc import Callable

LOGGER = logging.getLogger(__name__)


class Alarm:
    """Calls *ring* when it is time, from one daemon thread that lives as long as there is a time.

    Args:
        due: When to ring next, on the monotonic clock; ``None``: not for now.
        ring: What to do then.
    """

    def __init__(self, due: Callable[[], float | None], ring: Callable[[], None]) -> None:
        self._due = due
        self._ring = ring
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def set(self) -> None:
        """What is due may be another time now."""
        with self._lock:
            self._changed.set()
            if self._thread is None and self._due() is not None:
                thread = threading.Thread(target=self._watch, name="c2cotel-switch", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # no thread is to be had, or Python is ending
                    LOGGER.warning("No switch ends by itself in this process: %s", error)
                else:
                    self._thread = thread

    def renew(self) -> None:
        """In a forked child: the thread has stayed with the parent."""
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._thread = None
        self.set()

    def _watch(self) -> None:
        while (due := self._next()) is not None:
            if not self._changed.wait(max(0.0, due - time.monotonic())):
                try:
                    self._ring()
                except Exception:
                    LOGGER.exception("What a switch has to do in time failed")

    def _next(self) -> float | None:
        with self._lock:
            self._changed.clear()
            due = self._due()
            if due is None:
                self._thread = None
            return due
