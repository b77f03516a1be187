"""The instruments of the OpenTelemetry API, counting in a :class:`~c2cotel.metrics.store.Store`.

A measurement is one dictionary look-up from the attributes, as given, to the index of a double,
and one addition there. All else (sorting the attributes, opening the slab, the limit on series)
happens when the look-up misses. Nothing here raises in a request: a negative or non-numeric
amount is dropped and said once for each instrument.
"""

import logging
import math
import sys
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, CallbackT, Observation
from opentelemetry.util.types import Attributes

from c2cotel.metrics.slab import OVERFLOWED, SCRATCH, SCRATCH_DOUBLES, encode_key
from c2cotel.metrics.store import SeriesKey, Store, encode_series, series_key
from c2cotel_instrumentation.once import Once

LOGGER = logging.getLogger(__name__)

Kind = Literal[
    "counter",
    "up_down_counter",
    "histogram",
    "gauge",
    "observable_counter",
    "observable_up_down_counter",
    "observable_gauge",
]
KINDS: tuple[str, ...] = get_args(Kind)
#: How the gauges of several processes become one: a series a process with its ``pid``, or one
#: number over the living processes; ``last`` is the newest, also of a process that has ended.
GaugeMerge = Literal["pid", "sum", "min", "max", "last"]
GAUGE_MERGES: tuple[str, ...] = get_args(GaugeMerge)

# The SDK's: https://opentelemetry.io/docs/specs/otel/metrics/sdk/#explicit-bucket-histogram-aggregation
DEFAULT_BOUNDS: tuple[float, ...] = (
    *(0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0),
    *(1000.0, 2500.0, 5000.0, 7500.0, 10000.0),
)
# https://opentelemetry.io/docs/specs/otel/metrics/sdk/#cardinality-limits
OVERFLOW: SeriesKey = (("otel.metric.overflow", True),)
# Attribute dictionaries of one series differ by order; this many orders are remembered for each.
_ORDERS = 4
_INFINITY = math.inf


@dataclass(frozen=True)
class Scope:
    """The instrumentation that made an instrument."""

    name: str
    version: str
    schema_url: str
    attributes: SeriesKey = ()


@dataclass(frozen=True)
class Description:
    """What an instrument is; equal in all processes.

    Attributes:
        text: For people; a new release that words it anew goes on counting in the same series.
        bounds: Of a histogram, the upper bounds of its buckets but the last.
        merge: Of a gauge, see :data:`GaugeMerge`.
    """

    kind: Kind
    name: str
    unit: str
    text: str = field(compare=False)
    scope: Scope
    bounds: tuple[float, ...] = ()
    merge: GaugeMerge = "pid"

    @property
    def doubles(self) -> int:
        """How many a series takes: a histogram its buckets and the sum, a gauge value and time."""
        if self.kind == "histogram":
            return len(self.bounds) + 2
        return 2 if self.is_gauge else 1

    @property
    def is_gauge(self) -> bool:
        return self.kind in {"gauge", "observable_gauge"}

    @property
    def is_monotonic(self) -> bool:
        return self.kind in {"counter", "observable_counter"}

    @property
    def ends_with_process(self) -> bool:
        """Whether the numbers of a process that has ended count no more."""
        if self.is_gauge:
            return self.merge != "last"
        return self.kind in {"up_down_counter", "observable_up_down_counter"}

    @property
    def may_be_absent(self) -> bool:
        """Whether NaN stands for "no value now"."""
        return self.is_gauge or self.kind == "observable_up_down_counter"

    def encode(self) -> bytes:
        scope = self.scope
        return encode_key(
            [
                *(self.kind, self.name, self.unit, self.text),
                [scope.name, scope.version, scope.schema_url, scope.attributes],
                *(self.bounds, self.merge),
            ]
        )


