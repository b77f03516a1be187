"""What gunicorn's master and workers do when they are told to end."""

import contextlib
import os
import signal
import socket
import time
from types import SimpleNamespace

import pytest

from c2cotel.draining import Draining, close_port_first, end_gracefully


class Arbiter:
    """What of gunicorn's is used: the method that ends it, and how many masters there are."""

    reexec_pid = 0
    master_pid = 0

    def handle_term(self):
        raise StopIteration


@pytest.fixture
def state():
    return Draining()


@pytest.fixture
def terminated():
    """The times at which this process got SIGTERM."""
    times = []
    before = signal.signal(signal.SIGTERM, lambda *_: times.append(time.monotonic()))
    yield times
    signal.signal(signal.SIGTERM, before)


def test_readiness_fails_first_and_the_end_comes_later(state, terminated):
    arbiter = Arbiter()
    end_gracefully(arbiter, 0.2, state)
    state.asked()
    began = time.monotonic()
    arbiter.handle_term()
    assert state.active
    while not terminated:
        assert time.monotonic() - began < 10
        time.sleep(0.01)
    assert terminated[0] - began >= 0.2
    with pytest.raises(StopIteration):
        arbiter.handle_term()


def test_a_second_signal_ends_at_once(state):
    arbiter = Arbiter()
    end_gracefully(arbiter, 3600, state)
    state.asked()
    arbiter.handle_term()
    with pytest.raises(StopIteration):
        arbiter.handle_term()


@pytest.mark.parametrize("reason", ["nobody asks", "no grace", "new master", "old master"])
def test_it_ends_at_once_where_waiting_is_of_no_use(state, reason):
    arbiter = Arbiter()
    end_gracefully(arbiter, 0 if reason == "no grace" else 3600, state)
    if reason != "nobody asks":
        state.asked()
    arbiter.master_pid = 7 if reason == "new master" else 0
    arbiter.reexec_pid = 7 if reason == "old master" else 0
    with pytest.raises(StopIteration):
        arbiter.handle_term()
    assert not state.active


# Python 3.12 warns of forks beside threads.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_processes_know_it(state):
    pid = os.fork()
    if pid == 0:
        state.asked()
        end = time.monotonic() + 10
        while not state.active and time.monotonic() < end:
            time.sleep(0.005)
        os._exit(0 if state.active else 1)
    while not state.watched:
        time.sleep(0.005)
    state.begin()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Worker:
    """What of gunicorn's gthread is used, with a real port."""

    def __init__(self, listener):
        self.sockets = [listener]
        self.alive = True
        self.nr_conns = 0
        self.accepted = []
        self.accepts = True
        self.cfg = SimpleNamespace(worker_connections=1000)

    def set_accept_enabled(self, enabled):
        self.accepts = enabled

    def accept(self, listener):
        with contextlib.suppress(BlockingIOError):
            self.accepted.append(listener.accept()[0])
            self.nr_conns += 1


@pytest.fixture
def worker():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        made = Worker(listener)
        made.state = Draining()
        close_port_first(made, made.state)
        yield made
        for connection in made.accepted:
            connection.close()


def test_a_worker_that_ends_takes_who_waits_and_closes_its_port(worker):
    address = worker.sockets[0].getsockname()
    waiting = [socket.create_connection(address, timeout=10) for _ in range(3)]
    worker.alive = False
    worker.state.close()
    worker.set_accept_enabled(False)
    assert (worker.accepts, len(worker.accepted)) == (False, 3)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=10)
    for connection in waiting:
        connection.close()


def test_a_worker_that_has_enough_to_do_keeps_its_port(worker):
    address = worker.sockets[0].getsockname()
    worker.set_accept_enabled(False)
    socket.create_connection(address, timeout=10).close()
    assert (worker.accepts, worker.accepted) == (False, [])
    worker.set_accept_enabled(True)
    assert worker.accepts


def test_a_worker_that_is_replaced_leaves_who_waits_to_the_others(worker):
    waiting = socket.create_connection(worker.sockets[0].getsockname(), timeout=10)
    worker.alive = False
    worker.set_accept_enabled(False)
    assert (worker.accepts, worker.accepted) == (False, [])
    waiting.close()


def test_no_more_are_let_in_than_a_worker_may_have(worker):
    address = worker.sockets[0].getsockname()
    waiting = [socket.create_connection(address, timeout=10) for _ in range(3)]
    worker.cfg.worker_connections = 2
    worker.alive = False
    worker.state.close()
    worker.set_accept_enabled(False)
    assert len(worker.accepted) == 2
    for connection in waiting:
        connection.close()


def test_a_worker_of_another_kind_is_left_alone():
    close_port_first(object())
