"""A connection that comes back, and queries that each fail alone."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from c2cotel.db import get_engine
from c2cotel.settings import SettingsError, without_password

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

Rows: TypeAlias = Sequence[Sequence[Any]]

# How c2cotel.db calls it, in what it says.
_URL_SETTING: Final = "sqlalchemy.url (SQLALCHEMY_URL)"
# Trying again is of no use; in other languages than English it is tried nevertheless.
_FOR_GOOD: Final = re.compile(
    r'(database|role) ".*" does not exist|password authentication failed|no password supplied'
)


class UnreachableError(Exception):
    """Nobody can ask the database anything; the message says why, without a password."""


class QueryError(Exception):
    """One query failed, the next one may not; the message says why."""


def engine(settings: Mapping[str, Any], url: str | None = None) -> "Engine":
    """That of the application's *settings*, or of *url*.

    Raises:
        SettingsError: It cannot be made, or is not PostgreSQL's; the text has no password.
    """
    from sqlalchemy.pool import NullPool

    if url is not None:
        # What the settings say of their own database is not for this one.
        others = {key: settings[key] for key in settings if not key.startswith("sqlalchemy.")}
        settings = {**others, "sqlalchemy.url": url}
    try:
        made = get_engine(settings, poolclass=NullPool)
    except SettingsError as error:
        if url is None:
            raise
        raise SettingsError(str(error).replace(_URL_SETTING, "--db")) from error
    if made.dialect.name != "postgresql":
        raise SettingsError(
            f"This is a database of {made.dialect.name}: only PostgreSQL has these statistics."
        )
    if made.dialect.is_async:
        raise SettingsError(
            f"{made.driver} is for asyncio. Write postgresql+psycopg:// with the same address."
        )
    return made


class Database:
    """Asks *engine* on one connection, each query in a transaction that is rolled back.

    Where it cannot be reached, or the connection breaks, it is tried *tries* times in all, with
    *pause* seconds between. *on_try* is told the number of each try but the first.
    """

    def __init__(
        self,
        engine: "Engine",
        tries: int = 1,
        pause: float = 1.0,
        *,
        on_try: Callable[[int], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._tries = tries
        self._pause = pause
        self._on_try = on_try
        self._sleep = sleep
        self._failed = 0
        self._connection: Connection | None = None

    @property
    def place(self) -> str:
        """Where it is, as host:port/name."""
        url = self._engine.url
        host, port = (url.host or url.query.get("host") or "localhost", url.port or 5432)
        return f"{host}:{port}/{url.database or ''}"

    def ask(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        patience: int | None = None,
    ) -> Rows:
        """The rows that *sql* gives, with ``:name`` for the *parameters*.

        *patience*: milliseconds to wait for what somebody has locked.

        Raises:
            QueryError: it failed.
            UnreachableError: the connection is gone, and no other is to be had.
        """
        from sqlalchemy import text

        def execute(connection: "Connection") -> Rows:
            if patience is not None:
                connection.execute(text(f"SET LOCAL lock_timeout = {patience:d}"))
            return connection.execute(text(sql), parameters or {}).all()

        return self._attempt(execute)

    def ask_raw(self, sql: str) -> Rows:
        """The rows of *sql* as somebody has written it: a colon or a percent sign is one."""

        def execute(connection: "Connection") -> Rows:
            options = {"no_parameters": True}
            result = connection.exec_driver_sql(sql, execution_options=options)
            if not result.returns_rows:
                raise QueryError("not a query: it gives no rows")
            return result.all()

        return self._attempt(execute)

    def _attempt(self, execute: Callable[["Connection"], Rows]) -> Rows:
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        while True:
            connection = self._connected()
            try:
                with connection.begin() as transaction:
                    rows = execute(connection)
                    transaction.rollback()
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise QueryError(_reason(error)) from error
                self.close()
                self._fail(error)
            except SQLAlchemyError as error:
                raise QueryError(_reason(error)) from error
            else:
                return rows

    def _connected(self) -> "Connection":
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        while self._connection is None:
            try:
                self._connection = self._engine.connect()
            except DBAPIError as error:
                self._fail(error)
            except SQLAlchemyError as error:
                raise UnreachableError(f"{self.place}: {_reason(error)}") from error
        return self._connection

    def _fail(self, error: Exception) -> None:
        """Wait before another try, or give up."""
        self._failed += 1
        reason = _reason(error)
        if _FOR_GOOD.search(reason):
            raise UnreachableError(f"{self.place} cannot be asked: {reason}") from error
        if self._failed >= self._tries:
            times = f" after {self._tries} tries" if self._tries > 1 else ""
            raise UnreachableError(f"{self.place} cannot be reached{times}: {reason}") from error
        self._on_try(self._failed + 1)
        self._sleep(self._pause)

    def close(self) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._engine.dispose()


def _reason(error: Exception) -> str:
    """What the database said, on one line; the statement is known to who asked."""
    said = getattr(error, "orig", None) or error
    # PostgreSQL's LINE and the caret below it are of no use on one line.
    text = str(said).strip().partition("\nLINE ")[0]
    return without_password(" ".join(text.split()))
