"""The end of a process: send what is left, all signals together, within one deadline.

A collector that is dead or hangs costs at most ``C2C_EXIT_TIMEOUT`` seconds, and one log line that
says what was dropped. One that refuses connections costs no retries. Where processes were forked,
the time is shared between those that end at the same moment and the one that waits for them and
ends last.

``SIGTERM`` is such an end, too, where nobody else has taken it: gunicorn has, pserve and scripts
have not.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from c2cotel.otel.complaint import complain
from c2cotel.otel.exporters import DeferredExporter
from c2cotel.otel.self_metrics import count_unprocessed

LOGGER = logging.getLogger(__name__)

# Workers have spans and logs, and end first; the master pushes metrics after them. What is left
# over is for ending itself: threads are left behind at their deadline, and not before.
_SHARES = {"alone": 1.0, "worker": 0.55, "master": 0.35}
# Seconds that each last thing has in any case: leaving the run directory takes some milliseconds.
_LEAST = 0.1
# Seconds after the deadline for what is to be done and said then.
_GRACE = 0.5

# The error.type of what is left then.
_TOO_LATE = "shutdown_timeout"

Role = Literal["alone", "worker", "master"]


class Pipeline:
    """A batch processor with its exporter, and what it still holds. *what*: ``spans``.

    The processor is ended through its parts: its own ``shutdown`` blocks, and Python 3.12 starts
    no threads for it at exit.
    """

    def __init__(self, what: str, processor: Any, exporter: DeferredExporter) -> None:
        self.what = what
        self.exporter = exporter
        self._batches = processor._batch_processor  # noqa: SLF001 - see above
        self._lost_before = 0

    def begin(self) -> None:
        """Take nothing more, and have the processor's thread send what is there."""
        self._lost_before = self.exporter.lost
        self.exporter.delivery.ending = True
        self._batches._shutdown = True  # noqa: SLF001 - see above
        self._batches._worker_awaken.set()  # noqa: SLF001 - see above

    def wait(self, timeout: float) -> None:
        """Until all is sent; after *timeout* seconds no other batch is begun."""
        self._batches._worker_thread.join(timeout)  # noqa: SLF001 - see above
        self._batches._shutdown_timeout_exceeded = True  # noqa: SLF001 - see above

    @property
    def ended(self) -> bool:
        """Whether the exporter is not in use any more."""
        return not self._batches._worker_thread.is_alive()  # noqa: SLF001 - see above

    def close(self, _: float) -> None:
        self.exporter.shutdown()

    def count_abandoned(self) -> None:
        """Count what nobody sends any more, and nobody has counted as lost."""
        queue = self._batches._queue  # noqa: SLF001 - see above
        count_unprocessed(self.what, len(queue), _TOO_LATE)
        self.exporter.count_in_flight(_TOO_LATE)

    def undelivered(self) -> int:
        """How many items were given up since :meth:`begin`, or are still waiting."""
        queue = self._batches._queue  # noqa: SLF001 - see above
        return len(queue) + self.exporter.in_flight + self.exporter.lost - self._lost_before


