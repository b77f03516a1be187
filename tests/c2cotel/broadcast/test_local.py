import json
import logging
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import context, propagate
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from c2cotel.broadcast.local import NAME
from c2cotel.broadcast.messages import Process, Replies
from c2cotel_instrumentation.context import with_request_id
from c2cotel_instrumentation.request_id import RequestIdPropagator


def tokens(replies):
    return {answer["token"] for answer in replies.answers}


def test_every_process_of_the_host_answers_with_its_name(member, asker):
    asking, others = asker(), [member() for _ in range(3)]
    replies = asking.ask("who", {"question": 1})
    everybody = [asking.process, *(other.process for other in others)]
    assert set(replies.answered) == set(everybody)
    assert replies.silent == ()
    assert replies.answers == [
        {"token": p.token, "question": 1, "hostname": "here", "pid": p.pid}
        for p in replies.answered
    ]


def test_any_process_can_ask(member):
    members = [member() for _ in range(2)]
    for each in members:
        assert tokens(each("ask", "who")) == {other.process.token for other in members}


def test_before_it_has_started_a_process_answers_itself():
    from c2cotel.broadcast.broadcaster import Broadcaster

    alone = Broadcaster(host="here")
    assert alone.ask("who") == Replies()
    alone.subscribe("who", lambda a: [a])
    assert alone.ask("who", {"a": 1}) == Replies([[1]], (), (alone.process,))
    assert alone.reachable is None


def test_without_a_run_directory_a_process_answers_itself(asker):
    alone = asker(path=None)
    assert tokens(alone.ask("who")) == {alone.process.token}


def test_a_process_that_has_not_subscribed_is_neither_in_the_answers_nor_silent(member, asker):
    asking, other = asker(), member()
    other("subscribe", "later", "here I am")
    assert asking.ask("later") == Replies(["here I am"], (), (other.process,))
    other("unsubscribe", "later")
    assert asking.ask("later") == Replies()


@pytest.mark.alone
def test_a_stopped_process_costs_its_own_timeout_and_is_named(member, asker, clock):
    asking, stopped, fine = asker(), member(), member()
    stopped.signal(signal.SIGSTOP)
    replies = asking.ask("who", timeout=0.5)
    assert 0.5 <= clock() < 1.5
    assert set(replies.answered) == {asking.process, fine.process}
    assert replies.silent == (stopped.process,)
    stopped.signal(signal.SIGCONT)
    assert len(asking.ask("who").answers) == 3


@pytest.mark.alone
def test_a_slow_callback_does_not_keep_others_from_answering(member, asker, clock):
    asking, slow = asker(), member()
    with ThreadPoolExecutor() as threads:
        sleeping = threads.submit(asking.ask, "slow", {"seconds": 1})
        assert len(asking.ask("who").answers) == 2
        assert clock() < 0.9
        assert sleeping.result().answers == ["at last", "at last"]
    assert asking.ask("slow", {"seconds": 1}, timeout=0.1).silent == (asking.process, slow.process)


def test_a_killed_process_leaves_nothing_behind_and_is_not_asked(member, asker, directory):
    asking, killed = asker(), member()
    killed.kill()
    assert len(list(directory.iterdir())) == 2
    replies = asking.ask("who")
    assert tokens(replies) == {asking.process.token}
    assert replies.silent == ()
    assert len(list(directory.iterdir())) == 1


def test_a_process_that_ends_while_it_is_asked_is_silent(member, asker, clock):
    asking, ending = asker(), member()
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(asking.ask, "slow", {"seconds": 0.3}, 60)
        ending("reachable")
        ending.kill()
        replies = asked.result()
    assert replies.answered == (asking.process,)
    assert replies.silent in ((), (ending.process,))  # () if it was killed before
    assert clock() < 30


def test_what_a_callback_raises_is_its_answer_and_is_logged_once(member, asker, caplog):
    asking, other = asker(), member()
    with caplog.at_level(logging.ERROR):
        replies = asking.ask("fail")
    text = "no such thing at redis://me:REDACTED@redis"
    assert replies.answers == [
        {"status": 500, "message": text, "hostname": "here", "pid": process.pid}
        for process in (asking.process, other.process)
    ]
    (record,) = caplog.records
    assert record.getMessage() == "The callback of broadcast channel fail failed."
    assert record.exc_info


