"""The gauges, and what they say in one run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from opentelemetry.exporter.prometheus._mapping import map_unit, sanitize_full_name

from c2cotel.metrics.families import Collected, Family, Row
from c2cotel.metrics.instruments import Description, Scope
from c2cotel.metrics.store import SeriesKey, series_key

_PREFIX: Final = "c2c.database."


class NumberError(ValueError):
    """What a query gave is no number that can be told; the message says which, and why."""


@dataclass(frozen=True)
class Gauge:
    """One of the metrics; *name* is without its prefix."""

    name: str
    unit: str
    text: str

    @property
    def full_name(self) -> str:
        return f"{_PREFIX}{self.name}"

    @property
    def exposed(self) -> str:
        """Its name in Prometheus."""
        return self.taken[-1]

    @property
    def taken(self) -> tuple[str, ...]:
        """The names in Prometheus that no other may have: without and with the unit."""
        name: str = sanitize_full_name(self.full_name)
        unit = map_unit(self.unit)
        return (name,) if not unit or name.endswith(f"_{unit}") else (name, f"{name}_{unit}")


SIZE: Final = Gauge("size", "By", "Size of the database, with all that is in it.")
ROWS: Final = Gauge("table.rows", "{row}", "Rows of a table, as the planner estimates them.")
DEAD_ROWS: Final = Gauge("table.dead_rows", "{row}", "Rows deleted, and not yet vacuumed.")
TABLE_SIZE: Final = Gauge("table.size", "By", "Size of a table, without its indexes.")
SCANS: Final = Gauge("table.scans", "{scan}", "Scans of a whole table, since the last reset.")
INDEX_SIZE: Final = Gauge("index.size", "By", "Size of a fork of an index.")
INDEX_SCANS: Final = Gauge("index.scans", "{scan}", "Scans of an index, since the last reset.")
ENTRIES: Final = Gauge("index.entries_read", "{entry}", "Entries of an index that scans returned.")
FETCHED: Final = Gauge(
    "index.rows_fetched", "{row}", "Rows of the table that simple scans of an index fetched."
)
EXTRA: Final = Gauge("extra", "", "What the queries of --extra told.")
TIME: Final = Gauge("statistics.time", "s", "Unix time at which these numbers were taken.")
DURATION: Final = Gauge("statistics.duration", "s", "How long it took to take these numbers.")
FAILURES: Final = Gauge("statistics.failures", "{query}", "Queries that failed in this run.")

OWN: Final = (
    *(SIZE, ROWS, DEAD_ROWS, TABLE_SIZE, SCANS),
    *(INDEX_SIZE, INDEX_SCANS, ENTRIES, FETCHED),
    *(EXTRA, TIME, DURATION, FAILURES),
)


class Numbers:
    """What has been told of the database *namespace* so far."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._scope = Scope("c2cotel.stats_db", version("c2cotel"), "")
        self._families: dict[Gauge, Family] = {}

    def put(self, gauge: Gauge, value: float, attributes: Mapping[str, str] | None = None) -> None:
        """Have *gauge* say *value*.

        Raises:
            NumberError: it says something already with these *attributes*.
        """
        family = self._families.get(gauge)
        if family is None:
            description = Description(
                "gauge", gauge.full_name, gauge.unit, gauge.text, self._scope, merge="last"
            )
            family = self._families[gauge] = Family(description)
        key = self._key(attributes or {})
        if key in family.rows:
            said = ", ".join(f"{name} {value!r}" for name, value in (attributes or {}).items())
            raise NumberError(f"{said}: there is a number for it already")
        family.rows[key] = Row(key, [value, math.nan])

    def _key(self, attributes: Mapping[str, str]) -> SeriesKey:
        return series_key({"db.namespace": self.namespace, **attributes})

    def collected(self) -> Collected:
        """All of it, as whoever exposes or exports metrics wants it."""
        return [(family, list(family.rows.values())) for family in self._families.values()]

    def __len__(self) -> int:
        """How many series there are."""
        return sum(len(family.rows) for family in self._families.values())
