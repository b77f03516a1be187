"""Reading from the primary while the replica cannot be connected to.

The replica is tried when a session asks for its first connection; what fails later, in the middle
of a transaction, fails. While it is down, one session every five seconds tries it, so that the
others do not wait for its host too. That it is down, and that it is back, is logged once.

Trying it is taking a connection out of its pool and putting it back, before the session takes its
own: one checkout more for each session, which listeners and metrics of the pool see. While all
connections to the replica are in use, a session waits ``pool_timeout`` twice in the worst case:
once to try it, once for its own.
"""

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import MeterProvider, get_meter
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from c2cotel.schema import without_password

if TYPE_CHECKING:
    from sqlalchemy import Engine

LOGGER = logging.getLogger(__name__)

# Seconds between two attempts at a replica that is down.
_PAUSE: Final = 5.0


class Fallback:
    """Knows whether *replica* can be connected to, and counts the sessions it could not serve."""

    def __init__(
        self,
        replica: "Engine",
        primary: "Engine",
        *,
        pause: float = _PAUSE,
        provider: MeterProvider | None = None,
    ) -> None:
        self.replica = replica
        self.primary = primary
        self._pause = pause
        self._down_until: float | None = None
        self._attributes = {"c2c.engine": str(getattr(replica, "c2c_name", ""))}
        self._sessions = get_meter("c2cotel.db", meter_provider=provider).create_counter(
            "c2c.db.fallbacks",
            unit="{session}",
            description="Sessions that used the primary because the replica was down.",
        )

    def engine(self) -> "Engine":
        """The replica if it can be connected to, else the primary."""
        if self._reachable():
            return self.replica
        self._sessions.add(1, self._attributes)
        return self.primary

    def _reachable(self) -> bool:
        down_until, now = self._down_until, time.monotonic()
        if down_until is not None:
            if now < down_until:
                return False
            # For the others, while this one tries.
            self._down_until = now + self._pause
        return self._try()

    def _try(self) -> bool:
        try:
            self.replica.connect().close()
        except PoolTimeoutError:
            # It is there, all connections to it are in use: the session will say so.
            return True
        except DBAPIError as error:
            self._is_down(error)
            return False
        if self._down_until is not None:
            self._down_until = None
            LOGGER.warning("%s is back: it is read from again.", self._attributes["c2c.engine"])
        return True

    def _is_down(self, error: DBAPIError) -> None:
        first, self._down_until = self._down_until is None, time.monotonic() + self._pause
        if first:
            LOGGER.warning(
                "%s cannot be connected to, its sessions use %s meanwhile: %s",
                self._attributes["c2c.engine"],
                getattr(self.primary, "c2c_name", "the primary"),
                without_password(str(error.orig)).strip(),
            )


class FallingBackSession(Session):
    """A session that asks its ``fallback``, if it has one, before its first connection."""

    fallback: Fallback | None = None

    def get_bind(self, *args: Any, **kwargs: Any) -> Any:
        """As the base; the first time, the replica is tried."""
        if (fallback := self.fallback) is not None:
            self.fallback = None
            self.bind = fallback.engine()
        return super().get_bind(*args, **kwargs)
