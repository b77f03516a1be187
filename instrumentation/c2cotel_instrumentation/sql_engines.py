"""What is known of the engines of SQLAlchemy: their databases, names, and the statements they send.

Looking a statement up is what each of them costs; reading one is what each new text costs. The
texts of an engine are kept for as long as fewer than 256 others come between two uses of theirs, so
that those of the application's code stay whatever texts of one use are in between; there are never
more than 512. The first 300 tables are named; statements of others have an operation only.
"""

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.semconv.attributes import db_attributes, server_attributes
from opentelemetry.util.types import AttributeValue

from c2cotel_instrumentation import sql
from c2cotel_instrumentation.errors import sqlstate, type_name

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect, Engine

Attributes = dict[str, AttributeValue]

ENGINE: Final = "c2c.engine"
_SYSTEMS: Final = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
# Texts of a generation; there are two.
_GENERATION: Final = 256
# Temporary tables have names that the application makes up: each would be a series.
_MOST_TABLES: Final = 300
_CLASS: Final = 2


class Statement:
    """One text, as telemetry calls it; its dictionaries are shared, nobody changes them."""

    __slots__ = ("_make", "_of_span", "attributes", "name")

    def __init__(self, name: str, attributes: Attributes, make: Callable[[], Attributes]) -> None:
        self.name = name
        self.attributes = attributes
        self._make = make
        self._of_span: Attributes | None = None

    @property
    def of_span(self) -> Attributes:
        """What a span has from its start on: samplers may look at it, and later costs more."""
        known = self._of_span
        if known is None:
            known = self._of_span = self._make()
        return known

    def as_batch(self, size: int) -> "Statement":
        """The same for *size* sets of parameters at once."""
        name, attributes = self.name, self.attributes
        more: Attributes = {db_attributes.DB_OPERATION_BATCH_SIZE: size}
        operation = attributes.get(db_attributes.DB_OPERATION_NAME)
        if operation is not None:
            name = f"BATCH {name}"
            attributes = attributes | {db_attributes.DB_OPERATION_NAME: f"BATCH {operation}"}
            more[db_attributes.DB_QUERY_SUMMARY] = name
        return Statement(name, attributes, lambda: self.of_span | attributes | more)


class Database:
    """What the statements and connections of one engine have in common."""

    __slots__ = (
        "__weakref__",
        "_before",
        "_ends",
        "_server",
        "_tables",
        "common",
        "complete",
        "dialect",
        "engine_name",
        "known",
        "place",
        "system",
    )

    def __init__(
        self, engine: "Engine", engine_name: str | None, connection: Any, tables: set[str]
    ) -> None:
        # Those that have been named, by all databases.
        self._tables = tables
        self.dialect = dialect = engine.dialect
        maria = dialect.name == "mysql" and getattr(dialect, "is_mariadb", False)
        self.system = "mariadb" if maria else _SYSTEMS.get(dialect.name, dialect.name)
        self.engine_name = engine_name
        address, port, name = _server(engine, connection)
        # The first connection tells what the URL does not.
        self.complete = connection is not None
        self._server: Attributes = {}
        if address:
            self._server[server_attributes.SERVER_ADDRESS] = address
            if port:
                self._server[server_attributes.SERVER_PORT] = port
        self.common: Attributes = {db_attributes.DB_SYSTEM_NAME: self.system}
        if name:
            self.common[db_attributes.DB_NAMESPACE] = name
        if engine_name:
            self.common[ENGINE] = engine_name
        server = (f"{address}:{port}" if port else address) or self.system
        self.place = f"{server}/{name}" if name else server
        self.known: dict[str, Statement] = {}
        self._before: dict[str, Statement] = {}
        self._ends: dict[str, Statement] = {}

    def read(self, text: str) -> Statement:
        """What *text* is, which is in :attr:`known` from now on.

        Not to be asked for what is there: that a statement is used costs nothing but its look-up.
        """
        statement = self._before.get(text) or self._statement(text)
        if len(text) <= sql.LONGEST:
            known = self.known
            if len(known) >= _GENERATION:
                # What is wanted again comes over; the rest goes with the next generation.
                self._before, self.known = known, {}
            self.known[text] = statement
        return statement

    def _statement(self, text: str) -> Statement:
        operation, table = sql.operation(text, self.system)
        if table is not None and table not in self._tables:
            if len(self._tables) < _MOST_TABLES:
                self._tables.add(table)
            else:
                table = None
        name = f"{operation} {table}" if table else operation or self.system
        attributes = self._attributes_of(operation, table)

        def of_span() -> Attributes:
            known = self._of_span(attributes, name)
            known[db_attributes.DB_QUERY_TEXT] = sql.without_values(text, self.system)
            return known

        return Statement(name, attributes, of_span)

    def end(self, operation: str) -> Statement:
        """COMMIT or ROLLBACK, which nobody writes."""
        end = self._ends.get(operation)
        if end is None:
            attributes = self._attributes_of(operation, None)
            end = Statement(operation, attributes, lambda: self._of_span(attributes, operation))
            self._ends[operation] = end
        return end

    def _attributes_of(self, operation: str | None, table: str | None) -> Attributes:
        attributes = self.common.copy()
        if operation is not None:
            attributes[db_attributes.DB_OPERATION_NAME] = operation
        if table is not None:
            attributes[db_attributes.DB_COLLECTION_NAME] = table
        return attributes

    def _of_span(self, attributes: Attributes, name: str) -> Attributes:
        """*attributes* and what besides them a span of that *name* has."""
        known = attributes | self._server
        if db_attributes.DB_OPERATION_NAME in attributes:
            known[db_attributes.DB_QUERY_SUMMARY] = name
        return known


