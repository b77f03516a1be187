"""Spans and durations of what SQLAlchemy asks a database.

=============================  =============  ====  =========================================
name                           kind           unit  attributes
=============================  =============  ====  =========================================
SELECT users                   span (client)        see README.md beside this package
db.client.operation.duration   histogram      s     db.system.name, db.namespace,
                                                    db.operation.name, db.collection.name,
                                                    c2c.engine, error.type
=============================  =============  ====  =========================================

Each execution of a cursor is one measurement: wall-clock time from before it until it has
returned, without the fetching of rows. COMMIT and ROLLBACK are in the histogram, because the
database may do its work there; they have no span of their own.

It listens to the events of the ``Engine`` class, so every engine is seen, made before or after
``instrument()``, synchronous or not. Our listener is the first one of an engine: what others add to
the text of a statement (such as the id of the request) is neither on the span nor in the way of our
cache.

The span is not the current one while the statement runs: between two events of somebody else's
library nobody guarantees that it would be put back. A span that the driver's own instrumentor
makes is beside ours, not below. Where no span records, nothing is made for it.

Statements never become attributes of metrics, nor do values become attributes of spans: of a
raw statement, literals are replaced by ``?``. Nothing that goes wrong in here reaches the
application.

Source: https://opentelemetry.io/docs/specs/semconv/db/.
"""

import logging
import sys
from collections.abc import Callable, Collection
from functools import partial, wraps
from importlib.metadata import version
from time import perf_counter
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import wrapt
from opentelemetry import trace
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # no __all__
    BaseInstrumentor,
)
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.semconv.attributes import db_attributes, error_attributes, server_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import Span, SpanKind, TracerProvider
from opentelemetry.util.types import AttributeValue

from c2cotel_instrumentation import sql
from c2cotel_instrumentation.errors import Complaint, fail, type_name
from c2cotel_instrumentation.wrapping import Wrappings

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine, ExceptionContext, ExecutionContext

# The advice of the conventions for db.client.operation.duration.
_BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
_ENGINE: Final = "c2c.engine"
_SYSTEMS: Final = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}

# Where the statement being measured lies in the __dict__ of its ExecutionContext, while it is.
_RUNNING: Final = "_c2cotel_running"
# They have no event that says when they are over.
_TRANSACTIONS: Final = {"_commit_impl": "COMMIT", "_rollback_impl": "ROLLBACK"}

_logger = logging.getLogger(__name__)


class SQLAlchemyInstrumentor(BaseInstrumentor):  # type: ignore[misc] # the base is untyped
    """Measure the statements of all SQLAlchemy engines of this process.

    Options of ``instrument()``: ``tracer_provider`` and ``meter_provider``, instead of the global
    ones. An engine is told from others by its attribute ``c2c_name``, if it has one.
    """

    _statements: "_Statements | None" = None
    _listening: "_Statements | None" = None
    # OpenTelemetry keeps one instance of each instrumentor.
    _wrappings = Wrappings()

    def instrumentation_dependencies(self) -> Collection[str]:
        # Written so that release candidates of a next version are welcome.
        return ("sqlalchemy >= 2.0.0rc1",)

    def _instrument(self, **options: Any) -> None:
        options.pop("auto_instrumentation", None)
        self._statements = _Statements(**options)
        # Every Python process of the application comes by here: SQLAlchemy is not imported for it.
        wrapt.register_post_import_hook(self._listen, "sqlalchemy")

    def _uninstrument(self, **_: Any) -> None:
        self._statements = None
        if (module := sys.modules.get("sqlalchemy")) is not None:
            self._unlisten(module)

    def _listen(self, module: ModuleType) -> None:
        statements = self._statements
        if statements is None or self._listening is not None:
            return
        self._listening = statements
        listen, engine = module.event.listen, module.Engine
        listen(engine, "before_cursor_execute", statements.before, retval=True, insert=True)
        listen(engine, "after_cursor_execute", statements.after)
        listen(engine, "handle_error", statements.failed)
        for name, operation in _TRANSACTIONS.items():
            # Not public: a version without it is one without this duration.
            if hasattr(module.Connection, name):
                self._wrappings.wrap(
                    module.Connection, name, partial(self._timing, operation=operation)
                )

    def _unlisten(self, module: ModuleType) -> None:
        if (statements := self._listening) is None:
            return
        self._wrappings.undo()
        remove, engine = module.event.remove, module.Engine
        remove(engine, "handle_error", statements.failed)
        remove(engine, "after_cursor_execute", statements.after)
        remove(engine, "before_cursor_execute", statements.before)
        self._listening = None

    def _timing(self, original: Callable[..., None], operation: str) -> Callable[..., None]:
        @wraps(original)
        def end_transaction(connection: "Connection") -> None:
            statements = self._statements
            # Without a connection SQLAlchemy has nothing to send.
            if statements is None or connection.closed or connection.invalidated:
                return original(connection)
            start, error = perf_counter(), None
            try:
                return original(connection)
            except BaseException as raised:
                error = raised
                raise
            finally:
                statements.transaction_ended(connection, operation, perf_counter() - start, error)

        return end_transaction


