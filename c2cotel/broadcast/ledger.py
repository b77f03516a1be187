"""What this process knows to be agreed on, and has applied."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from c2cotel.broadcast.complaints import Complaints
from c2cotel.broadcast.records import Record, latest, short

LOGGER = logging.getLogger(__name__)

# Seconds a fork waits for another thread that is applying something.
_FREEZE_TIMEOUT = 1.0


@dataclass(frozen=True)
class Rules:
    """What a kind of switch does here, see :meth:`Agreement.switch`."""

    check: Callable[[str, Any], Any]
    apply: Callable[[str, Any], None]
    nameless: str = ""


@dataclass(frozen=True)
class Taken:
    """What became of a record.

    Attributes:
        news: Whether it was newer than what was known.
        problem: Why it is not applied, if it is not.
    """

    news: bool
    problem: str | None = None

    @property
    def refused(self) -> bool:
        """Whether this process has not kept it for what is in it."""
        return self.problem is not None and not self.news


@dataclass
class _Held:
    record: Record
    # When it ends on the monotonic clock of this host, and whether that has been seen to.
    ends: float | None
    over: bool

    def now(self) -> Record:
        """The record, with the time that is left now."""
        if self.ends is None:
            return self.record
        left = 0.0 if self.over else max(0.0, self.ends - time.monotonic())
        return msgspec.structs.replace(self.record, left=left)


class Ledger:
    """The newest record of each name, applied if its kind is used in this process.

    Records may come in any order, from any thread, and more than once.
    """

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
        self._held: dict[str, _Held] = {}
        self._rules: dict[str, Rules] = {}
        self._seen = 0
        self._frozen = False
        # Also held while applying, so that an older value is never applied after a newer one.
        self._lock = threading.RLock()

    def tick(self) -> int:
        """The next ``n``, more than all that this process has seen."""
        with self._lock:
            # If the clock was set back by more than a day, nobody would believe what follows it.
            seen = self._seen if self._seen <= latest() else 0
            self._seen = max(seen + 1, time.time_ns() // 1_000_000)
            return self._seen

    def get(self, name: str) -> Record | None:
        """What *name* is set to; ``None`` if that is what was configured."""
        held = self._held.get(name)
        record = held.now() if held else None
        return None if record is None or record.over else record

    def records(self) -> list[Record]:
        """All that is known, also what is over: it wins over what is older still."""
        return [held.now() for held in list(self._held.values())]

    def show(self, look: Callable[[list[Record]], None]) -> None:
        """Have *look* see all that is known, while nothing changes."""
        with self._lock:
            look(self.records())

    def define(self, kind: str, rules: Rules) -> None:
        """Use *kind* in this process from now on, with what is known about it already."""
        with self._lock:
            self._rules[kind] = rules
            known = [held.now() for held in self._held.values() if held.record.kind == kind]
            for record in known:
                del self._held[record.name]
            for record in known:
                self.take(record, "what was known")

    def check(self, kind: str, key: str, value: Any) -> Any:
        """The value to keep, see :class:`Rules`."""
        return self._rules[kind].check(key, value)

    def nameless(self, kind: str) -> str:
        """What the empty key of *kind* is called."""
        rules = self._rules.get(kind)
        return rules.nameless if rules else ""

    def take(self, record: Record, source: str) -> Taken:
        """Keep and apply *record* if it is newer; *source* is where it came from.

        What this process refuses is complained of once, and not kept.
        """
        with self._lock:
            held = self._held.get(record.name)
            if held and record.version <= held.record.version and held.record.n <= latest():
                return Taken(news=False)
            rules = self._rules.get(record.kind)
            if rules and record.value is not None:
                # A check is written for what people enter, and may stumble over what is stored.
                try:
                    value = rules.check(record.key, record.value)
                except Exception as error:  # noqa: BLE001 - one bad value must not keep out the rest
                    return self._refuse(record, source, error)
                record = msgspec.structs.replace(record, value=value)
            self._seen = max(self._seen, record.n)
            before = None if held is None or held.over else held.record.value
            ends = None if record.left is None else time.monotonic() + record.left
            self._held[record.name] = _Held(record, ends, record.over)
            after = None if record.over else record.value
            problem = None
            if rules and (before is not None or after is not None):
                problem = _apply(rules, record, after)
        return Taken(news=True, problem=problem)

    def _refuse(self, record: Record, source: str, error: Exception) -> Taken:
        problem = f"{record.kind} {record.key!r} = {short(record.value)}: {error}"
        self._complaints.give(f"{record.name} {record.n}", "From %s, ignored: %s", source, problem)
        return Taken(news=False, problem=problem)

    def next_end(self) -> float | None:
        """When the next value ends, on the monotonic clock; ``None`` if none does."""
        running = (held.ends for held in list(self._held.values()) if not held.over)
        return min((ends for ends in running if ends is not None), default=None)

    def end(self) -> list[Record]:
        """Go back to what was configured where the time is over; what ended now."""
        ended = []
        with self._lock:
            now = time.monotonic()
            for held in list(self._held.values()):
                if held.ends is None or held.over or held.ends > now:
                    continue
                held.over = True
                ended.append(held.now())
                if rules := self._rules.get(held.record.kind):
                    _apply(rules, held.record, None)
        return ended

    def freeze(self) -> None:
        """Before a fork: let other threads finish what they are applying."""
        self._frozen = self._lock.acquire(timeout=_FREEZE_TIMEOUT)

    def thaw(self) -> None:
        """After it, in the parent."""
        if self._frozen:
            self._lock.release()

    def renew(self) -> None:
        """After it, in the child: the thread that forked is the one that goes on."""
        if self._frozen:
            # Released, not replaced: a thread of the child may wait for it already.
            self._lock.release()
        else:
            self._lock = threading.RLock()


def _apply(rules: Rules, record: Record, value: Any) -> str | None:
    """Apply *value*; what went wrong, if something did."""
    try:
        rules.apply(record.key, value)
    except Exception as error:
        LOGGER.exception(
            "%s %r = %s is not applied in this process", record.kind, record.key, short(value)
        )
        return f"{record.kind} {record.key!r} = {short(value)}: {type(error).__name__}: {error}"
    return None
