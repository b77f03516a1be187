"""All threads of this process, with requests, owners of locks and deadlocks."""

import gc
import linecache
import os
import sys
import threading
import time
from types import SimpleNamespace

import msgspec
import pytest

from c2cotel.debug.stacks import capture as capturing
from c2cotel.debug.stacks.capture import Capture
from c2cotel.debug.stacks.core import Answers
from c2cotel.debug.stacks.frames import stack
from c2cotel_acceptance.utils import retry_timeout
from c2cotel_instrumentation.running import Answering

PATIENCE = 20


def captured(running=None, package=""):
    return Capture(package, lambda: running or {}).twice()


def thread(told, ident):
    return next(each for each in told.threads if each.ident == ident)


def frames(told, ident):
    return [told.frames[index] for index in told.stacks[thread(told, ident).stack]]


class Bank:
    """Two locks that its two methods take in the opposite order."""

    def __init__(self, kind):
        self.first, self.second = kind(), kind()
        self.barrier = threading.Barrier(2)
        self.over = threading.Event()

    def there(self):
        with self.first:
            self.barrier.wait()
            # Again and again, or the test would never end.
            while not self.over.is_set():
                self.second.acquire(timeout=0.3)

    def back(self):
        self.second.acquire()
        try:
            self.barrier.wait()
            while not self.over.is_set():
                self.first.acquire(timeout=0.3)
        finally:
            self.second.release()


def until_cycle(running=None):
    def look():
        told = captured(running)
        return told if told.cycles or told.perhaps else None

    return retry_timeout(look, PATIENCE, 0.01)


@pytest.mark.parametrize("kind", [threading.Lock, threading.RLock])
def test_two_threads_that_wait_for_each_other_are_a_deadlock(threads, kind):
    bank = Bank(kind)
    threads.end.callback(bank.over.set)
    there = threads.start(bank.there, name="there")
    back = threads.start(bank.back, name="back")
    told = until_cycle()
    certain = kind is threading.RLock
    # Of a Lock, Python does not say who has it.
    cycles, none = (told.cycles, told.perhaps) if certain else (told.perhaps, told.cycles)
    assert [sorted(cycle) for cycle in cycles] == [sorted((there, back))]
    assert none == []
    name = "RLock" if certain else "Lock"
    one, other = thread(told, there), thread(told, back)
    assert msgspec.to_builtins(one.waiting) == {
        "kind": "lock",
        "detail": f"{name} self.second",
        "lock": hex(id(bank.second)),
        "owner": back if certain else None,
        "perhaps": () if certain else (back,),
    }
    assert msgspec.to_builtins(other.waiting) == {
        "kind": "lock",
        "detail": f"{name} self.first",
        "lock": hex(id(bank.first)),
        "owner": there,
        "perhaps": (),
    }
    assert (one.moved, other.moved) == (False, False)


def test_a_lock_that_a_thread_takes_twice_is_perhaps_a_deadlock_of_one(threads):
    over = threading.Event()
    threads.end.callback(over.set)
    lock = threading.Lock()

    def twice():
        with lock:
            while not over.is_set():
                lock.acquire(timeout=0.3)

    ident = threads.start(twice)
    told = until_cycle()
    assert (told.cycles, told.perhaps) == ([], [[ident]])


def test_a_lock_whose_owner_works_is_no_deadlock(threads):
    lock, over = threading.Lock(), threading.Event()
    threads.end.callback(over.set)

    def work():
        with lock:
            over.wait()

    def wait():
        with lock:
            pass

    worker = threads.start(work)
    threads.waits(worker, "event")
    ident = threads.start(wait)
    threads.waits(ident, "lock")
    told = captured()
    assert (told.cycles, told.perhaps) == ([], [])
    assert thread(told, ident).waiting.owner == worker


def functions(ident):
    return [frame.f_code.co_name for frame in stack(sys._current_frames()[ident])]


class Tried:
    """A lock that is held, and threads that have tried to have it."""

    def __init__(self):
        self.lock, self.over = threading.Lock(), threading.Event()

    def holder(self):
        with self.lock:
            self.over.wait()

    def tried(self):
        if not self.lock.acquire(blocking=False):
            with self.lock:
                return
        try:
            self.over.wait()
        finally:
            self.lock.release()

    def gave_up(self):
        if not self.lock.acquire(timeout=0.001):
            self.over.wait()
            return
        try:
            self.over.wait()
        finally:
            self.lock.release()

    def waiter(self):
        with self.lock:
            pass


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_who_has_tried_to_have_a_lock_in_vain_is_not_its_owner(threads, order):
    """Whichever of the threads Python names first."""
    tried = Tried()
    threads.end.callback(tried.over.set)
    names = ("holder", "tried", "gave_up", "waiter")
    gates = {name: threading.Event() for name in names}

    def run(name):
        gates[name].wait()
        getattr(tried, name)()

    # The older thread, of a pool for example, need not be the one that came first.
    idents = {names[i]: threads.start(run, names[i]) for i in order}
    for name in names:
        gates[name].set()
        retry_timeout(lambda name=name: name in functions(idents[name]), PATIENCE, 0.01)
        threads.waits(idents[name], "lock" if name in ("tried", "waiter") else "event")
    told = captured()
    assert (told.cycles, told.perhaps) == ([], [])
    for name in ("tried", "waiter"):
        found = thread(told, idents[name]).waiting
        assert (found.owner, found.perhaps) == (idents["holder"], ())


