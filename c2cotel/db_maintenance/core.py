"""What the switch ``readonly`` does in a process, and how far all processes are with it.

============================  =======  =========  ==================================================
name                          kind     unit       attributes
============================  =======  =========  ==================================================
c2c.db.maintenance.readonly   gauge               1 while the database is read-only, 0 otherwise
c2c.db.maintenance.refusals   counter  {request}  requests for writing that were answered with 503
============================  =======  =========  ==================================================

Of the processes of a host, the one that has followed the switch last decides about the gauge.
"""

import functools
import weakref
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import MeterProvider, get_meter

from c2cotel.metrics.gauges import gauge

if TYPE_CHECKING:
    from c2cotel.broadcast.messages import Process, Replies
    from c2cotel.broadcast.switch import State
    from c2cotel.db import Readonly

KIND: Final = "readonly"
CHANNEL: Final = "c2c_db_maintenance"
#: Seconds that the processes have to tell how far they are; one that is stopped costs no more.
TIMEOUT: Final = 0.6
_TEXTS: Final = {"true": True, "false": False}
_GLANCE: Final = 80


def wanted(text: str) -> bool:
    """What the parameter says.

    Raises:
        ValueError: neither ``true`` nor ``false``.
    """
    value = _TEXTS.get(text.lower())
    if value is None:
        # "1" was false in c2cwsgiutils: taken as true or as false, it would surprise somebody.
        raise ValueError(f"readonly={text[:_GLANCE]!r}: expected 'true' or 'false'")
    return value


def check(_key: str, value: Any) -> bool:
    """A value as the switch keeps it.

    Raises:
        ValueError: it is no boolean.
    """
    if not isinstance(value, bool):
        raise ValueError("expected true or false")  # noqa: TRY004 - what a switch's check raises
    return value


@dataclass(frozen=True)
class Here:
    """How far one process is; None for what it has not told, or does not know.

    Attributes:
        readonly: Whether all its sessions read only.
        in_use: Connections to the primary that are being used: by sessions that have begun before.
        silent: It listens, but has not answered in time.
    """

    host: str
    pid: int
    readonly: bool | None = None
    in_use: int | None = None
    silent: bool = False


class Applications:
    """Those of this process that follow the switch."""

    def __init__(self, provider: MeterProvider | None = None) -> None:
        self._followers: list[tuple[weakref.ref[Any], Readonly]] = []
        meter = get_meter("c2cotel.db_maintenance", meter_provider=provider)
        self._state = gauge(
            meter,
            "c2c.db.maintenance.readonly",
            "last",
            "1 while the database is read-only for maintenance, 0 otherwise.",
        )
        self.refusals = meter.create_counter(
            "c2c.db.maintenance.refusals",
            unit="{request}",
            description="Requests for writing that were refused during maintenance.",
        )

    def follow(self, registry: Any) -> "Readonly":
        """Let the application of *registry* follow from the next :meth:`apply` on."""
        from c2cotel.db import readonly_of

        readonly = readonly_of(registry)
        if all(known is not readonly for _, known in self._alive()):
            self._followers.append((weakref.ref(registry), readonly))
        return readonly

    def apply(self, _key: str, value: bool | None) -> None:  # noqa: FBT001 - a switch's
        """Force all of them to the replica, or let them go back to the primary."""
        forced = bool(value)
        for registry, readonly in self._alive():
            if readonly.forced and not forced:
                _renew_primary(registry)
            readonly.forced = forced
        self.tell()

    def tell(self) -> None:
        """Set the gauge."""
        self._state.set(int(self._forced()))

    def here(self, **_: Any) -> dict[str, Any]:
        """How far this process is: what it answers to the others."""
        counts = [_in_use(registry) for registry, _ in self._alive()]
        known = [count for count in counts if count is not None]
        return {"readonly": self._forced(), "in_use": sum(known) if known else None}

    def _forced(self) -> bool:
        return any(readonly.forced for _, readonly in self._alive())

    def _alive(self) -> "list[tuple[Any, Readonly]]":
        self._followers = [each for each in self._followers if each[0]() is not None]
        return [
            (registry, readonly)
            for reference, readonly in self._followers
            if (registry := reference()) is not None
        ]


@functools.cache
def applications() -> Applications:
    """Those of this process."""
    return Applications()


def reports(replies: "Replies") -> list[Here]:
    """How far the processes are that have answered, and those that have not, by host and pid."""
    told = [
        _report(process, answer if isinstance(answer, dict) else {})
        for process, answer in zip(replies.answered, replies.answers, strict=False)
    ]
    told += [Here(process.host, process.pid, silent=True) for process in replies.silent]
    return sorted(told, key=lambda here: (here.host, here.pid))


def _report(process: "Process", answer: dict[str, Any]) -> Here:
    """What came over the wire may be anything."""
    readonly, in_use = answer.get("readonly"), answer.get("in_use")
    return Here(
        host=process.host,
        pid=process.pid,
        readonly=readonly if isinstance(readonly, bool) else None,
        in_use=in_use if isinstance(in_use, int) and not isinstance(in_use, bool) else None,
    )


def since(state: "State[bool]") -> datetime | None:
    """When somebody has set it."""
    try:
        return datetime.fromtimestamp(state.at, UTC)
    except (ValueError, OverflowError, OSError):  # another host's clock, or a stored oddity
        return None


def notice(state: "State[bool] | None") -> str | None:
    """What the console tells everybody during maintenance."""
    if state is None or not state.value:
        return None
    begun = since(state)
    return (
        "The database is read-only for maintenance"
        + (f", since {begun:%Y-%m-%d %H:%M:%S} UTC" if begun else "")
        + f", by {who(state)}."
    )


def who(state: "State[bool]") -> str:
    """Who has set it, and from where."""
    name = state.actor or "somebody"
    return f"{name} from {state.address}" if state.address else name


def engines(registry: Any) -> tuple[Any, Any] | None:
    """The primary's and the replica's, or None where ``c2cotel.db.init`` has not been called."""
    factory = _factory(registry)
    return None if factory is None else (factory.rw_engine, factory.ro_engine)


def _factory(registry: Any) -> Any:
    factory = registry.get("dbsession_factory")
    return factory if hasattr(factory, "rw_engine") else None


def _renew_primary(registry: Any) -> None:
    """Close the connections that the pool keeps: maintenance has most likely broken them."""
    both = engines(registry)
    if both is not None and both[0] is not both[1]:
        both[0].dispose()


def _in_use(registry: Any) -> int | None:
    both = engines(registry)
    count = getattr(both[0].pool, "checkedout", None) if both is not None else None
    return None if count is None else int(count())
