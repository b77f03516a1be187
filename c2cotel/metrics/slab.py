"""The file one process counts in, and how others read it.

A slab is a header followed by appended records, native byte order, everything aligned to 8 bytes::

    header   magic, pid, bytes used, time of creation, two doubles: lost and overflowed
    record   total length, key length, number of doubles, position of its instrument
             key (JSON), padding, the doubles, room for what later versions append

A record without a position describes an instrument; the others are one series each of the
instrument they point to. "Bytes used" is written last, so a reader never sees half a record,
and readers skip by the total length, so a record may grow a tail (exemplars).

The whole capacity is mapped once as a sparse file and claimed in chunks by ``posix_fallocate``:
no page is touched that is not paid for, so a full file system is an error here and never a
SIGBUS, and positions stay valid for the life of the process.
"""

import fcntl
import json
import mmap
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"C2CSLAB1"
SUFFIX = ".slab"
CAPACITY = 64 * 1024 * 1024
CHUNK = 64 * 1024

# magic, pid, bytes used, created (ns), lost, overflowed
_HEADER = struct.Struct("=8sQQQdd")
HEADER_SIZE = 64
_USED = struct.Struct("=Q")
_USED_AT = 16
LOST = 4
OVERFLOWED = 5
# total length, key length, doubles, position of the instrument's record / 8
_RECORD = struct.Struct("=IIII")
# The position that marks the record of a fold's members.
MEMBERS = 0xFFFFFFFF
# Where measurements go that have no room: nobody reads it, and the hot path needs no question.
SCRATCH = 64 // 8
SCRATCH_DOUBLES = 128
_SCRATCH_SIZE = SCRATCH_DOUBLES * 8


class SlabFullError(OSError):
    """No room for another series; the message says where."""


