"""Which statements take the time, and how PostgreSQL executes them: only while it is asked for.

===========================  ==========  ======================================================
name                         kind        attributes
===========================  ==========  ======================================================
c2c.sql.plan                 span event  c2c.sql.plan (JSON), c2c.sql.plan.source,
                                         c2c.sql.fingerprint
``c2cotel.sql_profiler``     log record  statement, parameters, plan (text), duration (s),
                                         fingerprint, route
===========================  ==========  ======================================================

``instrument()`` alone does nothing: :meth:`SqlProfilerInstrumentor.profile` begins and ends, also
under load. SQLAlchemy's listeners must not change while others run, and cost something always; so
none is used: the method of ``Connection`` that executes is wrapped meanwhile.

The plan is the one of the real execution where the server tells it (auto_explain), else what
EXPLAIN says: see :mod:`~c2cotel_instrumentation.sql_explaining`. It is on the statement's span; on
the current one, if the statement has none or a server-side cursor tells it when it is closed.
Neither it nor the log has values, unless they are asked for; the log is at INFO. A notice handler
of the application's own gets what the server tells, with values.

Nothing that goes wrong in here reaches the application.
"""

import logging
import random
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import wraps
from time import perf_counter, time_ns
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

import wrapt
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # no __all__
    BaseInstrumentor,
)
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import Span, get_current_span

from c2cotel_instrumentation import sql, sql_plans
from c2cotel_instrumentation.errors import Complaint, type_name
from c2cotel_instrumentation.routes import current_route
from c2cotel_instrumentation.sql_engines import Engines
from c2cotel_instrumentation.sql_executions import Executed, log, shown
from c2cotel_instrumentation.sql_explaining import (
    EXPLAINABLE,
    Answer,
    Explainer,
    Explainers,
    Wish,
    let_plans_be_logged,
)
from c2cotel_instrumentation.sql_plans import Plan
from c2cotel_instrumentation.wrapping import Wrappings

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, ExecutionContext

__all__ = ["Audience", "Executed", "Plan", "Rules", "SqlProfilerInstrumentor"]

EVENT: Final = "c2c.sql.plan"
# Not public; all versions that we ask for have them.
_EXECUTING: Final = ("_exec_single_context", "_exec_insertmany_context")
# In the __dict__ of a SQLAlchemy Connection: whether its transaction is in the sample.
_SAMPLED: Final = "_c2cotel_sampled"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules(Wish):
    """What is profiled.

    Attributes:
        route: Only statements of requests whose route's pattern matches, ``*`` being any text;
            empty for all, also outside of requests.
    """

    route: str = ""


class Audience(Protocol):
    """Who is told; from any thread."""

    def executed(self, execution: Executed) -> None:
        """A statement has been executed, or has failed."""

    def planned(self, execution: Executed, plan: Plan) -> None:
        """Its plan is known; of a server-side cursor, later."""


class SqlProfilerInstrumentor(BaseInstrumentor):  # type: ignore[misc] # the base is untyped
    """Profile the statements of all SQLAlchemy engines of this process, when told to."""

    _profiling: "_Profiling | None" = None
    # OpenTelemetry keeps one instance of each instrumentor.
    _wrappings = Wrappings()

    def instrumentation_dependencies(self) -> Collection[str]:
        return ("sqlalchemy >= 2.0.0rc1",)

    def _instrument(self, **_: Any) -> None:
        wrapt.register_post_import_hook(self._wrap, "sqlalchemy")

    def _uninstrument(self, **_: Any) -> None:
        self.profile(None)
        let_plans_be_logged()

    def profile(self, rules: Rules | None, audience: Audience | None = None) -> None:
        """Begin to profile by these *rules*, in the place of others; None ends it.

        Raises:
            RuntimeError: there are rules, but ``instrument()`` has not been called.
        """
        if rules is not None and not self.is_instrumented_by_opentelemetry:
            raise RuntimeError("the instrumentor sql_profiler is not on")
        before = self._profiling
        self._profiling = None if rules is None else _Profiling(rules, audience)
        if rules is None:
            self._wrappings.undo()
        elif (module := sys.modules.get("sqlalchemy")) is not None:
            self._wrap(module)
        if before is not None:
            before.stop()

    def _wrap(self, module: ModuleType) -> None:
        connection = getattr(module, "Connection", None)  # None: it is being imported
        if self._profiling is not None and connection is not None:
            for name in _EXECUTING:
                self._wrappings.wrap(connection, name, self._executing)

    def _executing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def execute(
            connection: "Connection", dialect: Any, context: "ExecutionContext", *others: Any
        ) -> Any:
            profiling = self._profiling
            running = None if profiling is None else profiling.begin(connection, context)
            if profiling is None or running is None:
                return original(connection, dialect, context, *others)
            try:
                result = original(connection, dialect, context, *others)
            except BaseException as error:
                profiling.end(running, error)
                raise
            profiling.end(running, None)
            return result

        return execute