class _Running:
    """One statement being measured."""

    __slots__ = ("attributes", "span", "start")

    def __init__(self, attributes: dict[str, AttributeValue], span: Span) -> None:
        self.attributes = attributes
        self.span = span
        self.start = perf_counter()


class _Statements:
    """What all statements share: made once per ``instrument()``."""

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        scope = __name__, version("c2cotel")
        schema = Schemas.V1_44_0.value
        self._tracer = trace.get_tracer(*scope, tracer_provider, schema_url=schema)
        self._duration = get_meter(*scope, meter_provider, schema_url=schema).create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self._databases: WeakKeyDictionary[Engine, _Database] = WeakKeyDictionary()
        self._complain = Complaint(
            _logger, "A statement could not be measured; it goes on. Further ones are not logged."
        )

    # The three events, with SQLAlchemy's arguments.

    def before(
        self,
        connection: "Connection",
        _cursor: object,
        statement: str,
        parameters: Any,
        context: "ExecutionContext | None",
        executemany: bool,  # noqa: FBT001 - as said
    ) -> tuple[str, Any]:
        try:
            if context is not None and is_instrumentation_enabled():
                self._begin(connection, statement, parameters if executemany else None, context)
        except Exception as error:  # noqa: BLE001 - the statement goes on without us
            self._complain(error)
        return statement, parameters

    def after(
        self,
        _connection: object,
        _cursor: object,
        _statement: object,
        _parameters: object,
        context: "ExecutionContext",
        _executemany: object,
    ) -> None:
        try:
            if (running := context.__dict__.pop(_RUNNING, None)) is not None:
                self._duration.record(perf_counter() - running.start, running.attributes)
                running.span.end()
        except Exception as error:  # noqa: BLE001 - the result goes to the application all the same
            self._complain(error)

    def failed(self, failure: "ExceptionContext") -> None:
        """Also called for what is no statement, such as a connection that cannot be made."""
        try:
            context = failure.execution_context
            running = None if context is None else context.__dict__.pop(_RUNNING, None)
            if running is not None:
                self._fail(running, failure)
        except Exception as error:  # noqa: BLE001 - the application gets its own error
            self._complain(error)

    def transaction_ended(
        self,
        connection: "Connection",
        operation: str,
        elapsed: float,
        error: BaseException | None,
    ) -> None:
        try:
            if is_instrumentation_enabled():
                attributes = self._database(connection).of(operation, None)
                if error is not None:
                    attributes[error_attributes.ERROR_TYPE] = type_name(
                        getattr(error, "orig", error)
                    )
                self._duration.record(elapsed, attributes)
        except Exception as problem:  # noqa: BLE001 - the transaction has ended, whatever happens here
            self._complain(problem)

    def _begin(
        self, connection: "Connection", statement: str, many: Any, context: "ExecutionContext"
    ) -> None:
        database = self._database(connection)
        operation, table = sql.operation(statement, database.system)
        # Several rows in one INSERT are one operation; their parameters are no list.
        batch = len(many) if isinstance(many, list) else 1
        if batch > 1 and operation is not None:
            operation = f"BATCH {operation}"
        attributes = database.of(operation, table)
        name = f"{operation} {table}" if table else operation or database.system
        # What is known for nothing: samplers may look at it, and later costs more.
        known = attributes | database.server if database.server else attributes
        span = self._tracer.start_span(name, None, SpanKind.CLIENT, known)
        running = context.__dict__[_RUNNING] = _Running(attributes, span)
        if span.is_recording():
            text = sql.without_values(statement, database.system)
            span.set_attribute(db_attributes.DB_QUERY_TEXT, text)
            if batch > 1:
                span.set_attribute(db_attributes.DB_OPERATION_BATCH_SIZE, batch)
            running.start = perf_counter()

    def _fail(self, running: _Running, failure: "ExceptionContext") -> None:
        # The driver's exception: SQLAlchemy's has all values of the statement in its text.
        error = failure.original_exception
        error_type = type_name(error)
        self._duration.record(
            perf_counter() - running.start,
            running.attributes | {error_attributes.ERROR_TYPE: error_type},
        )
        span = running.span
        try:
            if span.is_recording():
                span.set_attribute(error_attributes.ERROR_TYPE, error_type)
                system = running.attributes[db_attributes.DB_SYSTEM_NAME]
                if (code := _status_code(error, system)) is not None:
                    span.set_attribute(db_attributes.DB_RESPONSE_STATUS_CODE, code)
                fail(span, error)
        finally:
            span.end()

    def _database(self, connection: "Connection") -> "_Database":
        engine = connection.engine
        database = self._databases.get(engine)
        # The name may come after the first statement.
        if database is None or database.engine_name != _engine_name(engine):
            database = self._databases[engine] = _Database(connection)
        return database


