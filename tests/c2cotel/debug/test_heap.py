"""The objects of this process, and how much memory they own."""

import gc
import sys
import threading
import time

import pytest

from c2cotel.debug import heap, sizes
from c2cotel.debug.heap import OutOfTimeError, Pace
from c2cotel.debug.sizes import Owned, get_size, reachable


class Node:
    def __init__(self, parent=None, size=1000):
        self.parent = parent
        self.children = []
        self.data = bytearray(size)


class Proxy:
    __class__ = property(lambda _: 1 / 0)


@pytest.fixture
def pace():
    return Pace(60.0)


def tree(number):
    root = Node()
    root.children = [Node(root) for _ in range(number)]
    return root


# --- sizes ----------------------------------------------------------------------------------------


def test_a_size_has_each_thing_once():
    shared = bytearray(1000)
    assert get_size([shared, shared]) == sys.getsizeof([1, 2]) + sys.getsizeof(shared)


def test_the_keys_of_a_dictionary_have_a_size_too():
    many = {f"key {number}": None for number in range(1000)}
    expected = sys.getsizeof(many) + sum(map(sys.getsizeof, many)) + sys.getsizeof(None)
    assert get_size(many) == expected


def test_modules_classes_and_functions_are_no_part_of_a_size_unless_asked_for():
    internals = [sys, Node, get_size]
    assert get_size(internals) == sys.getsizeof(internals)
    assert get_size([Node], python_internals=True) > 1000


def test_a_size_is_counted_up_to_a_bound():
    assert reachable(list(map(float, range(1000))), most=100)[1] is False
    assert reachable([1.5], most=100)[1] is True


def test_an_object_owns_what_nobody_else_has(pace):
    shared = bytearray(1_000_000)
    mine = [bytearray(1000), shared]
    assert Owned(pace).size(mine) == sys.getsizeof(mine) + sys.getsizeof(bytearray(1000))
    assert get_size(mine) > 1_000_000
    del shared
    assert Owned(pace).size(mine) > 1_000_000


def test_what_it_has_twice_is_its_own(pace):
    thing = bytearray(1000)
    mine = {"a": thing, "b": [thing]}
    del thing
    size = Owned(pace).size(mine)
    assert size == sum(map(sizes.size_of, (mine, mine["b"], mine["a"])))


def test_a_cycle_belongs_to_who_alone_has_it(pace):
    mine = [tree(100)]
    # All but None.
    assert Owned(pace).size(mine) == get_size(mine) - sys.getsizeof(None) > 100_000
    other = mine[0].children[0]
    assert Owned(pace).size(mine) < 2000
    del other
    assert Owned(pace).size(mine) > 100_000


def test_what_leads_to_very_many_things_of_others_does_not_hide_a_cycle(pace, monkeypatch):
    monkeypatch.setattr(sizes, "_MOST_IN_CYCLES", 500)
    registry = [{"name": [number]} for number in range(10_000)]
    mine = [tree(20)]
    for node in mine[0].children:
        node.registry = registry
    del node
    owned = Owned(pace)
    assert 20_000 < owned.size(mine) < 50_000
    del registry


def test_what_the_caller_has_in_a_list_does_not_count_as_somebody(pace):
    mine = [Node(size=5000)]
    found = heap.of_types([Node], pace)
    assert Owned(pace).size(mine) < 1000
    assert Owned(pace, held=[Node]).size(mine) > 5000
    del found


def test_a_thing_that_lies_about_its_class_is_counted(pace):
    assert get_size([Proxy()]) > 0
    assert Owned(pace).size([Proxy()]) > 0


# --- objects --------------------------------------------------------------------------------------


def test_objects_are_counted_by_their_types(pace):
    before = heap.counts(pace).get(f"{__name__}.Node", 0)
    kept = [Node() for _ in range(7)]
    assert heap.counts(pace)[f"{__name__}.Node"] == before + 7
    assert len(heap.of_types([Node], pace)) == before + 7
    del kept


def test_what_nothing_has_is_leaking(pace):
    found = heap.leaking(pace)
    kept = Node()
    kept.other = Node()
    found = [each for each in heap.leaking(pace) if type(each) is Node]
    # A running function is nothing that the collector knows.
    assert [id(each) for each in found] == [id(kept)]


def test_it_is_the_same_in_several_parts(pace, monkeypatch):
    kept = Node()
    monkeypatch.setattr(heap, "_IDS_AT_ONCE", len(gc.get_objects()) // 3)
    assert sum(type(each) is Node for each in heap.leaking(pace)) == 1
    del kept


def test_a_type_is_found_by_its_name(pace):
    assert heap.types_named(f"{__name__}.Node", pace) == [Node]
    assert heap.types_named("builtins.dict", pace) == [dict]
    assert heap.types_named("nothing", pace) == []


def test_an_object_is_found_by_its_id_while_it_lives(pace):
    kept = Node()
    key = id(kept)
    assert heap.living(key, pace) is kept
    del kept
    gc.collect()
    for number in (key, 0, -1, 1, 2**64, 2**200):
        if number == key:
            continue
        with pytest.raises(LookupError):
            heap.living(number, pace)


# --- time -----------------------------------------------------------------------------------------


def test_it_rests_as_long_as_it_works():
    slept = []
    now = [0.0]

    def sleep(seconds):
        slept.append(now[0])
        now[0] += seconds

    pace = Pace(1.0, clock=lambda: now[0], sleep=sleep)
    for _ in range(30):
        now[0] += 0.001
        pace.step()
    assert slept == pytest.approx([0.005, 0.015, 0.025, 0.035, 0.045, 0.055], abs=1e-9)


def test_it_ends_when_its_time_is_over():
    with pytest.raises(OutOfTimeError):
        Pace(0.0).step()


def test_one_object_that_has_very_much_is_measured_in_slices_too():
    steps = []

    class Steps(Pace):
        def step(self):
            steps.append(1)

    mine = [bytearray(1) for _ in range(100_000)]
    size = sizes.size_of(mine) + 100_000 * sys.getsizeof(bytearray(1))
    assert Owned(Steps(60.0)).size(mine) == size
    # Of 10 000 at most.
    assert len(steps) > 20


def test_other_threads_go_on_meanwhile(pace):
    """The longest time that one waits is far below that of the whole analysis."""
    kept = [[number] for number in range(300_000)]
    over = threading.Event()
    longest = [0.0]

    def request():
        while not over.is_set():
            began = time.perf_counter()
            time.sleep(0.001)
            longest[0] = max(longest[0], time.perf_counter() - began)

    thread = threading.Thread(target=request)
    thread.start()
    began = time.perf_counter()
    heap.counts(pace)
    heap.leaking(pace)
    took = time.perf_counter() - began
    over.set()
    thread.join()
    del kept
    assert took > 0.2
    assert longest[0] < took / 2
