"""What a command is called, which server it goes to, and the measuring of it.

What is emitted is said in :mod:`c2cotel_instrumentation.redis`.
"""

import logging
import re
from importlib.metadata import version
from time import perf_counter
from typing import Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.semconv.attributes import db_attributes, error_attributes, server_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import Span, SpanKind, TracerProvider, get_current_span
from opentelemetry.util.types import AttributeValue

from c2cotel_instrumentation.errors import Complaint, fail, type_name
from c2cotel_instrumentation.redis_pools import Pools, pool_name, server_of

# The advice of the conventions for db.client.operation.duration.
_BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
_OTHER: Final = "_OTHER"
_WORD: Final = re.compile(r"[A-Z][A-Z0-9_.-]{0,40}")
# They do nothing without their second word.
_CONTAINERS: Final = frozenset(
    "ACL CLIENT CLUSTER COMMAND CONFIG DEBUG FUNCTION LATENCY MEMORY MODULE OBJECT PUBSUB SCRIPT "  # noqa: SIM905 - two lines
    "SENTINEL SLOWLOG XGROUP XINFO".split()
)
_PROCEDURES: Final = frozenset({"EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"})
_MOST_NAMES: Final = 500
# In the text of a span: arguments of a command, commands of a pipeline.
_MOST_SHOWN: Final = 16
_LONGEST: Final = 128
# What Redis begins the text of an error with.
_PREFIX: Final = re.compile(r"(?:^|pipeline caused error: )([A-Z]+)(?= |$)")
# Where redis-py < 8 has cut it off.
_PREFIXES: Final = {
    "AuthenticationError": "WRONGPASS",
    "BusyLoadingError": "LOADING",
    "ClusterDownError": "CLUSTERDOWN",
    "ExecAbortError": "EXECABORT",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "ResponseError": "ERR",
}

_logger = logging.getLogger(__name__)


class Commands:
    """What all commands share: made once per ``instrument()``."""

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        scope = "c2cotel_instrumentation.redis", version("c2cotel")
        schema = Schemas.V1_44_0.value
        self.tracer = trace.get_tracer(*scope, tracer_provider, schema_url=schema)
        meter = get_meter(*scope, meter_provider, schema_url=schema)
        self.duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self.complain = Complaint(
            _logger,
            "A command for Redis could not be measured; it goes on. Further ones are not logged.",
        )
        self._servers: WeakKeyDictionary[Any, _Server] = WeakKeyDictionary()
        # Of a cluster: which node gets a command is decided further down.
        self._cluster = _Server(None, None, 0)
        self._names: dict[Any, str] = {}
        self._pools = Pools(meter)

    def begin_command(self, client: Any, args: tuple[Any, ...]) -> "Running | None":
        """Start to measure; None if that is not wanted here, or cannot be done."""
        try:
            if not is_instrumentation_enabled():
                return None
            first = args[0]
            # What is not a text may not be hashable.
            operation = self._names.get(first) if isinstance(first, str) else None
            return self._begin(client, operation or self._operation(first), (args,))
        except Exception as error:  # noqa: BLE001 - the command goes on without us
            self.complain(error)
            return None

    def begin_batch(self, pipeline: Any, _: tuple[Any, ...]) -> "Running | None":
        """Likewise, of what the *pipeline* has collected."""
        try:
            queued = _queued(pipeline)
            if not queued or not is_instrumentation_enabled():
                return None
            names = {self._operation(args[0]) for args in queued}
            operation = "MULTI" if _is_transaction(pipeline) else "PIPELINE"
            if len(names) == 1:
                operation = f"{operation} {names.pop()}"
            return self._begin(pipeline, operation, queued)
        except Exception as error:  # noqa: BLE001 - the pipeline goes on without us
            self.complain(error)
            return None

    def forget_pools(self) -> None:
        """Their connections are not told any more."""
        self._pools.forget()

    def _begin(
        self, client: Any, operation: str, queued: "tuple[tuple[Any, ...], ...]"
    ) -> "Running":
        server = self._server(client)
        attributes, name = server.known.get(operation) or server.learn(operation)
        context = otel_context.get_current()
        span = None
        if context and get_current_span(context).get_span_context().is_valid:
            span = self.tracer.start_span(name, context, SpanKind.CLIENT, attributes)
            if span.is_recording():
                span.set_attributes(self._details(operation, queued))
        return Running(self, attributes, span)

    def _details(
        self, operation: str, queued: "tuple[tuple[Any, ...], ...]"
    ) -> dict[str, AttributeValue]:
        """What only a span has."""
        lines = [self._operation(args[0]) + _places(len(args) - 1) for args in queued[:_MOST_SHOWN]]
        if len(queued) > _MOST_SHOWN:
            lines.append("…")
        details: dict[str, AttributeValue] = {db_attributes.DB_QUERY_TEXT: "\n".join(lines)}
        if len(queued) > 1:
            details[db_attributes.DB_OPERATION_BATCH_SIZE] = len(queued)
        if operation in _PROCEDURES and len(queued[0]) > 1 and isinstance(queued[0][1], str):
            details[db_attributes.DB_STORED_PROCEDURE_NAME] = queued[0][1][:_LONGEST]
        return details

    def _operation(self, first: Any) -> str:
        """The name of a command; redis-py takes a whole one with its values in the first word."""
        if isinstance(first, str) and (known := self._names.get(first)):
            return known
        text = first.decode("latin-1") if isinstance(first, bytes) else str(first)
        words = text.upper().split(None, 2)
        if not words or not _WORD.fullmatch(words[0]):
            return _OTHER
        name = words[0]
        if name in _CONTAINERS and len(words) > 1 and _WORD.fullmatch(words[1]):
            name = f"{name} {words[1]}"
        if isinstance(first, str) and len(self._names) < _MOST_NAMES:
            self._names[first] = name
        return name

    def _server(self, client: Any) -> "_Server":
        pool = getattr(client, "connection_pool", None)
        if pool is None:
            return self._cluster
        server = self._servers.get(pool)
        if server is None:
            server = self._servers[pool] = _Server(*server_of(pool))
            self._pools.add(pool_name(pool), pool)
        return server