class _Database:
    """What the statements of one engine have in common."""

    __slots__ = ("_common", "engine_name", "server", "system")

    def __init__(self, connection: "Connection") -> None:
        engine = connection.engine
        dialect = engine.dialect
        maria = dialect.name == "mysql" and getattr(dialect, "is_mariadb", False)
        self.system = "mariadb" if maria else _SYSTEMS.get(dialect.name, dialect.name)
        self.engine_name = _engine_name(engine)
        address, port, name = _server(connection)
        self.server: dict[str, AttributeValue] = {}
        if address:
            self.server[server_attributes.SERVER_ADDRESS] = address
            if port:
                self.server[server_attributes.SERVER_PORT] = port
        self._common: dict[str, AttributeValue] = {db_attributes.DB_SYSTEM_NAME: self.system}
        if name:
            self._common[db_attributes.DB_NAMESPACE] = name
        if self.engine_name:
            self._common[_ENGINE] = self.engine_name

    def of(self, operation: str | None, table: str | None) -> dict[str, AttributeValue]:
        """The attributes of this operation's duration, new each time."""
        attributes = self._common.copy()
        if operation is not None:
            attributes[db_attributes.DB_OPERATION_NAME] = operation
        if table is not None:
            attributes[db_attributes.DB_COLLECTION_NAME] = table
        return attributes


def _engine_name(engine: Any) -> str | None:
    name = getattr(engine, "c2c_name", None)
    if name is None:
        # What Engine.execution_options() makes has not the attributes of its engine.
        name = getattr(getattr(engine, "_proxied", None), "c2c_name", None)
    return name if isinstance(name, str) else None


def _server(connection: "Connection") -> tuple[str | None, int | None, str | None]:
    """Address, port and database as the URL says; else, for PostgreSQL, as its driver knows."""
    url = connection.engine.url
    address, port, name = url.host, url.port, url.database
    if address is None and isinstance(host := url.query.get("host"), str) and "," not in host:
        address, _, text = (host, "", "") if host.startswith("/") else host.partition(":")
        port = int(text) if text.isdigit() else port
    if name is None and connection.dialect.name == "postgresql":
        info = getattr(connection.connection.driver_connection, "info", None)
        name = getattr(info, "dbname", None)
        # Of several hosts, the next connection may be to another one.
        if address is None and "host" not in url.query:
            address, port = getattr(info, "host", None), getattr(info, "port", None)
    return address, port, name


def _status_code(error: BaseException, system: AttributeValue) -> str | None:
    if system in ("mysql", "mariadb"):
        code = error.args[0] if error.args else None
        return str(code) if isinstance(code, int) else None
    for attribute in ("sqlstate", "pgcode", "sqlite_errorname"):
        if isinstance(code := getattr(error, attribute, None), str):
            return code
    return None
