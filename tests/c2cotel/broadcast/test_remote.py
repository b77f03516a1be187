"""Several hosts on one Redis: each has a run directory of its own."""

import json
import logging
import os
import re
import signal
import threading
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
import redis as redis_py
import requests

from c2cotel.broadcast.agreement import Agreement
from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.broadcast.link import Link
from c2cotel.broadcast.messages import UNKNOWN, Process, Replies
from c2cotel.redis import connect, remedy
from c2cotel.settings import Redis
from c2cotel_acceptance.servers import Gunicorn, closed_port, sentinels

from .conftest import connections

PREFIX = "p_"


@pytest.fixture
def directories(tmp_path):
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        path.mkdir()
    return paths


def processes(replies):
    return set(replies.answered)


def test_processes_of_other_hosts_answer_too_and_each_once(
    member, asker, directories, redis_server
):
    one, two = directories
    asking = asker(one, redis_server.url, host="one")
    others = [
        member(one, redis_server.url, "one"),
        member(two, redis_server.url, "two"),
        member(two, redis_server.url, "two"),
    ]
    replies = asking.ask("count", {"a": 1})
    assert processes(replies) == {asking.process, *(other.process for other in others)}
    assert replies.answers == [1, 1, 1, 1]
    assert replies.silent == ()
    asking.tell("count")
    assert asking.ask("count").answers == [3, 3, 3, 3]


def test_what_is_subscribed_later_is_asked_too_and_what_is_unsubscribed_is_not(
    member, asker, directories, redis_server, eventually
):
    one, two = directories
    asking = asker(one, redis_server.url, host="one")
    other = member(two, redis_server.url, "two")
    other("subscribe", "later", ["here I am"])
    assert asking.ask("later") == Replies([["here I am"]], (), (other.process,))
    other("unsubscribe", "later")
    eventually(lambda: asking.ask("later", timeout=1) == Replies())


@pytest.mark.alone
def test_a_stopped_process_of_another_host_is_named(
    member, asker, directories, redis_server, clock
):
    one, two = directories
    asking = asker(one, redis_server.url, host="one")
    near = member(one, redis_server.url, "one")
    far, fine = (member(two, redis_server.url, "two") for _ in range(2))
    far.signal(signal.SIGSTOP)
    near.signal(signal.SIGSTOP)
    replies = asking.ask("who", timeout=0.7)
    assert processes(replies) == {asking.process, fine.process}
    assert set(replies.silent) == {near.process, far.process}
    assert 0.7 <= clock() < 2


def test_a_killed_process_of_another_host_is_not_asked(member, asker, directories, redis_server):
    one, two = directories
    asking = asker(one, redis_server.url, host="one")
    killed = member(two, redis_server.url, "two")
    assert len(asking.ask("who").answers) == 2
    killed.kill()
    assert asking.ask("who", timeout=2).silent == ()


def test_a_child_forked_by_a_process_that_listens_keeps_no_connection_open(
    member, asker, directories, redis_server, clock
):
    one, two = directories
    asking = asker(one, redis_server.url, host="one")
    parent = member(two, redis_server.url, "two")
    child = parent("fork")
    try:
        parent.kill()
        assert asking.ask("who", timeout=60).answered == (asking.process,)
        assert clock() < 30
    finally:
        os.kill(child, signal.SIGKILL)


def test_eight_threads_get_complete_answers(member, asker, directories, redis_server):
    one, two = directories
    asking = asker(one, redis_server.url, host="one")
    for path, host in ((one, "one"), (two, "two"), (two, "two")):
        member(path, redis_server.url, host)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(asking.ask, "who", {"n": n}) for n in range(200)]
        for n, each in enumerate(asked):
            replies = each.result()
            assert [answer["n"] for answer in replies.answers] == [n] * 4
            assert len(processes(replies)) == 4


# The predecessor on the same Redis, played by a plain client.


