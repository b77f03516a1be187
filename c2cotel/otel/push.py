"""The push of the merged metrics, from the serving process only."""

import logging
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import (
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from c2cotel.metrics.scrape import Scraper
from c2cotel.otel.exporters import find_exporter, make_exporter, stop_retrying

LOGGER = logging.getLogger(__name__)


class MetricsPush:
    """Collects and exports every *interval* seconds, in a thread that no fork inherits.

    *exporters* are their names; they are made in that thread, when there is something to send.
    """

    def __init__(
        self,
        scraper: Scraper,
        exporters: Sequence[str],
        target: Mapping[str, Any],
        interval: float,
    ) -> None:
        self._scraper = scraper
        self._exporters = exporters
        self._resource = Resource(target)
        self._interval = interval
        self._made: list[Any] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="c2cotel-push", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Push a last time, for at most *timeout* seconds."""
        self._stopped.set()
        for exporter in self._made:
            stop_retrying(exporter)
        self._thread.join(timeout)

    def _run(self) -> None:
        readers: list[MetricReader] = []
        while True:
            ending = self._stopped.wait(self._interval)
            try:
                readers = readers or [self._reader(name) for name in self._exporters]
                for reader in readers:
                    reader.collect()
            except Exception:
                # The next one may work; the thread has to live until then.
                LOGGER.exception("The metrics could not be pushed.")
            if ending:
                return

    def _collect(self, _: MetricReader, timeout_millis: float) -> MetricsData:
        return self._scraper.metrics_data(self._resource)

    def _reader(self, name: str) -> MetricReader:
        exporter = make_exporter(find_exporter("metrics", name))
        if self._stopped.is_set():
            stop_retrying(exporter)
        self._made.append(exporter)
        # With an interval of its own the reader would start a thread in every forked worker.
        reader = PeriodicExportingMetricReader(exporter, math.inf)
        reader._set_collect_callback(self._collect)  # noqa: SLF001 - no public way without its provider
        return reader
