"""The pools of connections to Redis, and how many each has at the moment.

Several pools may lead to one database (a client that decodes and one that does not): they are
counted together. What redis-py offers for counting is of version 8 on; before, its attributes are
read, and a version without them has no numbers.
"""

import os
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

_NAME: Final = "db.client.connection.pool.name"
_STATE: Final = "db.client.connection.state"
_MOST_POOLS: Final = 100
_OTHER: Final = "_OTHER"
# What redis-py < 7 means by no limit.
_UNLIMITED: Final = 2**31
_DEFAULT_PORT: Final = 6379


def server_of(pool: Any) -> tuple[str | None, int | None, int]:
    """Address, port and database that *pool* connects to; of Sentinels, the name of the service."""
    options = pool.connection_kwargs
    database = options.get("db") or 0
    if (service := getattr(pool, "service_name", None)) is not None:
        return service, None, database
    if path := options.get("path"):
        return path, None, database
    return options.get("host", "localhost"), options.get("port", _DEFAULT_PORT), database


def pool_name(pool: Any) -> str:
    """``redis:6379/0``, ``/run/redis.sock/0``, ``mymaster/0``, ``mymaster/0 replicas``."""
    address, port, database = server_of(pool)
    replicas = " replicas" if getattr(pool, "is_master", True) is False else ""
    return f"{address}{'' if port is None else f':{port}'}/{database}{replicas}"


class Pools:
    """Tells *meter* of the pools that have been added; those that are gone are left out."""

    def __init__(self, meter: Meter) -> None:
        self._pools: dict[int, tuple[str, weakref.ref[Any]]] = {}
        self._names: set[str] = set()
        meter.create_observable_up_down_counter(
            "db.client.connection.count",
            callbacks=[self._count],
            unit="{connection}",
            # The texts of the SQL pools': in a scrape they are one family.
            description="The number of connections that are in the state of the attribute.",
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.max",
            callbacks=[self._limit],
            unit="{connection}",
            description="The number of open connections allowed, at most.",
        )

    def add(self, name: str, pool: Any) -> None:
        if name not in self._names and len(self._names) >= _MOST_POOLS:
            name = _OTHER
        self._names.add(name)
        key, pools = id(pool), self._pools
        pools[key] = name, weakref.ref(pool, lambda _: pools.pop(key, None))

    def forget(self) -> None:
        self._pools.clear()

    def _living(self) -> Iterator[tuple[str, Any]]:
        # A copy: other threads add pools meanwhile.
        for name, reference in self._pools.copy().values():
            if (pool := reference()) is not None:
                yield name, pool

    def _count(self, _: CallbackOptions) -> Iterator[Observation]:
        idle: Counter[str] = Counter()
        used: Counter[str] = Counter()
        for name, pool in self._living():
            free, taken = _connections(pool)
            idle[name] += free
            used[name] += taken
        for name, number in idle.items():
            yield Observation(number, {_NAME: name, _STATE: "idle"})
            yield Observation(used[name], {_NAME: name, _STATE: "used"})

    def _limit(self, _: CallbackOptions) -> Iterator[Observation]:
        limits: Counter[str] = Counter()
        for name, pool in self._living():
            limits[name] += getattr(pool, "max_connections", _UNLIMITED)
        for name, limit in limits.items():
            if limit < _UNLIMITED:
                yield Observation(limit, {_NAME: name})


def _connections(pool: Any) -> tuple[int, int]:
    """How many are open and wait in *pool*, and how many it has given out."""
    # What a fork has inherited is the parent's, until the pool notices.
    if getattr(pool, "pid", None) not in (None, os.getpid()):
        return 0, 0
    made = getattr(pool, "_connections", None)
    if made is not None and hasattr(pool, "pool"):  # redis.BlockingConnectionPool
        free = [each for each in list(pool.pool.queue) if each is not None]
        return sum(map(_is_open, free)), max(0, len(made) - len(free))
    free = list(getattr(pool, "_available_connections", ()))
    return sum(map(_is_open, free)), len(getattr(pool, "_in_use_connections", ()))


def _is_open(connection: Any) -> bool:
    """A pool keeps connections that have been closed, to open them again."""
    connection = getattr(connection, "_conn", connection)
    if isinstance(known := getattr(connection, "is_connected", None), bool):
        return known
    return getattr(connection, "_sock", None) is not None
