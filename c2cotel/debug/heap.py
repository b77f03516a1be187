"""The objects of this process, looked at without stopping its requests for long.

What Python code does here it does in slices of 5 ms, and rests as long after each: requests of the
process go on, at half speed at worst. What only the interpreter can do in one go is done in
one go, and nothing else of the process runs then: a garbage collection (0.1 to 0.2 s for a million
objects; Python may make more of them meanwhile), the list of all objects (about 30 ms for a
million) and that of what one object has (about as much for a list of a million).

Objects are held while they are looked at, so none of them is freed meanwhile.
"""

import difflib
import gc
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

from c2cotel.debug.texts import type_name

T = TypeVar("T")

_SLICE: Final = 0.005
_CHUNK: Final = 1000
# Of so many, the ids fill about 40 MB.
_IDS_AT_ONCE: Final = 400_000
# Py_TPFLAGS_HAVE_GC, https://docs.python.org/3/c-api/typeobj.html: its objects are tracked.
_TRACKED: Final = 1 << 14
_CONTAINERS: Final = (tuple, dict)
_SIMILAR: Final = 3
# To compare longer ones takes long.
_LONGEST_NAME: Final = 100


class OutOfTimeError(Exception):
    """What was to be done has taken all the time it was given."""


class Pace:
    """Works in slices, for *seconds* in all; whoever works calls :meth:`step` now and then."""

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._end = clock() + seconds
        self._rest_at = clock() + _SLICE

    def step(self) -> None:
        """Rest, if this slice is over.

        Raises:
            OutOfTimeError: so is all of it.
        """
        now = self._clock()
        if now >= self._end:
            raise OutOfTimeError
        if now >= self._rest_at:
            self._sleep(_SLICE)
            self._rest_at = self._clock() + _SLICE

    def over(self, items: Iterable[T], every: int = 100) -> Iterator[T]:
        """*items*, with a step before each *every*."""
        for number, item in enumerate(items):
            if number % every == 0:
                self.step()
            yield item


def chunks(items: list[Any], pace: Pace, size: int = _CHUNK) -> Iterator[list[Any]]:
    """*items* in lists of *size*, with a step before each."""
    for start in range(0, len(items), size):
        pace.step()
        yield items[start : start + size]


def collect() -> list[int]:
    """Collect the garbage of each generation: how many objects there were in each."""
    return [gc.collect(generation) for generation in range(3)]


def counts(pace: Pace, objects: list[Any] | None = None) -> dict[str, int]:
    """How many objects there are of each type; those that the garbage collector knows."""
    found: Counter[type] = Counter()
    for chunk in chunks(gc.get_objects() if objects is None else objects, pace, 10 * _CHUNK):
        found.update(map(type, chunk))
    named: Counter[str] = Counter()
    for kind, number in found.items():
        named[type_name(kind)] += number
    return named


def leaking(pace: Pace) -> list[Any]:
    """The objects that none of those has that the garbage collector knows.

    Something has them that is not Python's: a running function, a library in C, or a leak there.
    """
    objects = gc.get_objects()
    parts = 1 + len(objects) // _IDS_AT_ONCE
    found: list[Any] = []
    for part in range(parts):
        alone: set[int] = set()
        for chunk in chunks(objects, pace):
            alone.update(key for key in map(id, chunk) if (key >> 4) % parts == part)
        for chunk in chunks(objects, pace):
            alone.difference_update(map(id, gc.get_referents(*chunk)))
        for chunk in chunks(objects, pace, 10 * _CHUNK):
            found += [each for each in chunk if id(each) in alone]
    return found


def top(numbers: dict[str, int], limit: int) -> list[list[Any]]:
    """The *limit* greatest, as ``[name, number]``."""
    ranked = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    return [[name, number] for name, number in islice(ranked, limit)]


def types_named(name: str, pace: Pace) -> list[type]:
    """The classes that are called *name*, ``module.name``."""
    return [kind for kind in pace.over(all_types(), 1000) if type_name(kind) == name]