class Engines:
    """The databases of the engines that have been used; those of engines that are gone are not.

    *on_new* is told the dialect of each that has its first connection: what SQLAlchemy asks there
    itself, such as the server's version, is over.
    """

    def __init__(self, on_new: "Callable[[Dialect], None] | None" = None) -> None:
        self.on_new = on_new
        self._known: dict[int, tuple[Database, weakref.ref[Engine]]] = {}
        self._tables: set[str] = set()

    def of(self, engine: "Engine", connection: Any = None) -> Database:
        """That of *engine*, told by one of its pool's connections what its URL does not say."""
        found = self._known.get(id(engine))
        if found is not None:
            database = found[0]
            # The name may come after the first statement.
            if database.engine_name == _engine_name(engine) and (
                database.complete or connection is None
            ):
                return database
        return self._add(engine, connection)

    def _add(self, engine: "Engine", connection: Any) -> Database:
        name, key, known = _engine_name(engine), id(engine), self._known
        # Engine.execution_options() makes one for each call: they share what is known of theirs.
        database = next(
            (
                other
                for other, _ in known.copy().values()
                if other.dialect is engine.dialect
                and other.engine_name == name
                and (other.complete or connection is None)
            ),
            None,
        ) or Database(engine, name, connection, self._tables)
        if connection is not None and self.on_new is not None:
            # First: who finds it known relies on that.
            self.on_new(engine.dialect)
        known[key] = database, weakref.ref(engine, lambda _: known.pop(key, None))
        return database


def error_type(error: BaseException) -> str:
    """The class of the SQLSTATE, such as 23 for constraints; where there is none, its name."""
    code = sqlstate(error)
    return type_name(error) if code is None else code[:_CLASS]


def status_code(error: BaseException, system: AttributeValue) -> str | None:
    """What the database called the *error*."""
    if system in ("mysql", "mariadb"):
        code = error.args[0] if error.args else None
        return str(code) if isinstance(code, int) else None
    name = getattr(error, "sqlite_errorname", None)
    return name if isinstance(name, str) else sqlstate(error)


def _engine_name(engine: Any) -> str | None:
    name = getattr(engine, "c2c_name", None)
    if name is None:
        # What Engine.execution_options() makes has not the attributes of its engine.
        name = getattr(getattr(engine, "_proxied", None), "c2c_name", None)
    return name if isinstance(name, str) else None


def _server(engine: "Engine", connection: Any) -> tuple[str | None, int | None, str | None]:
    """Address, port and database as the URL says; else, for PostgreSQL, as its driver knows."""
    url = engine.url
    address, port, name = url.host, url.port, url.database
    if address is None and isinstance(host := url.query.get("host"), str) and "," not in host:
        address, _, text = (host, "", "") if host.startswith("/") else host.partition(":")
        port = int(text) if text.isdigit() else port
    if connection is not None and engine.dialect.name == "postgresql":
        info = getattr(connection.driver_connection, "info", None)
        name = name or getattr(info, "dbname", None)
        # Of several hosts, the next connection may be to another one.
        if address is None and "host" not in url.query:
            address, port = getattr(info, "host", None), getattr(info, "port", None)
    return address, port, name
