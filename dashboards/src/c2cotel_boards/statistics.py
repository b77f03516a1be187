"""Pieces of queries of what ``c2cotel stats-db`` tells.

A database is known by its name and by ``instance``: the address that is scraped, the database's own
over OTLP, or what was given as ``--prometheus-instance``, perhaps nothing. Two of one name on
different servers are two; those that were told by several jobs are one.

The command has a job of its own, so the variables have other names than those of the services: who
comes here from another dashboard brings theirs along, and nothing would be found.
"""

from collections.abc import Sequence
from typing import Final

from c2cotel_boards import promql

OURS: Final = ('job=~"$statistics_job"', 'instance=~"$statistics_instance"')
SIZE: Final = "c2c_database_size_bytes"
"""Every run tells it: these are the databases to choose from."""

DATABASE: Final = ("instance", "db_namespace")
TABLE: Final = (*DATABASE, "schema", "table")
INDEX: Final = (*TABLE, "index")
TABLE_KEYS: Final = {
    "instance": "Instance",
    "db_namespace": "Database",
    "schema": "Schema",
    "table": "Table",
}
DATABASE_NAME: Final = "{{db_namespace}} {{instance}}"
TABLE_NAME: Final = f"{{{{schema}}}}.{{{{table}}}} {DATABASE_NAME}"

LISTED: Final = 50
"""Rows of a table: of a thousand, those that matter."""
DRAWN: Final = 10
BARS: Final = 6
"""With their names above, there is no room for more."""


def series(name: str, *by: str) -> str:
    """The series of ``c2c_database_NAME`` that the variables let through."""
    schema = ('schema=~"$schema"',) if "schema" in by else ()
    return promql.series(f"c2c_database_{name}", 'db_namespace=~"$database"', *schema, of=OURS)


def last(name: str, *by: str) -> str:
    """Its last values in the time that is shown; those of several jobs are one."""
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
