"""Readiness fails first: what happens between SIGTERM and the end of a server.

Whoever sends requests here (a load balancer, Kubernetes) needs some seconds to notice that it
should not. So gunicorn's master, told to end, first lets every worker answer 503 to questions for
readiness, goes on serving for ``grace`` seconds, and only then closes its port. A second SIGTERM
ends it at once, and so does the first where nobody has asked for readiness lately.
"""

import functools
import logging
import mmap
import os
import signal
import struct
import threading
import time
from typing import Any, Final

LOGGER = logging.getLogger(__name__)

# Nobody who looks at readiness does so more rarely.
_WATCHED: Final = 120.0
_FLAG: Final = 0
_ASKED: Final = 8


class Draining:
    """Whether this service is about to end: one page of memory, shared with forked processes."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def active(self) -> bool:
        return self._page[_FLAG] == 1

    def begin(self) -> None:
        self._page[_FLAG] = 1

    def end(self) -> None:
        self._page[_FLAG] = 0

    def asked(self) -> None:
        """Somebody wants to know whether this service is ready."""
        struct.pack_into("d", self._page, _ASKED, time.monotonic())

    @property
    def watched(self) -> bool:
        """Whether somebody has wanted to know that lately."""
        at: float = struct.unpack_from("d", self._page, _ASKED)[0]
        return at > 0 and time.monotonic() - at < _WATCHED


@functools.cache
def draining() -> Draining:
    """That of this process and of those forked from it since the first call."""
    return Draining()


def end_gracefully(arbiter: Any, grace: float, state: Draining | None = None) -> None:
    """Have gunicorn's *arbiter* wait *grace* seconds when it is told to end; from ``when_ready``.

    The port stays open and workers are replaced meanwhile.
    """
    drained = state or draining()
    end_now = arbiter.handle_term

    def handle_term() -> None:
        # At USR2 there are two masters on one port: requests go on, whichever of them ends.
        two = getattr(arbiter, "reexec_pid", 0) or getattr(arbiter, "master_pid", 0)
        if grace <= 0 or two or drained.active or not drained.watched:
            end_now()
            return
        drained.begin()
        LOGGER.warning("Not ready any more: the service ends in %g s.", grace)
        again = threading.Timer(grace, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()

    arbiter.handle_term = handle_term
