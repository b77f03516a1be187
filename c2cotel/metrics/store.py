"""Where this process's numbers live, and what becomes of them at a fork.

A :class:`Store` owns one :class:`~c2cotel.metrics.slab.Slab` at a time, opened when the first
series is wanted. A forked child opens a fresh one: what was counted before the fork stays in the
parent's, so it is counted once. The child notices by ``os.register_at_fork``; where a server
forks without running Python's hooks, by a page that the kernel clears at a fork
(``MADV_WIPEONFORK``), which costs a measurement 30 ns where ``getpid`` would cost ten times that.
"""

import errno
import logging
import mmap
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from opentelemetry.util.types import AttributeValue

from c2cotel.forking import at_fork
from c2cotel.metrics.directory import RunDirectory
from c2cotel.metrics.slab import LOST, SCRATCH, Slab, encode_key, first_double

LOGGER = logging.getLogger(__name__)

# <linux/mman.h>; Python's mmap has no name for it.
_MADV_WIPEONFORK = 18
# After the file system was full, seconds until a new series tries again.
_RETRY_AFTER = 10.0
# Seconds a fork waits for a slab that another thread is opening.
_FREEZE_TIMEOUT = 1.0

# OTLP's integers have 64 bits.
_MOST = 2**63

SeriesKey = tuple[tuple[str, AttributeValue], ...]


class Forgetful(Protocol):
    """An instrument: it must forget where its series are when the slab changes."""

    def forget(self) -> None: ...


class _WipedOnFork:
    """``marker[0]`` is 1 in the process that set it and 0 in a forked child."""

    def __new__(cls) -> "mmap.mmap | _SameProcess":  # type: ignore[misc]  # a page or its stand-in
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            page.madvise(_MADV_WIPEONFORK)
        except OSError as error:  # Linux before 4.14, or a sandbox that knows only some advice
            if error.errno != errno.EINVAL:
                raise
            return _SameProcess()
        page[0] = 1
        return page


