"""Memory, CPU, garbage collection, threads and files of this process.

==================================  ===============  =================  ===========================
name                                kind             unit               attributes
==================================  ===============  =================  ===========================
process.cpu.time                    counter          s                  cpu.mode
process.cpu.utilization             gauge            1                  cpu.mode
process.memory.usage                up-down counter  By                 pid
process.memory.virtual              up-down counter  By                 pid
c2c.process.memory.map              up-down counter  By                 pid, c2c.mapping
process.paging.faults               counter          {fault}            system.paging.fault.type
process.context_switches            counter          {context_switch}   process.context_switch.type
process.thread.count                up-down counter  {thread}           pid
process.unix.file_descriptor.count  up-down counter  {file_descriptor}  pid
c2c.process.file_descriptor.limit   up-down counter  {file_descriptor}  pid
process.uptime                      gauge            s
cpython.gc.collections              counter          {collection}       cpython.gc.generation
cpython.gc.collected_objects        counter          {object}           cpython.gc.generation
cpython.gc.uncollectable_objects    counter          {object}           cpython.gc.generation
==================================  ===============  =================  ===========================

All are read when they are asked for, and only there: a request pays nothing. Asking costs 0.15 ms;
the memory map, 10 ms in a process of 300 MB, is read twice a minute at most, without the GIL but
for 1 ms.

Counters have no ``pid``: in the merged metrics of a service they go on when a worker ends. What
describes a living process has one, and ends with it. A forked process counts from its fork on.
Gauges get their ``pid`` from c2cotel's meter provider. The utilization is since it was last asked
for, of all CPUs that the process may run on.

``c2c.process.memory.map`` is the proportional set size: what several processes share is divided
among them, so that their sum is what the service really takes. The mappings are ``heap``,
``stack``, ``anonymous`` (most of what Python allocates), ``library``, ``file``, ``shared``,
``device`` and ``kernel``.

Where there is no ``/proc`` there are the times, faults, context switches, threads of Python, file
descriptors, uptime and the garbage collection.

Source: https://opentelemetry.io/docs/specs/semconv/system/process-metrics/,
https://opentelemetry.io/docs/specs/semconv/runtime/cpython-metrics/.
"""

import gc
import logging
import os
import resource
import time
import weakref
from collections.abc import Callable, Collection, Iterable
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # no __all__
    BaseInstrumentor,
)
from opentelemetry.metrics import (
    CallbackOptions,
    CallbackT,
    Meter,
    MeterProvider,
    Observation,
    get_meter,
    get_meter_provider,
)
from opentelemetry.semconv.schemas import Schemas

from c2cotel_instrumentation import proc
from c2cotel_instrumentation.once import Once

# Seconds between two readings of the memory map, and that a process lives before the first one.
_MAP_EVERY: Final = 30.0
_MAP_AFTER: Final = 0.5
# Seconds: over less, the clock of the CPU time ticks too coarsely for a quotient.
_LEAST_WINDOW: Final = 1.0

_logger = logging.getLogger(__name__)

Observations = list[Observation]

# Unit and description.
_ABOUT: Final = {
    "process.cpu.time": ("s", "CPU time, of all processes that ever were."),
    "process.cpu.utilization": ("1", "Part of the CPUs that the process may run on."),
    "process.memory.usage": ("By", "Physical memory."),
    "process.memory.virtual": ("By", "Virtual memory."),
    "c2c.process.memory.map": ("By", "Physical memory by mapping; the shared is divided."),
    "process.paging.faults": ("{fault}", "Page faults."),
    "process.context_switches": ("{context_switch}", "Context switches."),
    "process.thread.count": ("{thread}", "Threads."),
    "process.unix.file_descriptor.count": ("{file_descriptor}", "Open file descriptors."),
    "c2c.process.file_descriptor.limit": ("{file_descriptor}", "File descriptors at most."),
    "process.uptime": ("s", "Time since the process started."),
    "cpython.gc.collections": ("{collection}", "Times that a generation was collected."),
    "cpython.gc.collected_objects": ("{object}", "Objects that were collected."),
    "cpython.gc.uncollectable_objects": ("{object}", "Objects that could not be collected."),
}


class ProcessInstrumentor(BaseInstrumentor):  # type: ignore[misc] # the base is untyped
    """Observe this process, and those that are forked from it.

    Option of ``instrument()``: ``meter_provider``, instead of the global one.
    """

    # The last one: no meter forgets a callback, so that of the same provider is woken up again.
    _observer: "_Observer | None" = None

    def instrumentation_dependencies(self) -> Collection[str]:
        return ()

    def _instrument(self, *, meter_provider: MeterProvider | None = None, **_: Any) -> None:
        provider = meter_provider or get_meter_provider()
        if self._observer is None or self._observer.provider is not provider:
            self._observer = _Observer(provider)
        self._observer.silent = False

    def _uninstrument(self, **_: Any) -> None:
        if self._observer is not None:
            self._observer.silent = True


