"""What real threads are seen to wait for."""

import fcntl
import os
import queue
import select
import selectors
import socket
import subprocess
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

LOCK, RLOCK = threading.Lock(), threading.RLock()


class Accounts:
    """An object with locks, as applications have them."""

    __slots__ = ("by_name", "lock", "seconds", "slots")

    def __init__(self):
        self.lock = threading.RLock()
        self.slots = [threading.Lock()]
        self.by_name = {"a secret": threading.Lock()}
        self.seconds = 60.0

    def every(self):
        return self.lock, self.slots[0], self.by_name["a secret"]

    def with_statement(self):
        with self.lock:
            pass

    def two_at_once(self):
        with LOCK, self.lock:
            pass

    def by_index(self):
        with self.slots[0]:
            pass

    def by_key(self, name="a secret"):
        if self.by_name[name].acquire(timeout=self.seconds):
            self.by_name[name].release()

    def over_lines(self):
        # fmt: off
        if (
            self
            .lock
            .acquire(
                timeout=self.seconds
            )
        ):
            self.lock.release()
        # fmt: on

    def by_a_variable(self):
        mine = self.lock
        mine.acquire()
        mine.release()

    def in_a_closure(self):
        def inner():
            self.lock.acquire()
            self.lock.release()

        inner()

    def by_a_starred_call(self):
        self.lock.acquire(*(True,))
        self.lock.release()


ACQUIRED = {
    "with_statement": "RLock self.lock",
    "two_at_once": "RLock self.lock",
    "by_index": "Lock self.slots[…]",
    "by_key": "Lock self.by_name[…]",
    "over_lines": "RLock self.lock",
    "by_a_variable": "RLock mine",
    "in_a_closure": "RLock self.lock",
    "by_a_starred_call": "RLock self.lock",
}


@pytest.mark.parametrize(("method", "detail"), ACQUIRED.items())
def test_the_lock_is_found_however_it_is_taken(threads, method, detail):
    accounts = Accounts()
    for lock in accounts.every():
        lock.acquire()
        threads.end.callback(lock.release)
    found = threads.waits(threads.start(getattr(accounts, method)), "lock")
    assert found.detail == detail
    assert any(found.lock is lock for lock in accounts.every())
    assert found.owner == (threading.get_ident() if detail.startswith("RLock") else None)


def test_a_global_lock_and_the_lock_of_a_condition(threads):
    def take():
        with LOCK:
            pass

    condition = threading.Condition(RLOCK)

    def enter():
        with condition:
            pass

    for lock, function, detail in ((LOCK, take, "Lock LOCK"), (RLOCK, enter, "RLock RLOCK")):
        lock.acquire()
        threads.end.callback(lock.release)
        found = threads.waits(threads.start(function), "lock")
        assert found.lock is lock
        # threading.Condition calls the lock's method itself.
        assert found.detail in (detail, "RLock self._lock")


def test_a_lock_that_cannot_be_found_is_one_all_the_same(threads):
    accounts = Accounts()
    accounts.lock.acquire()
    threads.end.callback(accounts.lock.release)

    def hidden():
        (accounts.every())[0].acquire()
        accounts.lock.release()

    found = threads.waits(threads.start(hidden), "lock")
    assert (found.lock, found.owner) == (None, None)


def test_a_thread_that_computes_waits_for_nothing(threads):
    stopped = threading.Event()
    threads.end.callback(stopped.set)

    def compute():
        while not stopped.is_set():
            sum(range(100))

    ident = threads.start(compute)
    assert {threads.seen(ident) for _ in range(50)} <= {None}


def waiting_for_a_condition(threads):
    condition = threading.Condition()
    done = []

    def release():
        with condition:
            done.append(1)
            condition.notify_all()

    threads.end.callback(release)

    def wait():
        with condition:
            while not done:
                condition.wait()

    return wait


def waiting_for_an_event(threads):
    event = threading.Event()
    threads.end.callback(event.set)
    return event.wait


def waiting_for_a_semaphore(threads):
    semaphore = threading.Semaphore(0)
    threads.end.callback(semaphore.release)
    return semaphore.acquire


def waiting_for_a_barrier(threads):
    barrier = threading.Barrier(2)
    threads.end.callback(barrier.wait)
    return barrier.wait


def waiting_for_work(threads):
    work = queue.Queue()
    threads.end.callback(work.put, 1)
    return work.get


def waiting_for_room(threads):
    work = queue.Queue(1)
    work.put(1)
    threads.end.callback(work.get)
    return lambda: work.put(2)