@dataclass
class _Running:
    """A statement that is being executed."""

    connection: "Connection"
    context: "ExecutionContext"
    execution: Executed
    explainer: Explainer | None
    sampled: bool
    # The statement's spans, with the time at which each should have ended.
    spans: list[tuple[Span, int]] = field(default_factory=list)
    start: float = 0.0


class _Profiling:
    """Once per ``profile()``."""

    def __init__(self, rules: Rules, audience: Audience | None) -> None:
        self._rules = rules
        self._audience = audience
        self._engines = Engines()
        self._explainers = Explainers(rules, self._planned_late)
        self._complain = Complaint(
            _logger, "A statement could not be profiled; it goes on. Further ones are not logged."
        )

    def stop(self) -> None:
        self._explainers.stop()

    def begin(self, connection: "Connection", context: "ExecutionContext") -> _Running | None:
        try:
            return self._begin(connection, context)
        except Exception as error:  # noqa: BLE001 - the statement goes on without us
            self._complain(error)
            return None

    def end(self, running: _Running, error: BaseException | None) -> None:
        elapsed = perf_counter() - running.start
        try:
            running.context.__dict__.pop(sql.HELD, None)
            self._end(running, elapsed, error)
        except Exception as problem:  # noqa: BLE001 - the application has its result, or its error
            self._complain(problem)
        finally:
            for span, ended in running.spans:
                span.end(ended)

    def _begin(self, connection: "Connection", context: "ExecutionContext") -> _Running | None:
        statement = context.statement
        if not isinstance(statement, str) or not is_instrumentation_enabled():
            return None
        if connection.get_transaction() is None:  # SQLAlchemy's own questions on a new connection
            return None
        route = current_route()
        if self._rules.route and not (route and fnmatchcase(route, self._rules.route)):
            return None
        database = self._engines.of(connection.engine)
        operation = sql.operation(statement, database.system).name
        explainer = self._explainers.of(connection)
        if explainer is not None and operation not in EXPLAINABLE:
            explainer.forget(connection)
        above = get_current_span().get_span_context()
        running = _Running(
            connection,
            context,
            Executed(
                sql_plans.fingerprint(statement, database.system),
                operation,
                database.engine_name,
                route,
                statement,
                shown(context.parameters, values=self._rules.values),
                trace_id=above.trace_id,
                span_id=above.span_id,
            ),
            explainer,
            sampled=operation in EXPLAINABLE and self._is_sampled(connection),
        )
        if running.sampled:
            if explainer is not None:
                explainer.begin(connection, context, running.execution)
            context.__dict__[sql.HELD] = running.spans
        running.start = perf_counter()
        return running

    def _end(self, running: _Running, elapsed: float, error: BaseException | None) -> None:
        execution = running.execution
        execution.duration = elapsed
        if error is not None:
            execution.error = type_name(getattr(error, "orig", None) or error)
        if running.spans:
            execution.span_id = running.spans[-1][0].get_span_context().span_id
        if self._audience is not None:
            self._audience.executed(execution)
        answer = self._answer(running)
        if answer is not None:
            span = running.spans[-1][0] if running.spans else get_current_span()
            self._tell(execution, answer, span)

    def _answer(self, running: _Running) -> Answer | None:
        """The plan, or why there is none; None if there is nothing to say."""
        execution, explainer = running.execution, running.explainer
        if not running.sampled or execution.error is not None:
            return None
        if explainer is not None:
            return explainer.answer(
                running.connection, running.context, execution.operation or "", execution.duration
            )
        if execution.duration < self._rules.min_duration:
            return None
        return "plans are read of PostgreSQL only, with psycopg or psycopg2"

    def _is_sampled(self, connection: "Connection") -> bool:
        """Whether plans of this transaction are wanted: all of it, or nothing."""
        if self._rules.sample_rate >= 1:
            return True
        transaction = connection.get_transaction()
        known = connection.__dict__.get(_SAMPLED)
        if known is None or known[0] is not self or known[1] is not transaction:
            chosen = random.random() < self._rules.sample_rate  # noqa: S311 - a sample, no secret
            known = connection.__dict__[_SAMPLED] = self, transaction, chosen
        return bool(known[2])

    def _planned_late(self, execution: Executed, plan: Plan) -> None:
        try:
            self._tell(execution, plan, get_current_span())
        except Exception as problem:  # noqa: BLE001 - the driver calls it
            self._complain(problem)

    def _tell(self, execution: Executed, answer: Answer, span: Span) -> None:
        if isinstance(answer, Plan):
            if self._audience is not None:
                self._audience.planned(execution, answer)
            if span.is_recording():
                attributes = {
                    "c2c.sql.plan": answer.json(),
                    "c2c.sql.plan.source": answer.source,
                    "c2c.sql.fingerprint": execution.fingerprint.digest,
                }
                span.add_event(EVENT, attributes, time_ns())
        log(execution, answer, values=self._rules.values)
