"""Database statistics: what ``c2cotel stats-db`` tells of tables and indexes.

It is run from time to time, perhaps once a day, and its numbers may have been scraped once. So
every query looks back, at the last ones of the time that is shown, which is a week by default.
"""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from c2cotel_boards import database_indexes, house, look, panels, promql, tables, variables
from c2cotel_boards.house import Row
from c2cotel_boards.links import VALUE, Link
from c2cotel_boards.look import Query
from c2cotel_boards.panels import Panel
from c2cotel_boards.statistics import (
    BARS,
    DATABASE,
    DATABASE_NAME,
    DRAWN,
    LISTED,
    OURS,
    SIZE,
    TABLE,
    TABLE_KEYS,
    TABLE_NAME,
    growth,
    index_size,
    last,
    only,
)
from c2cotel_boards.tables import Column

_DAY: Final = 24 * 3600
_DEAD: Final = look.warn_from(0.2, 0.5)


def board() -> Dashboard:
    return house.dashboard(
        "database-statistics",
        "Database statistics",
        "Which tables and indexes are large, which grow, which are bloated or of no use: what "
        "c2cotel stats-db found in the time that is shown.",
        [
            Row("How large is it, and are these numbers new?", _stats()),
            Row("Which tables are large?", [_tables()]),
            Row("How do they grow?", _growth()),
            Row("What is wasted, what is missing?", [_dead(), database_indexes.scanned()]),
            Row("Indexes", database_indexes.lists()),
            Row("Numbers of your own, and the command itself", _others()),
        ],
        variables=_variables(),
        since="now-7d",
        refresh="5m",
        changes=False,
    )


def _variables() -> tuple[variables.Variable, ...]:
    """What is pushed to a Pushgateway may have no instance, so All has to match that, too."""
    text = "Who runs c2cotel stats-db; it has a job of its own."
    where = "Of which server a database is; nothing, if who pushes its numbers does not say."
    job = variables.query(
        "statistics_job", "Job", f"label_values({SIZE}, job)", text, all_value=".+"
    )
    return (
        variables.source("datasource", "prometheus", "Data source"),
        job,
        variables.label(*("statistics_instance", "Instance", SIZE, "instance", where), of=OURS[:1]),
        variables.label(
            *("database", "Database", SIZE, "db_namespace", "Names of databases."), of=OURS
        ),
        variables.label(
            *("schema", "Schema", "c2c_database_table_rows", "schema", "Schemas of the tables."),
            of=OURS,
        ),
    )


def _stats() -> list[Panel]:
    rows, dead = (promql.aggregate(last(f"table_{what}", *TABLE)) for what in ("rows", "dead_rows"))
    oldest = promql.aggregate(last("statistics_time_seconds", *DATABASE), function="min")
    return [
        panels.stat(
            "Size",
            "Of the databases, with all that is in them. Compare it with what the disk has left.",
            promql.aggregate(last("size_bytes", *DATABASE)),
            unit="bytes",
        ),
        panels.stat(
            "Tables",
            "Partitions and materialized views are among them.",
            promql.aggregate(last("table_rows", *TABLE), function="count"),
            unit="short",
            decimals=0,
        ),
        panels.stat(
            "Rows",
            "As the planner estimates them: those of before the last ANALYZE.",
            rows,
            unit="short",
        ),
        panels.stat(
            "Dead rows",
            "Part of the rows that was deleted or replaced, and is still there. Above 20 % "
            "autovacuum does not keep up, or a long transaction holds it.",
            f"{dead} / ({rows} + {dead} > 0)",
            unit="percentunit",
            steps=_DEAD,
        ),
        panels.stat(
            "Unused indexes",
            "What indexes take that nobody has read since the statistics were reset. Each makes "
            "every write slower. The table below has their names.",
            database_indexes.unused_size(),
            unit="bytes",
        ),
        panels.stat(
            "Age",
            "Of these numbers; of several databases, those that are oldest. More than expected: "
            "c2cotel stats-db is not run any more, or fails.",
            f"time() - {oldest}",
            unit="dtdurations",
            steps=look.warn_from(2 * _DAY, 7 * _DAY),
            sparkline=False,
        ),
    ]


