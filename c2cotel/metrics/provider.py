"""The metrics API of OpenTelemetry on the shared store.

:class:`MeterProvider` is what ``opentelemetry.metrics.set_meter_provider`` gets. It differs from
the SDK's where that is wrong before a fork, and where an error can be said early:

- a name or unit that the specification forbids, and a second instrument of one name but another
  kind or unit, raise :class:`InstrumentError` when created;
- ``create_gauge`` and ``create_observable_gauge`` take ``merge=``, how the values of several
  processes become one (:data:`~c2cotel.metrics.instruments.GaugeMerge`).

Asking twice for the same instrument gives the same object.
"""

import itertools
import logging
import math
import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, CallbackT
from opentelemetry.util.types import Attributes

from c2cotel.metrics import instruments
from c2cotel.metrics.instruments import (
    DEFAULT_BOUNDS,
    GAUGE_MERGES,
    Description,
    GaugeMerge,
    Kind,
    Scope,
)
from c2cotel.metrics.store import Store, series_key

LOGGER = logging.getLogger(__name__)

# https://opentelemetry.io/docs/specs/otel/metrics/api/#instrument-name-syntax
_NAME = re.compile(r"[a-zA-Z][-_./a-zA-Z0-9]{0,254}")
_UNIT = re.compile(r"[\x00-\x7F]{0,63}")
# A slab keeps this many doubles for measurements without room.
_MOST_BOUNDS = 120
# Who asks while another does waits so long after the other began: a callback may hang.
_PATIENCE = 1.0  # seconds

_CLASSES: dict[Kind, type[Any]] = {
    "counter": instruments.Counter,
    "up_down_counter": instruments.UpDownCounter,
    "histogram": instruments.Histogram,
    "gauge": instruments.Gauge,
    "observable_counter": instruments.ObservableCounter,
    "observable_up_down_counter": instruments.ObservableUpDownCounter,
    "observable_gauge": instruments.ObservableGauge,
}


class InstrumentError(ValueError):
    """An instrument that cannot be: the message says which, and what is wrong with it."""


class MeterProvider(metrics.MeterProvider):
    """Gives meters whose instruments count in *store*.

    *gauge_merge* names, for gauges made by code that does not know ``merge=``, how they merge.
    Before set-up, as in module-level code, the API's meters know no ``merge=`` (TypeError): make
    such gauges without it, and name their rule in ``C2C_METRICS_GAUGE_MERGE``.
    """

    def __init__(self, store: Store, gauge_merge: Mapping[str, str] | None = None) -> None:
        self.store = store
        self.gauge_merge = dict(gauge_merge or {})
        self._meters: dict[Scope, Meter] = {}
        self._lock = threading.Lock()
        self._observables: list[instruments._Observable] = []
        self._observing = threading.Lock()
        self._observed = 0.0
        store.register(self)

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> "Meter":
        self.store.check_process()
        scope = Scope(name or "", version or "", schema_url or "", series_key(attributes))
        with self._lock:
            meter = self._meters.get(scope)
            if meter is None:
                meter = self._meters[scope] = Meter(self, scope)
            return meter

    def observe(self, timeout: float = 10.0) -> None:
        """Ask the callbacks of this process; *timeout* in seconds is what they are told.

        When another thread is asking, it is waited for, and its values are old by then: they are
        asked again. For one that hangs nobody waits longer than a second after it began.
        """
        self.store.check_process()
        patience = max(0.0, self._observed + _PATIENCE - time.monotonic())
        if self._observables and self._observing.acquire(timeout=patience):
            try:
                self._observed = time.monotonic()
                for observable in tuple(self._observables):
                    observable.observe(CallbackOptions(timeout_millis=timeout * 1000))
            finally:
                self._observing.release()

    def forget(self) -> None:
        """In a forked child: locks that no other thread can hold."""
        self._lock = threading.Lock()
        self._observing = threading.Lock()
        for meter in self._meters.values():
            meter.forget()

    def watch(self, observable: "instruments._Observable") -> None:
        self._observables.append(observable)
        self.store.watch()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Observe now; there is nothing else to flush, every measurement is in the slab."""
        self.observe(timeout_millis / 1000)
        return True

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Observe a last time."""
        self.observe(timeout_millis / 1000)


