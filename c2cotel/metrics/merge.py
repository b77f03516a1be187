"""All slabs of a run directory as one set of series.

Reading takes no lock, so it cannot hang: the fold (:mod:`c2cotel.metrics.fold`) is opened first,
then every slab that it does not list as a member. If another fold has taken its place meanwhile,
or a slab has gone, the reading begins again.

What ends with its process (up-down counters, gauges) is taken from the living slabs only.
"""

import errno
import json
import logging
import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import add
from pathlib import Path
from typing import Any

from c2cotel.metrics import slab as slabs
from c2cotel.metrics.families import Collected, Family, Row
from c2cotel.metrics.instruments import (
    GAUGE_MERGES,
    KINDS,
    OVERFLOW,
    Description,
    GaugeMerge,
    Scope,
)
from c2cotel.metrics.itself import Itself
from c2cotel.metrics.slab import MalformedSlabError
from c2cotel.metrics.store import SeriesKey

LOGGER = logging.getLogger(__name__)

FOLD = "folded" + slabs.SUFFIX
_ATTEMPTS = 20
# A symbolic link, a socket or pipe, a file of somebody else. What else keeps a slab from being
# opened (no descriptor left) is no reason to go on without its numbers.
NEVER_A_SLAB = frozenset({errno.ELOOP, errno.ENXIO, errno.EACCES})


@dataclass(slots=True)
class _File:
    """What is known of one slab from earlier readings: parsed once, as keys never change."""

    parsed: int = 0
    identity: tuple[int, int] = (0, 0)
    members: frozenset[str] = frozenset()
    families: dict[int, Family] = field(default_factory=dict)
    # By what is done with them: each scrape goes through all. Index of the first double, and for
    # numbers whether they end with their process.
    numbers: list[tuple[Row, int, bool]] = field(default_factory=list)
    histograms: list[tuple[Row, int, int]] = field(default_factory=list)
    gauges: list[tuple[Row, int, GaugeMerge]] = field(default_factory=list)

    def take(self, description: Description, row: Row, first: int) -> None:
        """Keep where the numbers of *row* are."""
        if description.is_gauge:
            self.gauges.append((row, first, description.merge))
        elif description.kind == "histogram":
            self.histograms.append((row, first, first + description.doubles))
        else:
            self.numbers.append((row, first, description.ends_with_process))

    def rows(self) -> Iterator[Row]:
        for series in (self.numbers, self.histograms, self.gauges):
            for row, *_ in series:
                yield row