def test_an_answer_that_is_not_json_is_an_error(asker, caplog):
    (answer,) = asker().ask("odd").answers
    assert answer["status"] == 500
    assert answer["message"].startswith("The answer is not JSON: ")
    assert len(caplog.records) == 1


def test_parameters_that_do_not_fit_the_callback_are_an_error(asker, caplog):
    asking = asker()
    for name in ("hours", "more\n" * 500):
        (answer,) = asking.ask("slow", {name: 1}).answers
        assert answer["status"] == 500
        assert name[:4] in answer["message"]
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert line.exc_info is None
    assert line.getMessage().startswith(
        "A message of the broadcast is ignored (channel slow): its params are not those of the "
        "callback: "
    )


def test_a_type_error_within_a_callback_is_logged_as_any_other(asker, caplog):
    asking = asker()
    asking.subscribe("wrong", lambda: len(5))
    assert asking.ask("wrong").answers[0]["status"] == 500
    (line,) = caplog.records
    assert (line.levelname, bool(line.exc_info)) == ("ERROR", True)


def test_what_many_threads_subscribe_at_once_is_all_asked(asker):
    asking, interval = asker(), sys.getswitchinterval()
    channels = [f"channel {number}" for number in range(400)]
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda channel: asking.subscribe(channel, lambda: 1), channels))
            assert set(channels) <= set(asking._subscriptions.channels)
            list(threads.map(asking.unsubscribe, channels))
    finally:
        sys.setswitchinterval(interval)
    assert not set(channels) & set(asking._subscriptions.channels)


def test_a_prompt_channel_is_answered_while_other_callbacks_hang(member, asker, clock):
    asking, release = asker(), threading.Event()
    asking.subscribe("hang", lambda: release.wait(20))
    asking.subscribe("prompt", lambda: "at once", prompt=True)
    other = member()
    for _ in range(9):
        other("tell", "hang")
    assert other("ask", "prompt").answers == ["at once"]
    assert asking.ask("prompt").answers == ["at once"]
    assert clock() < 10
    release.set()


def test_only_the_others_are_asked_if_so_wished(member, asker):
    asking, other = asker(), member()
    replies = asking.ask("count", here=False)
    assert replies.answered == (other.process,)
    asking.tell("count", here=False)
    assert asking.ask("counted").answers[0] == 0


def test_a_question_that_is_not_json_or_too_long_is_refused(asker):
    asking = asker()
    with pytest.raises(TypeError, match="not JSON serializable"):
        asking.ask("who", {"a": object()})
    with pytest.raises(ValueError, match=r"A question on who has \d+ bytes"):
        asking.ask("who", {"a": "x" * 65536})
    assert asking.ask("count", {"a": "x" * 50_000}).answers == [1]


def test_a_long_answer_comes_whole(member, asker):
    asking, other = asker(), member()
    other("subscribe", "long", "x" * 3_000_000)
    assert asking.ask("long").answers == ["x" * 3_000_000]


def test_each_process_is_told_once(member, asker, eventually):
    asking, other = asker(), member()
    asking.tell("count", {"a": 1})
    assert asking.ask("counted").answers[0] == 1
    eventually(lambda: asking.ask("counted").answers == [1, 1])
    assert other("ask", "count").answers == [2, 2]


def test_a_callback_may_ask_itself(member, asker, clock):
    asking = asker()
    member()
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(asking.ask, "nested") for _ in range(12)]
        assert {tuple(each.result().answers) for each in asked} == {(2, 2)}
    assert clock() < 8


def test_many_threads_get_complete_answers(member, asker):
    asking = asker()
    expected = {asking.process.token, *(member().process.token for _ in range(3))}
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(asking.ask, "who", {"n": n}) for n in range(400)]
        for n, each in enumerate(asked):
            assert tokens(each.result()) == expected
            assert {answer["n"] for answer in each.result().answers} == {n}


