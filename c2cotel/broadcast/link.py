"""This process's connections to Redis, and whether it is there."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from c2cotel.redis import Connections, remedy
from c2cotel.schema import without_password

if TYPE_CHECKING:
    from redis.client import PubSub

LOGGER = logging.getLogger(__name__)

# Connections for answers that are kept for the next question.
_KEPT: Final = 4
# Seconds until a process without a listener tries again.
_RETRY_AFTER: Final = 5.0
# Seconds that a fork waits for another thread that is connecting.
_FREEZE_TIMEOUT: Final = 1.0


class Link:
    """Redis as this process sees it.

    Attributes:
        attended: Whether a listener looks after it, and says when it is away and back.
    """

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.attended = False
        self._reset()

    def _reset(self) -> None:
        self.client = self.connections.undecoded()
        self.suspected = threading.Event()
        self._reachable: bool | None = None
        # What the log says has to be done about it.
        self._remedy: str | None = None
        self._retry_at = 0.0
        self._state = threading.Lock()
        self._connecting = threading.RLock()
        self._open: set[PubSub] = set()
        self._idle: list[PubSub] = []

    @property
    def reachable(self) -> bool:
        return self._reachable is True

    def may_try(self) -> bool:
        """Whether Redis is worth asking: it answered the last time, or that is long ago."""
        if self._reachable or self.attended:
            return self.reachable
        return time.monotonic() >= self._retry_at

    def is_away(self, error: BaseException) -> None:
        """It did not answer, or refuses this process; said once."""
        needed = remedy(error)
        with self._state:
            news = self._reachable is not False or needed != self._remedy
            self._reachable, self._remedy = False, needed
            self._retry_at = time.monotonic() + _RETRY_AFTER
        self.suspected.set()
        if news:
            LOGGER.warning(
                "Redis %s (%s): %s. Questions reach the processes of this host only, until %s",
                "refuses this process" if needed else "is away",
                self.connections.description,
                without_password(str(error).rstrip(".") or type(error).__name__),
                f"that is mended. {needed}"
                if needed
                else "it is back; nothing has to be done here for that.",
            )

    def is_back(self) -> bool:
        """It answers; tells whether that is new."""
        with self._state:
            was, self._reachable = self._reachable, True
            self._remedy = None
        self.suspected.clear()
        if was is False:
            LOGGER.warning("Redis is back (%s).", self.connections.description)
        elif was is None:
            LOGGER.info("Redis is connected (%s).", self.connections.description)
        return was is not True

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Whatever fails within is Redis's failure: it is away, unless it says why itself.

        Raises:
            redis.RedisError: it failed.
        """
        import redis

        try:
            yield
        except redis.ResponseError as error:  # no right to do that, for example
            self._refused(error)
            raise
        except (redis.RedisError, OSError) as error:
            self.is_away(error)
            raise

    def _refused(self, error: BaseException) -> None:
        """It is there, but has not done something; said once for the same remedy."""
        needed = remedy(error)
        with self._state:
            news = needed is None or needed != self._remedy
            self._remedy = needed
        if news:
            LOGGER.warning(
                "Redis refuses this process something (%s): %s. %s",
                self.connections.description,
                without_password(str(error).rstrip(".")),
                needed or "Questions may not reach other hosts.",
            )

    def subscribed(self, *channels: str) -> "PubSub":
        """A connection that has asked for *channels*; its confirmations are still to be read.

        Raises:
            redis.RedisError: Redis is away.
        """
        import redis

        while True:
            with self._connecting:
                kept = self._idle.pop() if self._idle else None
                pubsub = kept or self._pubsub()
                self._open.add(pubsub)
            # Without the lock: where Redis hangs, threads wait side by side, not one by one.
            try:
                # No command of the application, as little as the others here and in subscriber.py.
                with suppress_instrumentation():
                    pubsub.subscribe(*channels)
            except redis.ConnectionError:
                self.close(pubsub)
                if kept is None:
                    raise
                # The server closed it while it was kept.
            except BaseException:
                self.close(pubsub)
                raise
            else:
                return pubsub

    def _pubsub(self) -> "PubSub":
        made: PubSub = self.client.pubsub()  # type: ignore[no-untyped-call]  # redis-py's
        return made

    def unsubscribe(self, pubsub: "PubSub", *channels: str) -> None:
        with suppress_instrumentation():
            pubsub.unsubscribe(*channels)  # type: ignore[no-untyped-call]  # redis-py's

    def channels(self, pattern: str) -> list[str]:
        """The channels of this name that somebody has subscribed to."""
        names: Any = self.client.pubsub_channels(pattern)
        return [name.decode(errors="replace") for name in names]

    def keep(self, pubsub: "PubSub") -> None:
        """*pubsub* is not needed any more, by this question."""
        with self._connecting:
            if len(self._idle) < _KEPT and pubsub in self._open:
                self._idle.append(pubsub)
                return
        self.close(pubsub)

    def close(self, pubsub: "PubSub") -> None:
        with self._connecting:
            self._open.discard(pubsub)
            with suppress(Exception):  # redis-py's, of a connection that is broken anyway
                pubsub.close()

    def forget_kept(self) -> None:
        """They may lead to a Redis that is not the primary any more."""
        with self._connecting:
            while self._idle:
                self.close(self._idle.pop())

    def close_all(self) -> None:
        with self._connecting:
            self._idle.clear()
            for pubsub in tuple(self._open):
                self.close(pubsub)
        self.client.close()

    def freeze(self) -> None:
        self._connecting.acquire(timeout=_FREEZE_TIMEOUT)

    def thaw(self) -> None:
        with suppress(RuntimeError):  # it was not to be had in time
            self._connecting.release()

    def drop(self) -> None:
        """In a forked child: close what it inherited, which goes on in the parent."""
        for pubsub in self._open:
            connection: Any = pubsub.connection
            if connection is not None:
                with suppress(Exception):  # redis-py's; the child must live
                    connection.disconnect()
        self.attended = False
        self._reset()