class Merge:
    """Reads a run directory again and again, remembering what does not change.

    *own* gives the slab of this process when that is no file; *max_series* bounds the series of
    an instrument over all processes, as it does in each.
    """

    def __init__(
        self,
        directory: Path | None,
        max_series: int = 2000,
        own: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        self.directory = directory
        self.families: dict[Description, Family] = {}
        self._own = own
        self._max_series = max_series
        self._files: dict[str, _File] = {}
        self._reading = 1
        self.itself = Itself(directory, max_series)
        #: Names of the slabs that could not be read to their end.
        self.unreadable: set[str] = set()

    def read(self) -> Collected:
        """Every instrument with its series as they are now.

        Raises:
            OSError: the directory cannot be read.
        """
        begun = time.perf_counter()
        self._reading += 1
        images = list(self._images())
        self._forget({name for name, _, _ in images})
        headers = [self.add(name, data, living=living) for name, data, living in images]
        rows = self.rows()
        living = sum(living for _, _, living in images)
        seconds = time.perf_counter() - begun
        return rows + self.itself.tell(self.families.values(), rows, headers, living, seconds)

    def rows(self) -> Collected:
        """What the last reading found, in the order the instruments first appeared."""
        return [
            (family, rows)
            for family in self.families.values()
            if (rows := [row for row in family.rows.values() if row.reading == self._reading])
        ]

    def _images(self) -> Iterator[tuple[str, bytes, bool]]:
        """Name, bytes and liveness of the fold and of every slab that it does not contain."""
        if (own := self._own()) is not None:
            yield "own", own, True
        if self.directory is None:
            return
        for _ in range(_ATTEMPTS):
            try:
                images = self._consistent(self.directory)
            except FileNotFoundError:
                continue
            if images is not None:
                yield from images
                return
        raise OSError(f"{self.directory} changes faster than it can be read")

    def _consistent(self, directory: Path) -> list[tuple[str, bytes, bool]] | None:
        """The same, or ``None`` if another fold came in between."""
        fold = self._open_fold(directory)
        try:
            images = []
            members: frozenset[str] = frozenset()
            if fold is not None:
                data = read_image(fold)
                members = self.members(data)
                images.append((FOLD, data, False))
            images += [
                (name, *self._image(directory / name))
                for name in slab_names(directory)
                if name not in members
            ]
            # An open file keeps its inode, so another fold cannot have the same one.
            return images if _inode(directory / FOLD) == _inode(fold) else None
        finally:
            if fold is not None:
                os.close(fold)

    def _open_fold(self, directory: Path) -> int | None:
        try:
            return open_slab(directory / FOLD)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in NEVER_A_SLAB:
                raise
            self._complain(FOLD, error)
            return None

    def _image(self, path: Path) -> tuple[bytes, bool]:
        """A slab's bytes, and whether its owner lives."""
        try:
            descriptor = open_slab(path)
        except OSError as error:
            if error.errno not in NEVER_A_SLAB:
                raise
            self._complain(path.name, error)
            return b"", False
        try:
            # In this order: a process that ends in between is taken for living with all it counted.
            living = slabs.owner_is_alive(descriptor)
            return read_image(descriptor), living
        finally:
            os.close(descriptor)

    def members(self, data: bytes) -> frozenset[str]:
        """Names of the slabs whose numbers are in this fold."""
        try:
            header = slabs.read_header(data)
            for record in slabs.read_records(data, header.used):
                if record.instrument == slabs.MEMBERS:
                    return frozenset(json.loads(record.key))
        except (ValueError, TypeError) as error:
            self._complain(FOLD, error)
        return frozenset()

    def _forget(self, present: set[str]) -> None:
        """Drop what only slabs that have gone had; the rows of dead processes among it."""
        gone = self._files.keys() - present
        for name in gone:
            del self._files[name]
        if gone:
            kept = {id(row) for file in self._files.values() for row in file.rows()}
            for family in self.families.values():
                absent = [key for key, row in family.rows.items() if id(row) not in kept]
                for key in absent:
                    del family.rows[key]
                family.changes += len(absent)

    def add(self, name: str, data: bytes, *, living: bool) -> slabs.Header | None:
        """Add one slab's numbers to the rows; gives its header, or ``None`` if it has none."""
        try:
            header = slabs.read_header(data)
        except MalformedSlabError as error:
            self._complain(name, error)
            return None
        file = self._files.setdefault(name, _File())
        if file.identity != (header.pid, header.created):
            # A fold keeps its name when its content is another.
            self._files[name] = file = _File(identity=(header.pid, header.created))
        if file.parsed < header.used:
            self._parse(name, file, data, header)
        doubles: list[float] = memoryview(data)[: header.used].cast("d").tolist()  # type: ignore[assignment]  # it thinks of the bytes
        self._sum(file, doubles, living=living)
        return header

    def _sum(self, file: _File, doubles: list[float], *, living: bool) -> None:
        reading = self._reading
        for row, first, ends_with_process in file.numbers:
            value = doubles[first]
            # NaN: an observable with no value now.
            if value != value or (ends_with_process and not living):  # noqa: PLR0124
                continue
            if row.reading == reading:
                row.values[0] += value
            else:
                row.values[0] = value
                row.reading = reading
        for row, first, end in file.histograms:
            if row.reading == reading:
                row.values = list(map(add, row.values, doubles[first:end]))
            else:
                row.values = doubles[first:end]
                row.reading = reading
        for row, first, rule in file.gauges:
            if living or rule == "last":
                _merge_gauge(rule, row, doubles[first : first + 2], reading)

    def _parse(self, name: str, file: _File, data: bytes, header: slabs.Header) -> None:
        try:
            for record in slabs.read_records(data, header.used, file.parsed):
                try:
                    self._parse_record(file, record, header.pid)
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    self._complain(name, error)
        except MalformedSlabError as error:
            self._complain(name, error)
        file.parsed = header.used

    def _parse_record(self, file: _File, record: slabs.Record, pid: int) -> None:
        if record.instrument == 0:
            file.families[record.position] = self._family(record.key)
        elif record.instrument != slabs.MEMBERS:
            family = file.families[record.instrument]
            if record.doubles != family.description.doubles:
                raise MalformedSlabError(f"{record.doubles} numbers for a {family.description}")
            row = self._row(family, _decode_pairs(json.loads(record.key)), pid)
            file.take(family.description, row, record.first)

    def _family(self, key: bytes) -> Family:
        description = _decode_description(key)
        return self.families.setdefault(description, Family(description))

    def _row(self, family: Family, key: SeriesKey, pid: int) -> Row:
        description = family.description
        by_process = description.is_gauge and description.merge == "pid"
        if by_process and "pid" not in dict(key):
            key = tuple(sorted((*key, ("pid", pid))))
        row = family.rows.get(key)
        if row is None:
            # Of each process there are no more than that anyway, and they end with it.
            if len(family.rows) >= self._max_series and not by_process:
                key = OVERFLOW
            row = family.rows.get(key) or Row(key, [0.0] * description.doubles)
            family.rows[key] = row
            family.changes += 1
        return row

    def _complain(self, name: str, error: Exception) -> None:
        if name not in self.unreadable:
            self.unreadable.add(name)
            LOGGER.warning(
                "%s/%s: what cannot be read in it is skipped: %r (said once). "
                "The other processes are counted.",
                self.directory,
                name,
                error,
            )


def _merge_gauge(rule: str, row: Row, new: list[float], reading: int) -> None:
    value, at = new
    if math.isnan(value):
        return
    if row.reading != reading:
        row.values, row.reading = [value, at], reading
    elif rule == "sum":
        row.values = [row.values[0] + value, max(row.values[1], at)]
    elif (
        (rule == "min" and value < row.values[0])
        or (rule == "max" and value > row.values[0])
        or (rule == "last" and at >= row.values[1])
    ):
        row.values = [value, at]


def slab_names(directory: Path) -> list[str]:
    """The slabs by age, without the fold."""
    names = (path.name for path in directory.iterdir())
    return sorted(name for name in names if name.endswith(slabs.SUFFIX) and name != FOLD)


def open_slab(path: Path) -> int:
    """A descriptor of a slab, or of a regular file that may turn out to be none.

    Raises:
        OSError: with an ``errno`` of :data:`NEVER_A_SLAB`, it is something else.
    """
    # Does not wait for a writer if it is a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.ENXIO, "not a regular file", str(path))


def read_image(descriptor: int) -> bytes:
    """The used part of a slab; of anything else enough to see that it is none."""
    size = slabs.HEADER_SIZE
    data = os.pread(descriptor, size, 0)
    # Its owner may add to it meanwhile; a file cut short gives less than was asked for.
    while len(data) == size < slabs.read_used(data):
        size = slabs.read_used(data)
        data = os.pread(descriptor, size, 0)
    return data


def _inode(file: Path | int | None) -> int | None:
    if file is None:
        return None
    try:
        # A descriptor, too, for which not to follow links means nothing.
        status = os.fstat(file) if isinstance(file, int) else file.lstat()
    except FileNotFoundError:
        return None
    return status.st_ino if stat.S_ISREG(status.st_mode) else None


def _decode_description(key: bytes) -> Description:
    kind, name, unit, text, scope, bounds, merge = json.loads(key)
    scope_name, version, schema_url, attributes = scope
    texts = (name, unit, text, scope_name, version, schema_url)
    if kind not in KINDS or merge not in GAUGE_MERGES or not all(isinstance(t, str) for t in texts):
        raise MalformedSlabError("describes no instrument of this version")
    return Description(
        kind,
        name,
        unit,
        text,
        Scope(scope_name, version, schema_url, _decode_pairs(attributes)),
        tuple(float(bound) for bound in bounds),
        merge,
    )


def _decode_pairs(pairs: list[list[Any]]) -> SeriesKey:
    if not all(isinstance(name, str) for name, _ in pairs):
        raise MalformedSlabError("an attribute's name is no text")
    return tuple((name, tuple(v) if isinstance(v, list) else v) for name, v in pairs)