class Predecessor:
    """Subscribes, and answers as c2cwsgiutils does; or asks as it does."""

    def __init__(self, url):
        self.client = redis_py.Redis.from_url(url, decode_responses=True)
        self.pubsub = self.client.pubsub()

    def listen(self, channel):
        self.pubsub.subscribe(PREFIX + channel)
        assert self.pubsub.get_message(timeout=5)["type"] == "subscribe"

    def hear(self):
        while (message := self.pubsub.get_message(timeout=5))["type"] != "message":
            pass
        return message["data"]

    def ask(self, channel, params):
        answers = f"{PREFIX}{channel}ABCDEFGH09"
        self.listen(f"{channel}ABCDEFGH09")
        message = json.dumps({"params": params, "answer_channel": answers})
        expected = self.client.publish(PREFIX + channel, message)
        return [json.loads(self.hear()) for _ in range(expected)]

    def close(self):
        self.pubsub.close()
        self.client.close()


@pytest.fixture
def predecessor(redis_server):
    made = Predecessor(redis_server.url)
    yield made
    made.close()


def test_the_predecessor_gets_the_answers_that_it_knows(
    member, asker, directories, redis_server, predecessor
):
    one, two = directories
    asking = asker(one, redis_server.url, host="one")
    other = member(two, redis_server.url, "two")
    answers = predecessor.ask("who", {"a": 1})
    assert sorted(answers, key=lambda answer: answer["hostname"]) == [
        {"token": p.token, "a": 1, "hostname": p.host, "pid": p.pid}
        for p in (asking.process, other.process)
    ]
    assert predecessor.ask("count", {}) == [1, 1]


def test_the_predecessor_understands_the_question_and_its_answer_is_taken(
    asker, redis_server, predecessor
):
    asking = asker(url=redis_server.url)
    predecessor.listen("who")
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(asking.ask, "who", {"a": 1})
        question = json.loads(predecessor.hear())
        assert question["params"] == {"a": 1}
        assert re.fullmatch(r"p_who[A-Z0-9]{10}", question["answer_channel"])
        answer = {"level": 3, "hostname": "old", "pid": 7}
        predecessor.client.publish(question["answer_channel"], json.dumps(answer))
        replies = asked.result()
    assert replies.answers[1:] == [answer]
    assert replies.answered == (asking.process, Process("old", 7))


def test_a_silent_predecessor_is_counted_without_a_name(asker, redis_server, predecessor):
    asking = asker(url=redis_server.url)
    predecessor.listen("who")
    replies = asking.ask("who", timeout=0.3)
    assert replies.silent == (UNKNOWN,)
    assert replies.answered == (asking.process,)


def test_a_question_without_an_answer_channel_is_executed(asker, redis_server, predecessor):
    asking, done = asker(url=redis_server.url), threading.Event()
    asking.subscribe("do", done.set)
    predecessor.client.publish(f"{PREFIX}do", '{"params": {}}')
    assert done.wait(5)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe\x00", "it is not JSON"),
        (b'{"params": {"password": "hunter2"}', "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b"null", "it is not a JSON object"),
        (b"{}", "its params are not an object of keyword arguments"),
        (b'{"params": ["hunter2"]}', "its params are not an object of keyword arguments"),
        (b'{"params": {}, "answer_channel": 7}', "its answer_channel is not a text"),
        (b'{"params": {}, "answer_channel": "elsewhere"}', "does not begin with 'p_'"),
        (b'{"params": {}, "answer_channel": "p_count"}', "is one for questions"),
        (b'{"params": {}, "answer_channel": "p_who"}', "is one for questions"),
        (b'{"params": {}, "answer_channel": "p_%s"}' % (b"x" * 600), "or is too long"),
        (b'{"params": {}, "skip": {}}', "its skip is not a list"),
        (b'{"params": {"a": "%s"}}' % (b"hunter2" * 10_000), "65536 are the limit"),
        (b"[" * 65_000, "it is not JSON"),
    ],
)
def test_a_hostile_message_is_ignored_with_a_warning_that_does_not_repeat_it(
    asker, redis_server, predecessor, caplog, eventually, message, why
):
    asking = asker(url=redis_server.url)
    predecessor.client.publish(f"{PREFIX}count", message)
    eventually(lambda: why in caplog.text)
    assert "hunter2" not in caplog.text
    assert asking.ask("counted").answers == [0]


