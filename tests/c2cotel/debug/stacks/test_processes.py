"""Threads of several real processes: put together, in a real deadlock, of one that is silent."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.debug.stacks import core
from c2cotel.debug.stacks.capture import Capture
from c2cotel_acceptance.utils import retry_timeout

PATIENCE = 20
# A process of a service in which two threads wait for each other, as no test could end it.
PROGRAM = """
import sys, threading
from pathlib import Path
from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.debug.stacks import core
from c2cotel.debug.stacks.capture import Capture

broadcaster = Broadcaster(host="host")
answers = core.Answers(Capture("__main__", dict))
broadcaster.subscribe(core.CHANNEL, answers, prompt=True)
locks = [threading.Lock(), threading.RLock()]
both = threading.Barrier(2)

def work(mine, other):
    with mine:
        both.wait()
        with other:
            pass

if "deadlock" in sys.argv:
    for pair in (locks, locks[::-1]):
        threading.Thread(target=work, args=pair, daemon=True).start()
broadcaster.start(Path(sys.argv[1]), None, "")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def service(tmp_path):
    """Starts processes that share a run directory; each ends with its standard input."""
    with ExitStack() as stack:

        def start(*arguments):
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, tmp_path, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            stack.callback(process.send_signal, signal.SIGCONT)
            assert process.stdout.readline() == "ready\n"
            return process.pid

        yield start


@pytest.fixture(autouse=True)
def asker(tmp_path, monkeypatch):
    """This process, as one of them."""
    broadcaster = Broadcaster(host="host")
    broadcaster.subscribe(core.CHANNEL, core.Answers(Capture("", dict)), prompt=True)
    broadcaster.start(tmp_path, None, "")
    monkeypatch.setattr("c2cotel.broadcast.broadcaster", lambda: broadcaster)
    yield broadcaster
    broadcaster.stop()


def test_identical_stacks_of_all_processes_are_one(service):
    pids = {service(), service(), service()}

    def look():
        told = core.grouped_stacks()
        reading = [each for each in told if each["frames"][-1]["function"] == "<module>"]
        return (told, *reading) if len(reading) == 1 else None

    # Once all of them wait for their standard input.
    told, group = retry_timeout(look, PATIENCE, 0.05)
    assert {thread.split("/")[1] for thread in group["threads"]} == {str(pid) for pid in pids}
    assert all("/MainThread(" in thread for thread in group["threads"])
    everybody = {thread.split("/")[1] for each in told for thread in each["threads"]}
    assert everybody == {str(pid) for pid in (*pids, os.getpid())}


def test_a_deadlock_in_another_process_is_named(service):
    service()
    pid = service("deadlock")

    def look():
        report = core.report()
        return report if report.perhaps else None

    report = retry_timeout(look, PATIENCE, 0.05)
    ((one, other),) = report.perhaps
    assert one.process.pid == other.process.pid == pid
    assert report.owner(one) is other
    assert report.owner(other) is one
    assert {row.thread.waiting.detail for row in (one, other)} == {"Lock other", "RLock other"}
    assert one.where.function == "work"
    assert one.is_locked
    assert other.is_locked


def test_a_process_that_is_stopped_is_silent(service, monkeypatch):
    monkeypatch.setattr(core, "_PATIENCE", 1.0)
    pid, other = service(), service()
    os.kill(pid, signal.SIGSTOP)
    report = core.report()
    assert report.silent == (f"host/{pid}",)
    assert {row.process.pid for row in report.rows} == {other, os.getpid()}


def test_an_answer_comes_although_all_others_take_for_ever(service, asker):
    """What one looks for may be just that."""
    pid = service()
    hanging, over = threading.Event(), threading.Event()

    def hang():
        hanging.set()
        over.wait(PATIENCE)

    asker.subscribe("hang", hang)
    for _ in range(20):
        asker.tell("hang", timeout=0)
    assert hanging.wait(PATIENCE)
    try:
        found = {row.process.pid for row in core.report().rows}
    finally:
        over.set()
    assert found == {pid, os.getpid()}
