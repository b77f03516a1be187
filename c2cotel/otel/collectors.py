"""What prometheus_client collects in the processes of this host, asked for by whoever serves.

=========================  =====  ===========  ====================================================
name                       kind   unit         what
=========================  =====  ===========  ====================================================
c2c.prometheus.collectors  gauge  {collector}  those that a scrape asks in this process, if any
=========================  =====  ===========  ====================================================

A process answers with what the callbacks of the channels in :data:`CHANNELS` return, with the
registries that it has been given (:func:`c2cotel.prometheus.start`), and with the application's
own metrics in prometheus_client's default registry. These only without
``PROMETHEUS_MULTIPROC_DIR``, with which they are in files (:mod:`c2cotel.metrics.foreign`).

Nobody is asked before a process has said, by the file ``collect`` in the run directory, that it
has something to tell. Who does not answer in two seconds is left out of that scrape.
"""

import logging
import os
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from c2cotel.broadcast import broadcaster
from c2cotel.metrics.directory import RunDirectory
from c2cotel.metrics.foreign import Foreign, collectors_of, in_files
from c2cotel.metrics.serialized import (
    Collector,
    SerializedMetric,
    deserialize,
    serialize_collected_data,
)
from c2cotel.otel.distro import C2cDistro
from c2cotel_instrumentation.once import Once

if TYPE_CHECKING:
    from prometheus_client import Metric

LOGGER = logging.getLogger(__name__)

CHANNEL: Final = "c2c_prometheus_collect"
CHANNELS: Final[list[str]] = []
"""Channels of the broadcast on which processes answer with serialized metrics."""

MARK: Final = "collect"
# Seconds that a scrape waits for the other processes.
_PATIENCE: Final = 2.0


class Processes:
    """Asks this process and the others that meet in *directory*; a collector.

    What *collected* has been given is not collected a second time.
    """

    def __init__(self, directory: RunDirectory | None, collected: Foreign) -> None:
        self._directory = directory
        self._collected = collected
        self._new = Once()

    def collect(self) -> "Iterator[Metric]":
        """The families that each process tells, with its ``pid`` in their labels."""
        default = [] if any(map(_is_default, self._collected.registries)) else _in_default()
        yield from self._read([*_of_channels(), *_of(default)], os.getpid())
        if self._directory is None or not (CHANNELS or (self._directory.path / MARK).exists()):
            return
        replies = broadcaster().ask_host(
            self._directory.path, CHANNEL, {"channels": CHANNELS}, _PATIENCE
        )
        for told, process in zip(replies.answers, replies.answered, strict=True):
            yield from self._read(told, process.pid)
        for process in replies.silent:
            self._say(
                process,
                f"Process {process.pid} has not told what prometheus_client collects there within "
                f"{_PATIENCE:g} s: it is left out of the scrape (said once).",
            )

    def _read(self, told: Any, pid: int) -> "Iterable[Metric]":
        try:
            return deserialize(told, pid)
        except (TypeError, ValueError) as error:
            self._say(
                (pid, type(error)), f"What process {pid} tells cannot be read (said once): {error}"
            )
            return ()

    def _say(self, about: Hashable, text: str) -> None:
        if self._new(about):
            LOGGER.warning("%s", text)


def tell(channels: Iterable[str] = ()) -> list[SerializedMetric]:
    """What this process has: of *channels* and :data:`CHANNELS`, and of :func:`own_collectors`.

    A callback that raises costs its own channel, as a collector does; it is said once.
    """
    return [*_of_channels(channels), *_of(own_collectors())]


def own_collectors() -> list[Collector]:
    """What another process that answers a scrape has to ask this one for."""
    telemetry = C2cDistro().telemetry
    scraper = telemetry.scraper if telemetry is not None else None
    added = scraper.foreign.added_here() if scraper is not None else []
    default = [] if any(map(_is_default, added)) else _in_default()
    return [*default, *(each for registry in added for each in collectors_of(registry))]


def _in_default() -> list[Collector]:
    """What the application has put in prometheus_client's default registry of this process.

    Not what is in there by itself: :mod:`c2cotel_instrumentation.process` has it.
    """
    known = _in_use()
    if known is None or in_files():
        return []
    usual = {known.PROCESS_COLLECTOR, known.PLATFORM_COLLECTOR, known.GC_COLLECTOR}
    return [each for each in collectors_of(known.REGISTRY) if each not in usual]


def _is_default(registry: Collector) -> bool:
    known = _in_use()
    return known is not None and registry is known.REGISTRY


def _in_use() -> Any:
    """The module prometheus_client, if somebody has imported it to its end."""
    known = sys.modules.get("prometheus_client")
    # Its last statement: another thread, that of the scrape, may be about to import it.
    return known if hasattr(known, "__all__") else None


def _of_channels(channels: Iterable[str] = ()) -> Iterator[SerializedMetric]:
    for channel in dict.fromkeys((*CHANNELS, *channels)):
        callback = broadcaster().subscribed(channel)
        if callback is not None:
            yield from _attempt(channel, callback)


def _of(collectors: Iterable[Collector]) -> Iterator[SerializedMetric]:
    for collector in collectors:
        yield from _attempt(collector, partial(serialize_collected_data, collector))


def _attempt(what: object, collect: Callable[[], Any]) -> list[SerializedMetric]:
    """What *collect* returns, if it is metrics; *what* is a channel, or a collector."""
    try:
        told = collect()
        deserialize(told, 0)
    except Exception:
        if _failed()(what if isinstance(what, str) else id(what)):
            LOGGER.exception(
                "%s cannot be collected in process %d (said once). The other metrics are exposed.",
                _name(what),
                os.getpid(),
            )
        return []
    return list(told)


def _name(what: object) -> str:
    if isinstance(what, str):
        return f"Channel {what}"
    return f"Collector {type(what).__module__}.{type(what).__qualname__}"


@cache
def _failed() -> Once:
    return Once()


def listen(directory: RunDirectory | None, meter_provider: MeterProvider | None = None) -> None:
    """Have this process answer, and those that are forked from it; harmless the second time."""
    broadcaster().subscribe(CHANNEL, tell)

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        # Metrics may be made at any time, in the first request that needs them.
        count = announce(directory)
        return [Observation(count)] if count else []

    get_meter("c2cotel.prometheus", meter_provider=meter_provider).create_observable_gauge(
        "c2c.prometheus.collectors",
        [observe],
        unit="{collector}",
        description="Collectors of prometheus_client that the scrape asks in each process.",
    )


def announce(directory: RunDirectory | None) -> int:
    """Say that this process has something to tell, if it has; returns how many collectors."""
    subscribed = broadcaster().subscribed
    count = len(own_collectors()) + sum(subscribed(channel) is not None for channel in CHANNELS)
    if count and directory is not None:
        try:
            (directory.path / MARK).touch(mode=0o600)
        except OSError as error:
            if _failed()(MARK):
                LOGGER.warning(
                    "The metrics of prometheus_client in process %d may be missing from the "
                    "scrape: %s cannot be made: %s.",
                    os.getpid(),
                    error.filename,
                    error.strerror,
                )
    return count
