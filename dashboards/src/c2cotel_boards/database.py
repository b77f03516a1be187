"""Database: which statements are slow, which fail, and whether there is a connection for them."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from c2cotel_boards import database_pools, house, links, look, panels, promql, tables, variables
from c2cotel_boards.house import Row
from c2cotel_boards.look import Query
from c2cotel_boards.panels import Panel
from c2cotel_boards.promql import OPERATIONS, REQUESTS
from c2cotel_boards.tables import Column

_IS_SQL: Final = 'db_system_name!="redis"'
_SQL: Final = (_IS_SQL, 'c2c_engine=~"$engine"', 'db_collection_name=~"$table"')
_COUNT: Final = promql.series(f"{OPERATIONS}_count", *_SQL)
_SUM: Final = promql.series(f"{OPERATIONS}_sum", *_SQL)
_FAILED: Final = promql.series(f"{OPERATIONS}_count", *_SQL, 'error_type!=""')
_KIND: Final = "db_operation_name"
_TABLE: Final = "db_collection_name"
_ENGINE: Final = "c2c_engine"
_MANY: Final = 10
_QUANTILES: Final = (0.5, 0.95, 0.99)
_SLOW: Final = look.warn_from(0.1, 1)


# What counts rows may have another job than what sends statements.
_STATISTICS: Final = links.Link(
    "Rows, sizes and indexes",
    "/d/c2cotel-database-statistics?${__url_time_range}&${datasource:queryparam}",
)


def board() -> Dashboard:
    names = "The first table of a statement. All has also those without one, such as COMMIT."
    return house.dashboard(
        "database",
        "Database",
        "Which statements are slow or fail, whether there are enough connections, and whether the "
        "replica is used.",
        [
            Row("Is it well?", _stats()),
            Row("Which tables?", [_tables()]),
            Row("How many statements, and how long do they take?", _statements()),
            Row("Which statements fail?", _failures()),
            Row("Is there a connection for everybody?", database_pools.pools()),
            Row("Who answers: the primary or the replica?", _replica()),
        ],
        variables=variables.standard(
            variables.engine(),
            variables.label("table", "Table", f"{OPERATIONS}_count", _TABLE, names, _IS_SQL),
            *variables.linked(logs=True),
        ),
    )


def _slowness(q: float, *by: str) -> str:
    return promql.quantile(q, OPERATIONS, *by, matchers=_SQL)


def _stats() -> list[Panel]:
    fallbacks = promql.series("c2c_db_fallbacks_total")
    return [
        panels.stat(
            "Statements",
            "Per second, COMMIT and ROLLBACK included. Many more of them than requests: "
            "see below how many a request sends.",
            promql.rate(_COUNT),
            unit="ops",
        ),
        panels.stat(
            "Failing",
            "Part of the statements that failed. The table of errors below says which, and why.",
            promql.share(promql.rate(_FAILED), promql.rate(_COUNT)),
            unit="percentunit",
            steps=look.warn_from(0.001, 0.01),
            decimals=2,
        ),
        panels.stat(
            "95 % are faster than",
            "Until the database has answered, without fetching rows. Above 100 ms: an index is "
            "missing, or a lock is held.",
            _slowness(0.95),
            unit="s",
            steps=_SLOW,
        ),
        panels.stat(
            "Fullest pool",
            "Of any instance: connections that its processes use, of those that they may open. At "
            "100 % requests wait for one; one process may be full before.",
            f"max({database_pools.fullness()})",
            unit="percentunit",
            steps=look.warn_from(0.8, 0.95),
        ),
        panels.stat(
            "Waiting",
            "Threads that wait for a connection right now. Above 0 for longer than a moment: the "
            "pool is too small, or the connections are kept too long.",
            database_pools.waiting(),
            unit="short",
            steps=look.warn_from(1, 5),
        ),
        panels.stat(
            "Replica away",
            "Sessions in the time that is shown that were for a replica and went to the primary, "
            "as the replica was down.",
            promql.or_zero(promql.counted(fallbacks, window="$__range")),
            unit="short",
            decimals=0,
            steps=look.warn_from(0.5),
            sparkline=False,
        ),
    ]


def _tables() -> Panel:
    by = (_TABLE, _KIND)
    table, kind = links.column("Table"), links.column("Operation")
    spans = (
        "kind = client",
        f'span.db.collection.name = "{table}"',
        f'span.db.operation.name = "{kind}"',
    )
    return tables.table(
        "Tables",
        "A row for each table and operation, by how long the database is busy with it: what is "
        "above costs most. A click on a table shows only it; where Tempo is set, the last column "
        "shows its traces.",
        keys={_TABLE: "Table", _KIND: "Operation"},
        columns=[
            Column("Busy", promql.rate(_SUM, *by), "short", bar=True),
            Column("Rate", promql.rate(_COUNT, *by), "ops"),
            Column(
                "Failing",
                promql.share(promql.rate(_FAILED, *by), promql.rate(_COUNT, *by)),
                "percentunit",
                steps=look.warn_from(0.001, 0.01),
            ),
            *[Column(f"p{q * 100:g}", _slowness(q, *by), "s", steps=_SLOW) for q in _QUANTILES],
            tables.traces(
                promql.aggregate(_COUNT, *by, function="group"),
                links.traces("Traces with it", *spans),
                links.traces("Those where it failed", *spans, "status = error"),
                links.traces("Those where it took above 100 ms", *spans, "duration > 100ms"),
            ),
        ],
        links={"Table": [links.to("database", "Only this table", table=links.VALUE)]},
    )


def _by_table(expression: str) -> Query:
    """The busiest tables, with a name for what has none."""
    named = promql.named(promql.busiest(_MANY, expression), _TABLE, "(no table)")
    return Query(named, f"{{{{{_TABLE}}}}}")


def _statements() -> list[Panel]:
    requests = promql.rate(promql.series(f"{REQUESTS}_count"))
    return [
        panels.timeseries(
            "How many statements are there, by kind?",
            "Stacked. What only reads ends with ROLLBACK; more of these than there are requests "
            "that read, and they fail.",
            Query(promql.busiest(_MANY, promql.rate(_COUNT, _KIND)), f"{{{{{_KIND}}}}}"),
            unit="ops",
            stacked=True,
        ),
        panels.timeseries(
            "How many statements does a request send?",
            "On average, of all requests. A step up after a deployment is a loop that asks row by "
            "row. Statements outside of requests count, too.",
            Query(f"{promql.rate(_COUNT)} / ({requests} > 0)", "statements per request"),
            unit="short",
            links=[links.to("requests", "Which requests?")],
        ),
        panels.timeseries(
            "How long do statements take?",
            "50, 95 and 99 % are faster. All three rise: the database, or its network. The last "
            "alone: a lock, or one statement.",
            *[Query(_slowness(q), f"p{q * 100:g}") for q in _QUANTILES],
            unit="s",
            colour=look.BY_QUANTILE,
        ),
        panels.timeseries(
            f"Which {_MANY} tables keep the database busy?",
            "Statements being executed at once, on average: rate times duration. A table that "
            "grows while its rate does not has more rows, or lost an index.",
            _by_table(promql.rate(_SUM, _TABLE)),
            unit="short",
            width=12,
            height=9,
            stacked=True,
            legend="table",
        ),
        panels.timeseries(
            f"Which {_MANY} tables are slowest?",
            "The 95 % of each. Above 100 ms: look at its plan with the SQL profiler, and at "
            "Database statistics for dead rows.",
            _by_table(_slowness(0.95, _TABLE)),
            unit="s",
            width=12,
            height=9,
            legend="table",
            links=[_STATISTICS],
        ),
    ]


def _failures() -> list[Panel]:
    by = ("error_type", _KIND, _TABLE)
    kind, table = links.column("Error"), links.column("Table")
    there = promql.aggregate(_FAILED, *by, function="group")
    return [
        panels.timeseries(
            "Which errors are there?",
            "By class of PostgreSQL: 08 connection, 22 data, 23 constraint, 25 read-only, 40 "
            "deadlock, 42 syntax or rights, 53 resources, 55 lock, 57 cancelled or shut down; else "
            "the driver's exception.",
            Query(promql.counted(_FAILED, "error_type") + " > 0", "{{error_type}}"),
            unit="short",
            bars=True,
            stacked=True,
            width=12,
        ),
        tables.table(
            "Of which tables, and how often?",
            "In the time that is shown; also one that happened once. 23 is what users did twice, "
            "42 after a deployment a migration that is missing.",
            keys={"error_type": "Error", _TABLE: "Table", _KIND: "Operation"},
            columns=[
                Column(
                    "Count", promql.counted(_FAILED, *by, window="$__range") + " > 0.5", "short"
                ),
                tables.traces(
                    there,
                    links.traces(
                        "Traces with it",
                        "kind = client",
                        f'span.db.collection.name = "{table}"',
                        f'span.error.type = "{kind}"',
                    ),
                ),
                tables.logs(there, links.logs("Errors of the services", links.FAILURES)),
            ],
            width=12,
            height=8,
        ),
    ]


def _replica() -> list[Panel]:
    fallbacks = promql.series("c2c_db_fallbacks_total", 'c2c_engine=~"$engine"')
    engines = promql.named(promql.rate(_COUNT, _ENGINE), _ENGINE, "(no name)")
    return [
        panels.timeseries(
            "Which engine works how much?",
            "Statements by engine. A replica that is there and idle: its routes are not forced to "
            "it, or it is down and the primary does its work.",
            Query(engines, f"{{{{{_ENGINE}}}}}"),
            unit="ops",
            width=12,
            stacked=True,
        ),
        panels.timeseries(
            "When was the replica down?",
            "Sessions that used the primary instead, by the replica's engine. The primary has "
            "that load on top: look at its pool.",
            Query(
                promql.named(promql.counted(fallbacks, _ENGINE), _ENGINE, "(no name)") + " > 0",
                f"{{{{{_ENGINE}}}}}",
            ),
            unit="short",
            width=12,
            bars=True,
        ),
    ]
