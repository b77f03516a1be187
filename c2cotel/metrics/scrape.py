"""What a scrape and a push send: the merged metrics of the whole group, from any process of it."""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from c2cotel.forking import FirstTime
from c2cotel.metrics.foreign import Foreign
from c2cotel.metrics.merge import Merge
from c2cotel.metrics.provider import MeterProvider

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.resources import Resource

    from c2cotel.metrics.exposition import Exposition

LOGGER = logging.getLogger(__name__)

# Seconds that one scrape waits for another one of the same process.
_PATIENCE = 10.0


class BusyError(RuntimeError):
    """Another scrape of this process takes too long."""


# The first scrape may come while gunicorn's master forks its workers.
_FIRST_TIME = FirstTime()


class Scraper:
    """Collects for one process; safe to use from several threads, one at a time gets through.

    Attributes:
        foreign: What prometheus_client collects, exposed with ours.
    """

    def __init__(
        self, provider: MeterProvider, resource: Mapping[str, Any], prefix: str = ""
    ) -> None:
        self._provider = provider
        self._resource = resource
        self._prefix = prefix
        self._exposition: Exposition | None = None
        self._started = time.time_ns()
        self.foreign = Foreign()
        self.forget()
        provider.store.register(self)

    def forget(self) -> None:
        """In a forked child: a lock that no other thread can hold."""
        self._lock = threading.Lock()
        self.foreign.forget()
        store = self._provider.store
        path = store.directory.path if store.directory else None
        self._merge = Merge(path, store.max_series, store.private_image)

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """The text for a client that sends *accept*, and its content type.

        Raises:
            BusyError: try again later.
            OSError: the run directory cannot be read.
        """
        module = _FIRST_TIME.run(_exposition)
        openmetrics = "application/openmetrics-text" in accept
        begun = time.perf_counter()
        # Not alone: a callback may hang, and other scrapes go on without it.
        self._provider.observe()
        foreign = self.foreign.collect()
        with self._alone():
            if self._exposition is None:
                self._exposition = module.Exposition(self._prefix, self._resource)
            text = self._exposition.write(self._merge.read(), foreign, openmetrics=openmetrics)
            self._merge.itself.scrape = time.perf_counter() - begun
        kind = module.OPENMETRICS if openmetrics else module.TEXT
        return text.encode("utf-8", "backslashreplace"), kind

    def metrics_data(self, resource: "Resource") -> "MetricsData":
        """The same for an SDK reader.

        Raises:
            BusyError: try again later.
            OSError: the run directory cannot be read.
        """
        from c2cotel.metrics.sdk import metrics_data

        begun = time.perf_counter()
        self._provider.observe()
        with self._alone():
            directory = self._provider.store.directory
            started = directory.group.started if directory else self._started
            data = metrics_data(self._merge.read(), resource, started)
            self._merge.itself.scrape = time.perf_counter() - begun
        return data

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._provider.store.check_process()
        lock = self._lock
        if not lock.acquire(timeout=_PATIENCE):
            raise BusyError(f"another scrape of process {os.getpid()} is under way")
        try:
            yield
        finally:
            lock.release()


def _exposition() -> Any:
    """The module: prometheus_client and the exporter's mapping cost only those who serve."""
    from c2cotel.metrics import exposition

    return exposition
