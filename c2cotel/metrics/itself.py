"""What the store says of itself: known, or looked up, by the process that reads it for a scrape.

====================================  =======  =============  ======================================
name                                  kind     unit           what
====================================  =======  =============  ======================================
``c2c.metrics.processes``             gauge    {process}      living processes that count
``c2c.metrics.series``                gauge    {series}       merged series, but these
``c2c.metrics.instrument.series``     gauge    {series}       those of the five fullest instruments,
                                                              by ``c2c.metrics.instrument``
``c2c.metrics.instrument.limit``      gauge    {series}       the most that one may have
``c2c.metrics.overflowing``           gauge    {instrument}   instruments that have reached it
``c2c.metrics.lost``                  counter  {measurement}  measurements that found no room
``c2c.metrics.overflowed``            counter  {measurement}  measurements beyond the limit
``c2c.metrics.directory.size``        gauge    By             what the run directory takes
``c2c.metrics.directory.available``   gauge    By             what its file system has left
``c2c.metrics.read.duration``         gauge    s              what reading and merging took
``c2c.metrics.scrape.duration``       gauge    s              what the last scrape took, or push,
                                                              that the same process has answered
====================================  =======  =============  ======================================

The limit is ``C2C_METRICS_MAX_SERIES``. Gauges with a ``pid`` may have as many in each process; the
number is that of the fullest process.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from heapq import nlargest
from pathlib import Path
from typing import Final

from c2cotel.metrics.families import Collected, Family, Row
from c2cotel.metrics.instruments import OVERFLOW, Description, Kind, Scope
from c2cotel.metrics.slab import Header

LOGGER = logging.getLogger(__name__)

_SCOPE: Final = Scope("c2cotel.metrics", "", "")
_FULLEST: Final = 5
_BLOCK: Final = 512  # bytes that one of st_blocks has, by POSIX
_WHAT: Final[Mapping[str, tuple[Kind, str, str]]] = {
    "processes": ("gauge", "{process}", "Living processes that count."),
    "series": ("gauge", "{series}", "Series of the merged metrics, but these."),
    "instrument.series": ("gauge", "{series}", "Series of the five fullest instruments."),
    "instrument.limit": ("gauge", "{series}", "The most series that an instrument may have."),
    "overflowing": ("gauge", "{instrument}", "Instruments that have an overflow series."),
    "lost": ("counter", "{measurement}", "Measurements that found no room for their series."),
    "overflowed": ("counter", "{measurement}", "Measurements counted in an overflow series."),
    "directory.size": ("gauge", "By", "Memory or disk that the run directory takes."),
    "directory.available": ("gauge", "By", "What the run directory's file system has left."),
    "read.duration": ("gauge", "s", "How long reading and merging all processes took."),
    "scrape.duration": ("gauge", "s", "How long the last scrape or push of this process took."),
}
_MARK: Final = OVERFLOW[0]


class Itself:
    """The numbers about the store in *directory*, for one process that reads it.

    Attributes:
        scrape: Seconds that the last scrape took; None before it.
    """

    def __init__(self, directory: Path | None, max_series: int) -> None:
        self.scrape: float | None = None
        self._directory = directory
        self._max_series = max_series
        self._families = {
            name: Family(Description(kind, f"c2c.metrics.{name}", unit, text, _SCOPE, merge="sum"))
            for name, (kind, unit, text) in _WHAT.items()
        }
        # By family, valid while its changes are the same: they seldom do, and rows are many.
        self._counted: dict[Family, tuple[int, int, bool]] = {}

    def tell(
        self,
        families: Iterable[Family],
        rows: Collected,
        headers: Iterable[Header | None],
        living: int,
        seconds: float,
    ) -> Collected:
        """All of it: *families* are all that are known, *rows* those that are shown."""
        counts = [(family.description.name, *self._count(family)) for family in families]
        read = [header for header in headers if header is not None]
        numbers = {
            "processes": living,
            "series": sum(len(series) for _, series in rows),
            "instrument.limit": self._max_series,
            "overflowing": sum(overflowing for _, _, overflowing in counts),
            "lost": sum(header.lost for header in read),
            "overflowed": sum(header.overflowed for header in read),
            **_room(self._directory),
            "read.duration": seconds,
        }
        if self.scrape is not None:
            numbers["scrape.duration"] = self.scrape
        told = [self._row(name, float(number)) for name, number in numbers.items()]
        return [*told, *self._fullest(counts)]

    def _fullest(self, counts: list[tuple[str, int, bool]]) -> Collected:
        series: dict[str, int] = {}
        for name, count, _ in counts:  # instruments of several scopes may share a name
            series[name] = max(count, series.get(name, 0))
        family = self._families["instrument.series"]
        found = []
        for name in nlargest(_FULLEST, series, key=series.__getitem__):
            key = (("c2c.metrics.instrument", name),)
            row = family.rows.get(key)
            if row is None:
                row = family.rows[key] = Row(key, [0.0, 0.0])
                family.changes += 1
            row.values[0] = float(series[name])
            found.append(row)
        return [(family, found)] if found else []

    def _row(self, name: str, value: float) -> tuple[Family, list[Row]]:
        family = self._families[name]
        row = family.rows.setdefault((), Row((), [0.0, 0.0]))
        row.values[0] = value
        return family, [row]

    def _count(self, family: Family) -> tuple[int, bool]:
        """Series of an instrument, and whether one of them is that of the overflow."""
        known = self._counted.get(family)
        if known is None or known[0] != family.changes:
            known = self._counted[family] = (
                family.changes,
                _filled(family),
                any(_MARK in key for key in family.rows),
            )
        return known[1:]


def _filled(family: Family) -> int:
    description = family.description
    if not (description.is_gauge and description.merge == "pid"):
        return len(family.rows)
    return max(Counter(dict(key).get("pid") for key in family.rows).values(), default=0)


def _room(directory: Path | None) -> dict[str, float]:
    """Bytes that *directory* takes, sparse files as far as they are filled, and may still take."""
    if directory is None:
        return {}
    taken = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # of a process that has ended meanwhile
                    taken += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
        system = os.statvfs(directory)
    except OSError as error:
        LOGGER.debug("How full %s is cannot be told: %s", directory, error)
        return {}
    return {"directory.size": taken, "directory.available": system.f_bavail * system.f_frsize}
