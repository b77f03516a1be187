"""The end of a process: send what is left, all signals together, within one deadline.

A collector that is dead or hangs costs at most ``C2C_EXIT_TIMEOUT`` seconds, and one log line that
says what was dropped. Where processes were forked, the time is shared between those that end at
the same moment and the one that waits for them and ends last.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from c2cotel.otel.exporters import DeferredExporter

LOGGER = logging.getLogger(__name__)

# The share of the workers, which have spans and logs; the master pushes metrics after them.
_WORKERS_SHARE = 0.6

Role = Literal["alone", "worker", "master"]


class Pipeline:
    """A batch processor with its exporter, and what it still holds. *what*: ``spans``."""

    def __init__(self, what: str, processor: Any, exporter: DeferredExporter) -> None:
        self.what = what
        self._processor = processor
        self._exporter = exporter
        self._lost_before = 0

    def shutdown(self) -> None:
        self._lost_before = self._exporter.lost
        self._processor.shutdown()

    def undelivered(self) -> int:
        """How many items were given up since :meth:`shutdown`, or are still waiting."""
        queue = self._processor._batch_processor._queue  # noqa: SLF001 - no public way to know
        exporter = self._exporter
        return len(queue) + exporter.in_flight + exporter.lost - self._lost_before


class Exit:
    """Runs at the end of this process, and of every process forked from it."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.pipelines: list[Pipeline] = []
        #: Called with the seconds it may take: the last push, and leaving the run directory.
        self.last: list[Callable[[float], None]] = []
        self._role: Role = "alone"
        os.register_at_fork(after_in_child=self._forked, after_in_parent=self._has_forked)

    def _forked(self) -> None:
        self._role = "worker"

    def _has_forked(self) -> None:
        if self._role == "alone":
            self._role = "master"

    @property
    def share(self) -> float:
        """Seconds that this process may take of the timeout."""
        shares = {"alone": 1.0, "worker": _WORKERS_SHARE, "master": 1 - _WORKERS_SHARE}
        return self.timeout * shares[self._role]

    def run(self) -> None:
        """Shut everything down, at the same time; whatever is late is left behind."""
        deadline = time.monotonic() + self.share
        running = [_start(pipeline.shutdown) for pipeline in self.pipelines]
        running += [_start(last, self.share) for last in self.last]
        for thread in running:
            thread.join(max(0.0, deadline - time.monotonic()))
        dropped = [
            f"{count} {pipeline.what}"
            for pipeline in self.pipelines
            if (count := pipeline.undelivered())
        ]
        if dropped:
            LOGGER.error(
                "Process %d ends with %s undelivered: the collector did not take them within "
                "%.1f s.",
                os.getpid(),
                " and ".join(dropped),
                self.share,
            )


def _start(target: Callable[..., None], *arguments: float) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name="c2cotel-exit", daemon=True)
    thread.start()
    return thread
