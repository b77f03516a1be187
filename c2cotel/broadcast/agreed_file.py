"""What the processes of one host agree on, as files of their run directory.

=================  ====================================================================
``agreed.json``    the newest record of each name: what a new worker starts with
``changes.jsonl``  the last changes, one a line
``agree``          exclusive lock of whoever changes one of them
=================  ====================================================================

Both are written aside and renamed, so that reading needs no lock.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, structs
from msgspec.json import Decoder

from c2cotel.broadcast.complaints import Complaints
from c2cotel.broadcast.records import (
    CHANGE,
    JSON,
    MAX_CHANGES,
    Change,
    Record,
    believed,
    convert,
    heard,
    latest,
    newer,
    newest_changes,
    read,
)
from c2cotel.files import write_aside
from c2cotel.metrics.directory import lock

_WAIT = 0.5


class _Filed(Record, frozen=True, kw_only=True):
    """A record in the file; *until* is on the wall clock, which all processes of a host share."""

    until: float | None = None
    ended: bool = False


class _Agreed(Struct, frozen=True, kw_only=True):
    clock: int
    records: dict[str, _Filed]


# Made when the type is, see the records.
_FILED: Final = Decoder(_Agreed)


class AgreedFile:
    """The files in *directory*.

    Every method raises :class:`OSError` when they cannot be read or written, or when another
    process keeps them locked for more than half a second.
    """

    def __init__(self, directory: Path, complaints: Complaints) -> None:
        self.directory = directory
        self._path = directory / "agreed.json"
        self._changes = directory / "changes.jsonl"
        self._complaints = complaints
        self._held: set[int] = set()

    def edition(self) -> object:
        """Which edition of the file there is; comparable, nothing else."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def read(self) -> list[Record]:
        """What is agreed; what is corrupt is complained of, and left out."""
        return [_unfiled(filed) for filed in self._read().records.values()]

    def stamp(self, record: Record, change: Change) -> Record:
        """Keep *record* as the newest of all, and list *change*; gives it with its ``n``."""
        with self._locked():
            agreed = self._read()
            record = structs.replace(record, n=max(record.n, agreed.clock + 1))
            self._write(agreed, [record])
            self._list([structs.replace(change, n=record.n)])
        return record

    def offer(self, records: Iterable[Record], changes: Iterable[Change] = ()) -> list[Record]:
        """Keep those of *records* that are newer, and list *changes*; gives what was newer."""
        changes = list(changes)
        added = newer(records, self._read().records.values())
        if not added and not changes:
            return []
        with self._locked():
            agreed = self._read()
            added = newer(added, agreed.records.values())
            if added:
                self._write(agreed, added)
            if changes:
                self._list(changes)
        return added

    def end(self, record: Record, change: Change) -> bool:
        """Note that the time of *record* is over; whether this is the first process to say so."""
        with self._locked():
            agreed = self._read()
            held = agreed.records.get(record.name)
            if held and (held.version > record.version or held.ended):
                return False
            self._write(agreed, [record], ended=True)
            self._list([change])
        return True

    def changes(self) -> list[Change]:
        """The last changes, newest first; corrupt lines are left out."""
        try:
            lines = self._changes.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return newest_changes(self._each(lines, _change), MAX_CHANGES)

    def renew(self) -> None:
        """In a forked child: let go of a lock that another thread of the parent was holding."""
        while self._held:
            os.close(self._held.pop())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.directory / "agree", os.O_RDWR | os.O_CREAT, 0o600)
        self._held.add(descriptor)
        try:
            deadline = time.monotonic() + _WAIT
            while not lock(descriptor, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.directory / 'agree'}: another process holds it")
                time.sleep(0.002)
            yield
        finally:
            self._held.discard(descriptor)
            # Said, not left to closing: a process forked meanwhile has the descriptor, too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _read(self) -> _Agreed:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return _Agreed(clock=0, records={})
        try:
            found = convert(read(data, JSON), dict[str, Any])
            entries = convert(found.get("records"), dict[str, Any])
        except ValueError as error:
            self._complaints.give(f"{self._path}", "%s, ignored: %s", self._path, error)
            return _Agreed(clock=0, records={})
        self._complaints.settle(f"{self._path}")
        records = {filed.name: filed for filed in self._each(entries.items(), _filed)}
        clock = found.get("clock")
        if not isinstance(clock, int) or clock > latest():
            self._complaints.give(
                f"{self._path} clock",
                "%s, ignored: the clock %.100r is no time, or more than a day ahead",
                self._path,
                clock,
            )
            clock = 0
        else:
            self._complaints.settle(f"{self._path} clock")
        return _Agreed(
            clock=max([clock, *(filed.n for filed in records.values())]), records=records
        )

    def _each(self, items: Iterable[Any], parse: Callable[[Any], Any]) -> Iterator[Any]:
        for item in items:
            try:
                parsed = parse(item)
            except ValueError as error:
                name = item[0] if isinstance(item, tuple) else item
                self._complaints.give(
                    f"{self.directory}{name!r}",
                    "In %s, ignored: %.100r: %s",
                    self.directory,
                    name,
                    error,
                )
                continue
            yield parsed

    def _write(self, agreed: _Agreed, records: list[Record], *, ended: bool = False) -> None:
        kept = dict(agreed.records)
        now = time.time()
        for record in records:
            until = None if record.left is None else now + record.left
            kept[record.name] = _Filed(
                **(structs.asdict(record) | {"left": None}),
                until=until,
                ended=ended or record.left == 0,
            )
        clock = max(agreed.clock, *(record.n for record in records))
        kept = {
            name: filed for name, filed in kept.items() if not _unfiled(filed).forgettable(clock)
        }
        write_aside(self._path, msgspec.json.encode(_Agreed(clock=clock, records=kept)))

    def _list(self, changes: list[Change]) -> None:
        lines = map(msgspec.json.encode, newest_changes([*changes, *self.changes()], MAX_CHANGES))
        write_aside(self._changes, b"".join(line + b"\n" for line in lines))


def _filed(item: tuple[str, Any]) -> _Filed:
    filed = convert(item[1], _Filed)
    if filed.name != item[0]:
        raise ValueError(f"it is about {filed.name}")
    heard(_unfiled(filed))
    return filed


def _change(line: bytes) -> Change:
    return believed(read(line, CHANGE))


def _unfiled(filed: _Filed) -> Record:
    """The record, with what is left of its time; a clock that was set back gives it no more."""
    left = None
    if filed.ttl is not None:
        until = time.time() + filed.ttl if filed.until is None else filed.until
        left = 0.0 if filed.ended else min(filed.ttl, max(0.0, until - time.time()))
    known = {name: getattr(filed, name) for name in Record.__struct_fields__}
    return Record(**(known | {"left": left}))