def waiting_for_simple_work(threads):
    work = queue.SimpleQueue()
    threads.end.callback(work.put, 1)
    return lambda: work.get(block=True)


def waiting_for_a_result(threads):
    future = Future()
    threads.end.callback(future.set_result, 1)
    return future.result


def waiting_to_read(threads):
    here, there = socket.socketpair()
    threads.after.callback(there.close)
    threads.after.callback(here.close)
    threads.end.callback(there.sendall, b"x")
    return lambda: here.recv(1)


def waiting_to_read_a_line(threads):
    here, there = socket.socketpair()
    file = here.makefile("rb")
    for each in (here, there, file):
        threads.after.callback(each.close)
    threads.end.callback(there.sendall, b"x\n")
    return file.readline


def waiting_to_select(threads):
    here, there = socket.socketpair()
    threads.after.callback(there.close)
    threads.after.callback(here.close)
    threads.end.callback(there.sendall, b"x")
    return lambda: select.select([here], [], [])


def waiting_with_a_selector(threads):
    here, there = socket.socketpair()
    selector = selectors.DefaultSelector()
    selector.register(here, selectors.EVENT_READ)
    for each in (here, there, selector):
        threads.after.callback(each.close)
    threads.end.callback(there.sendall, b"x")
    return selector.select


def waiting_for_a_program(threads):
    # It reads what it is given, before the file that is not there.
    program = subprocess.Popen(
        ["/bin/cat", "-", "/hunter2"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    threads.end.callback(program.stdin.close)
    return program.wait


def waiting_for_output(threads):
    pipe, far = os.pipe()
    program = subprocess.Popen("cat -", shell=True, stdin=pipe, stdout=subprocess.PIPE)  # noqa: S602 - a text is what is tested
    os.close(pipe)
    threads.end.callback(os.close, far)
    return program.communicate


def waiting_for_a_file(threads):
    file = os.memfd_create("a")
    other = os.open(f"/proc/self/fd/{file}", os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_EX)
    threads.after.callback(os.close, other)
    threads.after.callback(os.close, file)
    threads.end.callback(fcntl.flock, file, fcntl.LOCK_UN)
    return lambda: fcntl.flock(other, fcntl.LOCK_EX)


# What is seen in a request, and in none.
WAITS = {
    waiting_for_a_condition: ("condition", "until it is notified", "idle"),
    waiting_for_an_event: ("event", "until it is set", "idle"),
    waiting_for_a_semaphore: ("semaphore", "until it is released", "semaphore"),
    waiting_for_a_barrier: ("barrier", "until enough threads have come", "barrier"),
    waiting_for_work: ("queue", "until something is in it", "idle"),
    waiting_for_room: ("queue", "until there is room in it", "idle"),
    waiting_for_simple_work: ("queue", "until something is in it", "idle"),
    waiting_for_a_result: ("future", "until it has a result", "future"),
    waiting_to_read: ("network", "a socket", "network"),
    waiting_to_read_a_line: ("network", "a socket", "network"),
    waiting_to_select: ("network", "a socket", "idle"),
    waiting_with_a_selector: ("network", "a socket", "idle"),
    waiting_for_a_program: ("subprocess", "cat", "subprocess"),
    waiting_for_output: ("subprocess", "cat", "subprocess"),
    waiting_for_a_file: ("lock", "of a file", "lock"),
}


@pytest.mark.parametrize(
    ("make", "kind", "detail", "outside"), [(make, *told) for make, told in WAITS.items()]
)
def test_what_it_waits_for_has_a_name(threads, make, kind, detail, outside):
    ident = threads.start(make(threads))
    assert threads.waits(ident, kind).detail == detail
    assert threads.waits(ident, outside, in_request=False).kind == outside


def test_a_thread_that_waits_for_another_one_names_it(threads):
    event = threading.Event()
    threads.end.callback(event.set)
    other = threading.Thread(target=event.wait, name="the other")
    other.start()
    found = threads.waits(threads.start(other.join), "thread")
    assert (found.detail, found.owner) == ("until the other ends", other.ident)


def test_a_thread_that_sleeps(threads):
    # Short, so that the test need not wait; it is seen within that time or another time.
    stopped = threading.Event()
    threads.end.callback(stopped.set)

    def doze():
        while not stopped.is_set():
            time.sleep(0.05)

    assert threads.waits(threads.start(doze), "sleep").detail == ""


def test_the_workers_of_a_pool_are_idle(threads):
    with ThreadPoolExecutor(1) as pool:
        ident = pool.submit(threading.get_ident).result()
        assert threads.waits(ident, "idle", in_request=False).detail == ""
