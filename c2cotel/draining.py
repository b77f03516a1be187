"""Readiness fails first: what happens between SIGTERM and the end of a server.

Whoever sends requests here (a load balancer, Kubernetes) needs some seconds to notice that it
should not. So gunicorn's master, told to end, first lets every worker answer 503 to questions for
readiness, goes on serving for ``grace`` seconds, and only then closes its port. A second SIGTERM
ends it at once, and so does the first where nobody has asked for readiness lately.

Then each worker closes its port before it finishes its requests: whoever connects later is refused,
and may try elsewhere, rather than kept waiting and cut off.
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
_ENDING: Final = 1
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

    @property
    def ending(self) -> bool:
        """Whether the port is to be closed: the service ends, not just one of its workers."""
        return self._page[_ENDING] == 1

    def close(self) -> None:
        self._page[_ENDING] = 1

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
            drained.close()
            end_now()
            return
        drained.begin()
        LOGGER.warning("Not ready any more: the service ends in %g s.", grace)
        again = threading.Timer(grace, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()

    arbiter.handle_term = handle_term


def close_port_first(worker: Any, state: Draining | None = None) -> None:
    """Have gunicorn's *worker* close its port when it ends with all others.

    From ``post_worker_init``, beside :func:`end_gracefully`. A worker of gthread accepts nobody
    then, but goes on to listen until its last request has ended: connections made meanwhile would
    be reset. One that is replaced leaves who waits to the others.
    """
    drained = state or draining()
    set_accept_enabled = getattr(worker, "set_accept_enabled", None)
    if set_accept_enabled is None:
        return

    def close_at_the_end(enabled: bool) -> None:  # noqa: FBT001 - gunicorn's
        set_accept_enabled(enabled)
        if enabled or worker.alive or not drained.ending:
            return
        for listener in worker.sockets:
            _accept_who_waits(worker, listener)
            listener.close()

    worker.set_accept_enabled = close_at_the_end


def _accept_who_waits(worker: Any, listener: Any) -> None:
    before = -1
    while before < worker.nr_conns < worker.cfg.worker_connections:
        before = worker.nr_conns
        try:
            worker.accept(listener)
        except OSError as error:  # no descriptor is left: those inside are served all the same
            LOGGER.warning("Nobody more can be let in at the end: %s", error)
            return
