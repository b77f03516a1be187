"""How much memory an object takes, with what belongs to it.

:func:`get_size` counts all that can be reached from an object, each thing once: of two objects that
share a third one, both have its size. :class:`Owned` counts what would be freed if the object
went: itself and what only it has, cycles included. What others have as well is nobody's, so
nothing is counted twice.

Modules, classes, functions and the like are not counted, unless asked for.
"""

import gc
import sys
import types
from collections import Counter, deque
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any, Final

from c2cotel.debug.heap import Pace, referents

INTERNALS: Final = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.CodeType,
    types.FrameType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
"""What Python itself is made of."""

MOST: Final = 1_000_000
"""Things that are counted for one object, at most."""

_CHUNK: Final = 1000
_AT_ONCE: Final = 10_000
# Things that are looked at to find a cycle, how often they are for one object, and how many objects
# may fail in this before it is given up.
_MOST_IN_CYCLES: Final = 20_000
_ATTEMPTS: Final = 4
_MOST_FAILURES: Final = 20
# What the counting itself adds to the number of references.
_COUNTED: Final = next(map(sys.getrefcount, [object()])) - 1


def size_of(thing: Any) -> int:
    """Bytes of *thing* alone."""
    try:
        return sys.getsizeof(thing, 0)
    except Exception:  # noqa: BLE001 - its __sizeof__ is the application's
        return 0


def get_size(obj: Any, python_internals: bool = False) -> int:  # noqa: FBT001, FBT002 - as the predecessor's
    """Bytes of *obj* and all that can be reached from it, a million things at most."""
    return reachable(obj, internals=python_internals)[0]


def reachable(
    thing: Any, *, internals: bool = False, most: int = MOST, pace: Pace | None = None
) -> tuple[int, bool]:
    """Likewise; and whether that is all, or there would have been more than *most* things."""
    seen = {id(thing)}
    size, todo = size_of(thing), [thing]
    while todo:
        if pace is not None:
            pace.step()
        layer, todo = todo[:_CHUNK], todo[_CHUNK:]
        for each in referents(layer):
            if id(each) in seen or not (internals or _counts(each)):
                continue
            if len(seen) >= most:
                return size, False
            seen.add(id(each))
            size += size_of(each)
            todo.append(each)
    return size, True


def _counts(thing: Any) -> bool:
    # Not isinstance: a proxy would ask what it stands for.
    return not issubclass(type(thing), INTERNALS)


