"""One file for the numbers of all processes that have ended.

However many workers come and go, the run directory holds the slabs of the living and this file.
A fold is a slab with one record more: the names of the slabs it contains. It is written aside,
renamed in place, and only then are its members unlinked; the next fold unlinks what a crash left.
A reader skips members, so at every moment each number is counted once.
"""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from c2cotel.files import write_aside
from c2cotel.metrics import slab as slabs
from c2cotel.metrics.directory import RunDirectory, own_files
from c2cotel.metrics.merge import FOLD, NEVER_A_SLAB, Merge, open_slab, read_image, slab_names
from c2cotel.metrics.slab import Header, Slab
from c2cotel.metrics.store import encode_series

# A slab that is being made bears another name for microseconds only; seconds.
_ABANDONED_AFTER = 60.0


class Folder:
    """Folds a run directory again and again; says once of each slab that it cannot be read."""

    def __init__(self, directory: RunDirectory, max_series: int = 2000) -> None:
        self._directory = directory
        self._path = directory.path
        self._max_series = max_series
        self._unreadable: set[str] = set()

    def fold(self) -> int:
        """Fold the slabs of ended processes; returns how many.

        Zero when nobody has ended, or another process is folding at the moment.

        Raises:
            OSError: there is no room for the new fold. The slabs stay, and count, where they are.
        """
        if not self._dead():
            return 0
        held = self._directory.hold("fold")
        if held is None:
            return 0
        try:
            return self._fold()
        finally:
            self._directory.release(held)

    def _fold(self) -> int:
        merge = Merge(self._path, self._max_series)
        merge.unreadable = self._unreadable
        headers, members, left_over = [], [], frozenset[str]()
        if (self._path / FOLD).exists():
            data = _load(self._path / FOLD)
            left_over = merge.members(data)
            headers.append(merge.add(FOLD, data, living=False))
        # Before the next fold, which does not list them: it would make them count twice.
        for name in left_over:
            (self._path / name).unlink(missing_ok=True)
        for name in self._dead():
            if name not in left_over:
                header = merge.add(name, _load(self._path / name), living=False)
                if header is not None:
                    headers.append(header)
                    members.append(name)
        if members:
            write_aside(self._path / FOLD, _encode(merge, filter(None, headers), members))
        for name in members:
            (self._path / name).unlink(missing_ok=True)
        self._remove_abandoned()
        return len(members)

    def _dead(self) -> list[str]:
        """The slabs whose owner has ended, but those that nobody can read."""
        return [
            name
            for name in slab_names(self._path)
            if name not in self._unreadable and _is_dead(self._path / name)
        ]

    def _remove_abandoned(self) -> None:
        for path in own_files(self._path):
            if path.suffix == ".tmp" and _age(path) > _ABANDONED_AFTER:
                path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    """Seconds since it was written to; none if it has gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _is_dead(path: Path) -> bool:
    try:
        descriptor = open_slab(path)
    except OSError:  # it has gone, or is none; a merge says the latter
        return False
    try:
        return not slabs.owner_is_alive(descriptor)
    finally:
        os.close(descriptor)


def _load(path: Path) -> bytes:
    try:
        descriptor = open_slab(path)
    except OSError as error:
        if error.errno not in NEVER_A_SLAB:
            raise
        return b""
    try:
        return read_image(descriptor)
    finally:
        os.close(descriptor)


def _encode(merge: Merge, headers: Iterable[Header], members: list[str]) -> bytes:
    """What *merge* holds, as the bytes of one slab."""
    target = Slab(None)
    try:
        target.append(json.dumps(members).encode(), instrument=slabs.MEMBERS)
        for family, rows in merge.rows():
            position = target.append(family.description.encode())
            for row in rows:
                key = encode_series(row.key)
                first = slabs.first_double(target.append(key, len(row.values), position), len(key))
                for index, value in enumerate(row.values, first):
                    target.doubles[index] = value
        for header in headers:
            target.doubles[slabs.LOST] += header.lost
            target.doubles[slabs.OVERFLOWED] += header.overflowed
        return target.image
    finally:
        target.close()
