"""A value that all processes agree on.

Log levels, read-only and the SQL profiler are the same thing three times: apply here, tell every
process, remember for those that start later, end after a time::

    levels = agreement().switch("logging_level", check=check, apply=apply)
    levels.set("DEBUG", key="sqlalchemy.engine", ttl=3600, actor="alice", address="192.0.2.7")
    levels.get("sqlalchemy.engine").expires_in  # 3599.9
    levels.reset("sqlalchemy.engine", actor="alice", address="192.0.2.7")

When :meth:`Switch.set` returns, every process that answered has applied the value, also those of
other hosts if Redis is there. Redis away costs half a second at most, and then the host.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from c2cotel.broadcast.agreement import Agreement
    from c2cotel.broadcast.records import Record

T = TypeVar("T")

_LONGEST: Final = 31_536_000.0  # a year, in seconds
_LONGEST_SHOWN: Final = 80


def checked_ttl(text: str) -> float | None:
    """How many seconds a value lasts, as an operator writes it; None for ``never``.

    Raises:
        ValueError: not a number, not above 0, or more than a year.
    """
    if text == "never":
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST:
        raise ValueError(
            f"ttl={text[:_LONGEST_SHOWN]!r}: expected a number of seconds above 0 and up to "
            f"{_LONGEST:.0f}, for example 900; or never"
        )
    return seconds


@dataclass(frozen=True)
class State(Generic[T]):
    """What a switch is set to.

    Attributes:
        key: Which one of its kind; empty where there is only one.
        value: As its check gave it.
        actor: Who set it.
        address: From where.
        at: When, in seconds since 1970 by the clock of *host*.
        host: The host whose process was asked to.
        expires_in: Seconds until it ends; ``None`` if it does not.
    """

    key: str
    value: T
    actor: str
    address: str
    at: float
    host: str
    expires_in: float | None


class Switch(Generic[T]):
    """The values of one kind, by key. Made by :meth:`Agreement.switch`."""

    def __init__(self, agreement: "Agreement", kind: str) -> None:
        self.kind = kind
        self._agreement = agreement

    def set(
        self,
        value: Any,
        *,
        key: str = "",
        ttl: float | None = None,
        actor: str = "",
        address: str = "",
    ) -> State[T]:
        """Set *key* to *value* in every process, for *ttl* seconds or until it is set anew.

        *actor* and *address* are who does so, and from where: they are logged and listed. What
        cannot be reached or fails in another process is logged, and does not keep this from
        being done in the others.

        Raises:
            ValueError: *value*, *key* or *ttl* is refused, and nothing changed.
        """
        record = self._agreement.set(self.kind, key, value, ttl=ttl, actor=actor, address=address)
        return _state(record)

    def reset(self, key: str = "", *, actor: str = "", address: str = "") -> bool:
        """Go back to what is configured, in every process; whether anything was set."""
        return self._agreement.reset(self.kind, key, actor=actor, address=address)

    def get(self, key: str = "") -> State[T] | None:
        """What *key* is set to in this process; ``None`` if it is as configured."""
        self._agreement.refresh()
        record = self._agreement.ledger.get(f"{self.kind}/{key}")
        return _state(record) if record else None

    def states(self) -> dict[str, State[T]]:
        """All that is set in this process, by key."""
        self._agreement.refresh()
        return {
            record.key: _state(record)
            for record in sorted(self._agreement.ledger.records(), key=lambda each: each.key)
            if record.kind == self.kind and not record.over
        }


def _state(record: "Record") -> State[T]:
    return State(
        key=record.key,
        value=record.value,
        actor=record.actor,
        address=record.address,
        at=record.at,
        host=record.host,
        expires_in=record.left,
    )
