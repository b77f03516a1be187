"""What processes agree on: records, their order, and the changes that an operator reads.

A record says what one switch is set to. The newest record wins everywhere, whatever the order in
which it arrives. Newest is decided by a hybrid logical clock, not by the clocks of the hosts:
``n`` is one more than every ``n`` that its author had seen, or the wall clock in milliseconds if
that is more; of two equal ones the greater ``token`` wins. The clocks of the hosts may differ by a
day: an ``n`` that is further ahead is not believed, as it would win for too long.

Source: Kulkarni et al., "Logical Physical Clocks", https://cse.buffalo.edu/tech-reports/2014-04.pdf.
"""

import json
import time
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct
from msgspec.json import Decoder

# No clock says so before the year 144 000, and Lua still knows it from the next number.
LIMIT = 2**52
# Milliseconds that an n may be ahead of the clock here.
_AHEAD = 86_400_000
# What records may take of a message, which may have 56 kB, headers among them.
MAX_BYTES = 16_384
# What of that the author of a record does not use: the time that is left may take more digits.
ROOM = 64
MAX_CHANGES = 100
# How long after its end a record is remembered, to win over older ones of hosts that were cut off.
REMEMBERED = 7 * 86_400
_SHOWN = 200

_T = TypeVar("_T")
_Placed = TypeVar("_Placed", "Record", "Change")


class Version(NamedTuple):
    """The place of a record in the order that all processes share."""

    n: int
    token: str


_OLDEST = Version(0, "")


class Record(Struct, frozen=True, kw_only=True):
    """What one switch is set to, by whom.

    Attributes:
        key: Which one of its kind; empty where there is only one.
        value: JSON; ``None`` is what was configured.
        ttl: Seconds it was set for.
        left: Seconds of these that were left when this record was written or read.
    """

    kind: Annotated[str, Meta(pattern=r"\A[a-z0-9_.-]{1,64}\Z")]
    key: str
    value: Any = None
    n: Annotated[int, Meta(gt=0, lt=LIMIT)]
    token: Annotated[str, Meta(pattern=r"\A[0-9a-f]{1,32}\Z")]
    actor: str = ""
    address: str = ""
    host: str = ""
    at: float = 0.0
    ttl: Annotated[float, Meta(gt=0)] | None = None
    left: Annotated[float, Meta(ge=0)] | None = None

    @property
    def version(self) -> Version:
        return Version(self.n, self.token)

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.key}"

    @property
    def over(self) -> bool:
        """Whether it says no more than what was configured."""
        return self.value is None or self.left == 0

    def forgettable(self, clock: int) -> bool:
        """Whether it is over for so long that nobody holds an older one."""
        ended = self.n + (self.ttl or 0) * 1000
        return self.over and ended < clock - REMEMBERED * 1000


class Change(Struct, frozen=True, kw_only=True):
    """What somebody changed, or what has ended by itself."""

    switch: str
    key: str
    value: Any = None
    previous: Any = None
    actor: str = ""
    address: str = ""
    host: str = ""
    at: float = 0.0
    ttl: float | None = None
    action: Literal["set", "reset", "expired"]
    n: Annotated[int, Meta(gt=0, lt=LIMIT)]
    token: str

    @property
    def event(self) -> tuple[str, str]:
        """The same wherever it is listed."""
        return self.token, self.action


# Made when the types are, also for those that are only converted to: msgspec 0.22 crashes Python
# when two threads are the first to use a type.
JSON: Final = Decoder(Any)
RECORD: Final = Decoder(Record)
CHANGE: Final = Decoder(Change)


def latest() -> int:
    """The greatest ``n`` that is believed now."""
    return time.time_ns() // 1_000_000 + _AHEAD


def believed(found: _Placed) -> _Placed:
    """*found*, which came from elsewhere.

    Raises:
        ValueError: its ``n`` cannot be true.
    """
    if found.n > latest():
        host = f" of {short(found.host)}" if found.host else ""
        raise ValueError(f"n = {found.n} is more than a day ahead: is the clock{host} right?")
    return found


def heard(record: Record) -> Record:
    """*record*, which came from elsewhere.

    Raises:
        ValueError: its ``n`` cannot be true, or it could not be told on.
    """
    if (size := size_of(record)) > MAX_BYTES:
        raise ValueError(f"{size} bytes are too long, {MAX_BYTES} at most")
    return believed(record)


def size_of(record: Record) -> int:
    """Bytes of *record* in a message."""
    return len(json.dumps(msgspec.to_builtins(record)))


def in_messages(records: Iterable[Record]) -> list[list[Record]]:
    """*records* in as many lists as messages are needed to tell them."""
    messages: list[list[Record]] = []
    left = 0
    for record in records:
        size = size_of(record)
        if size > left:
            messages.append([])
            left = MAX_BYTES
        messages[-1].append(record)
        left -= size
    return messages


def newer(records: Iterable[Record], known: Iterable[Record]) -> list[Record]:
    """Those of *records* that are newer than what is *known*, and would be believed."""
    versions = {record.name: record.version for record in known}
    most = latest()
    clock = max((version.n for version in versions.values()), default=0)
    return [
        record
        for record in records
        if versions.get(record.name, _OLDEST) < record.version
        and record.n <= most
        and not record.forgettable(clock)
    ]


def change_of(record: Record, previous: Any) -> Change:
    """What *record* changes, when *previous* is what there was."""
    return Change(
        switch=record.kind,
        key=record.key,
        value=record.value,
        previous=previous,
        actor=record.actor,
        address=record.address,
        host=record.host,
        at=record.at,
        ttl=record.ttl,
        action="reset" if record.value is None else "set",
        n=record.n,
        token=record.token,
    )


def end_of(record: Record, at: float) -> Change:
    """The end of *record*, the same for every process that notices it."""
    n = min(record.n + round((record.ttl or 0) * 1000), LIMIT - 1)
    change = change_of(record, record.value)
    return msgspec.structs.replace(change, value=None, action="expired", at=at, n=n)


def newest_changes(changes: Iterable[Change], limit: int) -> list[Change]:
    """Each change once, newest first."""
    found = {change.event: change for change in changes}
    return sorted(found.values(), key=lambda change: (change.n, change.token), reverse=True)[:limit]


def plain(value: Any) -> Any:
    """*value* as every other process gets it, after a way through JSON.

    Raises:
        ValueError: it does not survive that.
        TypeError: it holds something that JSON has not.
    """
    return read(msgspec.json.encode(value), JSON)


def read(data: bytes | str, decoder: Decoder[_T]) -> _T:
    """Read JSON of the type of *decoder*.

    Raises:
        ValueError: it is something else; the text says what.
    """
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error


def convert(data: Any, type_: type[_T]) -> _T:
    """Make a *type_* of what JSON was read to.

    Raises:
        ValueError: it is something else; the text says what.
    """
    try:
        return msgspec.convert(data, type_)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error


def short(value: Any) -> str:
    """*value* for a log line: on one line, and not too long."""
    if value is None:
        return "configured"
    text = repr(value)[1:-1] if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