def test_hostile_messages_do_not_fill_the_log(asker, redis_server, predecessor, caplog):
    asking = asker(url=redis_server.url)
    for _ in range(500):
        predecessor.client.publish(f"{PREFIX}who", "nonsense")
    assert len(asking.ask("who").answers) == 1
    assert caplog.text.count("ignored") == 1


def test_parameters_that_a_callback_does_not_take_do_not_fill_the_log(
    asker, redis_server, predecessor, caplog
):
    asker(url=redis_server.url)
    for name in ("bogus", "self") * 50:
        predecessor.client.publish(f"{PREFIX}counted", json.dumps({"params": {name: 1}}))
    (answer,) = predecessor.ask("counted", {"bogus": 1})
    assert answer["status"] == 500
    assert "'bogus'" in answer["message"]
    assert caplog.text.count("ignored") == 1
    assert "Traceback" not in caplog.text


def test_hostile_answers_are_ignored(asker, redis_server, predecessor, caplog):
    asking = asker(url=redis_server.url)
    predecessor.listen("who")
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(asking.ask, "who", timeout=1)
        channel = json.loads(predecessor.hear())["answer_channel"]
        twice = json.dumps({"c2c_process": ["x", 1, "token"], "answer": 1})
        for answer in (b"\xff", b"{", twice, twice):
            predecessor.client.publish(channel, answer)
        replies = asked.result()
    assert replies.answers[1:] == [1]
    assert replies.answered[1:] == (Process("x", 1, "token"),)
    assert caplog.text.count("ignored") == 1


# Redis away


@pytest.mark.alone
def test_a_process_starts_within_a_second_without_redis_and_says_so_once(asker, caplog, clock):
    with closed_port() as port:
        asking = asker(url=f"redis://me:hunter2@127.0.0.1:{port}/0")
        assert clock() < 1
        assert asking.reachable is False
        other = asker(url=None)
        assert processes(asking.ask("who")) == {asking.process, other.process}
    away = [r for r in caplog.records if "Redis is away" in r.getMessage()]
    assert [r.levelno for r in away] == [logging.WARNING]
    assert f"redis://me:***@127.0.0.1:{port}/0" in away[0].getMessage()
    assert "hunter2" not in caplog.text


@pytest.mark.alone
def test_a_redis_that_hangs_delays_the_start_by_a_second_at_most(asker, own_server, clock):
    own_server.pause()
    asking = asker(url=own_server.url)
    assert clock() < 1.5
    assert asking.reachable is False
    own_server.resume()


@pytest.mark.alone
def test_a_redis_that_stops_is_noticed_and_costs_an_ask_half_a_second_once(
    member, asker, directories, own_server, eventually, clock
):
    one, two = directories
    asking = asker(one, own_server.url, host="one")
    near, far = member(one, own_server.url, "one"), member(two, own_server.url, "two")
    assert len(asking.ask("who").answers) == 3
    own_server.pause()
    began = clock()
    assert processes(asking.ask("who")) == {asking.process, near.process}
    assert clock() - began < 1.2
    began = clock()
    assert processes(asking.ask("who")) == {asking.process, near.process}
    assert clock() - began < 0.2
    # Nobody asks this one: it notices by itself.
    eventually(lambda: not far("reachable"), timeout=5)
    own_server.resume()
    eventually(lambda: asking.reachable and far("reachable") and near("reachable"))
    assert len(asking.ask("who").answers) == 3


def test_a_redis_that_is_killed_and_started_again_is_found_again(
    member, asker, directories, own_server, eventually, caplog
):
    one, two = directories
    connected = []
    asking = asker(one, own_server.url, host="one")
    asking.on_connected(lambda: connected.append(threading.current_thread().name))
    eventually(lambda: len(connected) == 1)
    near, far = member(one, own_server.url, "one"), member(two, own_server.url, "two")
    own_server.kill()
    eventually(lambda: asking.reachable is False)
    assert processes(asking.ask("who")) == {asking.process, near.process}
    own_server.restart()
    eventually(lambda: asking.reachable and near("reachable") and far("reachable"))
    assert processes(asking.ask("who")) == {asking.process, near.process, far.process}
    eventually(lambda: len(connected) == 2)
    assert {re.sub(r"\d+$", "", name) for name in connected} == {"c2cotel-broadcast-connected-"}
    states = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Redis is")]
    assert [text.split(" (")[0] for text in states] == ["Redis is away", "Redis is back"]


