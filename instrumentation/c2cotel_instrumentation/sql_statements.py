"""Spans and durations of statements and of the ends of transactions."""

import logging
import weakref
from collections.abc import Callable
from functools import partial, wraps
from importlib.metadata import version
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

# The keys are private, and change with the API, of which exactly one version is used here. Asking
# with them takes a fifth of the time of is_instrumentation_enabled() and get_current_span().
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESSED
from opentelemetry.context import get_current
from opentelemetry.instrumentation.utils import (
    _SUPPRESS_INSTRUMENTATION_KEY_PLAIN as _SUPPRESSED_TOO,
)
from opentelemetry.metrics import Meter
from opentelemetry.semconv.attributes import db_attributes, error_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import Span, SpanKind, TraceFlags, TracerProvider
from opentelemetry.trace.propagation import _SPAN_KEY as _SPAN
from opentelemetry.util.types import AttributeValue

from c2cotel_instrumentation import sql
from c2cotel_instrumentation.errors import Complaint, fail
from c2cotel_instrumentation.sql_engines import (
    Attributes,
    Database,
    Engines,
    error_type,
    status_code,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect, ExceptionContext, ExecutionContext

# The advice of the conventions for db.client.operation.duration.
_BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
_SAMPLED: Final = TraceFlags.SAMPLED

# When it began, what its duration has as attributes, and its span, unless it is not recorded.
Running = tuple[float, Attributes, Span | None]
# Its database, and the span that its last statement was below, with whether that is unsampled.
_Used = tuple[Database, Any, bool]
# The attribute of a Connection whose transaction has a statement.
_USED: Final = "_c2cotel_used"
# libpq's ACTIVE, INTRANS and INERROR.
_IN_TRANSACTION: Final = (1, 2, 3)

_logger = logging.getLogger(__name__)


class Statements:
    """What all statements share: made once per ``instrument()``."""

    def __init__(
        self,
        engines: Engines,
        meter: Meter,
        tracer_provider: TracerProvider | None,
        *,
        early: bool,
    ) -> None:
        self._engines = engines
        self._early = early
        self._tracer = trace.get_tracer(
            "c2cotel_instrumentation.sqlalchemy",
            version("c2cotel"),
            tracer_provider,
            schema_url=Schemas.V1_44_0.value,
        )
        self._duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self._complain = Complaint(
            _logger, "A statement could not be measured; it goes on. Further ones are not logged."
        )
        # Those that we measure, and what we have put there.
        self._dialects: weakref.WeakSet[Dialect] = weakref.WeakSet()
        self._wrappers: weakref.WeakSet[Callable[..., None]] = weakref.WeakSet()
        self._on = True

    # What a dialect does with a statement.

    def measure(self, dialect: "Dialect") -> None:
        """From now on, measure what *dialect* executes."""
        if dialect in self._dialects:
            return
        present = vars(dialect)
        for name, measured in (
            ("do_execute", self._measured),
            ("do_executemany", partial(self._measured, many=True)),
            ("do_execute_no_params", self._measured_without),
        ):
            wrapper = measured(getattr(dialect, name))
            self._wrappers.add(wrapper)
            # Of two threads that come at once, one does it; somebody else's is wrapped.
            if (found := present.setdefault(name, wrapper)) not in self._wrappers:
                setattr(dialect, name, measured(found))
                self._wrappers.add(present[name])
        self._dialects.add(dialect)

    def stop(self) -> None:
        self._on = False
        for dialect in tuple(self._dialects):
            for name, wrapper in tuple(vars(dialect).items()):
                # Who has wrapped ours calls it still.
                if not callable(wrapper) or wrapper not in self._wrappers:
                    continue
                original = wrapper.__wrapped__
                if getattr(original, "__self__", None) is dialect:
                    delattr(dialect, name)
                else:
                    setattr(dialect, name, original)
        self._dialects.clear()

    def _measured(
        self, original: Callable[..., None], *, many: bool = False
    ) -> Callable[..., None]:
        begin, ended, failed = self._begin, self.ended, self.failed

        @wraps(original)
        def execute(cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
            running = begin(statement, context, parameters if many else None)
            if running is None:
                return original(cursor, statement, parameters, context)
            try:
                original(cursor, statement, parameters, context)
            except BaseException as error:
                failed(running, error)
                raise
            return ended(running, context)

        return execute

    def _measured_without(self, original: Callable[..., None]) -> Callable[..., None]:
        @wraps(original)
        def execute(cursor: Any, statement: str, context: Any = None) -> None:
            running = self._begin(statement, context)
            if running is None:
                return original(cursor, statement, context)
            try:
                original(cursor, statement, context)
            except BaseException as error:
                self.failed(running, error)
                raise
            return self.ended(running, context)

        return execute

    def _begin(self, statement: str, context: Any, many: Any = None) -> Running | None:
        try:
            if not self._on or context is None:
                return None
            if self._early and (running := context.__dict__.pop(sql.RUNNING, None)) is not None:
                return running  # type: ignore[no-any-return] # before() has put it there
            current = get_current()
            if current.get(_SUPPRESSED) or current.get(_SUPPRESSED_TOO):
                return None
            connection, parent = context.root_connection, current.get(_SPAN)
            # Not in its __dict__: an object has none until somebody asks for it.
            used: _Used | None = getattr(connection, _USED, None)
            if used is None or used[1] is not parent:
                used = self._use(connection, parent)
            database, _, unsampled = used
            # What others have added to the text, such as a request's id, makes each a new one.
            text = context.statement
            if statement is not text and (text is None or text not in statement):
                text = statement
            asked = database.known.get(text) or database.read(text)
            # Several rows in one INSERT are one operation; their parameters are no list.
            if many is not None and isinstance(many, list) and len(many) > 1:
                asked = asked.as_batch(len(many))
            span = None
            if not unsampled:
                span = self._tracer.start_span(asked.name, current, SpanKind.CLIENT, asked.of_span)
            return perf_counter(), asked.attributes, span
        except Exception as error:  # noqa: BLE001 - the statement goes on without us
            self._complain(error)
            return None

    def _use(self, connection: "Connection", parent: Any) -> _Used:
        used = self._engines.of(connection.engine), parent, _is_unsampled(parent)
        setattr(connection, _USED, used)
        return used

    def ended(self, running: Running, context: "ExecutionContext | None" = None) -> None:
        try:
            began, attributes, span = running
            self._duration.record(perf_counter() - began, attributes)
            if span is None:
                return
            held = getattr(context, sql.HELD, None)
            if held is None or not span.is_recording():
                span.end()
            else:
                # Somebody has more to say about it, and ends it then.
                held.append((span, time_ns()))
        except Exception as error:  # noqa: BLE001 - the result goes to the application all the same
            self._complain(error)

    def failed(self, running: Running, error: BaseException) -> None:
        """*error* is the driver's: SQLAlchemy's has all values of the statement in its text."""
        try:
            began, attributes, span = running
            elapsed, kind = perf_counter() - began, error_type(error)
            self._duration.record(elapsed, attributes | {error_attributes.ERROR_TYPE: kind})
            if span is not None:
                _fail(span, error, kind, attributes[db_attributes.DB_SYSTEM_NAME])
        except Exception as problem:  # noqa: BLE001 - the application gets its own error
            self._complain(problem)

    # Events, where others want to know the span before the statement is sent.

    def before(
        self,
        _connection: object,
        _cursor: object,
        statement: str,
        parameters: Any,
        context: "ExecutionContext | None",
        executemany: bool,  # noqa: FBT001 - SQLAlchemy's
    ) -> None:
        running = self._begin(statement, context, parameters if executemany else None)
        if running is not None and context is not None:
            context.__dict__[sql.RUNNING] = running

    def not_sent(self, failure: "ExceptionContext") -> None:
        """Also called for what is no statement, such as a connection that cannot be made."""
        context = failure.execution_context
        running = None if context is None else context.__dict__.pop(sql.RUNNING, None)
        if running is not None:
            self.failed(running, failure.original_exception)

    # The end of a transaction, which has no event of its own.

    def begin_end(self, connection: "Connection", operation: str) -> Running | None:
        """Of the COMMIT or ROLLBACK that comes; None if there is nothing to end."""
        try:
            used: _Used | None = getattr(connection, _USED, None)
            if used is not None:
                setattr(connection, _USED, None)
            # Without a connection SQLAlchemy has nothing to send.
            if connection.closed or connection.invalidated or _commits_itself(connection):
                return None
            current = get_current()
            if current.get(_SUPPRESSED) or current.get(_SUPPRESSED_TOO):
                return None
            if used is None and not _is_in_transaction(connection):
                return None
            if used is None or used[1] is not current.get(_SPAN):
                used = self._use(connection, current.get(_SPAN))
            setattr(connection, _USED, None)
            end, span = used[0].end(operation), None
            if not used[2]:
                span = self._tracer.start_span(end.name, current, SpanKind.CLIENT, end.of_span)
        except Exception as error:  # noqa: BLE001 - the transaction ends without us
            self._complain(error)
            return None
        return perf_counter(), end.attributes, span


def _fail(span: Span, error: BaseException, kind: str, system: AttributeValue) -> None:
    try:
        if span.is_recording():
            span.set_attribute(error_attributes.ERROR_TYPE, kind)
            if (code := status_code(error, system)) is not None:
                span.set_attribute(db_attributes.DB_RESPONSE_STATUS_CODE, code)
            fail(span, error)
    finally:
        span.end()


def _is_unsampled(parent: Any) -> bool:
    """Whether *parent* was made here and is not recorded: what it asks is not, either."""
    if parent is None or parent.is_recording():
        return False
    of_parent = parent.get_span_context()
    # One that is sampled and has ended is still the parent of what comes.
    return not of_parent.trace_flags & _SAMPLED and of_parent.is_valid and not of_parent.is_remote


def _commits_itself(connection: "Connection") -> bool:
    # Not public: without it, such a connection counts its empty commits.
    ask = getattr(connection, "_is_autocommit_isolation", None)
    return ask is not None and ask() is True


def _is_in_transaction(connection: "Connection") -> bool:
    """Whether the driver knows of a statement that did not come by here, such as a COPY."""
    driver = connection.connection.driver_connection
    if isinstance(known := getattr(driver, "in_transaction", None), bool):
        return known
    status = getattr(getattr(driver, "info", None), "transaction_status", None)
    return status in _IN_TRANSACTION
