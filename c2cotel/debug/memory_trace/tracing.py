"""The growth of this process's memory by line, from tracemalloc.

What has been allocated since the beginning and is still there at the end is summed up by the line
that allocated it. If tracemalloc was on before (``PYTHONTRACEMALLOC``), it stays on, with its own
number of frames, and the two ends are compared.

Tracing makes whatever allocates slower, and keeps a record of each thing that is not freed. How
much slower is measured when it begins (:class:`Overhead`), how large the records are while it goes
on: at :data:`MOST_RECORDS` it ends early.
"""

import gc
import linecache
import logging
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from c2cotel.debug.heap import Pace
from c2cotel.debug.texts import masked, printable, truncated

LOGGER = logging.getLogger(__name__)

MOST_RECORDS: Final = 64 * 1024 * 1024
"""Bytes of records at which a trace ends early; eight times as many if it is forced."""

MOST_OVERHEAD: Final = 0.9
"""Share of a core that a process may need while it is traced, unless it is forced."""

_FORCED: Final = 8
_LOOK: Final = 0.25
# Seconds that it is looked at how busy the process is.
_LOOK_AT_CPU: Final = 0.2
_ROUNDS: Final = 300
_REPETITIONS: Final = 3
_SECONDS_TO_SUM_UP: Final = 60.0
_LONGEST_LINE: Final = 160
_OURS: Final = (tracemalloc.__file__, __file__)


@dataclass(frozen=True)
class Overhead:
    """What tracing costs this process.

    Attributes:
        busy: Share of a core that it uses now.
        factor: How many times as long takes what only allocates.
    """

    busy: float
    factor: float

    @property
    def expected(self) -> float:
        """The share of a core that it will need."""
        return self.busy * self.factor

    def __str__(self) -> str:
        return (
            f"it uses {self.busy:.0%} of a core now, and what allocates takes {self.factor:.1f} "
            f"times as long, so it would need about {self.expected:.0%}"
        )


@dataclass
class Line:
    """What one line of source has allocated; *traces* are its callers, by size."""

    size: int = 0
    count: int = 0
    traces: dict[tuple[tuple[str, int], ...], int] = field(default_factory=dict)

    def add(self, size: int, count: int, trace: tuple[tuple[str, int], ...]) -> None:
        self.size += size
        self.count += count
        self.traces[trace] = self.traces.get(trace, 0) + size


class TooMuchError(ValueError):
    """It would cost too much; the text says how much."""


