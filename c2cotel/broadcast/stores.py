"""What remembers an agreement: the run directory of the host and Redis, whichever there are.

Neither is needed. What fails is complained of once, until it works again, and never the caller's
problem.
"""

import functools
from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import structs

from c2cotel.broadcast.agreed_file import AgreedFile
from c2cotel.broadcast.agreed_redis import AgreedRedis
from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.broadcast.complaints import Complaints
from c2cotel.broadcast.records import MAX_CHANGES, Change, Record, newest_changes
from c2cotel.redis import remedy

T = TypeVar("T")

# What is complained of.
_FILE: Final = "file"
_REDIS: Final = "redis"


class Stores:
    """Those that *broadcaster* was started with; *redis_failed* is called when Redis does."""

    def __init__(
        self,
        broadcaster: Broadcaster,
        complaints: Complaints,
        redis_failed: Callable[[], None],
    ) -> None:
        self._broadcaster = broadcaster
        self._complaints = complaints
        self._redis_failed = redis_failed
        self._known_file: AgreedFile | None = None
        self._known_redis: AgreedRedis | None = None

    @property
    def file(self) -> AgreedFile | None:
        directory = self._broadcaster.directory
        if directory is None:
            return None
        if self._known_file is None or self._known_file.directory != directory:
            self._known_file = AgreedFile(directory, self._complaints)
        return self._known_file

    @property
    def redis(self) -> AgreedRedis | None:
        """``None`` also while it is known to be away."""
        connections = self._broadcaster.redis
        if connections is None or self._broadcaster.reachable is False:
            return None
        if self._known_redis is None or self._known_redis.connections is not connections:
            prefix = self._broadcaster.prefix
            self._known_redis = AgreedRedis(connections, prefix, self._complaints)
        return self._known_redis

    def in_file(self, use: Callable[[AgreedFile], T]) -> T | None:
        """Use the file; ``None`` if there is none, or it cannot be used."""
        if (file := self.file) is None:
            return None
        try:
            result = use(file)
        except OSError as error:
            self._complaints.give(
                _FILE, "What is agreed is not kept in the run directory: %s", error
            )
            return None
        self._complaints.settle(_FILE)
        return result

    def in_redis(self, use: Callable[[AgreedRedis], T]) -> T | None:
        """Use Redis; ``None`` if there is none, or it is away."""
        if (redis := self.redis) is None:
            return None
        try:
            result = use(redis)
        except OSError as error:
            self._complaints.give(
                _REDIS, "What is agreed is not kept in Redis: %s. %s", error, remedy(error) or ""
            )
            if isinstance(error, ConnectionError):
                self._broadcaster.redis_failed(error)
            self._redis_failed()
            return None
        self._complaints.settle(_REDIS)
        return result

    def stamp(self, record: Record, change: Change) -> Record:
        """Give *record* its place in the order, and keep it for those that start later."""
        stamped = self.in_redis(lambda redis: redis.stamp(record, change))
        if stamped is None:
            return self.in_file(lambda file: file.stamp(record, change)) or record
        listed = structs.replace(change, n=stamped.n)
        self.in_file(functools.partial(AgreedFile.offer, records=[stamped], changes=[listed]))
        return stamped

    def end(self, record: Record, change: Change) -> bool:
        """Note that the time of *record* is over; whether no process of this host has said so."""
        here = self.in_file(lambda file: file.end(record, change))
        if here is False:
            return False
        anywhere = self.in_redis(lambda redis: redis.end(record, change))
        return here is True or anywhere is not False

    def catch_up(self) -> None:
        """List in Redis what has been changed on this host while it was away."""
        here = self.in_file(AgreedFile.changes)
        there = self.in_redis(AgreedRedis.changes) if here else None
        if here and there is not None:
            listed = {change.event for change in there}
            newest = newest_changes([*here, *there], MAX_CHANGES)
            if missing := [change for change in newest if change.event not in listed]:
                self.in_redis(lambda redis: redis.list_changes(missing))

    def changes(self, limit: int) -> list[Change]:
        """The last changes that either has, newest first."""
        found = [
            *(self.in_file(AgreedFile.changes) or []),
            *(self.in_redis(AgreedRedis.changes) or []),
        ]
        return newest_changes(found, limit)

    def renew(self) -> None:
        """In a forked child."""
        if self._known_file is not None:
            self._known_file.renew()
