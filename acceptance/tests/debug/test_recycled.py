"""A profile goes on while gunicorn replaces workers: what they had, and that they went, is told."""

import os
import signal

import pytest

from c2cotel_acceptance.traffic import Call, send
from c2cotel_acceptance.utils import retry_timeout

SECONDS = 5
BUSY = "/busy/{number}"


@pytest.fixture
def operator(operate):
    return operate("--workers", "3")


def workers(operator):
    """The processes that would be profiled now."""
    started = operator.post("debug/profile", seconds=30)
    assert started.status_code == 202, started.text
    told = started.json()
    assert operator.post("debug/profile", stop=told["id"]).status_code == 200
    retry_timeout(lambda: state(operator, told["id"]) == "done", 10, 0.05)
    return set(told["processes"])


def profile(operator, id_):
    answer = operator.get(f"debug/profile/{id_}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def state(operator, id_):
    return profile(operator, id_)["state"]


def profiled(operator, before):
    """A profile of *before*; one is killed meanwhile, another ends as gunicorn tells it to."""
    started = operator.post("debug/profile", seconds=SECONDS).json()
    assert set(started["processes"]) == before
    # Something to be found, whoever of them gets it.
    assert not send(operator.url, [Call("/busy/2000")], 60, concurrency=6).failed
    assert profile(operator, started["id"])["state"] == "running"
    for worker, signum in zip(sorted(before), (signal.SIGKILL, signal.SIGTERM), strict=False):
        os.kill(int(worker.rpartition("/")[2]), signum)
    retry_timeout(lambda: state(operator, started["id"]) == "done", SECONDS + 10, 0.2)
    return profile(operator, started["id"])


def all_there(operator, without=()):
    """Three workers, and none of those that went."""

    def found():
        there = workers(operator)
        return there if len(there) == 3 and not there & set(without) else None

    return retry_timeout(found, 20, 0.2)


def test_of_workers_that_are_replaced_it_is_said_and_what_there_is_is_kept(operator):
    before = all_there(operator)
    killed, told_to_end, other = sorted(before)
    told = profiled(operator, before)
    parts = {part["process"]: part for part in told["processes"]}
    states = {name: part["state"] for name, part in parts.items()}
    assert states == {killed: "lost", told_to_end: "early", other: "done"}
    assert 0 < parts[told_to_end]["seconds"] < SECONDS
    assert parts[told_to_end]["ticks"]
    assert BUSY in {each["route"] for each in told["routes"]}

    page = operator.get(f"debug/profiles/{told['id']}").text
    assert f"{killed} did not finish: it was killed" in page
    assert "What the others have found is here." in page
    assert "ended early" in page
    assert "find_primes" in operator.get(f"debug/profile/{told['id']}/collapsed").text
    whole = operator.get(f"debug/profile/{told['id']}/json").json()
    assert {each["process"] for each in whole["processes"]} == {told_to_end, other}

    all_there(operator, without={killed, told_to_end})
    # Whoever came since tells it all as well.
    assert profile(operator, told["id"])["processes"] == told["processes"]