class Tracing:
    """One trace of this process, in a thread of its own.

    Raises:
        TooMuchError: what it would cost is more than :data:`MOST_OVERHEAD`, and is not *forced*.
    """

    def __init__(  # noqa: PLR0913 - what is known of a trace
        self,
        *,
        seconds: float,
        frames: int,
        limit: int,
        forced: bool,
        on_end: Callable[[dict[str, Any]], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._seconds = seconds
        self._limit = limit
        self._most_records = MOST_RECORDS * (_FORCED if forced else 1)
        self._on_end = on_end
        self._on_failure = on_failure
        self._over = threading.Event()
        self._was_on = tracemalloc.is_tracing()
        self._is_ours = not self._was_on
        self._before: dict[tuple[str, int], Line] = {}
        self.overhead: Overhead | None = None
        try:
            if self._was_on:
                self._before = _lines(Pace(_SECONDS_TO_SUM_UP))
            else:
                self.overhead = _begun(frames)
                _check(self.overhead, frames, forced=forced)
            self._frames = tracemalloc.get_traceback_limit()
            self._thread = threading.Thread(
                target=self._run, name="c2cotel-memory-trace", daemon=True
            )
            self._thread.start()
        except BaseException:
            self._switch_off()
            raise

    def stop(self) -> None:
        """End it early; what there is is told soon after."""
        self._over.set()

    def forget(self) -> None:
        """In a forked child: the trace goes on in its parent only."""
        self._switch_off()

    def _switch_off(self) -> None:
        """Once: what somebody else switches on later is not ours."""
        if self._is_ours:
            self._is_ours = False
            tracemalloc.stop()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            try:
                ended = self._wait(began + self._seconds)
                seconds = time.monotonic() - began
                gc.collect()
                records = tracemalloc.get_tracemalloc_memory()
                lines = _lines(Pace(_SECONDS_TO_SUM_UP), self._switch_off)
            finally:
                self._switch_off()
            self._on_end(self._told(lines, ended, seconds, records))
        except BaseException as error:
            LOGGER.warning("The memory trace failed.", exc_info=True)
            self._on_failure(f"{type(error).__name__} while it was summed up")

    def _wait(self, until: float) -> str:
        """Why it ended before its time; empty if it did not."""
        while (left := until - time.monotonic()) > 0:
            if self._over.wait(min(left, _LOOK)):
                return "it was stopped"
            if tracemalloc.get_tracemalloc_memory() > self._most_records:
                return (
                    f"its records had more than {self._most_records // 2**20} MB; a shorter one, "
                    "or one with fewer frames, has fewer"
                )
            if not tracemalloc.is_tracing():
                return "something else has switched tracemalloc off"
        return ""

    def _told(
        self, lines: dict[tuple[str, int], Line], ended: str, seconds: float, records: int
    ) -> dict[str, Any]:
        grown = _difference(lines, self._before)
        ranked = sorted(grown.items(), key=lambda item: (-item[1].size, item[0]))
        chosen, others = ranked[: self._limit], ranked[self._limit :]
        return {
            "seconds": seconds,
            "ended": ended,
            "frames": self._frames,
            "was_on": self._was_on,
            "records": records,
            "busy": self.overhead.busy if self.overhead else None,
            "factor": self.overhead.factor if self.overhead else None,
            "size": sum(line.size for line in grown.values()),
            "count": sum(line.count for line in grown.values()),
            "lines": [_row(place, line) for place, line in chosen],
            "other_lines": len(others),
            "other_size": sum(line.size for _, line in others),
        }


def _check(overhead: Overhead, frames: int, *, forced: bool) -> None:
    if overhead.expected > MOST_OVERHEAD and not forced:
        what = "1 frame" if frames == 1 else f"{frames} frames"
        fewer = "Ask for fewer frames; or write" if frames > 1 else "Write"
        raise TooMuchError(
            f"to trace {what} would cost too much: {overhead}. {fewer} force=1 to do it "
            "nevertheless, for one process if the others shall go on as now"
        )


def _begun(frames: int) -> Overhead:
    """Switch tracing on, and tell what that costs."""
    wall, used = time.perf_counter(), time.process_time()
    time.sleep(_LOOK_AT_CPU)
    busy = (time.process_time() - used) / (time.perf_counter() - wall)
    without = _calibrate(frames)
    tracemalloc.start(frames)
    return Overhead(busy, max(1.0, _calibrate(frames) / without))


def _calibrate(depth: int) -> float:
    """CPU seconds of a loop that only allocates, *depth* calls below."""
    if depth > 1:
        return _calibrate(depth - 1)
    return min(_timed() for _ in range(_REPETITIONS))


def _timed() -> float:
    began = time.thread_time()
    for number in range(_ROUNDS):
        kept = {"a": [number], "b": (number, str(number)), "c": {number: float(number)}}
        del kept
    return max(time.thread_time() - began, 1e-6)


def _lines(pace: Pace, then: Callable[[], None] = lambda: None) -> dict[tuple[str, int], Line]:
    """What has been traced, by line. Once it is listed, *then* is called."""
    snapshot = tracemalloc.take_snapshot()
    then()
    lines: dict[tuple[str, int], Line] = {}
    for trace in pace.over(snapshot.traces, 200):
        frames = tuple((frame.filename, frame.lineno) for frame in trace.traceback)
        # The last one is where it was allocated.
        if frames[-1][0] not in _OURS:
            lines.setdefault(frames[-1], Line()).add(trace.size, 1, frames)
    return lines


def _difference(
    lines: dict[tuple[str, int], Line], before: dict[tuple[str, int], Line]
) -> dict[tuple[str, int], Line]:
    """The lines that have more than *before*, with how much more."""
    grown = {}
    for place, line in lines.items():
        known = before.get(place, Line())
        more = Line(line.size - known.size, line.count - known.count)
        more.traces = {
            trace: size - known.traces.get(trace, 0) for trace, size in line.traces.items()
        }
        if more.size > 0:
            grown[place] = more
    return grown


def _row(place: tuple[str, int], line: Line) -> dict[str, Any]:
    trace = max(line.traces, key=lambda each: (line.traces[each], each))
    return {
        "file": printable(place[0]),
        "line": place[1],
        "code": _code(*place),
        "size_diff": line.size,
        "count_diff": line.count,
        # The line itself first, then who called it.
        "traceback": [f"{printable(file)}:{number}" for file, number in reversed(trace)],
    }


def _code(file: str, number: int) -> str:
    """The line of source, without leaving the whole file in memory."""
    known = file in linecache.cache
    try:
        text = linecache.getline(file, number)
    finally:
        if not known:
            linecache.cache.pop(file, None)
    return truncated(printable(masked(text.strip())), _LONGEST_LINE)


def summed(results: Iterable[tuple[str, dict[str, Any]]], limit: int) -> list[dict[str, Any]]:
    """The lines of several processes together, that which grew most first."""
    lines: dict[tuple[str, int], dict[str, Any]] = {}
    largest: dict[tuple[str, int], int] = {}
    for process, result in results:
        for row in result["lines"]:
            place = (row["file"], row["line"])
            known = lines.setdefault(
                place, {**row, "size_diff": 0, "count_diff": 0, "processes": {}}
            )
            known["size_diff"] += row["size_diff"]
            known["count_diff"] += row["count_diff"]
            known["processes"][process] = row["size_diff"]
            if row["size_diff"] > largest.get(place, 0):
                largest[place] = row["size_diff"]
                known["traceback"] = row["traceback"]
    ranked = sorted(lines.values(), key=lambda row: (-row["size_diff"], row["file"], row["line"]))
    return ranked[:limit]
