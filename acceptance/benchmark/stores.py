"""The three stores that are compared, each with the workload in its own words.

The loops are written out for each, so that none pays for a wrapper. prometheus_client gets its
labels by position, the fastest of its ways.
"""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# The advice of the conventions for durations of requests.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
# The attributes of a request. The loops go through ten routes.
KEYS = (
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "url.scheme",
    "error.type",
)
ROUTES = 10

Count = Callable[[float, Iterable[Any]], object]


def values(route: int) -> tuple[Any, ...]:
    return "GET", f"/api/items/{route}", 200, "http", "none"


def attributes(route: int) -> dict[str, Any]:
    return dict(zip(KEYS, values(route), strict=True))


class Store(ABC):
    """One of the compared. *folder* is its own; *endpoint*: of an OTLP receiver."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.endpoint = endpoint

    @abstractmethod
    def add(self, rounds: int) -> None:
        """``rounds * ROUTES`` additions of 1 to a counter."""

    @abstractmethod
    def record(self, rounds: int) -> None:
        """``rounds * ROUTES`` measurements of a histogram."""

    @abstractmethod
    def counter(self, name: str) -> Count:
        """A new counter, to be called with an amount and the values of the attributes."""

    @abstractmethod
    def histogram(self, name: str) -> Count:
        """A new histogram, to be called likewise."""

    def start_worker(self) -> None:  # noqa: B027 - most have nothing to do
        """What a forked worker has to do first."""

    def end_worker(self) -> None:  # noqa: B027 - most have nothing to do
        """What a worker has to do last, if it may."""

    def see_end_of(self, pid: int) -> None:  # noqa: B027 - most have nothing to do
        """What the master has to do when worker *pid* has ended."""

    def scrape(self) -> bytes:
        """The merged text of all workers."""
        raise NotImplementedError

    def files(self) -> int:
        """How many files there are."""
        return len(list(self.folder.iterdir()))

    def leave(self) -> None:
        """Clean up."""
        shutil.rmtree(self.folder, ignore_errors=True)


class C2cotel(Store):
    """Ours."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        from c2cotel.metrics.fold import Folder
        from c2cotel.metrics.joining import join
        from c2cotel.metrics.provider import MeterProvider
        from c2cotel.metrics.scrape import Scraper
        from c2cotel.metrics.store import Store as SharedStore

        self._directory = join({})
        super().__init__(self._directory.path, endpoint)
        shutil.rmtree(folder)
        self._provider = MeterProvider(SharedStore(self._directory))
        self._scraper = Scraper(self._provider, {"service.name": "benchmark"})
        self._folder = Folder(self._directory, 2000)
        self._meter = self._provider.get_meter("benchmark")
        self._counter = self._meter.create_counter("adds")
        self._histogram = self._meter.create_histogram(
            "records", explicit_bucket_boundaries_advisory=BOUNDS
        )

    def add(self, rounds: int) -> None:
        add = self._counter.add
        sets = [attributes(route) for route in range(ROUTES)]
        for _ in range(rounds):
            for each in sets:
                add(1, each)

    def record(self, rounds: int) -> None:
        record = self._histogram.record
        sets = [attributes(route) for route in range(ROUTES)]
        for _ in range(rounds):
            for each in sets:
                record(0.012, each)

    def counter(self, name: str) -> Count:
        counter = self._meter.create_counter(name)
        return lambda amount, values: counter.add(amount, dict(zip(KEYS, values, strict=True)))

    def histogram(self, name: str) -> Count:
        histogram = self._meter.create_histogram(name, explicit_bucket_boundaries_advisory=BOUNDS)
        return lambda amount, values: histogram.record(amount, dict(zip(KEYS, values, strict=True)))

    def scrape(self) -> bytes:
        return self._scraper.expose()[0]

    def files(self) -> int:
        # The serving process does this each second.
        self._folder.fold()
        return super().files()

    def leave(self) -> None:
        self._directory.leave()


class Sdk(Store):
    """OpenTelemetry's: a provider in each worker, that pushes every second (default: 60)."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        super().__init__(folder, endpoint)
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        self._provide(InMemoryMetricReader())

    def _provide(self, reader: Any) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.resources import Resource

        resource = Resource({"process.pid": os.getpid()})
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = self._provider.get_meter("benchmark")
        self._counter = meter.create_counter("adds")
        self._histogram = meter.create_histogram(
            "records", explicit_bucket_boundaries_advisory=BOUNDS
        )

    add = C2cotel.add
    record = C2cotel.record

    def counter(self, name: str) -> Count:
        counter = self._provider.get_meter("benchmark").create_counter(name)
        return lambda amount, values: counter.add(amount, dict(zip(KEYS, values, strict=True)))

    def histogram(self, name: str) -> Count:
        raise NotImplementedError

    def start_worker(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        exporter = OTLPMetricExporter(f"{self.endpoint}/v1/metrics")
        self._provide(PeriodicExportingMetricReader(exporter, 1000))

    def end_worker(self) -> None:
        self._provider.shutdown()


class PrometheusClient(Store):
    """prometheus_client in its multiprocess mode."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        super().__init__(folder, endpoint)
        # Read when it is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        import prometheus_client

        self._names = [key.replace(".", "_") for key in KEYS]
        self._client = prometheus_client
        self._counter = prometheus_client.Counter("adds", "", self._names)
        self._histogram = prometheus_client.Histogram("records", "", self._names, buckets=BOUNDS)

    def add(self, rounds: int) -> None:
        labels = self._counter.labels
        sets = [values(route) for route in range(ROUTES)]
        for _ in range(rounds):
            for each in sets:
                labels(*each).inc(1)

    def record(self, rounds: int) -> None:
        labels = self._histogram.labels
        sets = [values(route) for route in range(ROUTES)]
        for _ in range(rounds):
            for each in sets:
                labels(*each).observe(0.012)

    def counter(self, name: str) -> Count:
        counter = self._client.Counter(name, "", self._names)
        return lambda amount, values: counter.labels(*values).inc(amount)

    def histogram(self, name: str) -> Count:
        histogram = self._client.Histogram(name, "", self._names, buckets=BOUNDS)
        return lambda amount, values: histogram.labels(*values).observe(amount)

    def see_end_of(self, pid: int) -> None:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call] # it has no types

    def scrape(self) -> bytes:
        from prometheus_client import multiprocess

        registry = self._client.CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # it has no types
        text: bytes = self._client.generate_latest(registry)
        return text


STORES: dict[str, type[Store]] = {
    "c2cotel": C2cotel,
    "sdk": Sdk,
    "prometheus_client": PrometheusClient,
}
