"""What the memory of a process is used for, and what a call leaves in it."""

import difflib
import heapq
import linecache
import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from c2cotel.debug import heap
from c2cotel.debug.heap import OutOfTimeError, Pace
from c2cotel.debug.memory.maps import MemoryInfo
from c2cotel.debug.secret_names import secret_ones
from c2cotel.debug.sizes import Owned, reachable
from c2cotel.debug.texts import printable, shown, truncated, type_name
from c2cotel_instrumentation.redaction import REDACTED

if TYPE_CHECKING:
    from c2cotel.broadcast.messages import Replies

LOGGER = logging.getLogger(__name__)

CHANNEL: Final = "c2c_dump_memory"
LIMIT: Final = 30
MOST: Final = 1000
"""Rows of each list, by default and at most."""

SECONDS: Final = 60.0
"""How long a process analyses, at most."""

PATIENCE: Final = 70.0
"""How long whoever asks waits for it."""

# Analyses that run or are waited for: each has one of the few threads that answer broadcasts.
_MOST_AT_ONCE: Final = 4
_FUNCTIONS: Final = "builtins.function"
_LINECACHE: Final = "linecache"
_LONGEST_NAME: Final = 300
# Of the seconds: for the objects with cycles, which is slower.
_SECONDS_FOR_CYCLES: Final = 4.0
# Beyond the others: to find out what stands under the name of a secret.
_SECONDS_FOR_NAMES: Final = 6.0
# Of so many things, how large they are together is not told exactly.
_MOST_REACHED: Final = 100_000
# Of so many objects it is looked for cycles; of all others, for sizes only.
_MOST_RANKED: Final = 5000
_SIMILAR: Final = 3
_OURS: Final = "c2cotel.debug.memory."


class _Asked(NamedTuple):
    limit: int
    name: str | None
    internals: bool
    details: bool