def test_too_many_questions_get_an_answer_that_says_so(asker, caplog, eventually):
    asking = asker()
    release = threading.Event()
    asking.subscribe("wait", lambda: release.wait(20))
    with ThreadPoolExecutor(108) as threads:
        asked = [threads.submit(asking.ask, "wait") for _ in range(8 + 100)]
        eventually(lambda: len(asking._subscriptions._pool._work) == 100)
        (refused,) = asking.ask("wait").answers
        release.set()
        assert [each.result().answers for each in asked] == [[True]] * 108
    assert refused["status"] == 503
    assert "A question on wait is not answered: 100 others wait already." in caplog.text


@pytest.fixture
def request_ids():
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(RequestIdPropagator())
    yield
    propagate.set_global_textmap(before)


@pytest.mark.usefixtures("request_ids")
def test_the_callback_runs_in_the_context_of_who_asks(member, asker):
    asking = asker()
    member()
    token = context.attach(with_request_id("abc-123"))
    try:
        assert asking.ask("request").answers == ["abc-123", "abc-123"]
    finally:
        context.detach(token)
    assert asking.ask("request").answers == [None, None]


def test_a_directory_with_a_long_path_does(tmp_path, member, asker):
    path = tmp_path / ("x" * 120) / ("y" * 120)
    path.mkdir(parents=True)
    asking, other = asker(path=path), member(path=path)
    assert tokens(asking.ask("who")) == {asking.process.token, other.process.token}


def test_the_socket_belongs_to_its_user_alone(asker, directory):
    umask = os.umask(0)
    try:
        asker()
    finally:
        os.umask(umask)
    (path,) = directory.iterdir()
    assert NAME.fullmatch(path.name)
    assert path.stat().st_mode & 0o777 == 0o600


def test_who_stops_leaves_no_socket_and_no_thread(asker, directory):
    asking = asker()
    asking.stop()
    assert list(directory.iterdir()) == []
    assert asking.ask("who") == Replies()
    assert not [t for t in threading.enumerate() if t.name == "c2cotel-broadcast-local"]


def test_a_directory_that_cannot_be_written_is_said_and_the_process_goes_on(
    asker, tmp_path, caplog
):
    alone = asker(path=tmp_path / "gone")
    assert "Let it write there, or set C2C_RUN_DIR" in caplog.text
    assert tokens(alone.ask("who")) == {alone.process.token}


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 60_000, "it is not JSON"),
        (b"[1]", "it is not a JSON object"),
        (b'{"params": {}}', "it names no channel"),
        (b'{"channel": "who", "params": [1]}', "not an object of keyword arguments"),
        (b'{"channel": "who", "params": {}, "skip": 1}', "its skip is not a list"),
        (b'{"channel": "who", "params": "%s"}' % (b"x" * 70_000), "65536 are the limit"),
        (b"", "it is not JSON"),
    ],
)
def test_a_malformed_question_is_ignored_with_a_warning(
    asker, directory, caplog, eventually, sent, why
):
    asking = asker()
    with socket.socket(socket.AF_UNIX) as intruder:
        (path,) = directory.iterdir()
        intruder.connect(str(path))
        with_broken_pipe = (BrokenPipeError, ConnectionResetError)
        try:
            intruder.sendall(sent)
            intruder.shutdown(socket.SHUT_WR)
            assert intruder.recv(10) == b""
        except with_broken_pipe:
            pass
    eventually(lambda: why in caplog.text)
    assert len(asking.ask("who").answers) == 1


def test_who_connects_and_says_nothing_disturbs_nobody(member, asker, directory):
    asking, other = asker(), member()
    with socket.socket(socket.AF_UNIX) as intruder:
        (path,) = [p for p in directory.iterdir() if other.process.token in p.name]
        intruder.connect(str(path))
        intruder.sendall(b'{"channel"')
        assert len(asking.ask("who").answers) == 2


@pytest.mark.alone
def test_a_full_backlog_is_waited_for_until_the_time_is_up(asker, directory, clock):
    """A socket that is listened on, and never accepted from."""
    asking = asker()
    token = "0" * 16
    path = directory / f"{os.getpid()}-1.{token}.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)
        first.connect(str(path))
        replies = asking.ask("who", timeout=0.5)
    assert replies.silent == (Process("here", os.getpid(), token),)
    assert 0.5 <= clock() < 1.5
    # Nobody is of that name: it is not asked again.
    assert not path.exists()


