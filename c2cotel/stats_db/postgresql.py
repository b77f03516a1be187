"""What PostgreSQL is asked, and what becomes of its answers.

Sources: https://www.postgresql.org/docs/current/monitoring-stats.html,
https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-DBSIZE.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from c2cotel.stats_db import numbers
from c2cotel.stats_db.database import Database, QueryError
from c2cotel.stats_db.extras import Extra, rows_of
from c2cotel.stats_db.numbers import NumberError, Numbers

Progress = Callable[[int, int], None]
"""Is told how many of the relations are done, and how many there are."""

_BATCH: Final = 100
# Milliseconds that one table which is locked may hold up a hundred, and itself alone.
_PATIENCE: Final = 2000
_PATIENCE_ALONE: Final = 200

_NAME: Final = "SELECT current_database()"
_SCHEMAS: Final = "SELECT nspname FROM pg_namespace"
_SIZE: Final = "SELECT pg_database_size(current_database())"
# Before PostgreSQL 14, nothing in no pages means never analysed, too.
_TABLES: Final = """
    SELECT c.oid, n.nspname, c.relname,
           CASE WHEN c.reltuples < 0 OR (c.reltuples = 0 AND c.relpages = 0)
                THEN COALESCE(s.n_live_tup, 0) ELSE c.reltuples END,
           COALESCE(s.n_dead_tup, 0),
           COALESCE(s.seq_scan, 0)
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
     WHERE c.relkind IN ('r', 'm')
       AND n.nspname = ANY (string_to_array(:schemas, chr(1)))
     ORDER BY n.nspname, c.relname
"""
_INDEXES: Final = """
    SELECT c.oid, n.nspname, t.relname, c.relname,
           COALESCE(s.idx_scan, 0), COALESCE(s.idx_tup_read, 0), COALESCE(s.idx_tup_fetch, 0)
      FROM pg_index i
      JOIN pg_class c ON c.oid = i.indexrelid
      JOIN pg_class t ON t.oid = i.indrelid
      JOIN pg_namespace n ON n.oid = t.relnamespace
      LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = c.oid
     WHERE c.relkind = 'i' AND t.relkind IN ('r', 'm')
       AND n.nspname = ANY (string_to_array(:schemas, chr(1)))
     ORDER BY n.nspname, t.relname, c.relname
"""
# Of what is dropped meanwhile they say NULL.
_TABLE_SIZES: Final = "SELECT o, pg_table_size(o) FROM unnest(CAST(:oids AS oid[])) AS o"
_INDEX_SIZES: Final = """
    SELECT o, pg_relation_size(o, 'main'), pg_relation_size(o, 'fsm')
      FROM unnest(CAST(:oids AS oid[])) AS o
"""


class SchemaError(ValueError):
    """A schema is asked for that is not there; the message says which there are."""


@dataclass(frozen=True)
class Failure:
    """A query that failed: what it was for, and why it did."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True)
class Statistics:
    """What one run has found."""

    numbers: Numbers
    failures: tuple[Failure, ...]


def take(
    database: Database,
    namespace: str | None,
    schemas: Sequence[str],
    extras: Sequence[Extra] = (),
    progress: Progress = lambda _, __: None,
) -> Statistics:
    """Ask *database* for everything about *schemas* and public, and for *extras*.

    *namespace* is what it is called in telemetry; None for as it calls itself.

    Raises:
        SchemaError: one of *schemas* is not there.
        UnreachableError: it cannot be asked.
    """
    begun = time.perf_counter()
    run = _Run(database, namespace or _name(database), progress)
    run.attempt("the schemas", lambda: _check(database, schemas))
    run.database_size()
    run.relations(list(dict.fromkeys(["public", *schemas])))
    for extra in extras:
        run.tell(extra)
    run.numbers.put(numbers.FAILURES, float(len(run.failures)))
    run.numbers.put(numbers.DURATION, time.perf_counter() - begun)
    run.numbers.put(numbers.TIME, time.time())
    return Statistics(run.numbers, tuple(run.failures))


def _name(database: Database) -> str:
    ((name,),) = database.ask(_NAME)
    return str(name)


def _check(database: Database, schemas: Sequence[str]) -> None:
    there = {str(name) for (name,) in database.ask(_SCHEMAS)}
    if missing := [name for name in schemas if name not in there]:
        own = sorted(
            name for name in there if not name.startswith("pg_") and name != "information_schema"
        )
        shown = ", ".join(own) or "none"
        raise SchemaError(
            f"--schema {missing[0]}: there is no such schema in {database.place}. "
            f"There are: {shown}."
        )


