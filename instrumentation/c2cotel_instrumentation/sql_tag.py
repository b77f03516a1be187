"""Tell the database which request a statement belongs to.

========================  =====================================================================
``tag``                   what PostgreSQL's log, ``pg_stat_activity`` and others then show
========================  =====================================================================
``off``                   nothing
``static``                ``/*application='shop',framework='pyramid',route='/hello/%7Bname%7D'*/``
                          at the end of each statement
``traceparent``           with ``request_id='…'`` and ``traceparent='…'`` besides, where the span
                          of the statement is sampled
``application_name``      the request id as ``application_name``, during its transactions
========================  =====================================================================

Comments are written for every database, also outside of requests, where they have the
application alone (see :mod:`c2cotel_instrumentation.sql_comments`). A constant one leaves
prepared statements as they are, once for each route. One that changes with each request costs them:
the database plans each statement again. ``pg_stat_statements`` counts statements without comments,
and shows the first one's.

The name is PostgreSQL's alone, of transactions within requests (see
:mod:`c2cotel_instrumentation.sql_names`). Any other one keeps the application's own.

An engine, or a statement, has a say by its execution option ``c2c_sql_tag``: ``False`` leaves it
alone, and a text is its ``application``.
"""

import logging
import sys
from collections.abc import Callable, Collection
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import wrapt
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # no __all__
    BaseInstrumentor,
)
from opentelemetry.trace import get_current_span

from c2cotel_instrumentation.context import current_request_id
from c2cotel_instrumentation.errors import Complaint
from c2cotel_instrumentation.routes import current_request, route_of
from c2cotel_instrumentation.sql import RUNNING
from c2cotel_instrumentation.sql_comments import Keys, changing, commented, constant
from c2cotel_instrumentation.sql_names import Names

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, ExecutionContext

Tag = Literal["off", "static", "traceparent", "application_name"]

_OPTION: Final = "c2c_sql_tag"
# In their statements, a percent sign is written twice; but not where this one finds a text.
_PERCENTS: Final = frozenset(("format", "pyformat"))
_PLAIN: Final = "pg8000"

_logger = logging.getLogger(__name__)


class SqlTagInstrumentor(BaseInstrumentor):  # type: ignore[misc] # the base is untyped
    """Tag the statements of all SQLAlchemy engines of this process.

    To tell the span of a statement, it listens after what makes that: ``instrument()`` comes after
    that of the SQLAlchemyInstrumentor, which is told to be ``early``.

    Options of ``instrument()``:

    * ``tag``: one of those above, ``off`` without it;
    * ``request_id``: whether the request id is the ``application_name``, besides any *tag*;
    * ``application``: what comments call it.
    """

    _listeners: "list[_Listener] | None" = None
    _listening = False

    def instrumentation_dependencies(self) -> Collection[str]:
        # Written so that release candidates of a next version are welcome.
        return ("sqlalchemy >= 2.0.0rc1",)

    def _instrument(self, **options: Any) -> None:
        options.pop("auto_instrumentation", None)
        self._listeners = listeners = _listeners(**options)
        if listeners:
            # Every Python process of the application comes by here: it is not imported for it.
            wrapt.register_post_import_hook(partial(self._listen, listeners), "sqlalchemy")

    def _uninstrument(self, **_: Any) -> None:
        listeners, self._listeners = self._listeners, None
        if self._listening and listeners:
            self._listening = False
            sqlalchemy = sys.modules["sqlalchemy"]
            for name, listener, _options in reversed(listeners):
                sqlalchemy.event.remove(sqlalchemy.Engine, name, listener)

    def _listen(self, listeners: "list[_Listener]", module: ModuleType) -> None:
        # Else these are those of another time, before uninstrument().
        if self._listeners is listeners:
            self._listening = True
            for name, listener, options in listeners:
                module.event.listen(module.Engine, name, listener, **options)


_Listener = tuple[str, Callable[..., Any], dict[str, bool]]


def _listeners(
    *, tag: Tag = "off", request_id: bool = False, application: str | None = None
) -> list[_Listener]:
    """Who listens to which event of SQLAlchemy, with which options."""
    if tag not in get_args(Tag):
        raise ValueError(f"tag={tag!r}: not one of {', '.join(get_args(Tag))}")
    found: list[_Listener] = []
    if tag in ("static", "traceparent"):
        comments = _Comments(application, traced=tag == "traceparent")
        found.append(("before_cursor_execute", comments.before, {"retval": True}))
    if request_id or tag == "application_name":
        names = Names(_is_left_alone)
        found += [
            ("begin", names.begun, {}),
            ("begin_twophase", names.begun, {}),
            # When these are called, SQLAlchemy handles what the driver raises.
            ("do_execute", names.execute, {}),
            ("do_executemany", names.execute, {}),
            ("do_execute_no_params", names.execute_without_parameters, {}),
        ]
    return found


def _is_left_alone(context: "ExecutionContext") -> bool:
    return context.execution_options.get(_OPTION) is False


class _Comments:
    """A listener that adds the comment."""

    def __init__(self, application: str | None, *, traced: bool) -> None:
        self._application = application
        self._traced = traced
        self._complain = Complaint(
            _logger, "A statement could not be tagged; it goes on. Further ones are not logged."
        )

    def before(
        self,
        connection: "Connection",
        _cursor: object,
        statement: Any,
        parameters: Any,
        context: "ExecutionContext | None",
        _executemany: object,
    ) -> tuple[Any, Any]:
        try:
            # Such as psycopg.sql.SQL: what is no text is not ours to change.
            if isinstance(statement, str) and (comment := self._comment(connection, context)):
                if _has_percents(connection, parameters, context):
                    comment = comment.replace("%", "%%")
                statement = commented(statement, comment)
        except Exception as error:  # noqa: BLE001 - the statement goes on without us
            self._complain(error)
        return statement, parameters

    def _comment(self, connection: "Connection", context: "ExecutionContext | None") -> str:
        if context is None:
            chosen = connection.get_execution_options().get(_OPTION)
        else:
            chosen = context.execution_options.get(_OPTION)
        if chosen is False:
            return ""
        application = chosen if isinstance(chosen, str) else self._application
        request = current_request()
        framework = None if request is None else "pyramid"
        keys = Keys(application, framework, route_of(request))
        if self._traced and (traceparent := _traceparent(context)):
            return changing(keys, current_request_id(), traceparent)
        return constant(keys)


def _has_percents(
    connection: "Connection", parameters: Any, context: "ExecutionContext | None"
) -> bool:
    """Whether the driver looks for parameters in the statement that begin with one."""
    dialect = connection.dialect
    if dialect.paramstyle not in _PERCENTS or dialect.driver == _PLAIN:
        return False
    return bool(parameters) or context is None or not context.no_parameters


def _traceparent(context: "ExecutionContext | None") -> str | None:
    """That of the statement's own span, if it has one, else of the current span."""
    running = None if context is None else context.__dict__.get(RUNNING)
    span = (running and running[-1]) or get_current_span()
    known = span.get_span_context()
    if not (known.is_valid and known.trace_flags.sampled):
        return None
    return f"00-{known.trace_id:032x}-{known.span_id:016x}-{known.trace_flags:02x}"