def similar_types(name: str, pace: Pace) -> list[str]:
    """Names of types that look like *name*, or end as it does."""
    names = {type_name(kind) for kind in pace.over(all_types())}
    last = name.rpartition(".")[2]
    same = sorted(each for each in names if each.rpartition(".")[2] == last)
    return same[:_SIMILAR] or difflib.get_close_matches(name[:_LONGEST_NAME], names, _SIMILAR)


def all_types() -> Iterator[type]:
    """Every class of this process."""
    seen: set[int] = set()
    todo: list[type] = [object]
    while todo:
        kind = todo.pop()
        if id(kind) not in seen:
            seen.add(id(kind))
            yield kind
            # That of type itself: a metaclass may have another.
            todo += type.__subclasses__(kind)


def of_types(kinds: Collection[type], pace: Pace) -> list[Any]:
    """The objects of exactly these types.

    Texts, bytes, numbers, arrays of numpy and the like are not known to the garbage collector:
    these are found where another object has them.
    """
    wanted = frozenset(kinds)
    if all(kind.__flags__ & _TRACKED for kind in wanted) and not wanted & {*_CONTAINERS}:
        return _tracked(wanted, pace)
    found: dict[int, Any] = {}
    for chunk in chunks(gc.get_objects(), pace):
        for things in (chunk, *untracked_below(chunk)):
            found |= {id(each): each for each in things if type(each) in wanted}
    return list(found.values())


def untracked_below(objects: list[Any]) -> Iterator[list[Any]]:
    """What *objects* have, and what that has as far as the garbage collector does not know it."""
    todo = objects
    while todo:
        found = referents(todo)
        yield found
        todo = _untracked(found)


def owners(
    objects: list[Any], wanted: Collection[int], pace: Pace, *, deep: bool = False
) -> Iterator[tuple[Any, list[int]]]:
    """Each of *objects* that has some of those with the ids *wanted*, and these.

    *deep*: also of what *objects* have and the garbage collector does not know, for only such
    things have texts and numbers alone.
    """
    keys = frozenset(wanted)
    seen: set[int] = set()
    for chunk in chunks(objects, pace, _CHUNK // 2) if keys else ():
        holders = chunk
        while holders:
            had = gc.get_referents(*holders)
            if not keys.isdisjoint(map(id, had)):
                for each in holders:
                    some = keys.intersection(map(id, gc.get_referents(each)))
                    if some and id(each) not in seen:
                        seen.add(id(each))
                        yield each, sorted(some)
            holders = _untracked(had) if deep else []


def _untracked(things: list[Any]) -> list[Any]:
    """The containers that the garbage collector does not know; empty ones have nothing."""
    found = [each for each in things if type(each) in _CONTAINERS and each]
    return [each for each in found if not gc.is_tracked(each)]


def _tracked(wanted: frozenset[type], pace: Pace) -> list[Any]:
    found: list[Any] = []
    for chunk in chunks(gc.get_objects(), pace, 10 * _CHUNK):
        found += [each for each in chunk if type(each) in wanted]
    return found


def referents(objects: Iterable[Any]) -> list[Any]:
    """What *objects* have; once for each time that they have it."""
    given = list(objects)
    found = gc.get_referents(*given)
    for each in given:
        # The garbage collector does not look at the texts among the keys.
        if issubclass(type(each), dict):
            # Listed in one go: it may change between two steps.
            found += [key for key in list(dict.keys(each)) if type(key) is str]
    return found


def living(key: int, pace: Pace) -> Any:
    """The object with this id.

    Raises:
        LookupError: there is none that the garbage collector knows.
    """
    # An id may be any number: nothing is read at that address.
    for chunk in chunks(gc.get_objects(), pace, 10 * _CHUNK):
        for each in chunk:
            if id(each) == key:
                return each
    raise LookupError(key)