class Owned:
    """Sizes of objects with what only they have.

    *held* are the types whose objects the caller has in one list of all of them. It is a lower
    bound: of a cycle of very many things, or one that C code has a part in, parts are missing.
    """

    def __init__(self, pace: Pace, *, internals: bool = False, held: Collection[type] = ()) -> None:
        self._pace = pace
        self._internals = internals
        self._held = frozenset(held)
        # Ids of what leads to very many things that others have: the application's registry…
        self._far: set[int] = set()
        self._failures = 0

    def size(self, thing: Any) -> int:
        """Bytes of *thing* with what only it has."""
        found = self._followed(thing)
        if found.shared and self._failures < _MOST_FAILURES:
            self._add_cycles(found)
        return found.size

    def size_without_cycles(self, thing: Any) -> int:
        """Likewise without what is in cycles, many times as fast."""
        return self._followed(thing).size

    def _followed(self, thing: Any) -> "_Found":
        found = _Found(thing)
        self._follow(found, [thing])
        return found

    def _follow(self, found: "_Found", todo: list[Any]) -> None:
        """Take what is reached from *todo*, and has no reference but those seen."""
        while todo:
            self._pace.step()
            layer, todo = todo[:_CHUNK], todo[_CHUNK:]
            for each, seen, left in self._references(layer, found.own):
                key = id(each)
                known = found.shared.get(key)
                others = known[1] - seen if known is not None else left
                if others > 0:
                    found.shared[key] = (each, others)
                    continue
                found.shared.pop(key, None)
                found.take(each)
                todo.append(each)

    def _references(
        self, things: Iterable[Any], skip: Collection[int]
    ) -> list[tuple[Any, int, int]]:
        """What *things* have: each with how often they do, and how many other references it has.

        The latter are right for what nobody here has kept yet.
        """
        refs = referents(things)
        numbers: dict[int, int] = {}
        often: Counter[int] = Counter()
        # In parts: one list may have millions. Not in slices, which would be references, too.
        each_key, each_thing = map(id, refs), map(sys.getrefcount, refs)
        for _ in range(0, len(refs), _AT_ONCE):
            self._pace.step()
            keys = list(islice(each_key, _AT_ONCE))
            numbers.update(zip(keys, islice(each_thing, _AT_ONCE), strict=True))
            often.update(keys)
        found = []
        for each in refs:
            key = id(each)
            # Each of them once.
            seen = often.pop(key, 0)
            if not seen or key in skip or not (self._internals or _counts(each)):
                continue
            # In the list it has as many references as those that it is there for.
            ours = 2 * seen + _COUNTED + (type(each) in self._held)
            found.append((each, seen, numbers[key] - ours))
        return found

    def _add_cycles(self, found: "_Found") -> None:
        """Take what only things that are reached have among themselves."""
        for _ in range(_ATTEMPTS):
            cycles = _Cycles(found, self._far)
            while cycles.todo:
                self._pace.step()
                thing = cycles.todo.popleft()
                cycles.saw(thing, self._references([thing], found.own))
                if len(cycles.left) > _MOST_IN_CYCLES:
                    self._far.update(cycles.way_out())
                    break
            else:
                for each in cycles.unreached():
                    found.take(each)
                return
        self._failures += 1


class _Found:
    """What one object has: its own, and what others may have, too, with how many references."""

    def __init__(self, thing: Any) -> None:
        self.own = {id(thing)}
        self.size = size_of(thing)
        self.shared: dict[int, tuple[Any, int]] = {}

    def take(self, thing: Any) -> None:
        self.own.add(id(thing))
        self.size += size_of(thing)


class _Cycles:
    """As the garbage collector does it: what is left when references from inside do not count."""

    def __init__(self, found: _Found, far: set[int]) -> None:
        self._far = far
        self.left = {key: left for key, (_, left) in found.shared.items()}
        self._things = {key: thing for key, (thing, _) in found.shared.items()}
        self._edges: dict[int, list[int]] = {}
        # Through which each was found.
        self._from: dict[int, int] = {}
        self.todo = deque(thing for key, thing in self._things.items() if key not in far)

    def saw(self, thing: Any, references: list[tuple[Any, int, int]]) -> None:
        edges = self._edges[id(thing)] = []
        for each, seen, left in references:
            key = id(each)
            if key in self._far:
                continue
            edges.append(key)
            if key in self.left:
                self.left[key] -= seen
            else:
                self.left[key] = left
                self._things[key] = each
                self._from[key] = id(thing)
                if gc.is_tracked(each):
                    self.todo.append(each)

    def way_out(self) -> list[int]:
        """The first thing that others have, too, and through which much of all was found."""
        below = dict.fromkeys(self.left, 1)
        for key in reversed(list(self.left)):
            if (source := self._from.get(key)) is not None:
                below[source] += below[key]
        most = len(self.left) // _ATTEMPTS
        return [key for key in self.left if self.left[key] > 0 and below[key] > most][:1]

    def unreached(self) -> list[Any]:
        """What nobody else has, or has something of."""
        alive = {key for key, left in self.left.items() if left > 0 or key in self._far}
        todo = list(alive)
        while todo:
            for key in self._edges.get(todo.pop(), ()):
                if key not in alive:
                    alive.add(key)
                    todo.append(key)
        return [thing for key, thing in self._things.items() if key not in alive]
