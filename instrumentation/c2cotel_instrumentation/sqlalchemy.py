"""Spans and durations of what SQLAlchemy asks a database, and the pools of its connections.

=====================================  ===============  ============  ============================
name                                   kind             unit          attributes
=====================================  ===============  ============  ============================
SELECT users                           span (client)                  see README.md beside this
                                                                      package
db.client.operation.duration           histogram        s             db.system.name, db.namespace,
                                                                      db.operation.name,
                                                                      db.collection.name,
                                                                      c2c.engine, error.type
db.client.connection.count             up-down counter  {connection}  those of all pools, and
                                                                      db.client.connection.state
db.client.connection.max               up-down counter  {connection}  those of all pools:
                                                                      db.client.connection.
                                                                      pool.name, c2c.engine
db.client.connection.idle.max          up-down counter  {connection}
db.client.connection.pending_requests  up-down counter  {request}
db.client.connection.timeouts          counter          {timeout}
db.client.connection.create_time       histogram        s
db.client.connection.wait_time         histogram        s             those of all pools, and
                                                                      error.type
db.client.connection.use_time          histogram        s
=====================================  ===============  ============  ============================

Each execution of a cursor is one measurement: wall-clock time from before it until it has
returned, without the fetching of rows. So are COMMIT and ROLLBACK of a transaction in which
something was asked. Borrowing a connection is a measurement of its pool and has no span.

An engine is measured from the first connection on that is borrowed from its pool after
``instrument()``, made before or after it, synchronous or not: its dialect's ``do_execute`` is
wrapped, which is the last that SQLAlchemy does before the driver's. So what others add to the text
of a statement (such as the id of the request) is neither on the span nor in the way of our cache,
and listeners of the application are not in the time. Events of SQLAlchemy would cost each statement
as much as all that is done here.

The span is not the current one while the statement runs: between two events of somebody else's
library nobody guarantees that it would be put back. A span that the driver's own instrumentor
makes is beside ours, not below. Where no span records, nothing is made for it; the sampler is not
asked about what lies below a span of this process that it has not sampled.

Statements never become attributes of metrics, nor do values become attributes of spans: of a
raw statement, literals are replaced by ``?``. Nothing that goes wrong in here reaches the
application.

Source: https://opentelemetry.io/docs/specs/semconv/db/.
"""

import sys
from collections.abc import Callable, Collection
from functools import partial, wraps
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import wrapt
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # no __all__
    BaseInstrumentor,
)
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import TracerProvider

from c2cotel_instrumentation.sql_engines import Engines
from c2cotel_instrumentation.sql_pools import Pools
from c2cotel_instrumentation.sql_statements import Statements
from c2cotel_instrumentation.wrapping import Wrappings

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.pool import PoolProxiedConnection

# They have no event that says when they are over.
_TRANSACTIONS: Final = {"_commit_impl": "COMMIT", "_rollback_impl": "ROLLBACK"}


class _Options(NamedTuple):
    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None
    early: bool


class _Listening(NamedTuple):
    statements: Statements
    pools: Pools
    early: bool


class SQLAlchemyInstrumentor(BaseInstrumentor):  # type: ignore[misc] # the base is untyped
    """Measure the statements and the pools of all SQLAlchemy engines of this process.

    Options of ``instrument()``: ``tracer_provider`` and ``meter_provider``, instead of the global
    ones; ``early``, whether others get to know the span before a statement is sent, in
    ``sql.RUNNING``. An engine is told from others by its attribute ``c2c_name``, if it has one.
    """

    _options: "_Options | None" = None
    _listening: _Listening | None = None
    # OpenTelemetry keeps one instance of each instrumentor.
    _wrappings = Wrappings()

    def instrumentation_dependencies(self) -> Collection[str]:
        # Written so that release candidates of a next version are welcome.
        return ("sqlalchemy >= 2.0.0rc1",)

    def _instrument(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        early: bool = False,
        auto_instrumentation: bool = False,
    ) -> None:
        del auto_instrumentation  # opentelemetry-instrument says that it was it
        self._options = _Options(tracer_provider, meter_provider, early)
        # Every Python process of the application comes by here: SQLAlchemy is not imported for it.
        wrapt.register_post_import_hook(self._listen, "sqlalchemy")

    def _uninstrument(self, **_: Any) -> None:
        self._options = None
        if (module := sys.modules.get("sqlalchemy")) is not None:
            self._unlisten(module)

    def _listen(self, module: ModuleType) -> None:
        if (options := self._options) is None or self._listening is not None:
            return
        meter = get_meter(
            __name__, version("c2cotel"), options.meter_provider, schema_url=Schemas.V1_44_0.value
        )
        engines = Engines()
        statements = Statements(engines, meter, options.tracer_provider, early=options.early)
        engines.on_new = statements.measure
        pools = Pools(engines, meter, module.exc.TimeoutError)
        self._listening = _Listening(statements, pools, options.early)
        for target, event, function, how in _events(module, self._listening):
            module.event.listen(target, event, function, **how)
        self._wrappings.wrap(module.Engine, "raw_connection", self._borrowing)
        for name, operation in _TRANSACTIONS.items():
            # Not public: a version without it is one without this duration.
            if hasattr(module.Connection, name):
                self._wrappings.wrap(
                    module.Connection, name, partial(self._ending, operation=operation)
                )

    def _unlisten(self, module: ModuleType) -> None:
        if (listening := self._listening) is None:
            return
        self._wrappings.undo()
        for target, event, function, _ in _events(module, listening):
            module.event.remove(target, event, function)
        self._listening = None
        listening.statements.stop()
        listening.pools.forget()

    def _borrowing(self, original: "Callable[..., PoolProxiedConnection]") -> Callable[..., Any]:
        @wraps(original)
        def raw_connection(engine: "Engine") -> "PoolProxiedConnection":
            listening = self._listening
            if listening is None:
                return original(engine)
            return listening.pools.borrow(original, engine)

        return raw_connection

    def _ending(self, original: Callable[..., None], operation: str) -> Callable[..., None]:
        @wraps(original)
        def end_transaction(connection: "Connection") -> None:
            statements = None if self._listening is None else self._listening.statements
            running = None if statements is None else statements.begin_end(connection, operation)
            if statements is None or running is None:
                return original(connection)
            try:
                original(connection)
            except BaseException as error:
                statements.failed(running, getattr(error, "orig", None) or error)
                raise
            return statements.ended(running)

        return end_transaction


def _events(
    module: ModuleType, listening: _Listening
) -> tuple[tuple[Any, str, Callable[..., Any], dict[str, bool]], ...]:
    statements, pools, early = listening
    of_pools: tuple[Any, ...] = (
        (module.pool.Pool, "connect", pools.created, {}),
        (module.pool.Pool, "checkin", pools.returned, {}),
        (module.pool.Pool, "detach", pools.returned, {}),
    )
    if not early:
        return of_pools
    return (
        *of_pools,
        (module.Engine, "before_cursor_execute", statements.before, {"insert": True}),
        (module.Engine, "handle_error", statements.not_sent, {}),
    )