def test_a_redis_that_comes_later_is_found(asker, own_server, eventually):
    own_server.kill()
    asking = asker(url=own_server.url)
    asking.subscribe("while it was away", lambda: 1)
    own_server.restart()
    eventually(lambda: asking.reachable)
    client = redis_py.Redis.from_url(own_server.url, decode_responses=True)
    assert client.pubsub_numsub("p_while it was away") == [("p_while it was away", 1)]
    client.close()


def test_who_tells_while_redis_is_away_knows_that_other_hosts_were_not_told(asker, own_server):
    asking = asker(url=own_server.url)
    assert asking.tell("count") is True
    own_server.kill()
    assert asking.tell("count") is False
    assert asking.tell("count") is False
    assert asker().tell("count") is True


# Redis that refuses


def commands(server, *lines):
    with redis_py.Redis.from_url(server.url) as client:
        for line in lines:
            client.execute_command(*line.split())


@pytest.mark.parametrize("login", ["", ":hunter2@", "me:hunter2@"])
def test_a_wrong_password_is_said_once_with_what_to_mend(asker, own_server, caplog, login):
    commands(own_server, "CONFIG SET requirepass right")
    url = own_server.url.replace("redis://", f"redis://{login}")
    asking = asker(url=url)
    threading.Event().wait(0.5)  # several attempts
    assert asking.reachable is False
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.startswith("Redis refuses this process (redis://")
    assert "C2C_REDIS_URL" in line
    assert "C2C_REDIS_OPTIONS" in line
    assert "hunter2" not in line
    assert "nothing has to be done" not in line


def test_a_missing_right_is_said_once_with_what_to_mend(asker, own_server, caplog):
    commands(own_server, "ACL SETUSER default resetchannels")
    asking = asker(url=own_server.url)
    threading.Event().wait(0.5)  # several attempts
    assert len(asking._link._open) <= 1
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.startswith("Redis refuses this process (redis://")
    assert "ACL" in line
    assert "C2C_BROADCAST_PREFIX" in line
    assert "nothing has to be done" not in line


def test_the_rights_that_are_asked_for_are_enough(
    asker, directories, own_server, eventually, caplog
):
    rights = re.search(r"ACL SETUSER … (.*?)\)", remedy(redis_py.exceptions.NoPermissionError()))[1]
    rights = rights.replace("PREFIX", PREFIX)
    commands(own_server, f"ACL SETUSER me on >secret {rights}")
    url = own_server.url.replace("redis://", "redis://me:secret@")
    asking, other = (asker(path, url, path.name) for path in directories)
    assert processes(asking.ask("who")) == {asking.process, other.process}
    agreed, another = Agreement(asking), Agreement(other)
    applied = []
    for each in (agreed, another):
        each.switch("level", check=lambda _, value: value, apply=lambda *args: applied.append(args))
    agreed.set("level", "", "DEBUG", ttl=0.1, actor="", address="")
    agreed.reconcile()
    assert applied[:2] == [("", "DEBUG")] * 2
    assert [each.action for each in agreed.changes()][-1:] == ["set"]
    # Both forget it when its time is over, which is said: here, not in the next test.
    eventually(lambda: applied.count(("", None)) == 2)
    assert [r.getMessage() for r in caplog.records if "Redis" in r.getMessage()] == []


