"""Read the metrics that an application shows, as Prometheus would."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests


@dataclass(frozen=True)
class Sample:
    """One line of a scrape."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Scrape:
    """A page of metrics, read."""

    text: str
    samples: tuple[Sample, ...]

    def total(self, name: str, **labels: str) -> float:
        """The sum over the series of *name* that have these *labels*; 0 when there is none."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The sums over the series of *name*, for each combination of values of *labels*."""
        totals: dict[tuple[str, ...], float] = {}
        for sample in self.samples:
            if sample.name == name:
                key = tuple(sample.labels.get(label, "") for label in labels)
                totals[key] = totals.get(key, 0.0) + sample.value
        return totals


def scrape(url: str, *, openmetrics: bool = False, timeout: float = 10) -> Scrape:
    """Read a page of metrics as Prometheus would.

    Raises:
        ValueError: it is not what the format, text or OpenMetrics, asks for.
        requests.HTTPError: the answer is not 200.
    """
    accept = "application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain"
    response = requests.get(url, headers={"Accept": accept}, timeout=timeout)
    response.raise_for_status()
    response.encoding = "utf-8"
    return parse(response.text, openmetrics=openmetrics)


def parse(text: str, *, openmetrics: bool = False) -> Scrape:
    """Read *text* with prometheus_client's parser of its format."""
    if openmetrics:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
    else:
        from prometheus_client.parser import text_string_to_metric_families
    read: Callable[[str], Iterable[Any]] = text_string_to_metric_families
    samples = tuple(
        Sample(sample.name, dict(sample.labels), sample.value)
        for family in read(text)
        for sample in family.samples
    )
    return Scrape(text, samples)


@contextlib.contextmanager
def watch(url: str, name: str, interval: float = 0.05) -> Iterator[list[float]]:
    """Scrape *url* every *interval* seconds meanwhile; give the totals of *name*, in order.

    A scrape that nobody answers is left out: only what is told can go backwards.
    """
    totals: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(interval):
            with contextlib.suppress(requests.RequestException):
                totals.append(scrape(url).total(name))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield totals
    finally:
        ended.set()
        thread.join()
