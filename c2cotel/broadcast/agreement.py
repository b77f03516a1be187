"""How the processes come to agree, and to stay so.

A change gets its place in the order from Redis, or, without it, from a file of the run directory;
both keep it. Then it is applied here, and all others are told. A process that starts reads the
file, then Redis. Whenever Redis is back, each process takes what is newer there, gives what is
newer here, and tells the others of that: whatever was lost or missed, in the end all have the
newest record of each name.
"""

import functools
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar, cast

import msgspec

from c2cotel.broadcast.active import Active
from c2cotel.broadcast.agreed_file import AgreedFile
from c2cotel.broadcast.agreed_redis import AgreedRedis
from c2cotel.broadcast.alarm import Alarm
from c2cotel.broadcast.broadcaster import Broadcaster, broadcaster
from c2cotel.broadcast.complaints import Complaints
from c2cotel.broadcast.journal import say
from c2cotel.broadcast.ledger import Ledger, Rules, Taken
from c2cotel.broadcast.records import (
    MAX_BYTES,
    RECORD,
    ROOM,
    Change,
    Record,
    change_of,
    end_of,
    heard,
    in_messages,
    newer,
    plain,
    read,
    size_of,
)
from c2cotel.broadcast.stores import Stores
from c2cotel.broadcast.switch import Switch
from c2cotel.forking import at_fork

LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

CHANNEL = "c2c_switch"
# Seconds that a change waits for the answers of the other processes.
_PATIENCE = 2.0
# Seconds until a Redis that failed, but has not been lost, is tried again; doubled each time.
_RETRY = 1.0
_LONGEST_RETRY = 60.0
_LONGEST_TTL = 10 * 366 * 86_400
_OK, _FAILED = 200, 500
_NO_LABELS: Final[Mapping[str, str]] = {}


