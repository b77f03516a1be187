"""What prometheus_client collects, for the same scrape as ours.

- registries that the application has given (:meth:`Foreign.add`);
- with ``PROMETHEUS_MULTIPROC_DIR``, the metrics of all processes that prometheus_client has written
  there. Its own metrics are left out of registries then: theirs are one process's;
- further sources, such as the other processes (:mod:`c2cotel.otel.collectors`).

Each collector is asked by itself: one that raises costs its own families only, one that hangs
costs the scrape it hangs in, and those after it wait for it for two seconds in all. What cannot be
read in the directory is left out. Each is said once.
"""

import copy
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from c2cotel.metrics.serialized import Collector
from c2cotel_instrumentation.once import Once

if TYPE_CHECKING:
    from prometheus_client import Metric

LOGGER = logging.getLogger(__name__)

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
# Seconds that one scrape waits in all for collectors that others have not come back from.
_PATIENCE: Final = 2.0

Collect = Callable[[], "Iterable[Metric]"]


class _Part(NamedTuple):
    """One collector. *key* tells it from others; without one, it is nothing to wait for."""

    name: str
    collect: Collect
    key: object = None


class _Added(NamedTuple):
    registry: Collector
    process: int


class Foreign:
    """Collects for the scrapes of one process."""

    def __init__(self) -> None:
        self._added: list[_Added] = []
        self._sources: list[_Part] = []
        self._new = Once()
        self.forget()

    def forget(self) -> None:
        """In a forked child: locks that no other thread can hold."""
        self._locks: dict[object, threading.Lock] = {}

    def add(self, registry: Collector) -> None:
        """Collect *registry* too; once, however often it is given."""
        if not any(registry is known for known in self.registries):
            self._added.append(_Added(registry, os.getpid()))

    @property
    def registries(self) -> list[Collector]:
        """Those that have been added, in this process or in one that it was forked from."""
        return [added.registry for added in self._added]

    def added_here(self) -> list[Collector]:
        """The registries that this process has added, not one that it was forked from."""
        return [added.registry for added in self._added if added.process == os.getpid()]

    def add_source(self, name: str, collect: Collect) -> None:
        """Ask *collect* too; *name* is for the log."""
        self._sources.append(_Part(name, collect, name))

    def collect(self) -> "dict[str, Metric]":
        """All families, by the name that the text format gives them; never raises."""
        deadline = time.monotonic() + _PATIENCE
        families: dict[str, _Family] = {}
        for part in self._parts():
            for metric in self._collected(part, deadline):
                try:
                    self._merge(families, metric, part.name)
                except Exception as error:  # noqa: BLE001 - what a collector gives may be anything
                    self._say(part.name, "gives what is no metric", error)
        return {name: family.metric for name, family in families.items()}

    def _parts(self) -> Iterator[_Part]:
        if in_files():
            path = os.environ[VARIABLE]
            yield _Part(f"{VARIABLE} = {path}", partial(self._merged, Path(path)), path)
        for registry in self.registries:
            yield from map(_part, collectors_of(registry))
        yield from tuple(self._sources)

    def _merged(self, folder: Path) -> "Iterable[Metric]":
        """All that prometheus_client has written in *folder*."""
        from prometheus_client.multiprocess import MultiProcessCollector

        if not folder.is_dir():
            raise NotADirectoryError(
                f"{folder} is no directory; make it before the application starts"
            )
        files = [str(path) for path in folder.glob("*.db")]
        merge: Callable[[list[str]], Iterable[Metric]] = MultiProcessCollector.merge
        try:
            return merge(files)
        except Exception:  # noqa: BLE001 - which of them it is, is found out
            return merge([file for file in files if self._can_be_read(file, merge)])

    def _can_be_read(self, file: str, merge: "Callable[[list[str]], Iterable[Metric]]") -> bool:
        try:
            if not Path(file).stat().st_size:  # a process has just begun it
                return False
            merge([file])
        except FileNotFoundError:  # of a process that has ended meanwhile
            return False
        except Exception as error:  # noqa: BLE001 - what is in it may be anything
            self._say(
                file, "cannot be read, and is left out; remove it if no process writes it", error
            )
            return False
        return True

    def _collected(self, part: _Part, deadline: float) -> "list[Metric]":
        found: list[Metric] = []
        lock = self._locks.setdefault(part.key, threading.Lock()) if part.key else None
        if lock and not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            self._say(part.name, "has not come back from an earlier scrape, and is left out")
            return found
        try:
            found.extend(part.collect())
        except Exception as error:  # noqa: BLE001 - a collector is the application's
            self._say(part.name, "cannot be collected", error)
        finally:
            if lock:
                lock.release()
        return found

    def _merge(self, families: "dict[str, _Family]", metric: "Metric", source: str) -> None:
        name = exposed_name(metric)
        known = families.get(name)
        if known is None:
            known = families[name] = _Family(metric)
        elif known.metric.type != metric.type:
            self._say(
                source, f"gives {name} as {metric.type}, which is {known.metric.type} already"
            )
            return
        known.take(metric)

    def _say(self, name: str, what: str, error: Exception | None = None) -> None:
        if self._new((name, what, type(error))):
            LOGGER.warning(
                "%s %s (said once). The other metrics are exposed.", name, what, exc_info=error
            )


class _Family:
    """One family, from one source or several; of a series that comes twice the first counts."""

    def __init__(self, metric: "Metric") -> None:
        # The collector may give the same object again.
        self.metric = copy.copy(metric)
        self.metric.samples = []
        self._series: set[tuple[str, tuple[tuple[str, str], ...]]] = set()

    def take(self, metric: "Metric") -> None:
        for sample in metric.samples:
            series = sample.name, tuple(sorted(sample.labels.items()))
            if series not in self._series:
                self._series.add(series)
                self.metric.samples.append(sample)


def exposed_name(metric: "Metric") -> str:
    """The name that ``# TYPE`` has in the text format."""
    suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
    return f"{metric.name}{suffix}"


def collectors_of(registry: Collector) -> list[Collector]:
    """The collectors in a registry, or what quacks like one as a whole.

    Without prometheus_client's own metrics, if they are in files.
    """
    from prometheus_client.metrics import MetricWrapperBase

    # Private, but what is public stops at the first one that raises.
    known = getattr(registry, "_collector_to_names", None)
    if known is None:
        return [registry]
    return [
        each for each in tuple(known) if not (in_files() and isinstance(each, MetricWrapperBase))
    ]


def _part(collector: Collector) -> _Part:
    from prometheus_client.metrics import MetricWrapperBase

    if isinstance(collector, MetricWrapperBase):
        return _Part(f"Metric {collector!r}", collector.collect)
    kind = type(collector)
    name = f"Collector {kind.__module__}.{kind.__qualname__}"
    return _Part(name, collector.collect, id(collector))


def in_files() -> bool:
    """Whether prometheus_client counts in files that all processes share."""
    return bool(os.environ.get(VARIABLE))