class _Spent(NamedTuple):
    """CPU seconds of this process at one moment of the monotonic clock."""

    at: float
    user: float
    system: float

    @classmethod
    def now(cls) -> "_Spent":
        times = os.times()
        return cls(time.monotonic(), times.user, times.system)


class _Observer:
    """Makes the instruments, and answers for the process that it is asked in."""

    def __init__(self, provider: MeterProvider) -> None:
        self.provider = provider
        self.silent = False
        self._new = Once()
        self._begin(proc.started(), _Spent.now(), [{} for _ in gc.get_stats()])
        after_fork = weakref.WeakMethod(self._after_fork)
        os.register_at_fork(after_in_child=lambda: (method := after_fork()) and method())
        scope = __name__, version("c2cotel")
        self._make(get_meter(*scope, provider, schema_url=Schemas.V1_44_0.value))

    def _begin(self, started: float, spent: _Spent, collected: list[dict[str, int]]) -> None:
        self._process = os.getpid()
        self._started = started
        self._spent = spent
        self._utilization: Observations = []
        # The collector's numbers are those of all that this process was forked from.
        self._collected = collected
        self._map: Observations = []
        self._mapped = -_MAP_EVERY

    def _after_fork(self) -> None:
        self._begin(time.monotonic(), _Spent.now(), gc.get_stats())

    def _make(self, meter: Meter) -> None:
        counters = {
            "process.cpu.time": _cpu_time,
            "process.paging.faults": _faults,
            "process.context_switches": _switches,
            "cpython.gc.collections": self._collector("collections"),
            "cpython.gc.collected_objects": self._collector("collected"),
            "cpython.gc.uncollectable_objects": self._collector("uncollectable"),
        }
        gauges = {
            "process.cpu.utilization": self._cpu_utilization,
            "process.uptime": self._uptime,
        }
        levels = {
            "process.thread.count": _of(proc.threads),
            "process.unix.file_descriptor.count": _of(proc.open_files),
            "c2c.process.file_descriptor.limit": _of(proc.file_limit),
        }
        if proc.has_memory():
            levels["process.memory.usage"] = _of(proc.resident)
            levels["process.memory.virtual"] = _of(proc.virtual)
        if proc.has_memory_map():
            levels["c2c.process.memory.map"] = self._memory_map
        kinds: tuple[tuple[Callable[..., Any], dict[str, Callable[[], Observations]]], ...] = (
            (meter.create_observable_counter, counters),
            (meter.create_observable_gauge, gauges),
            (meter.create_observable_up_down_counter, levels),
        )
        for create, instruments in kinds:
            for name, read in instruments.items():
                create(name, [self._callback(read)], *_ABOUT[name])

    def _callback(self, read: Callable[[], Observations]) -> CallbackT:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            if self.silent:
                return ()
            if self._process != os.getpid():  # a fork that did not run Python's hooks
                self._after_fork()
            try:
                return read()
            except OSError as error:
                # A sandbox may not let it look at itself everywhere.
                self._say(str(error.filename), error.strerror or str(error))
                return ()

        return observe

    def _say(self, what: str, why: str) -> None:
        if self._new(what):
            _logger.info(
                "Process %d cannot read %s: %s. Its metrics go without.", self._process, what, why
            )

    def _cpu_utilization(self) -> Observations:
        before, now = self._spent, _Spent.now()
        if (window := now.at - before.at) >= _LEAST_WINDOW:
            self._spent = now
            most = window * proc.cpus()
            self._utilization = _by(
                "cpu.mode",
                user=(now.user - before.user) / most,
                system=(now.system - before.system) / most,
            )
        return self._utilization

    def _uptime(self) -> Observations:
        return [Observation(time.monotonic() - self._started)]

    def _collector(self, name: str) -> Callable[[], Observations]:
        def read() -> Observations:
            return [
                Observation(now[name] - before.get(name, 0), {"cpython.gc.generation": number})
                for number, (now, before) in enumerate(
                    zip(gc.get_stats(), self._collected, strict=True)
                )
            ]

        return read

    def _memory_map(self) -> Observations:
        now = time.monotonic()
        if now - self._mapped >= _MAP_EVERY and now - self._started >= _MAP_AFTER:
            self._mapped = now
            pid = os.getpid()
            self._map = [
                Observation(size, {"pid": pid, "c2c.mapping": kind})
                for kind, size in proc.memory_map().items()
            ]
        return self._map


def _of(read: Callable[[], int | None]) -> Callable[[], Observations]:
    """What describes one process, and ends with it."""

    def observe() -> Observations:
        value = read()
        return [] if value is None else [Observation(value, {"pid": os.getpid()})]

    return observe


def _cpu_time() -> Observations:
    times = os.times()
    return _by("cpu.mode", user=times.user, system=times.system)


def _faults() -> Observations:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return _by("system.paging.fault.type", minor=usage.ru_minflt, major=usage.ru_majflt)


def _switches() -> Observations:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return _by("process.context_switch.type", voluntary=usage.ru_nvcsw, involuntary=usage.ru_nivcsw)


def _by(attribute: str, **values: float) -> Observations:
    return [Observation(value, {attribute: name}) for name, value in values.items()]
