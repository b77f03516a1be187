"""The push of the merged metrics, from the serving process only."""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource

from c2cotel.forking import FirstTime
from c2cotel.metrics.scrape import Scraper
from c2cotel.otel.delivery import Delivery
from c2cotel.otel.exporters import find_exporter, make_exporter, stop_retrying
from c2cotel.otel.self_metrics import count_exported

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
        self._names = exporters
        self._resource = Resource(target)
        self._interval = interval
        self._made: list[Any] = []
        self._delivery = Delivery("metrics")
        self._first_time = FirstTime()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="c2cotel-push", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Push a last time, for at most *timeout* seconds."""
        self._stopped.set()
        self._delivery.ending = True
        for exporter in self._made:
            stop_retrying(exporter)
        self._thread.join(timeout)

    def _run(self) -> None:
        # What is sent by way of an instrumented library is no call of the application's.
        with suppress_instrumentation():
            while True:
                ending = self._stopped.wait(self._interval)
                try:
                    self._first_time.run(self._push)
                except Exception:
                    # The next one may work; the thread has to live until then.
                    LOGGER.exception("The metrics could not be pushed.")
                if ending:
                    return

    def _push(self) -> None:
        if not self._made:
            self._made = [self._make(name) for name in self._names]
        data = self._scraper.metrics_data(self._resource)
        for exporter in self._made:
            with self._delivery.attempt():
                result = exporter.export(data)
            delivered = result.name == "SUCCESS"
            error_type = "" if delivered else self._delivery.error_type
            count_exported("metrics", _size(data), exporter, error_type)
            self._delivery.tell(delivered=delivered)

    def _make(self, name: str) -> Any:
        exporter = make_exporter(find_exporter("metrics", name))
        self._delivery.overhear(exporter)
        if self._stopped.is_set():
            stop_retrying(exporter)
        return exporter


def _size(data: MetricsData) -> int:
    """How many data points there are."""
    return sum(
        len(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )
