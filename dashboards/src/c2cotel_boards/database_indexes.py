"""The indexes of the dashboard Database statistics: large ones, unused ones, missing ones."""

from typing import Final

from c2cotel_boards import panels, promql, tables
from c2cotel_boards.look import Query
from c2cotel_boards.panels import Panel
from c2cotel_boards.statistics import (
    BARS,
    INDEX,
    LISTED,
    TABLE,
    TABLE_KEYS,
    TABLE_NAME,
    growth,
    index_size,
    last,
    only,
)
from c2cotel_boards.tables import Column

_KEYS: Final = {**TABLE_KEYS, "index": "Index"}


def _unused() -> str:
    return only(index_size(), f"({last('index_scans', *INDEX)} == 0)", INDEX)


def unused_size() -> str:
    """Bytes of all indexes that nobody has read; 0 where each is used."""
    return f"sum({_unused()}) or sum({index_size()}) * 0"


def scanned() -> Panel:
    """Tables that lack one."""
    rows = f"{growth('table_scans', *TABLE)} * {last('table_rows', *TABLE)}"
    return panels.bargauge(
        "Which tables may lack an index?",
        "Rows read by scans of whole tables, in the time that is shown: times that it was scanned, "
        "by its rows. A large table is scanned for want of an index.",
        Query(f"{promql.busiest(BARS, rows)} > 0", TABLE_NAME),
        unit="short",
        width=12,
        height=9,
    )


def lists() -> list[Panel]:
    """The large ones, and those that nobody uses."""
    largest = promql.busiest(LISTED, index_size())

    def of_largest(name: str) -> str:
        return only(last(name, *INDEX), largest, INDEX)

    return [
        tables.table(
            f"Which {LISTED} indexes are largest?",
            "With how often they were used since the statistics were reset. Many entries read for "
            "each scan: it finds more than is wanted; another order of its columns may be better.",
            keys=_KEYS,
            columns=[
                Column("Size", largest, "bytes"),
                Column("Scans", of_largest("index_scans"), "short"),
                Column("Entries read", of_largest("index_entries_read"), "short"),
                Column("Rows fetched", of_largest("index_rows_fetched"), "short"),
            ],
        ),
        tables.table(
            "Which indexes does nobody use?",
            "Since the statistics were reset, the largest first. Look at the replicas, too, which "
            "count apart, and keep those of primary keys and constraints: they are of use unread.",
            keys=_KEYS,
            columns=[Column("Size", promql.busiest(LISTED, _unused()), "bytes")],
            height=8,
        ),
    ]