class Exit:
    """Runs at the end of this process, and of every process forked from it.

    Attributes:
        begun: Whether the end has come; what is logged from now on cannot be sent.
        ended: Whether :meth:`run` is over; a signal during it waits for that.
        signalled: Whether it is ``SIGTERM`` that ends the process.
        first: Called before anything is shut down: what ends spans that are still open.
        last: Called with the seconds it may take: the last push, leaving the run directory.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.begun = self.ended = self._terminated = False
        self.signalled = False
        self.pipelines: list[Pipeline] = []
        self.first: list[Callable[[], None]] = []
        self.last: list[Callable[[float], None]] = []
        self._role: Role = "alone"
        os.register_at_fork(after_in_child=self._forked, after_in_parent=self._has_forked)

    def _forked(self) -> None:
        self._role = "worker"
        self.begun = self.ended = self._terminated = False

    def _has_forked(self) -> None:
        if self._role == "alone":
            self._role = "master"

    @property
    def share(self) -> float:
        """Seconds that this process may take of the timeout."""
        return self.timeout * _SHARES[self._role]

    def heed_sigterm(self) -> None:
        """Run before a death by ``SIGTERM``, here and in forks, unless somebody else handles it.

        As with every handler in Python, a main thread within a C function comes back first.
        """
        # uwsgi handles it in C, which Python does not know of.
        handled = "uwsgi" in sys.modules or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        if (self.pipelines or self.last) and not handled:
            # In another thread than the main one, Python refuses.
            with suppress(ValueError):
                signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, *_: object) -> None:
        if self.begun and not self.ended:
            # It has interrupted run, which will see to it.
            self._terminated = True
            return
        self.signalled = True
        # In a thread: the main one, which is interrupted here, may hold any lock. What waits for
        # one of those is left behind when the time is up.
        try:
            _within(self.share + _GRACE, lambda _: self._shut_down())
        finally:
            _die()

    def run(self) -> None:
        """Shut everything down, at the same time; whatever is late is left behind."""
        try:
            self._shut_down()
        finally:
            self.ended = True
            if self._terminated:
                _die()
            _remain_interrupted()

    def _shut_down(self) -> None:
        if self.begun:
            return
        self.begun = True
        deadline = time.monotonic() + self.share
        for first in self.first:
            _guarded(first)
        for pipeline in self.pipelines:
            pipeline.begin()
        for pipeline in self.pipelines:
            pipeline.exporter.hasten()
        for last in self.last:
            _within(max(_LEAST, deadline - time.monotonic()), last)
        for pipeline in self.pipelines:
            pipeline.wait(max(0.0, deadline - time.monotonic()))
        for pipeline in self.pipelines:
            if pipeline.ended:
                _within(max(_LEAST, deadline - time.monotonic()), pipeline.close)
        self._report()

    def _report(self) -> None:
        for pipeline in self.pipelines:
            _guarded(pipeline.count_abandoned)
        counts = [(count, each) for each in self.pipelines if (count := each.undelivered())]
        dropped = " and ".join(f"{count} {pipeline.what}" for count, pipeline in counts)
        if not dropped:
            return
        exporters = [pipeline.exporter for _, pipeline in counts]
        reasons = [e.refused for e in exporters] + [e.delivery.why for e in exporters]
        late = f"the collector did not take them within {self.share:.1f} s."
        reason = next(filter(None, reasons), late)
        text = f"Process {os.getpid()} ends with {dropped} undelivered: {reason}"
        # A logging configuration may have disabled the loggers that it does not know.
        if LOGGER.isEnabledFor(logging.ERROR):
            LOGGER.error(text)
        else:
            complain(text)


def _die() -> None:
    """By ``SIGTERM``, so that whoever waits for this process sees what it died of."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
    # Still here: the kernel lets the first process of a container live on.
    os._exit(128 + signal.SIGTERM)


def _remain_interrupted() -> None:
    """Let a process that Ctrl-C ends die of ``SIGINT``, so that a loop in a shell ends with it.

    Python forgets what ended it when text is executed after that, and importing an exporter does.
    """
    if isinstance(getattr(sys, "last_value", None), KeyboardInterrupt):
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102 - nothing else sets Python's mark


def _within(seconds: float, action: Callable[[float], None]) -> None:
    """Let *action* have so many seconds, and go on without it when it takes more."""
    thread = threading.Thread(
        target=_guarded, args=[lambda: action(seconds)], name="c2cotel-exit", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:
        # Python 3.12 starts no threads at exit: it is trusted to keep to its seconds.
        _guarded(lambda: action(seconds))
    else:
        thread.join(seconds)


def _guarded(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:
        # The other parts have to end, too.
        LOGGER.exception("The end of a part of the telemetry failed.")