class _Server:
    """What the commands to one server have in common.

    Attributes:
        known: By the name of an operation, the attributes of its duration, which are shared and
            not to be changed, and the name of its span.
    """

    def __init__(self, address: str | None, port: int | None, database: int) -> None:
        self.known: dict[str, tuple[dict[str, AttributeValue], str]] = {}
        self._common: dict[str, AttributeValue] = {
            db_attributes.DB_SYSTEM_NAME: "redis",
            db_attributes.DB_NAMESPACE: str(database),
        }
        self._target = ""
        if address is not None:
            self._common[server_attributes.SERVER_ADDRESS] = address
            self._target = f" {address}"
        if port is not None:
            self._common[server_attributes.SERVER_PORT] = port
            self._target += f":{port}"

    def learn(self, operation: str) -> tuple[dict[str, AttributeValue], str]:
        attributes = self._common | {db_attributes.DB_OPERATION_NAME: operation}
        learnt = attributes, operation + self._target
        if len(self.known) < _MOST_NAMES:
            self.known[operation] = learnt
        return learnt


class Running:
    """One command, or one pipeline, being measured."""

    __slots__ = ("_attributes", "_commands", "_span", "_start")

    def __init__(
        self, commands: Commands, attributes: dict[str, AttributeValue], span: Span | None
    ) -> None:
        self._commands = commands
        self._attributes = attributes
        self._span = span
        self._start = perf_counter()

    def end(self, error: BaseException | None) -> None:
        elapsed = perf_counter() - self._start
        try:
            if error is None:
                self._commands.duration.record(elapsed, self._attributes)
                if self._span is not None:
                    self._span.end()
            else:
                self._fail(elapsed, error)
        except Exception as problem:  # noqa: BLE001 - the result goes to the application all the same
            self._commands.complain(problem)

    def _fail(self, elapsed: float, error: BaseException) -> None:
        error_type = type_name(error)
        attributes = self._attributes | {error_attributes.ERROR_TYPE: error_type}
        self._commands.duration.record(elapsed, attributes)
        if (span := self._span) is None:
            return
        try:
            if span.is_recording():
                span.set_attribute(error_attributes.ERROR_TYPE, error_type)
                if (code := _status_code(error)) is not None:
                    span.set_attribute(db_attributes.DB_RESPONSE_STATUS_CODE, code)
                fail(span, error)
        finally:
            span.end()


def _places(count: int) -> str:
    return " ?" * count if count <= _MOST_SHOWN else " ?" * _MOST_SHOWN + " …"


def _queued(pipeline: Any) -> tuple[tuple[Any, ...], ...]:
    """The commands of *pipeline*, of a single server or, in one of several ways, of a cluster."""
    strategy = getattr(pipeline, "_execution_strategy", pipeline)
    for name in ("command_stack", "command_queue", "_command_queue", "_command_stack"):
        if (entries := getattr(strategy, name, None)) is not None:
            return tuple(entry.args if hasattr(entry, "args") else entry[0] for entry in entries)
    return ()


def _is_transaction(pipeline: Any) -> bool:
    strategy = getattr(pipeline, "_execution_strategy", None)
    if strategy is not None:
        return "Transaction" in type(strategy).__name__
    names = ("transaction", "is_transaction", "explicit_transaction")
    return any(getattr(pipeline, name, False) is True for name in names)


def _status_code(error: BaseException) -> str | None:
    """What Redis has called the error: ``WRONGTYPE``, ``NOSCRIPT``."""
    if isinstance(code := getattr(error, "status_code", None), str):
        return code
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if "ResponseError" in kinds and (found := _PREFIX.search(str(error))):
        return found[1]
    return next((_PREFIXES[kind] for kind in kinds if kind in _PREFIXES), None)
