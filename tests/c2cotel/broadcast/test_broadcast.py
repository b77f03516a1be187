"""The functions that applications call."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyramid.config import Configurator

from c2cotel import broadcast, redis_utils
from c2cotel.metrics.joining import shared
from c2cotel.settings import SettingsError


@pytest.fixture(autouse=True)
def _clean(directory, monkeypatch):
    monkeypatch.setenv("C2C_RUN_DIR", str(directory))
    monkeypatch.delenv("C2C_REDIS_URL", raising=False)
    # Whoever joins first empties it of what an earlier run has left.
    shared()
    yield
    broadcast.cleanup()
    redis_utils.cleanup()
    shared().leave()


def test_before_it_is_included_this_process_alone_answers():
    broadcast.subscribe("add", lambda a, b: a + b)
    assert broadcast.broadcast("add", {"a": 1, "b": 2}, expect_answers=True) == [3]
    assert broadcast.broadcast("add", {"a": 1, "b": 2}) is None
    assert broadcast.broadcast("nobody", expect_answers=True) == []


def test_what_is_subscribed_before_is_answered_after(member):
    broadcast.subscribe("who", lambda: "here")
    other = member()
    broadcast.includeme()
    assert broadcast.broadcast("who", expect_answers=True) == [
        "here",
        {"token": other.process.token, "hostname": "here", "pid": other.pid},
    ]
    assert other("ask", "who").answers[1] == "here"
    broadcast.unsubscribe("who")
    assert len(other("ask", "who").answers) == 1


def test_the_ini_configures_redis_and_prefix(redis_server, member):
    other = member(None, redis_server.url)
    with Configurator(
        settings={"c2c.redis_url": redis_server.url, "c2c.broadcast_prefix": "p_"}
    ) as config:
        config.include("c2cotel.broadcast")
    assert broadcast.broadcaster().prefix == "p_"
    assert broadcast.broadcaster().reachable is True
    assert [each["pid"] for each in broadcast.broadcast("who", expect_answers=True)] == [other.pid]


def test_a_wrong_setting_stops_the_start(monkeypatch):
    monkeypatch.setenv("C2C_REDIS_URL", "redis://redis")
    monkeypatch.setenv("C2C_REDIS_OPTIONS", "socket_timeot=1")
    with pytest.raises(SettingsError, match="socket_timeout"):
        broadcast.includeme()


def test_without_a_directory_to_meet_in_the_process_goes_on_alone(monkeypatch, tmp_path, caplog):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("C2C_RUN_DIR", str(file))
    broadcast.subscribe("who", lambda: "here")
    broadcast.includeme()
    assert "The processes of this host cannot ask each other: C2C_RUN_DIR" in caplog.text
    assert broadcast.broadcast("who", expect_answers=True) == ["here"]
    monkeypatch.setenv("C2C_RUN_DIR", str(tmp_path / "run"))


def test_a_decorated_function_runs_in_every_process(member):
    @broadcast.decorator(expect_answers=True, timeout=5)
    def double(number):
        """Two times *number*."""
        return 2 * number

    name = f"c2c_decorated_{__name__}.double"
    other = member()
    other("subscribe", name, 14)
    broadcast.includeme()
    assert double(number=7) == [14, 14]
    assert double.__doc__ == "Two times *number*."
    with pytest.raises(TypeError):
        double(7)


def test_a_decorated_function_without_answers_gives_nothing():
    calls = []

    @broadcast.decorator("some_channel")
    def note(**params):
        calls.append(params)

    assert note(a=1) is None
    assert broadcast.broadcast("some_channel", {"a": 2}, expect_answers=True) == [None]
    assert calls == [{"a": 1}, {"a": 2}]


def test_who_is_silent_is_a_none_as_with_the_predecessor_and_named_to_who_asks():
    release = threading.Event()
    broadcast.subscribe("slow", lambda: release.wait(10))
    assert broadcast.broadcast("slow", expect_answers=True, timeout=0.05) == [None]
    replies = broadcast.ask("slow", timeout=0.05)
    assert replies.silent == (broadcast.broadcaster().process,)
    assert replies.answers == []
    release.set()


def test_cleanup_forgets_everything_and_may_be_called_twice(directory):
    broadcast.subscribe("who", lambda: "here")
    broadcast.includeme()
    assert list(directory.glob("*.sock"))
    broadcast.cleanup()
    broadcast.cleanup()
    assert not list(directory.glob("*.sock"))
    assert broadcast.broadcast("who", expect_answers=True) == []
    broadcast.subscribe("who", lambda: "again")
    broadcast.includeme()
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(broadcast.broadcast, "who", expect_answers=True)
        assert asked.result() == ["again"]