class _Run:
    def __init__(self, database: Database, namespace: str, progress: Progress) -> None:
        self._database = database
        self._progress = progress
        self.numbers = Numbers(namespace)
        self.failures: list[Failure] = []

    def attempt(self, what: str, ask: Callable[[], None]) -> None:
        """Do it, or note that it failed."""
        try:
            ask()
        except (QueryError, NumberError) as error:
            self.failures.append(Failure(what, str(error)))

    def database_size(self) -> None:
        def ask() -> None:
            ((size,),) = self._database.ask(_SIZE)
            self.numbers.put(numbers.SIZE, float(size))

        self.attempt("the size of the database", ask)

    def relations(self, schemas: Sequence[str]) -> None:
        # No name has this sign in it, whatever else it has.
        named = {"schemas": "\x01".join(schemas)}
        tables: dict[int, dict[str, str]] = {}
        indexes: dict[int, dict[str, str]] = {}
        self.attempt("the tables", lambda: self._tables(named, tables))
        self.attempt("the indexes", lambda: self._indexes(named, indexes))
        total = len(tables) + len(indexes)
        done = 0
        for what, sql, relations, put in (
            ("the size of the table", _TABLE_SIZES, tables, self._put_table_size),
            ("the size of the index", _INDEX_SIZES, indexes, self._put_index_size),
        ):
            for batch in _batches(list(relations)):
                self._progress(done, total)
                self._sizes(what, sql, {oid: relations[oid] for oid in batch}, put)
                done += len(batch)
        self._progress(done, total)

    def _tables(self, named: Mapping[str, Any], found: dict[int, dict[str, str]]) -> None:
        for oid, schema, table, rows, dead, scans in self._database.ask(_TABLES, named):
            attributes = found[oid] = {"schema": schema, "table": table}
            self.numbers.put(numbers.ROWS, float(rows), attributes)
            self.numbers.put(numbers.DEAD_ROWS, float(dead), attributes)
            self.numbers.put(numbers.SCANS, float(scans), attributes)

    def _indexes(self, named: Mapping[str, Any], found: dict[int, dict[str, str]]) -> None:
        for oid, schema, table, index, *used in self._database.ask(_INDEXES, named):
            attributes = found[oid] = {"schema": schema, "table": table, "index": index}
            gauges = (numbers.INDEX_SCANS, numbers.ENTRIES, numbers.FETCHED)
            for gauge, value in zip(gauges, used, strict=True):
                self.numbers.put(gauge, float(value), attributes)

    def _sizes(
        self,
        what: str,
        sql: str,
        relations: Mapping[int, Mapping[str, str]],
        put: Callable[[Mapping[str, str], Sequence[Any]], None],
    ) -> None:
        """All at once; if that fails one by one, and only what fails then is missing."""

        def ask(oids: Sequence[int], patience: int) -> None:
            listed = f"{{{','.join(map(str, oids))}}}"
            for oid, *sizes in self._database.ask(sql, {"oids": listed}, patience=patience):
                if sizes[0] is not None:
                    put(relations[oid], sizes)

        try:
            ask(list(relations), _PATIENCE)
        except QueryError:
            for oid, attributes in relations.items():
                name = f"{attributes['schema']}.{attributes.get('index', attributes['table'])}"
                self.attempt(f"{what} {name}", lambda oid=oid: ask([oid], _PATIENCE_ALONE))  # type: ignore[misc] # a default of a lambda has no type

    def _put_table_size(self, attributes: Mapping[str, str], sizes: Sequence[Any]) -> None:
        self.numbers.put(numbers.TABLE_SIZE, float(sizes[0]), attributes)

    def _put_index_size(self, attributes: Mapping[str, str], sizes: Sequence[Any]) -> None:
        for fork, size in zip(("main", "fsm"), sizes, strict=True):
            if size or fork == "main":
                self.numbers.put(numbers.INDEX_SIZE, float(size), {**attributes, "fork": fork})

    def tell(self, extra: Extra) -> None:
        def ask() -> None:
            for name, value in rows_of(self._database.ask_raw(extra.sql)):
                self.numbers.put(extra.gauge, value, {"metric": name})

        self.attempt(str(extra), ask)


def _batches(oids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(oids), _BATCH):
        yield oids[start : start + _BATCH]
