"""Engines that read only, and why a write was refused.

With psycopg and psycopg2 a transaction begins with ``BEGIN READ ONLY`` then, in the place of
``BEGIN``: no statement more, nothing that stays in PostgreSQL or leaks through pgbouncer. Where the
application's listener of the pool has begun the transaction already, by SQL of its own, ``SET
TRANSACTION READ ONLY`` follows. SQLite has its ``PRAGMA query_only``. All of them end when the
connection goes back to the pool. Of other drivers it is the engine as it was.

Transactions of two phases (``begin_twophase``, ``Session(twophase=True)``) read only alike. Where
one engine is both, they can be prepared, and what has been prepared before can be ended; a standby
of PostgreSQL does neither.

Execution options (``AUTOCOMMIT``, ``postgresql_readonly``) change nothing of it. What does: ``SET
TRANSACTION READ WRITE`` as a transaction's first statement, ``PRAGMA query_only = 0``, and what is
done to the driver's connection itself. This is against writing by mistake, not by intent.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event

from c2cotel_instrumentation.errors import refused_write

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, ExceptionContext

#: What an exception has, if it is maintenance that has refused the write.
MAINTENANCE: Final = "c2c_maintenance"
# What a driver calls it that the next transactions read only.
_ATTRIBUTES: Final = {"psycopg": "read_only", "psycopg2": "readonly"}
# PQTRANS_IDLE of libpq, by both drivers.
_IDLE: Final = 0
# Where a connection keeps how it was before.
_BEFORE: Final = "c2c_before_read_only"
_ON_REPLICA: Final = (
    "This session is on the replica, because of the request's method or force_slave. "
    "A request that writes belongs into force_master of c2cotel.db.init()."
)
_IN_MAINTENANCE: Final = "The application is read-only for maintenance of its database."


def read_only(engine: "Engine") -> "Engine":
    """*engine*, with its pool and its name, for sessions that read only."""
    view: Engine = engine.execution_options()
    if hasattr(engine, "c2c_name"):
        view.c2c_name = engine.c2c_name  # type: ignore[attr-defined] # ours: telemetry names engines by it
    setattr(view, MAINTENANCE, True)
    if engine.driver in _ATTRIBUTES:
        event.listen(view, "engine_connect", _transactions_only_read)
        # Meanwhile, options may have been set, and another connection may be in its place.
        event.listen(view, "begin", _transaction_only_reads)
        event.listen(view, "begin_twophase", _two_phases_only_read)
        _listen(engine, "checkin", _transactions_as_before)
    elif engine.dialect.name == "sqlite":
        event.listen(view, "engine_connect", _query_only)
        event.listen(view, "begin", _query_only)
        _listen(engine, "checkin", _query_and_write)
    _listen(engine, "handle_error", _explain_maintenance)
    return view


def explain_replica(replica: "Engine") -> None:
    """Say what a write on *replica* needs, where its traceback is read."""
    _listen(replica, "handle_error", _explain_replica)


def _listen(engine: "Engine", name: str, listener: Callable[..., None]) -> None:
    """Once, however many have asked for it: the pool and the dialect are those of all views."""
    # Not event.contains: it goes by id(engine), which may have been that of an engine long gone.
    listening = engine.dialect.__dict__.setdefault("c2c_listening", set())
    if (name, listener) not in listening:
        listening.add((name, listener))
        event.listen(engine, name, listener)


def _transactions_only_read(connection: "Connection") -> None:
    """Those that begin from now on; one that a listener of the pool has begun is left alone."""
    with _closed_if_it_fails(connection):
        _only_read_if_idle(connection)


def _transaction_only_reads(connection: "Connection") -> None:
    """The one that begins now, or that a listener of the pool has begun."""
    with _closed_if_it_fails(connection):
        if not _only_read_if_idle(connection):
            # Rolled back instead, what the listener has SET would be lost.
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def _two_phases_only_read(connection: "Connection", _: Any) -> None:
    """One of two phases: SQLAlchemy would begin one of its own for a statement of ours."""
    with _closed_if_it_fails(connection):
        if not _only_read_if_idle(connection):
            driver: Any = connection.connection.dbapi_connection
            _run(driver, "SET TRANSACTION READ ONLY")


@contextlib.contextmanager
def _closed_if_it_fails(connection: "Connection") -> Iterator[None]:
    """What raises in an event, SQLAlchemy lets through: nobody else would give it back."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _only_read_if_idle(connection: "Connection") -> bool:
    """Whether no transaction has begun, so that the driver lets one change how they begin."""
    driver: Any = connection.connection.dbapi_connection
    if driver.info.transaction_status != _IDLE:
        return False
    if driver.autocommit:
        # Without transactions, there would be none that reads only.
        connection.execution_options(isolation_level=connection.default_isolation_level)
    attribute = _ATTRIBUTES[connection.dialect.driver]
    connection.info.setdefault(_BEFORE, getattr(driver, attribute))
    setattr(driver, attribute, True)
    return True


def _transactions_as_before(driver: Any, record: Any) -> None:
    if _BEFORE not in record.info:
        return
    # Not False, which SQLAlchemy's postgresql_readonly leaves there: it is READ WRITE, and a
    # standby refuses to begin such a transaction, even if nothing is written in it.
    before = record.info.pop(_BEFORE)
    if driver is None:
        return
    attribute = "read_only" if hasattr(driver, "read_only") else "readonly"
    try:
        setattr(driver, attribute, before)
    except Exception:  # noqa: BLE001 - broken, or still in a transaction: no use any more
        record.invalidate()


def _query_only(connection: "Connection") -> None:
    # Not anew with each transaction; a connection in the place of a broken one has no info.
    if _BEFORE not in connection.info:
        connection.info[_BEFORE] = True
        with _closed_if_it_fails(connection):
            _run(connection.connection.dbapi_connection, "PRAGMA query_only = 1")


def _query_and_write(driver: Any, record: Any) -> None:
    if record.info.pop(_BEFORE, False) and driver is not None:
        _run(driver, "PRAGMA query_only = 0")


def _run(driver: Any, statement: str) -> None:
    cursor = driver.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()


def _explain_maintenance(failure: "ExceptionContext") -> None:
    if not getattr(failure.engine, MAINTENANCE, False):
        return
    if (error := failure.sqlalchemy_exception) and refused_write(failure.original_exception):
        setattr(error, MAINTENANCE, True)
        error.add_note(_IN_MAINTENANCE)


def _explain_replica(failure: "ExceptionContext") -> None:
    if getattr(failure.engine, MAINTENANCE, False):
        return
    if (error := failure.sqlalchemy_exception) and refused_write(failure.original_exception):
        error.add_note(_ON_REPLICA)
