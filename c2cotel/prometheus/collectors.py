"""Collectors of prometheus_client with the names and labels of the predecessor.

=========================  =====  =========  ====================================================
name                       kind   labels     what
=========================  =====  =========  ====================================================
process_smap_<type>_bytes  gauge  pid, name  :class:`MemoryMapCollector`: memory of each mapped file
python_resource            gauge  name       :class:`ResourceCollector`: ``getrusage``
python_memory_info         gauge  name       :class:`MemoryInfoCollector`: memory of the process
=========================  =====  =========  ====================================================

:mod:`c2cotel_instrumentation.process` gives the same and more for every process, without a series a
mapped file; these are for dashboards that have these names. Each name has
``C2C_PROMETHEUS_PREFIX`` before it. To have them::

    registry = CollectorRegistry()
    registry.register(prometheus.MemoryMapCollector())
    prometheus.start(registry)
"""

import re
import resource
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from c2cotel.otel.collectors import Processes
from c2cotel.settings import load

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.core import GaugeMetricFamily

_PROC: Final = Path("/proc")
_HEADER: Final = re.compile(rb"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)")
# Fields of a mapping that are numbers of kB, as the kernel writes them.
_TYPES: Final = (
    *("size", "rss", "pss", "pss_dirty", "shared_clean", "shared_dirty", "private_clean"),
    *("private_dirty", "referenced", "anonymous", "swap", "swappss", "locked"),
)
_MEMORY: Final = ("vms", "rss", "shared", "text", "lib", "data", "dirty")


def build_metric_name(postfix: str) -> str:
    """*postfix* with ``C2C_PROMETHEUS_PREFIX`` before it, as all metrics of the scrape have it."""
    prefix = load().settings.prometheus.prefix
    if not prefix:
        return postfix
    return f"{prefix}{postfix}" if prefix.endswith("_") else f"{prefix}_{postfix}"


class MultiProcessCustomCollector:
    """What the processes of this host tell on ``MULTI_PROCESS_COLLECTOR_BROADCAST_CHANNELS``.

    The scrape asks them by itself: this one is for a registry that is exposed elsewhere.
    """

    def collect(self) -> "Iterable[Metric]":
        from c2cotel.metrics.directory import RunDirectoryError
        from c2cotel.metrics.foreign import Foreign
        from c2cotel.metrics.joining import shared

        directory = None
        with suppress(RunDirectoryError):
            directory = shared()
        return Processes(directory, Foreign()).collect()


class MemoryMapCollector:
    """The memory of each mapped file, of the processes *pids*; of all that may be seen by default.

    *memory_type* is a field of ``/proc/<pid>/smaps``, such as ``pss`` or ``rss``. There is a series
    for each file and process, some hundreds in all.
    """

    def __init__(self, memory_type: str = "pss", pids: Collection[str | int] | None = None) -> None:
        if memory_type.lower() not in _TYPES:
            raise ValueError(
                f"memory_type={memory_type!r}: expected one of {', '.join(_TYPES)}, which are the "
                "fields of /proc/<pid>/smaps"
            )
        self._type = memory_type.lower()
        self._pids = pids

    def collect(self) -> "Iterator[GaugeMetricFamily]":
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily(
            build_metric_name(f"process_smap_{self._type}_bytes"),
            f"Memory of the mappings of a process: {self._type} of /proc/<pid>/smaps",
            labels=["pid", "name"],
        )
        for pid in self._pids if self._pids is not None else _processes():
            # One that has ended meanwhile, or is somebody else's.
            with suppress(OSError):
                for name, size in self._sizes((_PROC / str(pid) / "smaps").read_bytes()).items():
                    family.add_metric([str(pid), name], size)
        yield family

    def _sizes(self, smaps: bytes) -> dict[str, int]:
        """Bytes by name of the mapping."""
        sizes: dict[str, int] = {}
        name = ""
        for line in smaps.splitlines():
            if header := _HEADER.fullmatch(line):
                name = header[1].decode(errors="backslashreplace") or "[anonymous]"
                continue
            field, _, value = line.partition(b":")
            if field.lower() == self._type.encode():
                sizes[name] = sizes.get(name, 0) + int(value.split()[0]) * 1024
        # Most are of no size, and would each be a series.
        return {name: size for name, size in sizes.items() if size}


def _processes() -> list[str]:
    return sorted((path.name for path in _PROC.glob("[0-9]*")), key=int)


class ResourceCollector:
    """What ``getrusage`` says of this process, as the kernel counts it."""

    def collect(self) -> "Iterator[GaugeMetricFamily]":
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily(
            build_metric_name("python_resource"), "Resources that were used", labels=["name"]
        )
        usage = resource.getrusage(resource.RUSAGE_SELF)
        for field in (name for name in dir(usage) if name.startswith("ru_")):
            family.add_metric([field[3:]], getattr(usage, field))
        yield family


class MemoryInfoCollector:
    """The memory of this process in bytes, as ``/proc/self/statm`` tells it."""

    def collect(self) -> "Iterator[GaugeMetricFamily]":
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily(
            build_metric_name("python_memory_info"), "Memory of the process", labels=["name"]
        )
        pages = (_PROC / "self" / "statm").read_bytes().split()
        for field, number in zip(_MEMORY, pages, strict=False):
            family.add_metric([field], int(number) * resource.getpagesize())
        yield family
