"""The table of log records, and how it comes to be."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import sqlalchemy
from sqlalchemy import Column, DateTime, Engine, Integer, MetaData, String, Table, Text, func
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.schema import CreateSchema

Row: TypeAlias = Mapping[str, Any]

# PostgreSQL's code of a database that there is not.
_NO_DATABASE: Final = "3D000"
_MAINTENANCE: Final = "postgres"
# Of what the driver is asked for: a host that has gone away would be waited for for minutes.
_CONNECT_TIMEOUT: Final = 10


class LogTable:
    """The table *name* at *url*; *arguments* are those of :class:`sqlalchemy.Table`.

    There is a connection as soon as something is written.
    """

    def __init__(self, url: str, name: str, arguments: Mapping[str, Any]) -> None:
        self.url = sqlalchemy.make_url(url)
        self._table = Table(
            name,
            MetaData(),
            Column("id", Integer, primary_key=True),
            Column("logger", String),
            Column("level", String),
            Column("trace", Text),
            Column("msg", Text),
            Column("created_at", DateTime, default=func.now()),
            **arguments,
        )
        self._engine: Engine | None = None

    def write(self, rows: Sequence[Row]) -> list[tuple[Row, str]]:
        """Insert *rows*; where that fails, make what may be missing, and once more.

        Returns the rows that the database refuses, and why; the others are in it.

        Raises:
            SQLAlchemyError: it cannot be done now.
        """
        if self._engine is None:
            self._engine = self._connected(self.url)
        try:
            self._insert(self._engine, rows)
        except (DataError, IntegrityError):
            return self._one_by_one(self._engine, rows)
        except SQLAlchemyError:
            self._create(self._engine)
            self._insert(self._engine, rows)
        return []

    def _one_by_one(self, engine: Engine, rows: Sequence[Row]) -> list[tuple[Row, str]]:
        refused = []
        for row in rows:
            try:
                self._insert(engine, [row])
            except (DataError, IntegrityError) as error:
                refused.append((row, type(error.orig).__name__))
        return refused

    def forget(self) -> None:
        """After a fork: the connections are the parent's."""
        if self._engine is not None:
            self._engine.dispose(close=False)
            self._engine = None

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _insert(self, engine: Engine, rows: Sequence[Row]) -> None:
        with engine.begin() as connection:
            connection.execute(self._table.insert(), rows)

    def _create(self, engine: Engine) -> None:
        self._ensure_database(engine)
        table = self._table
        try:
            with engine.begin() as connection:
                if table.schema and not sqlalchemy.inspect(connection).has_schema(table.schema):
                    connection.execute(CreateSchema(table.schema, if_not_exists=True))
                table.create(connection, checkfirst=True)
        except SQLAlchemyError:
            # Workers begin together: another one may have made it at the same moment.
            if not sqlalchemy.inspect(engine).has_table(table.name, schema=table.schema):
                raise

    def _ensure_database(self, engine: Engine) -> None:
        try:
            engine.connect().close()
        except SQLAlchemyError as error:
            if engine.dialect.name != "postgresql" or _NO_DATABASE not in _code(error):
                raise
            self._create_database()

    def _create_database(self) -> None:
        maintenance = self._connected(self.url.set(database=_MAINTENANCE))
        try:
            with maintenance.connect().execution_options(isolation_level="AUTOCOMMIT") as to:
                name = maintenance.dialect.identifier_preparer.quote(self.url.database or "")
                to.execute(sqlalchemy.text(f"CREATE DATABASE {name}".replace(":", "\\:")))
        finally:
            maintenance.dispose()

    def _connected(self, url: sqlalchemy.URL) -> Engine:
        timeout = {}
        if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
            timeout = {"connect_timeout": _CONNECT_TIMEOUT}
        return sqlalchemy.create_engine(url, pool_pre_ping=True, connect_args=timeout)


def _code(error: SQLAlchemyError) -> str:
    """The SQLSTATE of *error*; psycopg2 has none for a connection: then its text."""
    original = getattr(error, "orig", None)
    code = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if code:
        return str(code)
    text = str(original)
    return _NO_DATABASE if text.rstrip().endswith("does not exist") and "database" in text else ""
