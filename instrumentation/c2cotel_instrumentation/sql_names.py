"""PostgreSQL's ``application_name``, for the length of one transaction.

SQLAlchemy says when a transaction begins, and nothing is sent then. The first statement of it that
runs within a request is preceded by ``set_config('application_name', …, true)``: the name ends with
the transaction, however it ends, so that a pooler gives nobody else's to the next client.

With psycopg 3, that costs no round trip: the driver would send ``BEGIN`` alone, and we send both
in one message in its place. Other drivers, and a transaction that has begun already, send it by
itself.

``SET …`` and ``LOCK …`` may have to come before the first query of a transaction, which
``set_config`` is: with these, it waits for the next statement. So it does with ``ROLLBACK …``, and
in a transaction that has failed, where nothing else is possible. In autocommit there is no
transaction to name.
"""

import logging
import re
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from c2cotel_instrumentation import sql
from c2cotel_instrumentation.context import current_request_id
from c2cotel_instrumentation.errors import Complaint

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect, ExecutionContext
    from sqlalchemy.pool import PoolProxiedConnection

# In the __dict__ of a Connection whose transaction has no name yet.
_NAMELESS: Final = "_c2cotel_nameless"
_UNNAMED: Final = frozenset(("BEGIN", "LOCK", "ROLLBACK", "SET", "SHOW", "START"))
# libpq's IDLE and INTRANS.
_USABLE: Final = (0, 2)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.:+/=@-]")
# PostgreSQL cuts what is longer, and says so with every one.
_LONGEST: Final = 63

_SET_CONFIG: Final = "SELECT pg_catalog.set_config('application_name', {}, true)"
_PARAMETERS: Final = {"format": "%s", "pyformat": "%s", "numeric_dollar": "$1"}

_logger = logging.getLogger(__name__)


class Names:
    """Listeners of SQLAlchemy's events; *left_alone* tells the statements that are."""

    def __init__(self, left_alone: Callable[["ExecutionContext"], bool]) -> None:
        self._left_alone = left_alone
        self._complain = Complaint(
            _logger, "A transaction could not be named; it goes on. Further ones are not logged."
        )

    def begun(self, connection: "Connection", _xid: object = None) -> None:
        connection.__dict__[_NAMELESS] = True

    def execute(
        self,
        _cursor: object,
        statement: str,
        _parameters: object,
        context: "ExecutionContext | None",
    ) -> None:
        # Called for every statement: nearly all leave here.
        if context is not None and _NAMELESS in context.root_connection.__dict__:
            self._name(statement, context)

    def execute_without_parameters(
        self, cursor: object, statement: str, context: "ExecutionContext | None"
    ) -> None:
        self.execute(cursor, statement, None, context)

    def _name(self, statement: str, context: "ExecutionContext") -> None:
        connection = context.root_connection
        try:
            if (request_id := current_request_id()) is None or self._left_alone(context):
                return
            system = connection.dialect.name
            if sql.operation(str(statement), system).name in _UNNAMED:
                return
            # What comes next fails by itself; the name waits for what comes after a ROLLBACK.
            if not _is_usable(connection):
                return
            del connection.__dict__[_NAMELESS]
            if system == "postgresql":
                _send(connection, _UNSAFE.sub("?", request_id)[:_LONGEST])
        except Exception as error:
            # A database that does not answer is told as it would be without us.
            if isinstance(error, connection.dialect.loaded_dbapi.Error):
                raise
            self._complain(error)


def _is_usable(connection: "Connection") -> bool:
    """Whether a query of ours may be sent, as far as its driver knows."""
    info = getattr(connection.connection.driver_connection, "info", None)
    return getattr(info, "transaction_status", _USABLE[0]) in _USABLE


def _send(connection: "Connection", name: str) -> None:
    pooled, dialect = connection.connection, connection.dialect
    if getattr(pooled.dbapi_connection, "autocommit", False):
        return
    if dialect.driver in ("psycopg", "psycopg_async"):
        _send_psycopg(pooled, dialect, name)
    else:
        _send_alone(pooled, dialect, name)


def _send_alone(pooled: "PoolProxiedConnection", dialect: "Dialect", name: str) -> None:
    parameter = _PARAMETERS.get(dialect.paramstyle)
    cursor = pooled.cursor()
    try:
        if parameter is None:
            cursor.execute(_SET_CONFIG.format(f"'{name}'"))
        else:
            cursor.execute(_SET_CONFIG.format(parameter), (name,))
    finally:
        cursor.close()


def _send_psycopg(pooled: "PoolProxiedConnection", dialect: "Dialect", name: str) -> None:
    from psycopg.pq import PipelineStatus, TransactionStatus

    connection: Any = pooled.driver_connection
    status = connection.pgconn.transaction_status
    # In a pipeline of the application, messages with two statements are not allowed.
    alone = connection.pgconn.pipeline_status != PipelineStatus.OFF
    if (
        alone
        or status != TransactionStatus.IDLE
        or not hasattr(connection, "_get_tx_start_command")
    ):
        _send_alone(pooled, dialect, name)
    else:
        _begin(pooled, connection, name, is_async=dialect.is_async)


def _begin(pooled: "PoolProxiedConnection", connection: Any, name: str, *, is_async: bool) -> None:
    """Begin the transaction, as psycopg would with the next statement, and give it this name."""
    # Not public: a version without it is one with a round trip.
    begin: bytes = connection._get_tx_start_command()  # noqa: SLF001 - as said
    message = begin + b"; " + _SET_CONFIG.format(f"'{name}'").encode()
    if is_async:

        async def send(connection: Any) -> None:
            async with connection.lock:
                await connection.wait(_sent(connection, message))

        pooled.dbapi_connection.run_async(send)  # type: ignore[union-attr] # of an async driver
        return
    with connection.lock:
        connection.wait(_sent(connection, message))


def _sent(connection: Any, message: bytes) -> Generator[Any, Any, None]:
    """Send *message* and take all answers, in the way of psycopg's own commands."""
    from psycopg.errors import error_from_result
    from psycopg.generators import execute
    from psycopg.pq import ExecStatus

    connection.pgconn.send_query(message)
    for result in (yield from execute(connection.pgconn)):
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result, encoding=connection.info.encoding)
