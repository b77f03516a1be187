"""The pools of SQLAlchemy's engines: how many connections they have, and how long one waits.

Numbers of the moment are read when somebody asks for them. A connection that is borrowed costs two
measurements, its wait and its use. Pools of engines that cannot be told apart (the same place, no
name of their own) are counted together.
"""

import logging
import os
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
from opentelemetry.semconv.attributes import error_attributes

from c2cotel_instrumentation.errors import Complaint
from c2cotel_instrumentation.sql_engines import (
    ENGINE,
    Attributes,
    Database,
    Engines,
    error_type,
)
from c2cotel_instrumentation.sql_pool_numbers import Numbers, numbers_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

_NAME: Final = "db.client.connection.pool.name"
_STATE: Final = "db.client.connection.state"
_COUNT: Final = (
    "The number of connections that are currently in state described by the state attribute."
)
_BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
# More are the work of an application that makes an engine for each request.
_MOST_NAMES: Final = 100
_OTHER: Final = "_OTHER"

_logger = logging.getLogger(__name__)


class _Known:
    """A pool that has been used."""

    __slots__ = ("attributes", "database", "dialect", "pool", "waiting")

    def __init__(
        self, pool: "weakref.ref[Pool]", database: Database, attributes: Attributes
    ) -> None:
        self.pool = pool
        self.dialect = database.dialect
        self.database = database
        self.attributes = attributes
        # One key for each who waits: a dictionary needs no lock, which a fork could inherit.
        self.waiting: dict[object, None] = {}


