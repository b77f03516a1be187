"""Pieces of queries of what ``c2cotel stats-db`` tells."""

from collections.abc import Sequence
from typing import Final

from c2cotel_boards import promql

DATABASE: Final = ("db_namespace",)
TABLE: Final = ("db_namespace", "schema", "table")
INDEX: Final = (*TABLE, "index")
TABLE_KEYS: Final = {"db_namespace": "Database", "schema": "Schema", "table": "Table"}
TABLE_NAME: Final = "{{schema}}.{{table}}"

LISTED: Final = 50
"""Rows of a table: of a thousand, those that matter."""
DRAWN: Final = 10


def series(name: str, *by: str) -> str:
    """The series of ``c2c_database_NAME`` that the variables let through."""
    schema = ('schema=~"$schema"',) if "schema" in by else ()
    return promql.series(f"c2c_database_{name}", 'db_namespace=~"$database"', *schema)


def last(name: str, *by: str) -> str:
    """Its last values in the time that is shown; those of several runs are one."""
    seen = f"last_over_time({series(name, *by)}[$__range])"
    return promql.aggregate(seen, *by, function="max")


def growth(name: str, *by: str) -> str:
    """What it has grown by in the time that is shown."""
    return promql.aggregate(f"delta({series(name, *by)}[$__range])", *by, function="max")


def index_size() -> str:
    """Bytes of each index, with the map of its free space."""
    return promql.aggregate(last("index_size_bytes", *INDEX, "fork"), *INDEX)


def only(expression: str, of: str, by: Sequence[str]) -> str:
    """Of *expression*, what has a value in *of*."""
    return f"{expression} and on ({', '.join(by)}) {of}"