class Meter(metrics.Meter):
    """Makes instruments, each once."""

    def __init__(self, provider: MeterProvider, scope: Scope) -> None:
        super().__init__(scope.name, scope.version, scope.schema_url)
        self._provider = provider
        self._scope = scope
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    def forget(self) -> None:
        self._lock = threading.Lock()

    def create_counter(
        self, name: str, unit: str = "", description: str = ""
    ) -> instruments.Counter:
        return cast("instruments.Counter", self._make("counter", name, unit, description))

    def create_up_down_counter(
        self, name: str, unit: str = "", description: str = ""
    ) -> instruments.UpDownCounter:
        made = self._make("up_down_counter", name, unit, description)
        return cast("instruments.UpDownCounter", made)

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> instruments.Histogram:
        if explicit_bucket_boundaries_advisory is None:
            bounds = DEFAULT_BOUNDS
        else:
            bounds = _checked_bounds(name, explicit_bucket_boundaries_advisory)
        made = self._make("histogram", name, unit, description, bounds=bounds)
        return cast("instruments.Histogram", made)

    def create_gauge(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        merge: GaugeMerge | None = None,
    ) -> instruments.Gauge:
        made = self._make("gauge", name, unit, description, merge=merge)
        return cast("instruments.Gauge", made)

    def create_observable_counter(
        self,
        name: str,
        callbacks: Sequence[CallbackT] | None = None,
        unit: str = "",
        description: str = "",
    ) -> instruments.ObservableCounter:
        made = self._make("observable_counter", name, unit, description, callbacks)
        return cast("instruments.ObservableCounter", made)

    def create_observable_up_down_counter(
        self,
        name: str,
        callbacks: Sequence[CallbackT] | None = None,
        unit: str = "",
        description: str = "",
    ) -> instruments.ObservableUpDownCounter:
        made = self._make("observable_up_down_counter", name, unit, description, callbacks)
        return cast("instruments.ObservableUpDownCounter", made)

    def create_observable_gauge(
        self,
        name: str,
        callbacks: Sequence[CallbackT] | None = None,
        unit: str = "",
        description: str = "",
        *,
        merge: GaugeMerge | None = None,
    ) -> instruments.ObservableGauge:
        made = self._make("observable_gauge", name, unit, description, callbacks, merge=merge)
        return cast("instruments.ObservableGauge", made)

    def _make(  # noqa: PLR0913 - what an instrument is
        self,
        kind: Kind,
        name: str,
        unit: str,
        text: str,
        callbacks: Sequence[CallbackT] | None = None,
        *,
        bounds: tuple[float, ...] = (),
        merge: str | None = None,
    ) -> Any:
        name, unit = _checked_name(name), _checked_unit(name, unit or "")
        merge = _checked_merge(name, merge or self._provider.gauge_merge.get(name, "pid"))
        description = Description(kind, name, unit, str(text or ""), self._scope, bounds, merge)
        self._provider.store.check_process()
        with self._lock:
            made = self._made.get(name.lower())
            if made is None:
                made = self._build(description, callbacks)
                self._made[name.lower()] = made
            elif (made.description.kind, made.description.unit) != (kind, unit):
                raise InstrumentError(
                    f"{name}: {self.name!r} has made it as {made.description.kind} in "
                    f"{made.description.unit!r}, so it cannot be {kind} in {unit!r}. "
                    "Give one of them another name."
                )
            else:
                if (made.description.bounds, made.description.merge) != (bounds, merge):
                    LOGGER.warning("%s: made before with other buckets or merge; kept.", name)
                if callbacks:
                    made.ask_also(callbacks)
        return made

    def _build(self, description: Description, callbacks: Sequence[CallbackT] | None) -> Any:
        store = self._provider.store
        if not description.kind.startswith("observable"):
            return _CLASSES[description.kind](store, description)
        observable = _CLASSES[description.kind](store, description, callbacks)
        self._provider.watch(observable)
        return observable


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InstrumentError(
            f"{name!r} is no name for an instrument: a letter, then at most 254 letters, digits "
            "and _ . - /"
        )
    return name


def _checked_unit(name: str, unit: str) -> str:
    if not isinstance(unit, str) or not _UNIT.fullmatch(unit):
        raise InstrumentError(f"{name}: {unit!r} is no unit: at most 63 ASCII characters, as 'By'")
    return unit


def _checked_bounds(name: str, bounds: Sequence[float]) -> tuple[float, ...]:
    try:
        numbers = tuple(float(bound) for bound in bounds)
    except (TypeError, ValueError, OverflowError) as error:
        raise InstrumentError(f"{name}: bucket boundaries {bounds!r} are not numbers") from error
    if numbers and numbers[-1] == math.inf:  # it is there anyway
        numbers = numbers[:-1]
    if not all(map(math.isfinite, numbers)):
        raise InstrumentError(f"{name}: bucket boundaries {bounds!r} are not all finite")
    if any(low >= high for low, high in itertools.pairwise(numbers)):
        raise InstrumentError(f"{name}: bucket boundaries {bounds!r} do not ascend")
    if len(numbers) > _MOST_BOUNDS:
        raise InstrumentError(f"{name}: {len(numbers)} bucket boundaries; at most {_MOST_BOUNDS}")
    return numbers


def _checked_merge(name: str, merge: str) -> GaugeMerge:
    if merge not in GAUGE_MERGES:
        raise InstrumentError(f"{name}: merge={merge!r}: expected one of {', '.join(GAUGE_MERGES)}")
    return cast("GaugeMerge", merge)
