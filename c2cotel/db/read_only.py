"""Engines that read only, whatever is asked of them, and why a write was refused.

With psycopg and psycopg2 a transaction begins with ``BEGIN READ ONLY`` then, in the place of
``BEGIN``: no statement more, nothing that stays in PostgreSQL or leaks through pgbouncer. SQLite
has its ``PRAGMA query_only``. Both end when the connection goes back to the pool. Of other drivers
it is the engine as it was.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event

from c2cotel_instrumentation.errors import refused_write

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, ExceptionContext

#: What an exception has, if it is maintenance that has refused the write.
MAINTENANCE: Final = "c2c_maintenance"
# What a driver calls it that the next transactions read only.
_ATTRIBUTES: Final = {"psycopg": "read_only", "psycopg2": "readonly"}
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
        _listen(engine, "checkin", _transactions_as_before)
    elif engine.dialect.name == "sqlite":
        event.listen(view, "engine_connect", _query_only)
        _listen(engine, "checkin", _query_and_write)
    _listen(engine, "handle_error", _explain_maintenance)
    return view


def explain_replica(replica: "Engine") -> None:
    """Say what a write on *replica* needs, where its traceback is read."""
    _listen(replica, "handle_error", _explain_replica)


def _listen(engine: "Engine", name: str, listener: Callable[..., None]) -> None:
    """Once, however many have asked for it: the pool and the dialect are those of all views."""
    if not event.contains(engine, name, listener):
        event.listen(engine, name, listener)


def _transactions_only_read(connection: "Connection") -> None:
    driver: Any = connection.connection.dbapi_connection
    if driver.autocommit:
        # Without transactions, there would be none that reads only.
        connection.execution_options(isolation_level=connection.default_isolation_level)
    attribute = _ATTRIBUTES[connection.dialect.driver]
    connection.info[_BEFORE] = getattr(driver, attribute)
    setattr(driver, attribute, True)


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
    connection.info[_BEFORE] = True
    _pragma(connection.connection.dbapi_connection, 1)


def _query_and_write(driver: Any, record: Any) -> None:
    if record.info.pop(_BEFORE, False) and driver is not None:
        _pragma(driver, 0)


def _pragma(driver: Any, value: int) -> None:
    cursor = driver.cursor()
    try:
        cursor.execute(f"PRAGMA query_only = {value}")
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
