"""Sockets that a forked child closes.

A connection ends when the last process that has it open closes it: a child that kept what it
inherited would keep its dead parent's alive.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Seconds that a fork waits for another thread that makes or closes a socket.
_FREEZE_TIMEOUT = 1.0


class Held:
    """The open sockets of this process; whoever owns it calls freeze, thaw and drop at a fork."""

    def __init__(self) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.RLock()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """While a socket is made: no other thread forks meanwhile."""
        with self._lock:
            yield

    def made(self, connection: socket.socket) -> socket.socket:
        """Remember *connection*; to be called within :meth:`changing`."""
        self._open.add(connection)
        return connection

    def close(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
            connection.close()

    def close_all(self) -> None:
        with self._lock:
            while self._open:
                self._open.pop().close()

    def freeze(self) -> None:
        self._lock.acquire(timeout=_FREEZE_TIMEOUT)

    def thaw(self) -> None:
        with suppress(RuntimeError):  # it was not to be had in time
            self._lock.release()

    def drop(self) -> None:
        """In a forked child: the connections go on in the parent."""
        self._lock = threading.RLock()
        self.close_all()