def _tables() -> Panel:
    largest = promql.busiest(LISTED, last("table_size_bytes", *TABLE))
    dead = f"{_dead_share()} > 0"
    indexes = promql.aggregate(index_size(), *TABLE)

    def of_largest(expression: str) -> str:
        return only(f"({expression})", largest, TABLE)

    return tables.table(
        f"Which {LISTED} tables are largest?",
        "Size is without indexes. Indexes larger than their table are too many, or bloated; many "
        "whole scans of a large table mean that it lacks one. A click shows the statements on it.",
        keys=TABLE_KEYS,
        columns=[
            Column("Size", largest, "bytes"),
            Column("Indexes", of_largest(indexes), "bytes"),
            Column("Rows", of_largest(last("table_rows", *TABLE)), "short"),
            Column("Dead", of_largest(dead), "percentunit", steps=_DEAD),
            Column("Whole scans", of_largest(last("table_scans", *TABLE)), "short"),
        ],
        height=10,
        links={"Table": [_STATEMENTS]},
    )


# What sends the statements may have another job than what counts the rows.
_STATEMENTS: Final = Link(
    "Statements on it",
    f"/d/c2cotel-database?${{__url_time_range}}&${{datasource:queryparam}}&var-table={VALUE}",
)


def _dead_share() -> str:
    rows, dead = last("table_rows", *TABLE), last("table_dead_rows", *TABLE)
    return f"{dead} / ({rows} + {dead} > 0)"


def _growth() -> list[Panel]:
    return [
        panels.timeseries(
            "How large are the databases?",
            "With indexes and all. Drawn on, it says when the disk will be full.",
            Query(last("size_bytes", *DATABASE), DATABASE_NAME),
            unit="bytes",
            height=9,
        ),
        panels.timeseries(
            f"How large are the {DRAWN} largest tables?",
            "Without indexes. Steps down are a VACUUM FULL, a TRUNCATE, or a partition that was "
            "dropped.",
            Query(promql.busiest(DRAWN, last("table_size_bytes", *TABLE)), TABLE_NAME),
            unit="bytes",
            width=16,
            height=9,
            legend="table",
        ),
        panels.bargauge(
            "Which tables grow most?",
            "In the time that is shown, by bytes. What nobody deletes grows for ever: logs, "
            "sessions, versions.",
            Query(f"{promql.busiest(BARS, growth('table_size_bytes', *TABLE))} > 0", TABLE_NAME),
            unit="bytes",
            height=9,
        ),
        panels.timeseries(
            f"How many rows have the {DRAWN} longest tables?",
            "As the planner estimates them. A table that is large and has few rows is bloated, or "
            "has large values.",
            Query(promql.busiest(DRAWN, last("table_rows", *TABLE)), TABLE_NAME),
            unit="short",
            width=16,
            height=9,
            legend="table",
        ),
    ]


def _dead() -> Panel:
    some = f"({last('table_dead_rows', *TABLE)} > 1000)"
    return panels.bargauge(
        "Which tables have most dead rows?",
        "Part of their rows, of tables with more than 1000 dead ones. Every query reads past "
        "them: vacuum these, and look for transactions that never end.",
        Query(
            promql.busiest(BARS, only(f"({_dead_share()})", some, TABLE)),
            TABLE_NAME,
        ),
        unit="percentunit",
        steps=_DEAD,
        width=12,
        height=9,
        maximum=1,
    )


def _others() -> list[Panel]:
    extra = last("extra", *DATABASE, "metric")
    several = f"{{{{metric}}}} {DATABASE_NAME}"
    return [
        panels.timeseries(
            "What did --extra count?",
            "The largest of what the queries of --extra told. What --extra-gauge tells has a name "
            "of its own, c2c_database_NAME: draw it where it belongs.",
            Query(promql.busiest(2 * DRAWN, extra), several),
            unit="short",
            width=12,
            legend="table",
            minimum=None,
        ),
        panels.timeseries(
            "How long does c2cotel stats-db take?",
            "To ask all its questions. Minutes are no harm, but a statement_timeout may cut it.",
            Query(last("statistics_duration_seconds", *DATABASE), DATABASE_NAME),
            unit="s",
            width=6,
        ),
        panels.timeseries(
            "How many of its queries failed?",
            "Their numbers are missing, the others are right. Its log says which, and why: most "
            "likely it may not read everything.",
            Query(last("statistics_failures", *DATABASE), DATABASE_NAME),
            unit="short",
            whole=True,
            width=6,
            limit=look.bad_from(1),
        ),
    ]
