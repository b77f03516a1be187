"""What an object has, while other threads change it."""

import gc
import sys
import threading
from collections import deque

import pytest

from c2cotel.debug import heap
from c2cotel.debug.links import link_of, links
from c2cotel.debug.undisturbed import first


class Thing:
    def __init__(self):
        for number in range(300):
            setattr(self, f"a{number}", [number])


@pytest.fixture
def changed_by_gc():
    """Whenever Python looks for garbage, which it does all the time, something changes."""
    done, before = [], gc.get_threshold()

    def change(_phase, _info):
        for each in done:
            each()

    gc.callbacks.append(change)
    gc.set_threshold(20)
    yield done
    gc.set_threshold(*before)
    gc.callbacks.remove(change)


def test_what_changes_while_it_is_looked_at_is_told_all_the_same(changed_by_gc):
    numbers = iter(range(1000, 100_000_000))
    mapping = {number: [number] for number in range(300)}
    row = deque([number] for number in range(300))
    thing = Thing()
    last = mapping[299]
    changed_by_gc += [
        lambda: mapping.update({next(numbers): []}),
        lambda: row.append([]),
        lambda: setattr(thing, f"b{next(numbers)}", []),
    ]
    for each in (mapping, row, thing):
        assert len(list(links(each))) >= 300
    assert link_of(mapping, last) == ("[299]", 299)
    assert link_of(thing, thing.a299) == (".a299", "a299")


def test_what_never_stands_still_has_nothing():
    def items():
        raise RuntimeError
        yield

    assert first(items, 10) == []


def test_the_keys_of_a_dictionary_that_changes_are_found():
    mapping = {f"key {number}": number for number in range(2000)}
    over, interval = threading.Event(), sys.getswitchinterval()

    def change():
        while not over.is_set():
            mapping["more"] = 1
            del mapping["more"]

    thread = threading.Thread(target=change)
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(50):
            assert len(heap.referents([mapping])) >= 4000
    finally:
        sys.setswitchinterval(interval)
        over.set()
        thread.join()
