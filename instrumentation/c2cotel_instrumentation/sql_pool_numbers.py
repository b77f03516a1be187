"""How many connections a pool of SQLAlchemy has at the moment.

What is not public in it is read with care: a version that has it elsewhere has no number, and no
error.
"""

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sqlalchemy.pool import Pool

_logger = logging.getLogger(__name__)


class Numbers(NamedTuple):
    """Connections of a pool, open and allowed; None is without limit, or unknown."""

    idle: int = 0
    used: int = 0
    most: int | None = None
    most_idle: int | None = None


def numbers_of(pool: "Pool", borrowed: int) -> Numbers:
    """What *pool* knows; else what has been borrowed from it as far as we have seen."""
    from sqlalchemy.pool import (
        AssertionPool,
        NullPool,
        QueuePool,
        SingletonThreadPool,
        StaticPool,
    )

    try:
        if isinstance(pool, QueuePool):
            return _of_queue(pool)
        if isinstance(pool, SingletonThreadPool):
            opened = _opened(pool._all_conns.copy())  # noqa: SLF001 - see the module
            return Numbers(max(0, opened - borrowed), borrowed, None, pool.size)
        if isinstance(pool, StaticPool):
            opened, used = _opened([vars(pool).get("connection")]), min(borrowed, 1)
            return Numbers(max(0, opened - used), used, 1, 1)
        if isinstance(pool, AssertionPool):
            opened, used = _opened([pool._conn]), int(pool._checked_out)  # noqa: SLF001 - likewise
            return Numbers(max(0, opened - used), used, 1, 1)
        if isinstance(pool, NullPool):
            return Numbers(0, borrowed, None, 0)
    except (AttributeError, RuntimeError) as error:  # RuntimeError: it changed meanwhile
        _logger.debug("%s cannot be counted: %s", type(pool).__name__, error)
    return Numbers(0, borrowed)


def _of_queue(pool: Any) -> Numbers:
    size = pool.size()
    queue = pool._pool  # noqa: SLF001 - see the module
    # That of asyncio is made at its first use, and in the thread of its loop: not here.
    places = getattr(vars(queue).get("_queue"), "_queue", ()) if pool._is_asyncio else queue.queue  # noqa: SLF001 - likewise
    kept = list(places)
    used = max(0, size - len(kept) + pool._overflow)  # noqa: SLF001 - likewise
    unlimited = size == 0
    more = pool._max_overflow  # noqa: SLF001 - likewise
    return Numbers(
        _opened(kept),
        used,
        None if unlimited or more < 0 else size + more,
        None if unlimited else size,
    )


def _opened(places: Any) -> int:
    """How many have a connection: where the database was gone it is closed until it is wanted."""
    return sum(1 for place in places if place is not None and place.dbapi_connection is not None)