class Slab:
    """This process's numbers: ``slab.doubles[i] += x``."""

    def __init__(self, directory: Path | None) -> None:
        """Make a slab file in *directory*, or without one in private memory.

        Raises:
            OSError: the file cannot be made or has no room.
        """
        self.name: str | None = None
        self._descriptor: int | None = None
        self._claimed = 0
        if directory is None:
            self._map = mmap.mmap(-1, CAPACITY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._claimed = CAPACITY
        else:
            self._map = self._make_file(directory)
        created = time.time_ns()
        self._used = HEADER_SIZE + _SCRATCH_SIZE
        self._map[: _HEADER.size] = _HEADER.pack(MAGIC, os.getpid(), self._used, created, 0.0, 0.0)
        self.doubles = memoryview(self._map).cast("d")
        if directory is not None:
            # Named after its creation, so that sorting names is sorting by age. Renamed only now:
            # no reader can meet a slab without its lock, or without a header.
            self.name = f"{created:020d}-{os.getpid()}{SUFFIX}"
            try:
                self._aside.replace(directory / self.name)
            except OSError:
                self.close()
                raise

    def _make_file(self, directory: Path) -> mmap.mmap:
        self._aside = directory / f"slab-{os.getpid()}-{time.time_ns()}.tmp"
        descriptor = os.open(self._aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._descriptor = descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.ftruncate(descriptor, CAPACITY)
            self._claim(CHUNK)
            return mmap.mmap(descriptor, CAPACITY)
        except OSError:
            os.close(descriptor)
            self._aside.unlink(missing_ok=True)
            raise

    def _claim(self, size: int) -> None:
        """Have the file system set *size* bytes aside."""
        if size <= self._claimed:
            return
        if size > CAPACITY or self._descriptor is None:
            raise SlabFullError(f"a process counts at most {CAPACITY} bytes of series")
        missing = size - self._claimed
        for step in (max(CHUNK, missing), missing):
            try:
                os.posix_fallocate(self._descriptor, self._claimed, step)
            except OSError as error:
                refusal = error
            else:
                self._claimed += step
                return
        raise SlabFullError(refusal.errno, refusal.strerror, self.name)

    def append(self, key: bytes, doubles: int = 0, instrument: int = 0, fill: float = 0.0) -> int:
        """Add a record and return its position / 8; see :func:`first_double`.

        Raises:
            SlabFullError: nothing was added.
        """
        start = self._used
        values = first_double(start // 8, len(key)) * 8
        end = values + doubles * 8
        self._claim(end)
        self._map[start : start + _RECORD.size] = _RECORD.pack(
            end - start, len(key), doubles, instrument
        )
        self._map[start + _RECORD.size : start + _RECORD.size + len(key)] = key
        self._map[values:end] = struct.pack("=d", fill) * doubles
        self._used = end
        self._map[_USED_AT : _USED_AT + _USED.size] = _USED.pack(end)
        return start // 8

    @property
    def image(self) -> bytes:
        """What a reader of the file would read; for a slab in private memory."""
        return self._map[: self._used]

    def close(self) -> None:
        """Let go of the file, and so of its lock; in a forked child: of the parent's."""
        self.doubles.release()
        self._map.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def first_double(position: int, key_length: int) -> int:
    """Index of a record's first double, *position* being what :meth:`Slab.append` returned."""
    return position + (_RECORD.size + key_length + 7) // 8


class MalformedSlabError(ValueError):
    """Not a slab, or one cut short; the message says where."""


@dataclass(frozen=True)
class Header:
    """What a slab says of itself.

    Attributes:
        pid: The process that counts, or counted, in it.
        used: Bytes that hold complete records.
        created: Wall-clock time in nanoseconds.
        lost: Measurements that found no room.
        overflowed: Measurements counted in an overflow series.
    """

    pid: int
    used: int
    created: int
    lost: float
    overflowed: float


@dataclass(frozen=True)
class Record:
    """One record of a slab, as read.

    Attributes:
        position: Where it begins, in units of 8 bytes.
        key: The JSON text.
        instrument: Position of the record that describes the instrument; 0 in such a record.
        first: Index of its first double.
        doubles: How many it has.
    """

    position: int
    key: bytes
    instrument: int
    first: int
    doubles: int


def read_used(head: bytes) -> int:
    """How many bytes of a slab to read, from its first :data:`HEADER_SIZE`; else those."""
    if head[:8] != MAGIC or len(head) < HEADER_SIZE:
        return len(head)
    used = int(_USED.unpack_from(head, _USED_AT)[0])
    return used if used <= CAPACITY else len(head)


def read_header(data: bytes) -> Header:
    """Parse the header of a slab's bytes.

    Raises:
        MalformedSlabError: it is none.
    """
    if len(data) < HEADER_SIZE or data[:8] != MAGIC:
        raise MalformedSlabError("not a slab")
    _, pid, used, created, lost, overflowed = _HEADER.unpack_from(data)
    if used > len(data) or used % 8 or used < HEADER_SIZE + _SCRATCH_SIZE:
        raise MalformedSlabError(f"says {used} bytes and has {len(data)}")
    return Header(pid, used, created, lost, overflowed)


def read_records(data: bytes, used: int, start: int = 0) -> Iterator[Record]:
    """The records of a slab's bytes from byte *start* (0: the first) up to *used*.

    Raises:
        MalformedSlabError: a record does not fit; those before it have been yielded.
    """
    at = start or HEADER_SIZE + _SCRATCH_SIZE
    while at < used:
        if at + _RECORD.size > used:
            raise MalformedSlabError(f"record at byte {at} is cut short")
        total, key_length, doubles, instrument = _RECORD.unpack_from(data, at)
        first = first_double(at // 8, key_length)
        if total % 8 or at + total > used or first * 8 + doubles * 8 > at + total:
            raise MalformedSlabError(f"record at byte {at} does not fit")
        key_at = at + _RECORD.size
        yield Record(at // 8, data[key_at : key_at + key_length], instrument, first, doubles)
        at += total


def encode_key(value: object) -> bytes:
    """The JSON text of an instrument's description or a series' attributes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )


def owner_is_alive(descriptor: int) -> bool:
    """Whether the process that counts in this slab still holds its lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