def test_a_redis_that_comes_back_and_refuses_says_so(caplog):
    with closed_port() as port, closing(connections(f"redis://127.0.0.1:{port}")) as nobody:
        link = Link(nobody)
        for _ in range(2):
            link.is_away(redis_py.ConnectionError("refused"))
        for _ in range(2):
            link.is_away(redis_py.AuthenticationError("invalid username-password pair"))
        link.close_all()
    said = [r for r in caplog.records if r.name == "c2cotel.broadcast.link"]
    assert [r.getMessage().partition(" (")[0] for r in said] == [
        "Redis is away",
        "Redis refuses this process",
    ]


# Forks


APPLICATION = """
import json, os
from c2cotel import broadcast

started = []
broadcast.subscribe("who", lambda: {"started": started})
broadcast.broadcaster().on_start(lambda: started.append(os.getpid()))
broadcast.includeme()

def application(environ, start_response):
    replies = broadcast.ask("who", timeout=5)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([replies.answers, len(replies.silent)]).encode()]
"""


@pytest.mark.parametrize("redis", [False, True])
@pytest.mark.parametrize("preload", [False, True])
def test_all_workers_of_gunicorn_answer_and_its_master_does_not(
    tmp_path, directory, redis_server, preload, redis, eventually
):
    """By local sockets or not: with Redis there is nothing that another host could not do."""
    (tmp_path / "some_app.py").write_text(APPLICATION)
    server = Gunicorn(
        ["-w", "3", "some_app:application", *(["--preload"] if preload else [])],
        instrument=False,
        log=tmp_path / "log",
        env={
            **os.environ,
            "C2C_RUN_DIR": str(directory),
            **({"C2C_REDIS_URL": redis_server.url} if redis else {}),
        },
        cwd=tmp_path,
    )
    with server:
        server.wait_url(server.url)

        def answer():
            answers, silent = requests.get(server.url, timeout=10).json()
            return {each["pid"]: each["started"] for each in answers}, silent

        eventually(lambda: len(server.workers()) == 3)
        expected = ({pid: [pid] for pid in server.workers()}, 0)
        eventually(lambda: answer() == expected)
        assert [answer() for _ in range(20)] == [expected] * 20
    assert "Traceback" not in server.output()
    assert not list(directory.glob("*.sock"))


# Not by a fork without Python's hooks: beside threads, as here, any lock may be held for ever then.
def test_a_forked_child_that_does_not_listen_can_ask(member, asker, directories, redis_server):
    one, two = directories
    far = member(two, redis_server.url, "two")
    parent = asker(one, redis_server.url, host="one")
    hear, say = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of fork in a process with threads; that this works is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            told = json.dumps(sorted(it.pid for it in parent.ask("count", timeout=5).answered))
        except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on
            told = traceback.format_exc()
        os.write(say, told.encode())
        os._exit(0)
    os.close(say)
    with os.fdopen(hear) as from_child:
        assert from_child.read() == json.dumps(sorted([pid, os.getpid(), far.pid]))
    os.waitpid(pid, 0)
    assert parent.ask("counted").answers == [1, 1]


# Sentinel


def test_after_a_failover_the_new_primary_is_found_and_meanwhile_the_host_is_reached(
    directories, eventually, asker_with
):
    one, two = directories
    with sentinels() as servers:
        settings = Redis(sentinels=tuple(servers.addresses.split(",")), pubsub_retry_delay=0.1)
        asking = asker_with(one, settings, "one")
        near, far = asker_with(one, settings, "one"), asker_with(two, settings, "two")
        assert len(asking.ask("who").answers) == 3
        killed = servers.kill_primary()
        # Not one question of all during the failover fails, or takes long.
        while not (asking.reachable and servers.primary() is not killed):
            replies = asking.ask("who", timeout=5)
            assert {asking.process, near.process} <= processes(replies)
            assert replies.silent == ()
        eventually(lambda: far.reachable and near.reachable)
        assert len(asking.ask("who").answers) == 3


@pytest.fixture
def asker_with():
    with ExitStack() as stack:

        def make(path, settings, host):
            broadcaster = Broadcaster(host=host)
            redis = connect(settings)
            broadcaster.subscribe("who", lambda: host)
            broadcaster.start(path, redis, PREFIX)
            stack.callback(redis.close)
            stack.callback(broadcaster.stop)
            return broadcaster

        yield make
