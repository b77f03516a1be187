"""Merged series, by instrument: what a reading of all slabs gives."""

from dataclasses import dataclass, field

from c2cotel.metrics.instruments import Description
from c2cotel.metrics.store import SeriesKey


@dataclass(slots=True, eq=False)
class Row:
    """One merged series.

    Attributes:
        key: Its attributes.
        values: Of a histogram the buckets' counts and the sum; of a gauge value and time (s since
            the epoch); else one number.
        reading: Number of the reading that filled *values*; older ones are not to be shown.
    """

    key: SeriesKey
    values: list[float]
    reading: int = 0


@dataclass(eq=False)
class Family:
    """All series of one instrument. *changes* counts the rows that came or went."""

    description: Description
    rows: dict[SeriesKey, Row] = field(default_factory=dict)
    changes: int = 0


Collected = list[tuple[Family, list[Row]]]