class Agreement:
    """The part of this process in what all agree on."""

    def __init__(self, broadcaster: Broadcaster) -> None:
        self._broadcaster = broadcaster
        self._complaints = Complaints()
        self.ledger = Ledger(self._complaints)
        self._stores = Stores(broadcaster, self._complaints, self._redis_failed)
        self._switches: dict[str, Switch[Any]] = {}
        self._alarm = Alarm(self._due, self._ring)
        self._retry_at: float | None = None
        self._retry_after = _RETRY
        # What other hosts may not have heard, even if Redis has it by now.
        self._untold: dict[str, Record] = {}
        self._known_edition: object = None
        self._active = Active()
        # Before what others have agreed on is read, it is not known what is set.
        self._informed = False
        at_fork(self.ledger.freeze, self.ledger.thaw, self._in_child)
        broadcaster.subscribe(CHANNEL, self._told, prompt=True)
        broadcaster.on_start(self.reconcile)
        broadcaster.on_connected(self.reconcile)

    def switch(
        self,
        kind: str,
        *,
        check: Callable[[str, Any], T],
        apply: Callable[[str, T | None], None],
        nameless: str = "",
        labels: Mapping[str, str] = _NO_LABELS,
    ) -> Switch[T]:
        """The switch *kind*, used in this process from now on; what is known of it is applied.

        Of the same kind there is one switch, with the latest functions.

        Args:
            kind: Letters, digits and ``_.-``, lower case.
            check: Gives the value to keep for a key and a value, or raises :class:`ValueError`
                with a sentence.
            apply: Makes the value true for a key in this process; ``None`` for the value is
                what was configured. One call at a time.
            nameless: What the empty key is called in the log, where there are others.
            labels: What ``c2c.switch.active`` calls the values, if it is to tell them apart: a
                label for each text, in lower case.
        """
        switch = self._switches.setdefault(kind, Switch(self, kind))
        self.ledger.define(kind, Rules(check, apply, nameless))
        self._active.labels[kind] = labels
        self._count()
        return cast("Switch[T]", switch)

    def set(  # noqa: PLR0913 - what is logged of a change
        self, kind: str, key: str, value: Any, *, ttl: float | None, actor: str, address: str
    ) -> Record:
        """See :meth:`Switch.set`."""
        if ttl is not None and not 0 < ttl <= _LONGEST_TTL:  # also what is no number at all
            raise ValueError(f"ttl = {ttl}: not a positive number of seconds, 10 years at most")
        value = plain(self.ledger.check(kind, key, value))
        if value is None:
            raise ValueError(f"{kind} {key!r}: nothing to set; to go back, reset it")
        return self._change(self._draft(kind, key, value, ttl, actor, address))

    def reset(self, kind: str, key: str, *, actor: str, address: str) -> bool:
        """See :meth:`Switch.reset`."""
        if self.ledger.get(f"{kind}/{key}") is None:
            # Somebody may have set it whom this process has not heard.
            self.reconcile()
            if self.ledger.get(f"{kind}/{key}") is None:
                return False
        self._change(self._draft(kind, key, None, None, actor, address))
        return True

    def changes(self, limit: int = 100) -> list[Change]:
        """The last changes on this host, and with Redis on all hosts, newest first."""
        return self._stores.changes(limit)

    def refresh(self) -> None:
        """Take what another process of this host has just changed; costs a look at one file.

        A process that is starting, or was stopped, may not have been told yet.
        """
        file = self._stores.file
        if file and (found := file.edition()) != self._known_edition:
            self._take(self._stores.in_file(AgreedFile.read) or [], "the run directory")
            self._known_edition = found

    def reconcile(self) -> None:
        """Take what is newer elsewhere, give what is newer here."""
        self.refresh()
        found = self._stores.in_redis(AgreedRedis.read)
        given: list[Record] | None = None
        if found is not None:
            self._take(found, "Redis")
            mine = newer(self.ledger.records(), found)
            given = self._stores.in_redis(lambda redis: redis.offer(mine))
        if given is not None:
            self._retry_at, self._retry_after = None, _RETRY
            given += self._take_untold(given)
            self._stores.catch_up()
        self._informed = True
        self._count()
        added = self._stores.in_file(lambda file: file.offer(self.ledger.records()))
        self._spread((added or []) if given is None else given)

    def _spread(self, records: Iterable[Record]) -> None:
        """Tell all others *records*; those of other hosts later, if they cannot be told now."""
        for part in in_messages(records):
            # No answers: whoever cannot hear yet reads them when it can.
            if not self._broadcaster.tell(CHANNEL, _message(part), here=False):
                self._untold |= {record.name: record for record in part}

    def _draft(  # noqa: PLR0913, PLR0917 - as above
        self, kind: str, key: str, value: Any, ttl: float | None, actor: str, address: str
    ) -> Record:
        draft = Record(
            kind=kind,
            key=key,
            value=value,
            n=self.ledger.tick(),
            token=uuid.uuid4().hex,
            actor=_sendable(actor),
            address=_sendable(address),
            host=self._broadcaster.process.host,
            at=time.time(),
            ttl=ttl,
            left=ttl,
        )
        written = msgspec.json.encode(draft)
        if (size := size_of(draft)) > MAX_BYTES - ROOM:
            raise ValueError(f"{kind}: {size} bytes are too long, {MAX_BYTES - ROOM} at most")
        # What the others would refuse is refused here.
        return read(written, RECORD)

    def _change(self, draft: Record) -> Record:
        before = self.ledger.get(draft.name)
        change = change_of(draft, before.value if before else None)
        record = self._stores.stamp(draft, change)
        self._take([record], "this process")
        say(change, self.ledger.nameless(change.switch))
        self._tell(record)
        if self._retry_at is not None or self._broadcaster.reachable is False:
            self._untold[record.name] = record
        return record

    def _take_untold(self, told: Iterable[Record]) -> list[Record]:
        """What other hosts are to be told, too, when they are *told* this."""
        untold, self._untold = self._untold, {}
        for record in told:
            untold.pop(record.name, None)
        return [
            record
            for record in self.ledger.records()
            if (each := untold.get(record.name)) and each.version == record.version
        ]

    def _take(self, records: Iterable[Record], source: str) -> list[Taken]:
        taken = [self.ledger.take(record, source) for record in records]
        if any(each.news for each in taken):
            self._count()
        self._alarm.set()
        return taken

    def _count(self) -> None:
        if self._informed and self._active.labels:
            self.ledger.show(self._active.tell)

    def _tell(self, record: Record) -> None:
        """Have all others apply *record*; what did not work there is logged.

        Who does not answer is logged by the broadcaster, and applies it as soon as it can.
        """
        replies = self._broadcaster.ask(CHANNEL, _message([record]), timeout=_PATIENCE, here=False)
        failed = [
            f"{answer.get('hostname')}/{answer.get('pid')}: {answer.get('message')}"
            for answer in replies.answers
            if isinstance(answer, dict) and answer.get("status") != _OK
        ]
        if failed:
            LOGGER.warning(
                "%s %r is not applied everywhere: %s", record.kind, record.key, "; ".join(failed)
            )

    def _told(self, /, records: Any = None, **_: Any) -> dict[str, Any]:
        """Apply what another process tells."""
        wrong: list[str] = []
        told: list[Record] = []
        for data in records if isinstance(records, list) else [records]:
            try:
                # Through JSON again: Python reads more than can be written, NaN for example.
                told.append(heard(read(msgspec.json.encode(data), RECORD)))
            except (ValueError, RecursionError) as error:
                wrong.append(str(error))
                self._complaints.give("message", "From %s, ignored: %s", CHANNEL, error)
        taken = self._take(told, CHANNEL)
        wrong += [each.problem for each in taken if each.problem]
        # For the workers that start later: it may come from another host.
        kept = [record for record, each in zip(told, taken, strict=True) if not each.refused]
        self._stores.in_file(lambda file: file.offer(kept))
        return {"status": _FAILED, "message": "; ".join(wrong)} if wrong else {"status": _OK}

    def _due(self) -> float | None:
        times = [each for each in (self.ledger.next_end(), self._retry_at) if each is not None]
        return min(times, default=None)

    def _ring(self) -> None:
        if ended := self.ledger.end():
            self._count()
        for record in ended:
            change = end_of(record, time.time())
            if self._stores.end(record, change):
                say(change, self.ledger.nameless(change.switch))
        if self._retry_at is not None and self._retry_at <= time.monotonic():
            self._retry_at = None
            self.reconcile()

    def _redis_failed(self) -> None:
        """If it is not lost, nobody will say that it is back."""
        self._retry_at = time.monotonic() + self._retry_after
        self._retry_after = min(2 * self._retry_after, _LONGEST_RETRY)
        self._alarm.set()

    def _in_child(self) -> None:
        self.ledger.renew()
        self._stores.renew()
        self._alarm.renew()
        # With --preload, a worker's first request comes before its thread has asked Redis.
        self.refresh()


def _message(records: Iterable[Record]) -> dict[str, Any]:
    return {"records": [msgspec.to_builtins(record) for record in records]}


def _sendable(text: str) -> str:
    return str(text).encode(errors="replace").decode()


@functools.cache
def agreement() -> Agreement:
    """The one of this process."""
    return Agreement(broadcaster())
