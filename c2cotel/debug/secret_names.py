"""Which objects stand under the name of a secret, wherever that is."""

import gc
from collections.abc import Iterable
from typing import Any, Final

from c2cotel.debug import heap, texts
from c2cotel.debug.heap import OutOfTimeError, Pace
from c2cotel.debug.links import link_of
from c2cotel.debug.sizes import INTERNALS

# What has one, and what has that: {"password": ["…"]}.
_STEPS: Final = 2
_MOST_OWNERS: Final = 5000
_NEVER: Final = (*INTERNALS, bool, type(None))


def can_be_secret(thing: Any) -> bool:
    """Whether it says more than what the program is made of."""
    return not issubclass(type(thing), _NEVER)


def hides(name: Any, thing: Any) -> bool:
    """Whether *thing*, under this *name*, is not to be shown."""
    return texts.hides(name, thing) and can_be_secret(thing)


def secret_ones(things: Iterable[Any], pace: Pace, objects: list[Any] | None = None) -> set[int]:
    """Ids of those among *things* that something has under the name of a secret.

    If the time does not suffice to know, these are all of them.
    """
    wanted = {id(thing): thing for thing in things if can_be_secret(thing)}
    try:
        return _found(wanted, pace, gc.get_objects() if objects is None else objects)
    except OutOfTimeError:
        return set(wanted)


def _found(wanted: dict[int, Any], pace: Pace, objects: list[Any]) -> set[int]:
    found: set[int] = set()
    # What is looked for, and which of the wanted are in it.
    level: dict[int, tuple[Any, set[int]]] = {key: (each, {key}) for key, each in wanted.items()}
    for step in range(_STEPS):
        deep = step == 0 and not all(map(gc.is_tracked, wanted.values()))
        above: dict[int, tuple[Any, set[int]]] = {}
        for owner, keys in heap.owners(objects, set(level), pace, deep=deep):
            inside: set[int] = set()
            for key in keys:
                thing, ones = level[key]
                inside |= ones
                if hides(link_of(owner, thing)[1], thing):
                    found |= ones
            if len(above) < _MOST_OWNERS:
                above.setdefault(id(owner), (owner, set()))[1].update(inside)
        level = above
    return found
