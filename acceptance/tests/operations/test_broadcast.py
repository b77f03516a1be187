"""Every process is asked, every answer comes, and nobody waits for one that does not."""

import contextlib
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from c2cotel_acceptance.processes import pause
from c2cotel_acceptance.utils import retry_timeout


@pytest.fixture(params=["no-redis+preload", "redis"])
def operator(request, shared):
    return shared(request.param)


def ask(operator, channel, **params):
    answer = operator.ask("GET", "/test/ask", params={"channel": channel, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def tell(operator, view, **params):
    answer = operator.ask("GET", f"/test/{view}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextlib.contextmanager
def stopped(pid):
    """A process that does nothing, and has ended nothing either."""
    pause(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_every_worker_answers_with_its_name(operator):
    workers = set(operator.service.workers())
    replies = ask(operator, "test_double", number="21")
    assert {answer["pid"] for answer in replies["answers"]} == workers
    assert {answer["double"] for answer in replies["answers"]} == {42}
    assert {answer["hostname"] for answer in replies["answers"]} == {os.uname().nodename}
    assert {process["pid"] for process in replies["answered"]} == workers
    assert replies["silent"] == []
    # The seed's functions.
    answers = tell(operator, "broadcast", channel="test_double", number="1")
    assert {answer["pid"] for answer in answers} == workers
    answers = tell(operator, "decorated", word="there")
    assert {(answer["pid"], answer["said"]) for answer in answers} == {
        (pid, "there") for pid in workers
    }
    assert tell(operator, "broadcast", channel="test_double", number="1", tell="1") is None


def test_a_callback_that_fails_is_an_answer(operator):
    answers = tell(operator, "broadcast", channel="test_fail")
    assert len(answers) == 4
    assert {(a["status"], a["message"]) for a in answers} == {(500, "the callback fails")}


@pytest.mark.alone
def test_a_channel_that_nobody_listens_to(operator):
    began = time.monotonic()
    assert tell(operator, "broadcast", channel="test_nobody", timeout="3") == []
    assert time.monotonic() - began < 3.5


@pytest.mark.parametrize("size", [60_000, 1_000_000])
def test_a_long_answer_comes_whole(operator, size):
    answers = tell(operator, "broadcast", channel="test_large", size=size)
    assert sorted(len(answer.get("text", "")) for answer in answers) == [size] * 4


def test_1000_broadcasts_of_8_clients_under_load_are_all_complete(operator):
    def one(number):
        replies = ask(operator, "test_double", number=number)
        return (
            sorted(answer["pid"] for answer in replies["answers"]),
            {answer["double"] for answer in replies["answers"]} == {number * 2},
            replies["silent"],
        )

    workers = sorted(operator.service.workers())
    one(0)
    opened = descriptors(workers)
    before = operator.service.scrape()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(1000)))
    assert [reply for reply in found if reply != (workers, True, [])] == []
    # Each of 12 threads may keep a connection; nothing may grow with the number of questions.
    assert all(found - opened[pid] < 16 for pid, found in descriptors(workers).items())
    after = operator.service.scrape()

    def grown(name, **labels):
        return after.total(name, **labels) - before.total(name, **labels)

    assert grown("c2c_broadcast_duration_seconds_count") == 1000
    assert grown("c2c_broadcast_answers_total") == 4000
    assert grown("c2c_broadcast_silent_total") == 0


def descriptors(workers):
    """How many files, pipes and sockets each process has open."""
    return {pid: len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in workers}


@pytest.mark.alone
def test_a_stopped_worker_costs_its_own_answer_and_is_named(operator):
    victim, *others = operator.service.workers()
    silent_before = operator.service.scrape().total("c2c_broadcast_silent_total")
    with stopped(victim):
        began = time.monotonic()
        replies = ask(operator, "test_double", number=1, timeout=1)
        assert sorted(answer["pid"] for answer in replies["answers"]) == sorted(others)
        assert [process["pid"] for process in replies["silent"]] == [victim]
        # The seed's function has None for an answer that does not come.
        answers = tell(operator, "broadcast", channel="test_double", number=1, timeout=1)
        assert sorted(a["pid"] for a in answers if a) == sorted(others)
        assert answers.count(None) == 1
        assert time.monotonic() - began < 3
    scrape = operator.service.scrape()
    assert scrape.total("c2c_broadcast_silent_total") == silent_before + 2
    retry_timeout(lambda: not ask(operator, "test_double", number=1)["silent"], 10, 0.1)


@pytest.mark.alone
def test_long_work_of_one_broadcast_holds_up_no_other(operator):
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, operator, "test_slow", seconds="2")
        time.sleep(0.3)
        began = time.monotonic()
        for number in range(5):
            assert len(ask(operator, "test_double", number=number)["answers"]) == 4
        assert time.monotonic() - began < 1.2
        assert not slow.done()
        replies = slow.result()
    assert len(replies["answers"]) == 4
    assert all("main" not in answer["thread"].lower() for answer in replies["answers"])


def test_a_slow_answer_is_named_silent_and_does_not_come_late(operator):
    replies = ask(operator, "test_slow", seconds="1", timeout="0.3")
    assert (replies["answers"], len(replies["silent"])) == ([], 4)
    time.sleep(1)
    assert len(ask(operator, "test_double", number="1")["answers"]) == 4


def test_workers_come_and_go(operator):
    victims = operator.service.workers()[:2]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    workers = operator.wait_workers(without=victims)
    replies = ask(operator, "test_double", number="1", timeout="3")
    assert sorted(answer["pid"] for answer in replies["answers"]) == sorted(workers)
    assert replies["silent"] == []


HOSTILE = [
    b"",
    b"not json",
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b'"text"',
    b"{}",
    b'{"params": 5}',
    b'{"params": [], "answer_channel": 7}',
    b'{"params": {"unknown": 1}, "answer_channel": "broadcast_api_x"}',
    b'{"params": {"__class__": 1, "self": 2}}',
    b'{"params": {"number": NaN}}',
    b'{"params": {"number": "' + b"9" * 200_000 + b'"}}',
    b"[" * 50_000,
    json.dumps({"params": {"number": 1}, "answer_channel": "x" * 100_000}).encode(),
]


def test_hostile_messages_on_redis_are_ignored_and_said(shared, valkey):
    operator = shared("redis")
    workers = operator.service.workers()
    before = len(operator.service.output().splitlines())
    with redis.Redis.from_url(valkey.url) as client:
        for message in HOSTILE * 3:
            assert client.publish("redis_test_double", message) == 4
        for name in client.pubsub_channels("redis_*"):
            client.publish(name, b'{"what": "is this"}')
    replies = ask(operator, "test_double", number="3")
    assert {answer["double"] for answer in replies["answers"]} == {6}
    assert operator.service.workers() == workers
    lines = operator.service.output().splitlines()[before:]
    said = [line for line in lines if "c2cotel.broadcast" in line]
    # Nobody can fill the log with them.
    assert 4 <= len(said) < 4 * 40
    # A callback that cannot take what it is given fails, and that is said as always.
    traces = [line for line in lines if "Traceback" in line]
    assert all("double() got an unexpected" in line for line in traces)


def test_on_redis_the_messages_are_those_of_the_predecessor(shared, valkey):
    """So that its processes and ours understand each other."""
    operator = shared("redis")
    question, answers = "redis_test_double", "redis_answer_here"
    with (
        redis.Redis.from_url(valkey.url, decode_responses=True) as client,
        client.pubsub(ignore_subscribe_messages=True) as listener,
    ):
        listener.subscribe(question, answers)
        text = json.dumps({"params": {"number": 4}, "answer_channel": answers})
        retry_timeout(lambda: client.pubsub_numsub(answers)[0][1] == 1, 5, interval=0.01)
        client.publish(question, text)
        heard = [_next(listener) for _ in range(1 + 4)]
        assert heard.pop(heard.index((question, json.loads(text)))) is not None
        assert {channel for channel, _ in heard} == {answers}
        assert {answer["double"] for _, answer in heard} == {8}
        assert {answer["pid"] for _, answer in heard} == set(operator.service.workers())

        # The listener here counts as one that does not answer.
        assert tell(operator, "broadcast", channel="test_double", number="5", timeout="1")
        channel, asked = _next(listener)
    assert channel == question
    assert asked["params"] == {"number": 5}
    assert asked["answer_channel"].startswith(question)


def _next(listener):
    """The channel and the content of the next message."""
    message = retry_timeout(lambda: listener.get_message(timeout=1), 5, interval=0)
    return message["channel"], json.loads(message["data"])


def test_the_run_directory_is_for_this_user_only_and_no_socket_is_left_in_it(operate, tmp_path):
    run = tmp_path / "run"
    operator = operate(workers=2, env={"C2C_RUN_DIR": str(run)})
    assert len(ask(operator, "test_double", number="1")["answers"]) == 2
    assert run.stat().st_mode & 0o077 == 0
    operator.service.process.stop()
    left = [path for path in run.rglob("*") if path.is_socket()]
    assert left == []