def test_a_broken_answer_is_ignored_and_its_process_is_silent(asker, directory, caplog):
    asking = asker()
    token = "0" * 16
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / f"{os.getpid()}-1.{token}.sock"))
        listener.listen(1)
        listener.settimeout(10)

        def answer():
            connection, _ = listener.accept()
            with connection:
                while connection.recv(1000):
                    pass
                connection.sendall(b"{nonsense")

        with ThreadPoolExecutor() as threads:
            threads.submit(answer)
            replies = asking.ask("who")
    assert replies.silent == (Process("here", os.getpid(), token),)
    assert "A message of the broadcast is ignored (the answer of process here/" in caplog.text


def test_a_forked_child_of_a_process_that_listens_does_not_answer_for_it(member, asker, clock):
    """It does not keep its dead parent's socket, or connections, open either."""
    asking, parent = asker(), member()
    child = parent("fork")
    try:
        assert len(asking.ask("who").answers) == 2
        parent.kill()
        replies = asking.ask("who", timeout=60)
        assert replies == Replies(replies.answers, (), (asking.process,))
        assert clock() < 30
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_process_started_from_one_that_listens_inherits_nothing(member, asker):
    asking, parent = asker(), member()
    child = parent("run", ["sleep", "60"])
    try:
        parent.kill()
        assert asking.ask("who").silent == ()
    finally:
        os.kill(child, signal.SIGKILL)


def test_asking_leaks_no_descriptor(member, asker):
    asking = asker()
    member()
    before = asking.ask("descriptors").answers
    for _ in range(20):
        asking.ask("who")
    after = asking.ask("descriptors").answers
    assert [b - a for a, b in zip(before, after, strict=True)] == pytest.approx([0, 0], abs=3)


def test_on_start_is_called_once_others_can_reach_the_process(directory, member):
    from c2cotel.broadcast.broadcaster import Broadcaster

    other = member()
    starting, reached = Broadcaster(host="here"), []
    starting.subscribe("new", lambda: "new")
    starting.on_start(lambda: reached.append(other("ask", "new").answers))
    try:
        starting.start(directory, None, "")
        starting.start(directory, None, "")
        assert reached == [["new"]]
        starting.on_start(lambda: reached.append("at once"))
        assert reached == [["new"], "at once"]
    finally:
        starting.stop()


def test_what_fails_on_start_is_logged_and_the_others_are_called(caplog):
    from c2cotel.broadcast.broadcaster import Broadcaster

    starting, called = Broadcaster(), []
    starting.on_start(lambda: 1 / 0)
    starting.on_start(lambda: called.append(1))
    starting.start(None, None, "")
    starting.stop()
    assert called == [1]
    assert "ZeroDivisionError" in caplog.text


def test_starting_again_otherwise_is_said(asker, tmp_path, caplog):
    asker().start(tmp_path, None, "other")
    assert "The broadcast has been started before" in caplog.text


def test_answers_and_silence_are_counted(member, asker):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    asking, stopped = asker(meter_provider=provider), member()
    stopped.signal(signal.SIGSTOP)
    asking.ask("who", timeout=0.1)
    asking.ask("nobody has subscribed to this", timeout=0.1)
    told = {}
    for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            (channel,) = point.attributes.values()
            value = point.count if metric.name.endswith("duration") else point.value
            told[metric.name, metric.unit, channel] = value
    provider.shutdown()
    assert told == {
        ("c2c.broadcast.duration", "s", "who"): 1,
        ("c2c.broadcast.duration", "s", "other"): 1,
        ("c2c.broadcast.answers", "{answer}", "who"): 1,
        ("c2c.broadcast.answers", "{answer}", "other"): 0,
        ("c2c.broadcast.silent", "{process}", "who"): 1,
        ("c2c.broadcast.silent", "{process}", "other"): 1,
    }


def test_a_silent_process_is_named_in_the_log(member, asker, caplog):
    asking, stopped = asker(), member()
    stopped.signal(signal.SIGSTOP)
    asking.ask("who", timeout=0.1)
    assert f"No answer on who within 0.1 s from here/{stopped.pid}." in caplog.text


def test_a_name_of_a_channel_is_short(asker):
    with pytest.raises(ValueError, match="1 to 256 characters"):
        asker().subscribe("", json.dumps)
