"""How the plan of a statement is got from PostgreSQL, over the connection that executes it.

==================  ===============================================================================
``auto_explain``    the plan of the real execution: the server sends it by itself, where the role
                    may ask for that. Asked for once a transaction, for that transaction only.
``explain``         ``EXPLAIN`` after the statement, with its parameters; nothing is executed
``explain_analyze`` if asked for: a ``SELECT`` executed again, where nothing can be written
==================  ===============================================================================

Whatever is asked here stands in a savepoint of its own, if there is a transaction: what fails
leaves that as it was. A transaction that has failed is not touched, nor a pipeline.

What auto_explain tells has all values. SQLAlchemy would log it at INFO: a filter on its logger
drops it, from the first profiling on. A notice handler that the application has added to a
connection of psycopg 3 gets these messages too.

Source: https://www.postgresql.org/docs/current/auto-explain.html.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from c2cotel_instrumentation import sql_plans
from c2cotel_instrumentation.errors import type_name
from c2cotel_instrumentation.sql_asides import (
    IDLE,
    Alone,
    Aside,
    ReadOnly,
    first,
    is_usable,
    status,
)
from c2cotel_instrumentation.sql_auto_explain import AutoExplain
from c2cotel_instrumentation.sql_plans import Plan

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, ExecutionContext

EXPLAINABLE: Final = frozenset(
    ("DELETE", "INSERT", "MERGE", "SELECT", "TABLE", "UPDATE", "VALUES", "WITH")
)
_READING: Final = frozenset(("SELECT", "TABLE", "VALUES", "WITH"))
_DRIVERS: Final = frozenset(("psycopg", "psycopg_async", "psycopg2"))
_NOTICES: Final = "sqlalchemy.dialects.postgresql"

Answer = Plan | str
"""A plan, or why there is none."""


@dataclass(frozen=True)
class Wish:
    """Which plans are wanted.

    Attributes:
        sample_rate: Of how many transactions, between 0 and 1.
        min_duration: Of those that take so many seconds.
        analyze: Whether a ``SELECT`` may be executed again for it.
        values: Whether the values of the statement may be in the plan.
    """

    sample_rate: float = 1.0
    min_duration: float = 0.0
    analyze: bool = False
    values: bool = False


class Explainers:
    """Those of the connections used since ``SqlProfilerInstrumentor.profile()``."""

    def __init__(self, wish: Wish, late: Callable[[Any, Plan], None]) -> None:
        self._wish = wish
        self._late = late
        self._known: WeakKeyDictionary[Any, Explainer] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._stopped = False
        # Also after stop(): transactions that have asked for plans are told them until they end.
        logging.getLogger(_NOTICES).addFilter(_is_no_plan)

    def of(self, connection: "Connection") -> "Explainer | None":
        """That of this connection; None for a database whose plans we cannot read."""
        dialect = connection.dialect
        if dialect.name != "postgresql" or dialect.driver not in _DRIVERS:
            return None
        driver = connection.connection.driver_connection
        known = self._known.get(driver)
        if known is None:
            known = Explainer(self._wish, self._late)
            with self._lock:
                if self._stopped:
                    return None
                self._known[driver] = known
        return known

    def stop(self) -> None:
        """Put back what the connections had."""
        with self._lock:
            self._stopped = True
            known = list(self._known.items())
        for driver, explainer in known:
            explainer.stop(driver)


def let_plans_be_logged() -> None:
    """Take away what keeps SQLAlchemy from logging what the server tells, with all values."""
    logging.getLogger(_NOTICES).removeFilter(_is_no_plan)


def _is_no_plan(record: logging.LogRecord) -> bool:
    arguments = record.args if isinstance(record.args, tuple) else ()
    told = record.msg, *arguments
    return not any(isinstance(each, str) and sql_plans.is_plan(each) for each in told)


class Explainer:
    """The plans of one connection of the driver."""

    def __init__(self, wish: Wish, late: Callable[[Any, Plan], None]) -> None:
        self._wish = wish
        self._late = late
        self._server = AutoExplain(wish.min_duration, self._told_late)
        self._is_told = False

    def begin(self, connection: "Connection", context: "ExecutionContext", statement: Any) -> None:
        """Before the execution of *statement*: *late* gets it, if its plan is known later."""
        self._is_told = False
        self._is_told = self._server.begin(connection, context, statement)

    def forget(self, connection: "Connection") -> None:
        """Before a statement that may change what the server tells."""
        self._server.forget(connection)

    def answer(
        self, connection: "Connection", context: "ExecutionContext", operation: str, elapsed: float
    ) -> Answer | None:
        """After the execution: its plan, or why there is none; None if it is not wanted."""
        if elapsed < self._wish.min_duration:
            return None
        if self._is_told:
            if self._server.is_later:
                return None
            if (message := self._server.heard(connection.connection)) is not None:
                return self._read(message)
            if self._wish.min_duration:
                return None
            # It should have told it: behind a pooler, servers may differ.
        return self._explained(connection, context, operation)

    def stop(self, driver: Any) -> None:
        self._server.stop(driver)

    def _told_late(self, statement: Any, message: str) -> None:
        if (plan := self._read(message)) is not None:
            self._late(statement, plan)

    def _read(self, message: str) -> Plan | None:
        plan = sql_plans.of_message(message, values=self._wish.values)
        if plan is None or (plan.duration or 0.0) < self._wish.min_duration:
            return None
        return plan

    def _explained(
        self, connection: "Connection", context: "ExecutionContext", operation: str
    ) -> Answer:
        """What the plan of the execution would be now."""
        statement: str = context.statement or ""
        # Without parameters, the driver would send what follows, to be executed again.
        if ";" in statement.rstrip("; \t\r\n"):
            return "it has a semicolon, and may be several statements"
        pooled = connection.connection
        if not is_usable(pooled.driver_connection):
            return "the transaction has failed, or the connection is in a pipeline"
        dbapi = pooled.dbapi_connection
        in_transaction = status(pooled.driver_connection) != IDLE
        parameters = _parameters(context)
        if self._wish.analyze and operation in _READING:
            with suppress(Exception):  # it writes: what can be had is the plan
                return self._explain(
                    ReadOnly(dbapi, in_transaction=in_transaction),
                    f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}",
                    parameters,
                    "explain_analyze",
                )
        try:
            return self._explain(
                Aside(dbapi) if in_transaction else Alone(dbapi),
                f"EXPLAIN (FORMAT JSON) {statement}",
                parameters,
                "explain",
            )
        except Exception as error:  # noqa: BLE001 - the statement itself has its result
            # Not its text: that has the statement and its values.
            return f"EXPLAIN failed with {type_name(error)}"

    def _explain(
        self, place: "Alone", question: str, parameters: Any, source: sql_plans.Source
    ) -> Answer:
        with place as run:
            rows = run(question, parameters)
        plan = sql_plans.of_explain(first(rows[0]), source, values=self._wish.values)
        return plan or "the answer to EXPLAIN cannot be read"


def _parameters(context: "ExecutionContext") -> Any:
    """What the driver was given, of several sets the first; None if nothing."""
    sets: Any = context.parameters
    first = sets[0] if sets else None
    # As SQLAlchemy does: without parameters, a percent sign is one.
    return None if not first and getattr(context, "no_parameters", False) else first