class _Instrument:
    """What all share: where their series are, and how a new one is made."""

    def __init__(self, store: Store, description: Description) -> None:
        self.description = description
        self._store = store
        self._marker = store.marker
        self._encoded = description.encode()
        self._fill = math.nan if description.may_be_absent else 0.0
        self._new = Once()
        self.forget()
        store.register(self)

    def forget(self) -> None:
        """Start anew in another slab, with locks that no other thread can hold."""
        self._lock = threading.Lock()
        # Re-entered when a log handler counts what is said while locating.
        self._locating = threading.RLock()
        self._indices: dict[Any, int] = {}
        self._series: dict[SeriesKey, int] = {}
        # Nothing is looked up in it before :meth:`_locate` has put the slab's in its place.
        self._doubles: Any = ()

    def _find(self, attributes: Attributes) -> int:
        """The index of the first double of the series with these attributes.

        Adding and recording have this in line: a call costs them a fifth of their time.
        """
        try:
            if self._marker[0]:
                return self._indices[tuple(attributes.items()) if attributes else ()]
        except Exception:  # noqa: BLE001 - see _locate
            LOGGER.debug("%s: a new series, or one that cannot be", self.description.name)
        return self._locate(attributes)

    def _locate(self, attributes: Attributes) -> int:
        """The same for a series that the look-up did not find.

        Whatever the look-up raised: attributes are the caller's, and so is what hashing, comparing
        or printing them does. What is wrong with them is found again, and said, here.
        """
        self._store.check_process()
        with self._locating:
            try:
                self._doubles = self._store.doubles
            except (OSError, MemoryError) as error:
                self._say("%s cannot be counted: %s", error)
                self._doubles = _nowhere()
                return SCRATCH
            try:
                key = series_key(attributes)
            except Exception as error:  # noqa: BLE001 - a measurement never fails a request
                self._say("%s was given attributes it cannot use: %s", _shown(error))
                return self._store.lose()
            index = self._series.get(key)
            if index is None:
                index = self._make(key)
                if index is None:
                    return self._store.lose()
            if key in self._series and len(self._indices) < self._store.max_series * _ORDERS:
                self._remember(attributes, index)
        return index

    def _make(self, key: SeriesKey) -> int | None:
        if len(self._series) >= self._store.max_series:
            self._store.count(OVERFLOWED)
            self._say(
                "%s has more than %d sets of attributes: further ones are counted together "
                "under otel.metric.overflow. The first of them was %s",
                self._store.max_series,
                _shown(key),
            )
            key = OVERFLOW
            if key in self._series:
                return self._series[key]
        index = self._store.add_series(
            self._encoded, encode_series(key), self.description.doubles, self._fill
        )
        if index is not None:
            self._series[key] = index
        return index

    def _remember(self, attributes: Attributes, index: int) -> None:
        try:
            self._indices[tuple(attributes.items()) if attributes else ()] = index
        except Exception:  # noqa: BLE001 - a list among the values: it is located every time
            LOGGER.debug("%s: attributes that cannot be hashed", self.description.name)

    def _refuse(self, amount: object) -> None:
        self._say(
            "%s was given %s: not a number it can count. Such measurements are dropped",
            _shown(amount),
        )

    def _say(self, message: str, *values: object) -> None:
        if self._new(message):
            LOGGER.warning(f"{message} (said once).", self.description.name, *values)  # noqa: G004 - parts


def _nowhere() -> "array[float]":
    """Takes what there is no memory to count in."""
    return array("d", bytes(8 * (SCRATCH + SCRATCH_DOUBLES)))


def _shown(value: object) -> str:
    """For the log; any object, also one that cannot be printed."""
    try:
        return repr(value)[:300]
    except Exception:  # noqa: BLE001 - as of an integer with more than 4300 digits
        return object.__repr__(value)


class _Adding(_Instrument):
    """Counter and up-down counter."""

    _least = 0.0

    def add(
        self,
        amount: float,
        attributes: Attributes = None,
        context: Context | None = None,
    ) -> None:
        try:
            if self._marker[0]:
                index = self._indices[tuple(attributes.items()) if attributes else ()]
            else:
                index = self._locate(attributes)
        except Exception:  # noqa: BLE001 - see _locate
            index = self._locate(attributes)
        try:
            if self._least <= amount < _INFINITY:
                with self._lock:
                    self._doubles[index] += amount
            else:
                self._refuse(amount)
        except Exception:  # noqa: BLE001 - see _locate; 10**400 overflows, an array is ambiguous
            self._refuse(amount)


class Counter(_Adding, metrics.Counter):
    """A sum that only grows, over all processes that ever were."""


class UpDownCounter(_Adding, metrics.UpDownCounter):
    """A sum over the living processes."""

    _least = -sys.float_info.max