def test_of_who_may_have_a_lock_all_are_told(threads):
    """Of those that called acquire, and will call release."""
    tried = Tried()
    threads.end.callback(tried.over.set)
    first = threads.start(tried.tried)
    threads.waits(first, "event")
    second = threads.start(tried.gave_up)
    threads.waits(second, "event")
    ident = threads.start(tried.waiter)
    threads.waits(ident, "lock")
    told = captured()
    found = thread(told, ident).waiting
    assert (found.owner, found.perhaps) == (None, tuple(sorted((first, second))))
    assert (told.cycles, told.perhaps) == ([], [])


def test_a_lock_that_is_given_back_in_between_is_not_held(threads):
    """Even in the ``with`` of it."""
    lock, over = threading.Lock(), threading.Event()
    threads.end.callback(over.set)

    def work():
        with lock:
            lock.release()
            over.wait()
            lock.acquire()

    worker = threads.start(work)
    threads.waits(worker, "event")
    lock.acquire()
    ident = threads.start(Tried.waiter, SimpleNamespace(lock=lock))
    try:
        threads.waits(ident, "lock")
        found = thread(captured(), ident).waiting
        assert found.owner is None
        assert worker in found.perhaps
    finally:
        lock.release()


def test_who_waits_for_a_notification_does_not_hold_the_lock(threads):
    """Though it stands in the ``with`` of it."""
    condition, over = threading.Condition(threading.Lock()), threading.Event()

    def wait():
        with condition:
            condition.wait_for(over.is_set)

    def notify():
        over.set()
        with condition:
            condition.notify_all()

    threads.end.callback(notify)
    threads.waits(threads.start(wait), "condition")
    condition.acquire()
    ident = threads.start(wait)
    try:
        threads.waits(ident, "lock")
        # It is this one, which will call release().
        found = thread(captured(), ident).waiting
        assert (found.owner, found.perhaps) == (None, (threading.get_ident(),))
    finally:
        condition.release()


def test_threads_that_join_and_lock_are_a_deadlock_too(threads):
    lock, over = threading.Lock(), threading.Event()
    threads.end.callback(over.set)

    def take():
        while not over.is_set():
            lock.acquire(timeout=0.3)

    other = threading.Thread(target=take)

    def join():
        with lock:
            other.start()
            while other.is_alive() and not over.is_set():
                other.join(0.3)

    ident = threads.start(join)
    assert [sorted(cycle) for cycle in until_cycle().perhaps] == [sorted((ident, other.ident))]
    over.set()
    other.join()


def test_a_thread_tells_its_request(threads):
    event = threading.Event()
    threads.end.callback(event.set)
    ident = threads.start(event.wait, name="waitress-0")
    threads.waits(ident, "event")
    since = time.perf_counter() - 61
    running = {ident: Answering("GET", "/pets/{name}", "0af7" * 8, "a request", since)}
    told = captured(running)
    found = thread(told, ident)
    assert told.threads[0] is found, "threads in requests come first"
    assert found.name == "waitress-0"
    assert found.native_id == next(t.native_id for t in threads.started)
    assert found.request.seconds == pytest.approx(61, abs=5)
    main = thread(told, threading.main_thread().ident)
    assert main.native_id == os.getpid()
    assert main.cpu is not None
    assert msgspec.to_builtins(found.request) | {"seconds": 61} == {
        "method": "GET",
        "route": "/pets/{name}",
        "trace_id": "0af7" * 8,
        "request_id": "a request",
        "seconds": 61,
    }
    assert (found.moved, found.waiting.kind) == (False, "event")
    assert found.cpu < 0.5
    assert thread(captured(), ident).request is None


@pytest.mark.alone
def test_a_thread_that_computes_tells_how_much(threads):
    over = threading.Event()
    threads.end.callback(over.set)

    def compute():
        while not over.is_set():
            sum(range(1000))

    ident = threads.start(compute)
    found = thread(captured(), ident)
    assert found.waiting is None
    assert found.cpu > 0.1


def test_a_stack_names_file_line_function_and_code(threads):
    event = threading.Event()
    threads.end.callback(event.set)

    def wait_here():
        event.wait()  # password = "hunter2"

    ident = threads.start(wait_here)
    threads.waits(ident, "event")
    told = captured(package="tests.c2cotel")
    index = thread(told, ident).where
    found = frames(told, ident)[index]
    assert found.file == __file__
    assert found.line == wait_here.__code__.co_firstlineno + 1
    assert found.function == "wait_here"
    assert found.code.startswith("event.wait()  # password = ")
    assert "hunter2" not in msgspec.json.encode(told).decode()
    assert [frame.function for frame in frames(told, ident)[:2]] == [
        "_bootstrap",
        "_bootstrap_inner",
    ]