class _SameProcess:
    """The same without the kernel's help."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, _: int) -> int:
        return int(os.getpid() == self._pid)

    def __setitem__(self, _: int, __: int) -> None:
        self._pid = os.getpid()


class Store:
    """This process's slab, and the series in it.

    Attributes:
        on_use: Called when this process has numbers to look after: its slab has been opened, or
            something is to be asked for them. It may be called more than once.
    """

    def __init__(self, directory: RunDirectory | None, max_series: int = 2000) -> None:
        self.directory = directory
        self.max_series = max_series
        self.marker = _WipedOnFork()
        self.slab: Slab | None = None
        self.on_use: Callable[[], None] = lambda: None
        self._lock = threading.RLock()
        self._renewals: dict[int, threading.Lock] = {}
        self._instruments: weakref.WeakSet[Forgetful] = weakref.WeakSet()
        self._descriptions: dict[bytes, int] = {}
        self._full_until = 0.0
        self._watched = False
        at_fork(self._freeze, self._thaw, self.renew)

    def register(self, instrument: Forgetful) -> None:
        self._instruments.add(instrument)

    def watch(self) -> None:
        """Have this process looked after, and each that is forked from it, before it measures."""
        self._watched = True
        self.on_use()

    @property
    def doubles(self) -> "memoryview[float]":
        """The slab's numbers; opens the slab if this process has none yet."""
        return self._opened().doubles

    def _opened(self) -> Slab:
        if (slab := self.slab) is not None:
            return slab
        with self._lock:
            if (slab := self.slab) is not None:
                return slab
            slab = self.slab = self._open()
        self.on_use()
        return slab

    def _open(self) -> Slab:
        if self.directory is not None:
            try:
                return Slab(self.directory.path)
            except OSError as error:
                LOGGER.warning(
                    "Process %d cannot count for all to see: %s: %s. Its numbers will be missing "
                    "from the metrics. Let it write there and make room, or set C2C_RUN_DIR to "
                    "another directory.",
                    os.getpid(),
                    self.directory.path,
                    error.strerror or error,
                )
        return Slab(None)

    def private_image(self) -> bytes | None:
        """This process's numbers, if no other process can read them; else ``None``."""
        return self.slab.image if self.slab is not None and self.slab.name is None else None

    def add_series(
        self, instrument: bytes, attributes: bytes, doubles: int, fill: float = 0.0
    ) -> int | None:
        """Make room for one series and return the index of its first double.

        *instrument* and *attributes* are JSON. ``None`` when there is no room: the measurement
        is to be counted as lost.
        """
        if time.monotonic() < self._full_until:
            return None
        slab = self._opened()
        with self._lock:
            try:
                described = self._descriptions.get(instrument)
                if described is None:
                    described = self._descriptions[instrument] = slab.append(instrument)
                position = slab.append(attributes, doubles, described, fill)
            except OSError as error:
                self._full_until = time.monotonic() + _RETRY_AFTER
                LOGGER.warning(
                    "No room for another metric series in %s: %s. It is not counted; the series "
                    "that exist are.",
                    self.directory.path if self.directory else "memory",
                    error.strerror or error,
                )
                return None
        return first_double(position, len(attributes))

    def lose(self) -> int:
        """Count a measurement as lost; returns where it may be written to instead."""
        self.count(LOST)
        return SCRATCH

    def count(self, header_double: int) -> None:
        """Count one more in the header: :data:`LOST` or :data:`OVERFLOWED` of the slab."""
        doubles = self.doubles
        with self._lock:
            doubles[header_double] += 1

    def _freeze(self) -> None:
        """Before a fork: no slab is to be half made, the child could not close what it inherits."""
        self._lock.acquire(timeout=_FREEZE_TIMEOUT)

    def _thaw(self) -> None:
        with suppress(RuntimeError):  # it was not to be had in time
            self._lock.release()

    def check_process(self) -> None:
        """Where at-fork hooks do not run: renew if this process was forked meanwhile."""
        if not self.marker[0]:
            self.renew()

    def renew(self) -> None:
        """In a forked child: leave the parent's slab alone and start from nothing."""
        # Without hooks several threads may notice at once. The locks that the parent held at the
        # fork stay locked for ever here, so this one is made for this process.
        with self._renewals.setdefault(os.getpid(), threading.Lock()):
            if self.marker[0]:
                return
            inherited, self.slab = self.slab, None
            self._lock = threading.RLock()
            self._descriptions = {}
            self._full_until = 0.0
            if self.directory is not None:
                self.directory.check_process()
            for instrument in tuple(self._instruments):
                instrument.forget()
            if inherited is not None:
                inherited.close()
            self.marker[0] = 1
        if self._watched:
            self.on_use()
        # gunicorn's workers give up root (--user) before they count, and could not open one then.
        if "gunicorn" in sys.modules and os.geteuid() == 0:
            self._opened()


def series_key(attributes: Mapping[str, AttributeValue] | None) -> SeriesKey:
    """The attributes in one canonical, hashable form: sorted, sequences as tuples.

    Values that OpenTelemetry does not allow are turned into text.
    """
    if not attributes:
        return ()
    return tuple(sorted((_text(name), _plain(value)) for name, value in attributes.items()))


def _plain(value: object) -> AttributeValue:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return tuple(_scalar(item) for item in value)
    return _scalar(value)


def _scalar(value: object) -> str | bool | int | float:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and -_MOST < value < _MOST:
        return int(value)
    # Not NaN, of which no two are one series.
    if isinstance(value, float) and value == value:  # noqa: PLR0124
        return float(value)
    return _text(value)


def _text(value: object) -> str:
    """What every encoder downstream can write: no lone surrogates, as of undecodable bytes."""
    text = value if type(value) is str else str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def encode_series(key: SeriesKey) -> bytes:
    """The key of a series' record: ``[[name, value], ...]``."""
    return encode_key(key)