class Histogram(_Instrument, metrics.Histogram):
    """Buckets and a sum; the count is the sum of the buckets, so the two cannot disagree."""

    def __init__(self, store: Store, description: Description) -> None:
        self._bounds = description.bounds
        self._sum = len(description.bounds) + 1
        _Instrument.__init__(self, store, description)

    def record(
        self,
        amount: float,
        attributes: Attributes = None,
        context: Context | None = None,
    ) -> None:
        try:
            if self._marker[0]:
                index = self._indices[tuple(attributes.items()) if attributes else ()]
            else:
                index = self._locate(attributes)
        except Exception:  # noqa: BLE001 - see _locate
            index = self._locate(attributes)
        try:
            if 0.0 <= amount < _INFINITY:
                bucket = index + bisect_left(self._bounds, amount)
                with self._lock:
                    doubles = self._doubles
                    # In this order: a Decimal can be compared, but not added.
                    doubles[index + self._sum] += amount
                    doubles[bucket] += 1.0
            else:
                self._refuse(amount)
        except Exception:  # noqa: BLE001 - see add
            self._refuse(amount)


class _Setting(_Instrument):
    """What replaces a value instead of adding to it."""

    def _put(self, index: int, value: float, so_far: float = 0.0) -> float | None:
        """Write *so_far* and *value*; gives what was written, or ``None`` if it is no number."""
        try:
            if not math.isfinite(value):  # NaN would be a value that has gone
                self._refuse(value)
                return None
            total = so_far + float(value)
            with self._lock:
                self._doubles[index] = total
                if self.description.is_gauge:
                    self._doubles[index + 1] = time.time()
        except Exception:  # noqa: BLE001 - see _Adding.add
            self._refuse(value)
            return None
        return total


class Gauge(_Setting, metrics._Gauge):  # noqa: SLF001 - the API has no public name for it yet
    """A value of this process, merged by the rule of its description."""

    def set(
        self,
        amount: float,
        attributes: Attributes = None,
        context: Context | None = None,
    ) -> None:
        self._put(self._find(attributes), amount)


class _Observable(_Setting):
    """Asks its callbacks, each in the process that registered it."""

    def __init__(
        self,
        store: Store,
        description: Description,
        callbacks: Sequence[CallbackT] | None,
    ) -> None:
        super().__init__(store, description)
        self._callbacks: list[CallbackT] = []
        self._failed: set[int] = set()
        self.ask_also(callbacks or ())

    def ask_also(self, callbacks: Sequence[CallbackT]) -> None:
        """Ask these too: of somebody else who made the same instrument."""
        self._callbacks += [_started(callback) for callback in callbacks]

    def observe(self, options: CallbackOptions) -> None:
        """Call the callbacks and write down what they say; what they say no more is absent.

        What they say twice of one series (that of the overflow, or two callbacks) is added up, as
        the SDK does; of a gauge the last one holds.
        """
        seen: dict[int, float] = {}
        for number, callback in enumerate(self._callbacks):
            try:
                for observation in _ask(callback, options):
                    index = self._find(observation.attributes)
                    so_far = 0.0 if self.description.is_gauge else seen.get(index, 0.0)
                    total = self._put(index, observation.value, so_far)
                    if total is not None:
                        seen[index] = total
            except Exception:
                # A callback is the application's: its failure must not stop the scrape.
                if number not in self._failed:
                    self._failed.add(number)
                    LOGGER.exception("A callback of %s failed (said once).", self.description.name)
        if self.description.may_be_absent:
            for index in self._series.values():
                if index not in seen:
                    self._doubles[index] = math.nan


def _started(callback: CallbackT) -> CallbackT:
    if isinstance(callback, Generator):
        next(callback)
    return callback


def _ask(callback: CallbackT, options: CallbackOptions) -> Iterable[Observation]:
    if isinstance(callback, Generator):
        return callback.send(options)
    return callback(options)


class ObservableCounter(_Observable, metrics.ObservableCounter):
    """A sum that each process observes of itself, over all that ever were."""


class ObservableUpDownCounter(_Observable, metrics.ObservableUpDownCounter):
    """A sum that each process observes of itself, over the living."""


class ObservableGauge(_Observable, metrics.ObservableGauge):
    """A value that each process observes, merged by the rule of its description."""