class Analysis:
    """That of one process; one at a time.

    Who asks for the same as somebody else gets the same answer; who asks for something else waits
    for the other, for half the time at most.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._renew()
        renewing = weakref.WeakMethod(self._renew)
        os.register_at_fork(after_in_child=lambda: (method := renewing()) and method())

    def told(
        self,
        limit: int = LIMIT,
        analyze_type: str | None = None,
        python_internals_map: bool = False,  # noqa: FBT001, FBT002 - names of the predecessor's
        details: bool = False,  # noqa: FBT001, FBT002 - likewise
    ) -> dict[str, Any]:
        """What this process answers when all are asked."""
        rows = min(max(int(limit), 1), MOST)
        asked = _Asked(rows, analyze_type, bool(python_internals_map), bool(details))
        with self._lock:
            if len(self._runs) + self._sharing >= _MOST_AT_ONCE:
                return _busy("So many others wait for an analysis already: ask again later")
            if (run := self._runs.get(asked)) is not None:
                self._sharing += 1
            else:
                mine = self._runs[asked] = Future[dict[str, Any]]()
        if run is None:
            return self._run(asked, mine).copy()
        try:
            return run.result(self._seconds).copy()
        except TimeoutError:
            return _busy("It is being analysed already: ask again later")
        finally:
            with self._lock:
                self._sharing -= 1

    def _run(self, asked: _Asked, run: Future[dict[str, Any]]) -> dict[str, Any]:
        until = time.monotonic() + self._seconds
        try:
            if self._turn.acquire(timeout=self._seconds / 2):
                try:
                    result = _analysed(asked, Pace(until - time.monotonic()))
                finally:
                    self._turn.release()
            else:
                result = _busy("It is being analysed already: ask again later")
        except BaseException as error:
            run.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._runs[asked]
        run.set_result(result)
        return result

    def _renew(self) -> None:
        """Also in a forked child: nobody analyses there."""
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._runs: dict[_Asked, Future[dict[str, Any]]] = {}
        self._sharing = 0


def _busy(text: str) -> dict[str, Any]:
    return {"status": 409, "message": text}


def _analysed(asked: _Asked, pace: Pace) -> dict[str, Any]:
    result: dict[str, Any] = {
        "nb_collected": heap.collect(),
        "most_common_types": [],
        "leaking_objects": [],
    }
    name, limit = asked.name, asked.limit
    of_type: dict[str, Any] = {}
    if name:
        result[name] = of_type
    try:
        result["most_common_types"] = heap.top(heap.counts(pace), limit)
        result["leaking_objects"] = heap.top(heap.counts(pace, heap.leaking(pace)), limit)
        if name == _FUNCTIONS:
            of_type["modules"] = _modules(limit, pace)
        elif name == _LINECACHE:
            of_type["biggest_objects"] = _files(limit, pace)
        elif name:
            kinds = heap.types_named(name, pace)
            if not kinds:
                result["unknown_type"] = True
            biggest = Biggest(kinds, limit, internals=asked.internals, details=asked.details)
            biggest.find(pace, of_type)
    except OutOfTimeError:
        # What has been found so far is told.
        of_type["timeout"] = True
        if asked.details and not name:
            result["timeout"] = True
        LOGGER.info("The time was not enough to analyse the memory: some of it is not told.")
    return result


def _modules(limit: int, pace: Pace) -> list[dict[str, Any]]:
    """Where the functions come from."""
    found: Counter[str] = Counter()
    kinds = [type(_modules)]
    for function in pace.over(heap.of_types(kinds, pace), 1000):
        module = function.__globals__.get("__name__")
        found[printable(module) if type(module) is str else "?"] += 1
    return [{"module": name, "nb_func": number} for name, number in heap.top(found, limit)]


def _files(limit: int, pace: Pace) -> list[dict[str, Any]]:
    """The files whose source is kept for tracebacks."""
    sizes = (
        (reachable(entry, pace=pace)[0], name) for name, entry in list(linecache.cache.items())
    )
    return [
        {"filename": printable(str(name)), "size_kb": size / 1024}
        for size, name in heapq.nlargest(limit, sizes)
    ]


@dataclass
class Biggest:
    """The objects of these types that own the most memory."""

    kinds: list[type]
    limit: int
    internals: bool = False
    details: bool = False
    _found: list[tuple[int, int, Any]] = field(default_factory=list)

    def find(self, pace: Pace, told: dict[str, Any]) -> None:
        """Write them into *told*, as far as the time goes.

        Raises:
            OutOfTimeError: it went no further.
        """
        told["biggest_objects"] = []
        objects = heap.of_types(self.kinds, pace)
        if self.details:
            told["objects"] = len(objects)
        owned = Owned(pace, internals=self.internals, held=self.kinds)
        try:
            for number, each in enumerate(objects):
                self._found.append((owned.size_without_cycles(each), number, each))
                if len(self._found) > 2 * _MOST_RANKED:
                    self._rank()
            self._rank()
            self._add_cycles(owned)
        finally:
            self._rank()
            del objects
            largest = self._found[: self.limit]
            hidden = secret_ones([each for _, _, each in largest], Pace(_SECONDS_FOR_NAMES))
            told["biggest_objects"] = [
                self._row(size, each, id(each) in hidden, pace) for size, _, each in largest
            ]

    def _rank(self) -> None:
        self._found.sort(key=lambda each: (-each[0], each[1]))
        del self._found[_MOST_RANKED:]

    def _add_cycles(self, owned: Owned) -> None:
        """Look closer, at those that are large already first."""
        until = time.monotonic() + _SECONDS_FOR_CYCLES
        for place, (_, number, each) in enumerate(self._found):
            if time.monotonic() > until:
                break
            self._found[place] = owned.size(each), number, each

    def _row(self, size: int, thing: Any, hidden: bool, pace: Pace) -> dict[str, Any]:  # noqa: FBT001 - private
        row: dict[str, Any] = {"size_kb": size / 1024, "repr": REDACTED if hidden else shown(thing)}
        if self.details:
            row |= {"id": id(thing), "reaches_kb": None, "reaches_all": False}
            with suppress(OutOfTimeError):
                all_of_it, complete = reachable(
                    thing, internals=self.internals, most=_MOST_REACHED, pace=pace
                )
                row |= {"reaches_kb": all_of_it / 1024, "reaches_all": complete}
        return row


# --- what all processes have answered -------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """What the processes have told.

    Attributes:
        processes: One each, as in the JSON.
        failed: The name of each process that cannot tell, with the reason.
        silent: Those that did not answer in time.
    """

    processes: list[dict[str, Any]]
    failed: list[tuple[str, str]]
    silent: tuple[str, ...]
    unknown_type: bool

    @property
    def names(self) -> list[str]:
        return [f"{each.get('hostname', '?')}/{each.get('pid', '?')}" for each in self.processes]


def report(replies: "Replies") -> Report:
    """What has been answered, without what cannot be an answer."""
    processes, failed = [], []
    unknown = 0
    for answer in replies.answers:
        if not isinstance(answer, dict):
            continue
        if "most_common_types" not in answer:
            name = f"{answer.get('hostname', '?')}/{answer.get('pid', '?')}"
            failed.append((name, truncated(str(answer.get("message", "it cannot")), 300)))
            continue
        unknown += bool(answer.pop("unknown_type", False))
        processes.append(answer)
    return Report(
        processes,
        failed,
        tuple(str(process) for process in replies.silent),
        unknown_type=bool(processes) and unknown == len(processes),
    )


def matrix(processes: list[dict[str, Any]], key: str, limit: int) -> list[dict[str, Any]]:
    """Lists of ``[name, number]`` side by side: the total, and the number of each process."""
    columns = [dict(map(tuple, each.get(key, []))) for each in processes]
    names = {name for column in columns for name in column}
    rows = [
        {
            "name": name,
            "total": sum(column.get(name, 0) for column in columns),
            "numbers": [column.get(name) for column in columns],
        }
        for name in names
    ]
    rows.sort(key=lambda row: (-row["total"], row["name"]))
    return rows[:limit]


def similar_types(name: str) -> list[str]:
    """Names of types that look like *name*, or end as it does."""
    names = {type_name(kind) for kind in heap.all_types()}
    last = name.rpartition(".")[2]
    same = sorted(each for each in names if each.rpartition(".")[2] == last)
    return (same or difflib.get_close_matches(name, names, _SIMILAR))[:_SIMILAR]


# --- what a call leaves ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Growth:
    """What there was more after a call than before it.

    Attributes:
        memory: By kind, in kB.
        seconds: How long the call took.
        types: ``[type, number, how many more]``.
    """

    memory: dict[str, int]
    seconds: float
    types: list[list[Any]]


def growth(call: Callable[[], None], limit: int) -> Growth:
    """Call, and tell what stays; what other requests do meanwhile counts as well."""
    # For as long as it takes: the operator waits for it.
    pace = Pace(float("inf"))
    known: Counter[str] = Counter()
    heap.collect()
    # Once for nothing: what it makes itself is there then.
    known.update(heap.counts(pace))
    known.clear()
    known.update(heap.counts(pace))
    memory = MemoryInfo.read()
    began = time.perf_counter()
    call()
    seconds = time.perf_counter() - began
    heap.collect()
    after = MemoryInfo.read()
    now = heap.counts(pace)
    more = {
        name: now[name] - known[name]
        for name in now
        if now[name] > known[name] and not name.startswith(_OURS)
    }
    types = [[name, now[name], number] for name, number in heap.top(more, limit)]
    return Growth(after.since(memory), seconds, types)