def test_reading_the_code_keeps_no_files():
    linecache.clearcache()
    captured()
    assert linecache.cache == {}


def test_code_that_comes_from_no_file_is_missing(threads, tmp_path):
    event = threading.Event()
    threads.end.callback(event.set)
    gone = tmp_path / "gone.py"
    for name in ("<string>", "/dev/zero", str(gone), str(tmp_path), "x" * 5000, "\ud800"):
        scope = {"event": event}
        exec(compile("def wait(): event.wait()", name, "exec"), scope)  # noqa: S102 - our own
        ident = threads.start(scope["wait"])
        threads.waits(ident, "event")
        (frame,) = (
            each
            for each in frames(captured(), ident)
            if each.function == "wait" and "threading" not in each.file
        )
        assert frame.code == ""
        assert len(frame.file) <= 300


def test_code_in_another_encoding_is_read(threads, tmp_path):
    event = threading.Event()
    threads.end.callback(event.set)
    file = tmp_path / "latin.py"
    file.write_bytes(
        "# coding: latin-1\ndef wait():\n    event.wait()  # \xe9t\xe9\n".encode("latin-1")
    )
    scope = {"event": event}
    exec(compile(file.read_bytes(), str(file), "exec"), scope)  # noqa: S102 - our own
    ident = threads.start(scope["wait"])
    threads.waits(ident, "event")
    assert "event.wait()  # \xe9t\xe9" in [frame.code for frame in frames(captured(), ident)]
    file.write_bytes(b"# coding: nonsense\n\n\n")
    assert "event.wait()" not in [frame.code for frame in frames(captured(), ident)]


def recursing(event, depth):
    if depth:
        recursing(event, depth - 1)
    else:
        event.wait()


@pytest.mark.parametrize("depth", [150, 500, 5_000])
def test_a_deep_stack_has_its_two_ends(threads, depth):
    threads.after.callback(sys.setrecursionlimit, sys.getrecursionlimit())
    sys.setrecursionlimit(20_000)
    event = threading.Event()
    threads.end.callback(event.set)
    ident = threads.start(recursing, event, depth)
    threads.waits(ident, "event")
    told = captured(package="tests")
    found = frames(told, ident)
    # Those of the thread, and of the two that wait.
    whole = depth + 7
    if whole <= 200:
        assert len(found) == whole
    else:
        assert len(found) == 201
        assert found[100].function == f"({whole - 200} frames are left out)"
        assert found[100].file == ""
    assert found[0].function == "_bootstrap"
    where = found[thread(told, ident).where]
    assert (where.function, where.code) == ("recursing", "event.wait()")


def test_many_threads_are_cut_and_those_in_requests_are_kept(threads):
    event = threading.Event()
    threads.end.callback(event.set)
    started = [threads.start(recursing, event, 180) for _ in range(230)]
    for ident in started:
        threads.waits(ident, "event")
    last = started[-1]
    running = {last: Answering("GET", None, None, "r", time.perf_counter())}
    everybody = len(sys._current_frames())
    told = captured(running)
    assert len(told.threads) == 200
    assert told.left_out == everybody - 200
    assert told.threads[0].ident == last
    assert max(len(stack) for stack in told.stacks) == 101
    answer = Answers(Capture("", dict))
    for details in (False, True):
        assert len(msgspec.json.encode(answer(details=details))) < 8_000_000


def test_no_frame_and_no_variable_is_kept(threads):
    """What a thread has had in its variables goes away with it."""
    gone = threading.Event()

    class Big:
        def __del__(self):
            gone.set()

    event = threading.Event()

    def hold():
        big = Big()
        event.wait()
        return big

    ident = threads.start(hold)
    threads.waits(ident, "event")
    for _ in range(3):
        captured()
    event.set()
    for each in threads.started:
        each.join()
    gc.collect()
    assert gone.is_set()


def test_the_garbage_collector_is_left_as_it_was(threads):
    event = threading.Event()
    threads.end.callback(event.set)
    threads.waits(threads.start(event.wait), "event")
    captured()
    assert gc.isenabled()
    gc.disable()
    try:
        captured()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_threads_that_come_and_go_do_no_harm(threads):
    over = threading.Event()
    threads.end.callback(over.set)
    lock = threading.Lock()
    objects = SimpleNamespace(lock=lock, numbers=[0])

    def brief(depth):
        with objects.lock:
            objects.numbers[0] += 1
        if depth:
            brief(depth - 1)

    def breed():
        while not over.is_set():
            one = threading.Thread(target=brief, args=(20,))
            one.start()
            one.join()

    def sleepless():
        while not over.is_set():
            brief(50)

    for function in (breed, breed, sleepless):
        threads.start(function)
    end = time.monotonic() + 2
    look = Capture("tests", dict)
    while time.monotonic() < end:
        # Without the pause in between.
        look._told(capturing._glance())
    assert objects.numbers[0] > 100