class Pools:
    """Measures the pools of *engines*; made once per ``instrument()``."""

    def __init__(self, engines: Engines, meter: Meter, timeout_error: type[Exception]) -> None:
        self._engines = engines
        self._timeout_error = timeout_error
        self._pools: dict[int, _Known] = {}
        self._names: set[str] = set()
        # Of the connections in use: since when, by the id of what their place in the pool keeps.
        self._borrowed: dict[int, tuple[_Known, float]] = {}
        self._complain = Complaint(
            _logger, "A pool could not be measured; it goes on. Further ones are not logged."
        )
        forget = weakref.WeakMethod(self.forget_use)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())
        self._observe(meter)
        self._timeouts = meter.create_counter(
            "db.client.connection.timeouts",
            unit="{timeout}",
            description="The number of connection timeouts that have occurred trying to obtain a "
            "connection from the pool.",
        )
        self._creation = _histogram(
            meter, "create_time", "The time it took to create a new connection."
        )
        self._wait = _histogram(
            meter, "wait_time", "The time it took to obtain an open connection from the pool."
        )
        self._use = _histogram(
            meter, "use_time", "The time between borrowing a connection and returning it."
        )

    def _observe(self, meter: Meter) -> None:
        connection = "{connection}"
        for name, callback, unit, description in (
            (
                "count",
                self._count,
                connection,
                _COUNT,
            ),
            ("max", self._most, connection, "The maximum number of open connections allowed."),
            (
                "idle.max",
                self._most_idle,
                connection,
                "The maximum number of idle open connections allowed.",
            ),
            (
                "pending_requests",
                self._pending,
                "{request}",
                "The number of current pending requests for an open connection.",
            ),
        ):
            meter.create_observable_up_down_counter(
                f"db.client.connection.{name}", [callback], unit=unit, description=description
            )

    def forget(self) -> None:
        self._pools.clear()
        self.forget_use()

    def forget_use(self) -> None:
        """After a fork: what other threads of the parent were about goes on there."""
        self._borrowed.clear()
        for known in self._pools.values():
            known.waiting.clear()

    # What happens to a pool.

    def borrow(
        self, original: "Callable[[Engine], PoolProxiedConnection]", engine: "Engine"
    ) -> "PoolProxiedConnection":
        """Do what *original* does, and measure it."""
        known, me = None, object()
        try:
            known = self._known_pool(engine)
            waiting = known.waiting
            waiting[me] = None
        except Exception as error:  # noqa: BLE001 - the application gets its connection
            self._complain(error)
        if known is None:
            return original(engine)
        began = perf_counter()
        try:
            connection = original(engine)
        except BaseException as error:
            self._failed(known, perf_counter() - began, error)
            raise
        finally:
            # A fork forgets it, perhaps this one.
            waiting.pop(me, None)
        self._got(known, engine, began, connection)
        return connection

    def _got(
        self, known: _Known, engine: "Engine", began: float, connection: "PoolProxiedConnection"
    ) -> None:
        now = perf_counter()
        try:
            if not known.database.complete:
                known = self._known_pool(engine, connection)
            self._wait.record(now - began, known.attributes)
            place = connection.record_info
            if place is not None:
                self._borrowed[id(place)] = known, now
        except Exception as error:  # noqa: BLE001 - as above
            self._complain(error)

    def _failed(self, known: _Known, waited: float, error: BaseException) -> None:
        try:
            kind = {error_attributes.ERROR_TYPE: error_type(error)}
            self._wait.record(waited, known.attributes | kind)
            if isinstance(error, self._timeout_error):
                self._timeouts.add(1, known.attributes)
        except Exception as problem:  # noqa: BLE001 - the application gets its own error
            self._complain(problem)

    def returned(self, _connection: object, place: "ConnectionPoolEntry") -> None:
        """Also called for a connection that its borrower keeps for good."""
        try:
            borrowed = self._borrowed.pop(id(place.record_info), None)
            if borrowed is not None:
                known, began = borrowed
                self._use.record(perf_counter() - began, known.attributes)
        except Exception as error:  # noqa: BLE001 - the connection goes back all the same
            self._complain(error)

    def created(self, _connection: object, place: Any) -> None:
        try:
            # Not public: the pool of a place in it.
            pool = getattr(place, "_ConnectionRecord__pool", None)
            known = self._pools.get(id(pool))
            if known is not None:
                # Its clock is that on the wall, which may have been put back.
                self._creation.record(max(0.0, time.time() - place.starttime), known.attributes)
        except Exception as error:  # noqa: BLE001 - the connection is made
            self._complain(error)

    def _known_pool(
        self, engine: "Engine", connection: "PoolProxiedConnection | None" = None
    ) -> _Known:
        database = self._engines.of(engine, connection)
        known = self._pools.get(id(engine.pool))
        if known is None:
            known = self._add(engine.pool, database)
        elif known.database is not database:
            known.database, known.attributes = database, self._attributes(engine.pool, database)
        return known

    def _add(self, pool: "Pool", database: Database) -> _Known:
        for key, other in self._pools.copy().items():
            # Engine.dispose() puts a new one in the place of another.
            if other.dialect is database.dialect:
                self._pools.pop(key, None)
        pools, key = self._pools, id(pool)
        reference = weakref.ref(pool, lambda _: pools.pop(key, None))
        known = pools.setdefault(key, _Known(reference, database, self._attributes(pool, database)))
        # So that the first one is an increase.
        self._timeouts.add(0, known.attributes)
        return known

    def _attributes(self, pool: "Pool", database: Database) -> Attributes:
        name = getattr(pool, "logging_name", None) or database.place
        if name not in self._names and len(self._names) >= _MOST_NAMES:
            name = _OTHER
        self._names.add(name)
        attributes: Attributes = {_NAME: name}
        if database.engine_name:
            attributes[ENGINE] = database.engine_name
        return attributes

    # What is asked for at a scrape.

    def _count(self, _: CallbackOptions) -> Iterator[Observation]:
        yield from self._sums(lambda numbers: numbers.idle, **{_STATE: "idle"})
        yield from self._sums(lambda numbers: numbers.used, **{_STATE: "used"})

    def _most(self, _: CallbackOptions) -> Iterator[Observation]:
        return self._sums(lambda numbers: numbers.most)

    def _most_idle(self, _: CallbackOptions) -> Iterator[Observation]:
        return self._sums(lambda numbers: numbers.most_idle)

    def _pending(self, _: CallbackOptions) -> Iterator[Observation]:
        pools = self._pools.copy().values()
        return _observations([(known.attributes, len(known.waiting)) for known in pools])

    def _sums(self, of: Callable[[Numbers], int | None], **more: str) -> Iterator[Observation]:
        found: list[tuple[Attributes, int]] = []
        borrowed = Counter(id(known) for known, _ in self._borrowed.copy().values())
        for known in self._pools.copy().values():
            pool = known.pool()
            number = None if pool is None else of(numbers_of(pool, borrowed[id(known)]))
            if number is not None:
                found.append((known.attributes | more, number))
        return _observations(found)


def _histogram(meter: Meter, name: str, description: str) -> Histogram:
    return meter.create_histogram(
        f"db.client.connection.{name}",
        unit="s",
        description=description,
        explicit_bucket_boundaries_advisory=_BOUNDS,
    )


def _observations(found: list[tuple[Attributes, int]]) -> Iterator[Observation]:
    sums: Counter[tuple[tuple[str, Any], ...]] = Counter()
    for attributes, number in found:
        sums[tuple(attributes.items())] += number
    for items, total in sums.items():
        yield Observation(total, dict(items))
