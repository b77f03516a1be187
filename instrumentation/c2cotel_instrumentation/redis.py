"""Spans and durations of the commands that the application sends to Redis, and its connections.

===============================  ===============  ============  ================================
name                             kind             unit          attributes
===============================  ===============  ============  ================================
GET redis:6379                   span (client)                  see README.md beside this package
db.client.operation.duration     histogram        s             db.system.name, db.namespace,
                                                                db.operation.name,
                                                                server.address, server.port,
                                                                error.type
db.client.connection.count       up-down counter  {connection}  db.client.connection.pool.name,
                                                                db.client.connection.state
db.client.connection.max         up-down counter  {connection}  db.client.connection.pool.name
===============================  ===============  ============  ================================

Each command is one measurement, wall-clock time with the attempts that redis-py makes again by
itself; a pipeline is one, however many commands are in it. Of pub/sub, publishing and subscribing
are measured, waiting for messages is not: it has no end. There are spans below another span only:
a thread that asks for work every second would make a trace each time.

Neither keys nor values become attributes, and no command that does not look like one does. The
client for asyncio and the one of clusters are measured alike; connections are those of redis-py's
pools that have been used, counted when somebody asks. Redis-py ≥ 5; its own ``redis.observability``
counts the same once more where the application turns it on.

Source: https://opentelemetry.io/docs/specs/semconv/db/redis/.
"""

from collections.abc import Awaitable, Callable, Collection
from functools import partial, wraps
from types import ModuleType
from typing import Any, Final

import wrapt
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # no __all__
    BaseInstrumentor,
)

from c2cotel_instrumentation.redis_commands import Commands, Running
from c2cotel_instrumentation.wrapping import Wrappings

_Begin = Callable[[Commands, Any, tuple[Any, ...]], Running | None]

_COMMAND: Final = Commands.begin_command
_BATCH: Final = Commands.begin_batch
_CLIENTS: Final[dict[str, tuple[tuple[str, str, _Begin], ...]]] = {
    "client": (
        ("Redis", "execute_command", _COMMAND),
        ("PubSub", "execute_command", _COMMAND),
        # Between WATCH and MULTI.
        ("Pipeline", "immediate_execute_command", _COMMAND),
        ("Pipeline", "execute", _BATCH),
    ),
    "cluster": (
        ("RedisCluster", "execute_command", _COMMAND),
        ("ClusterPubSub", "execute_command", _COMMAND),
        ("ClusterPipeline", "execute", _BATCH),
    ),
}


class RedisInstrumentor(BaseInstrumentor):  # type: ignore[misc] # the base is untyped
    """Measure the commands of all clients of redis-py in this process.

    Options of ``instrument()``: ``tracer_provider`` and ``meter_provider``, instead of the global
    ones. Clients made before ``instrument()`` are measured too; after ``uninstrument()`` none is.
    """

    _commands: Commands | None = None
    # OpenTelemetry keeps one instance of each instrumentor.
    _wrappings = Wrappings()

    def instrumentation_dependencies(self) -> Collection[str]:
        # Without Redis the hook waits for ever: that is no conflict to be told about.
        return ()

    def _instrument(self, **options: Any) -> None:
        options.pop("auto_instrumentation", None)
        self._commands = Commands(**options)
        # Every Python process of the application comes by here: redis is not imported for it.
        for name, methods in _CLIENTS.items():
            for package, wrapping in (("redis", self._sending), ("redis.asyncio", self._awaiting)):
                wrapt.register_post_import_hook(
                    partial(self._wrap, methods=methods, wrapping=wrapping), f"{package}.{name}"
                )

    def _uninstrument(self, **_: Any) -> None:
        if self._commands is not None:
            self._commands.forget_pools()
        self._commands = None
        self._wrappings.undo()

    def _wrap(
        self,
        module: ModuleType,
        methods: tuple[tuple[str, str, _Begin], ...],
        wrapping: Callable[..., Any],
    ) -> None:
        if self._commands is None:
            return
        for owner, method, begin in methods:
            # One that only inherits the method is measured where it comes from.
            if method in vars(getattr(module, owner, object)):
                self._wrappings.wrap(getattr(module, owner), method, partial(wrapping, begin=begin))

    def _sending(self, original: Callable[..., Any], begin: _Begin) -> Callable[..., Any]:
        @wraps(original)
        def wrapper(client: Any, *args: Any, **options: Any) -> Any:
            commands = self._commands
            running = None if commands is None else begin(commands, client, args)
            if running is None:
                return original(client, *args, **options)
            try:
                result = original(client, *args, **options)
            except BaseException as error:
                running.end(error)
                raise
            running.end(None)
            return result

        return wrapper

    def _awaiting(
        self, original: Callable[..., Awaitable[Any]], begin: _Begin
    ) -> Callable[..., Awaitable[Any]]:
        @wraps(original)
        async def wrapper(client: Any, *args: Any, **options: Any) -> Any:
            commands = self._commands
            running = None if commands is None else begin(commands, client, args)
            if running is None:
                return await original(client, *args, **options)
            try:
                result = await original(client, *args, **options)
            except BaseException as error:
                running.end(error)
                raise
            running.end(None)
            return result

        return wrapper
