"""Real processes, on hosts that are run directories of their own, agree on values."""

import signal
import time

import pytest
import redis

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError

from .service import LEVELS, connected, soon


@pytest.fixture(scope="module")
def valkey():
    try:
        with servers.valkey() as running:
            yield running
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(params=[None, "valkey"], ids=["files", "redis"])
def url(request):
    return request.param and request.getfixturevalue("valkey").url


def test_every_process_has_applied_a_value_when_set_returns(service, url):
    processes = [service.process(url=url) for _ in range(3)]
    for number in range(20):
        level = LEVELS[number % 2]
        state = processes[number % 3].set(level, key="sqlalchemy", actor="alice")
        assert (state.value, state.key, state.actor) == (level, "sqlalchemy", "alice")
        assert [process.value("sqlalchemy") for process in processes] == [level] * 3
        assert [process.effective() for process in processes] == [{"sqlalchemy": level}] * 3
    assert processes[0].reset("sqlalchemy") is True
    assert [process.effective() for process in processes] == [{}] * 3
    assert processes[1].reset("sqlalchemy") is False


def test_two_hosts_agree_through_redis(service, valkey):
    here, there = service.process("one", valkey.url), service.process("two", valkey.url)
    connected(here, there)
    here.set("DEBUG")
    assert there.value() == "DEBUG"
    there.set("INFO")
    assert here.value() == "INFO"
    assert here.changes() == [("set", "DEBUG", "INFO"), ("set", None, "DEBUG")]


def test_a_process_that_starts_later_begins_with_what_is_agreed(service, url):
    first = service.process(url=url)
    first.set("DEBUG", key="a", actor="alice", address="192.0.2.7")
    first.set("DEBUG", key="b")
    first.reset("b")
    second = service.process(url=url)
    assert second.effective() == {"a": "DEBUG"}
    state = second.state("a")
    assert (state.actor, state.address, state.expires_in) == ("alice", "192.0.2.7", None)


def test_another_host_that_starts_later_begins_with_what_redis_has(service, valkey):
    service.process("one", valkey.url).set("DEBUG")
    other = service.process("two", valkey.url)
    assert other.value() == "DEBUG"
    later = service.process("two", "redis://127.0.0.1:1")
    assert later.value() == "DEBUG"


def test_a_switch_works_before_the_start_and_then_tells(service, url):
    running, late = service.process(url=url), service.process(url=url, start=False)
    late.set("DEBUG")
    assert (late.value(), running.value()) == ("DEBUG", None)
    late.start()
    soon(running.effective, {"": "DEBUG"})


def test_a_kind_that_is_used_later_gets_what_is_known(service, url):
    first, second = service.process(url=url), service.process(url=url, use=False)
    first.set("DEBUG")
    second.use()
    assert second.effective() == {"": "DEBUG"}


def test_a_refused_value_changes_nothing(service):
    process = service.process()
    for value, options in (
        ("NOPE", {}),
        ("DEBUG", {"ttl": 0}),
        ("DEBUG", {"ttl": -1.0}),
        ("DEBUG", {"ttl": float("nan")}),
        ("DEBUG", {"ttl": float("inf")}),
        ("DEBUG", {"key": "x" * 20_000}),
        ("DEBUG", {"key": "\ud800"}),
    ):
        with pytest.raises(ValueError, match=r"not a|too long|surrogates"):
            process.set(value, **options)
    assert process.warned() == []
    assert process.changes() == []


def test_a_change_is_logged_once_with_who_and_from_where(service, url):
    first, second = service.process(url=url), service.process(url=url)
    first.set("INFO", key="a")
    second.set("DEBUG", key="a", ttl=90, actor="alicé\n", address="192.0.2.7")
    second.reset("a", actor="bob", address="2001:db8::1")
    assert first.warned() == ["level a: configured → INFO, by somebody"]
    assert second.warned() == [
        "level a: INFO → DEBUG for 90 s, by alicé\\n from 192.0.2.7",
        "level a: DEBUG → configured, by bob from 2001:db8::1",
    ]
    (reset, changed, _) = first.whole_changes()
    assert (reset.action, reset.actor, reset.address) == ("reset", "bob", "2001:db8::1")
    assert (changed.switch, changed.key, changed.value, changed.previous, changed.ttl) == (
        ("level", "a", "DEBUG", "INFO", 90)
    )


def test_the_empty_key_is_named_in_the_log_where_it_has_a_name(service):
    process, other = service.process(use=False), service.process(use=False)
    for each in (process, other):
        each.use(nameless="root")
    process.set("INFO")
    process.set("DEBUG", key="a", ttl=0.1)
    process.set("ERROR", ttl=0.1)
    soon(lambda: len(process.warned("are over") + other.warned("are over")), 2)
    assert process.warned()[:3] == [
        "level root: configured → INFO, by somebody",
        "level a: configured → DEBUG for 0.1 s, by somebody",
        "level root: INFO → ERROR for 0.1 s, by somebody",
    ]
    over = "level root: ERROR → configured, its 0.1 s are over, which somebody had given it"
    assert process.warned("root: ERROR") + other.warned("root: ERROR") == [over]


def test_a_value_ends_in_every_process_and_is_said_once_a_host(service, url):
    processes = [service.process(url=url) for _ in range(3)]
    processes[0].set("DEBUG", key="a", ttl=1.0)
    processes[1].set("INFO", key="b")
    late = service.process(url=url)
    assert 0 < late.state("a").expires_in <= 1
    processes.append(late)
    for process in processes:
        soon(process.effective, {"b": "INFO"})
        assert process.value("a") is None
    over = "level a: DEBUG → configured, its 1 s are over, which somebody had given it"
    soon(lambda: [line for each in processes for line in each.warned("are over")], [over])
    assert [change[0] for change in processes[0].changes()] == ["expired", "set", "set"]
    assert service.process(url=url).effective() == {"b": "INFO"}


def test_a_new_value_takes_the_time_of_the_old_one_away(service, url):
    processes = [service.process(url=url) for _ in range(2)]
    processes[0].set("DEBUG", ttl=0.5)
    processes[1].set("INFO")
    processes[1].set("DEBUG", key="other", ttl=0.6)
    soon(lambda: [len(each.warned("are over")) for each in processes].count(1), 1)
    for process in processes:
        soon(process.effective, {"": "INFO"})
    assert [change[0] for change in processes[0].changes()] == ["expired", "set", "set", "set"]


def test_a_change_is_counted_and_an_event_of_the_span(service):
    process = service.process()
    process.measure()
    process.set_in_a_span("DEBUG", key="a" * 300, ttl=0.1)
    soon(process.effective, {})
    process.set("INFO", key="b")
    process.reset("b")
    kind = ("c2c.switch", "level")
    soon(
        lambda: process.measured()[0],
        {
            ("c2c.switch.changes", "{change}", kind, ("c2c.switch.action", action)): number
            for action, number in (("set", 2), ("expired", 1), ("reset", 1))
        }
        | {("c2c.switch.active", "{override}", kind): 0},
    )
    ((name, attributes),) = process.measured()[1]
    assert name == "c2c.switch"
    assert attributes == {
        "c2c.switch": "level",
        "c2c.switch.action": "set",
        "c2c.switch.key": f"{'a' * 200}…",
        "c2c.switch.value": "DEBUG",
    }


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"records": None},
        {"records": 5, "more": 6},
        {"records": [None, {}, []]},
        {"records": [{"kind": "level", "key": "", "n": 2**60, "token": "a", "value": "DEBUG"}]},
        {"records": [{"kind": "level", "key": "", "n": 5, "token": "a", "value": "NOPE"}]},
        {"records": [{"kind": "level", "key": "", "n": 5, "token": "a", "value": 7, "ttl": -1}]},
    ],
)
def test_a_malformed_message_is_ignored_with_a_warning(service, message):
    process = service.process()
    for _ in range(2):
        assert process.told(**message)["status"] == 500
    assert process.effective() == {}
    assert len(process.warned("ignored")) == 1
    assert service.process().effective() == {}


def test_a_forked_child_goes_on_with_what_its_parent_had(service):
    process = service.process()
    process.set("DEBUG", key="a", ttl=0.6)
    process.set("INFO", key="b")

    assert process.ends_in_a_child("a", {"b": "INFO"})


def test_a_fork_in_the_middle_of_a_change_leaves_child_and_parent_working(service):
    process = service.process()
    assert process.fork_while_setting(8) == [True] * 8
    process.set("DEBUG", key="parent")
    expected = {"parent": "DEBUG"} | {f"{number}": "INFO" for number in range(8)}
    assert service.process().effective() == expected


def test_a_process_that_was_not_told_sees_what_its_host_has_agreed_on(service):
    first, deaf = service.process(), service.process()
    deaf.unsubscribe()
    first.set("DEBUG")
    assert deaf.effective() == {}
    assert deaf.value() == "DEBUG"
    assert deaf.effective() == {"": "DEBUG"}


def test_a_process_that_cannot_apply_does_not_keep_the_others_from_it(service, url):
    first, second, third = (service.process(url=url) for _ in range(3))
    second.fail()
    first.set("DEBUG")
    assert (first.effective(), third.effective()) == ({"": "DEBUG"}, {"": "DEBUG"})
    (warning,) = first.warned("not applied everywhere")
    assert f"/{second.process.pid}: level '' = DEBUG: RuntimeError: this process cannot" in (
        warning
    )
    assert second.warned() == ["level '' = DEBUG is not applied in this process"]
    third.fail()
    assert third.set("INFO").value == "INFO"
    assert first.effective() == {"": "INFO"}


def test_concurrent_changes_of_threads_and_processes_end_with_one_value(service, url):
    processes = [service.process(url=url) for _ in range(3)]
    for process in processes:
        process.begin("set_together", LEVELS)
    for process in processes:
        process.finish()
    values = {process.value("shared") for process in processes}
    assert len(values) == 1
    assert [process.effective() for process in processes] == [{"shared": values.pop()}] * 3
    assert service.process(url=url).value("shared") == processes[0].value("shared")
    changes = processes[0].whole_changes()
    assert len({change.n for change in changes}) == 9
    assert changes[0].value == processes[0].value("shared")


def test_without_anything_a_process_agrees_with_itself(service):
    alone = service.process(host=None)
    alone.set("DEBUG", ttl=0.1)
    soon(lambda: len(alone.warned("are over")), 1)
    assert alone.effective() == {}
    assert alone.changes() == []


def test_a_run_directory_that_is_gone_is_complained_of_once(service):
    process = service.process()
    for path in service.folder.glob("host/*"):
        path.unlink()
    (service.folder / "host").rmdir()
    process.set("DEBUG")
    process.set("INFO")
    assert process.value() == "INFO"
    assert len(process.warned("is not kept in the run directory")) == 1


@pytest.mark.alone
def test_a_stopped_process_catches_up(service, url):
    first, second = service.process(url=url), service.process(url=url)
    second.signal(signal.SIGSTOP)
    started = time.monotonic()
    first.set("DEBUG")
    assert time.monotonic() - started < 4
    second.signal(signal.SIGCONT)
    soon(second.effective, {"": "DEBUG"})
    assert str(second.process.pid) in first.warned("No answer on c2c_switch")[0]


@pytest.fixture
def own_valkey(tmp_path):
    try:
        with servers.valkeys.running(tmp_path, "valkey") as running:
            yield running
    except MissingError as error:
        pytest.skip(str(error))


@pytest.mark.alone
def test_redis_lost_in_the_middle_and_back_empty(service, own_valkey):
    url = own_valkey.url
    one, one_too = service.process("one", url), service.process("one", url)
    two = service.process("two", url)
    connected(one, one_too, two)
    one.set("DEBUG", key="before")
    two.set("DEBUG", key="reset")
    own_valkey.kill()
    started = time.monotonic()
    one.set("INFO", key="during")
    two.reset("reset")
    assert time.monotonic() - started < 2
    assert one_too.effective() == {"before": "DEBUG", "during": "INFO", "reset": "DEBUG"}
    assert two.effective() == {"before": "DEBUG"}
    assert service.process("one", url).effective() == one_too.effective()
    own_valkey.restart()
    agreed = {"before": "DEBUG", "during": "INFO"}
    for process in (one, one_too, two):
        soon(process.effective, agreed)
    assert service.process("three", url).effective() == agreed
    two.set("ERROR", key="after")
    assert one.effective() == agreed | {"after": "ERROR"}
    assert [each.warned("not kept in Redis") for each in (one_too,)] == [[]]


@pytest.mark.alone
def test_redis_that_hangs_costs_little_and_others_hear_later(service, own_valkey):
    one, two = service.process("one", own_valkey.url), service.process("two", own_valkey.url)
    connected(one, two)
    own_valkey.pause()
    started = time.monotonic()
    one.set("DEBUG")
    assert time.monotonic() - started < 2
    assert one.value() == "DEBUG"
    own_valkey.resume()
    soon(two.effective, {"": "DEBUG"})


def test_a_redis_that_refuses_is_complained_of_once(service, own_valkey):
    one, two = service.process("one", own_valkey.url), service.process("one", own_valkey.url)
    connected(one, two)
    with redis.Redis.from_url(own_valkey.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-eval")
    one.set("DEBUG")
    one.set("INFO")
    assert two.value() == "INFO"
    (warning,) = one.warned("not kept in Redis")
    assert "NoPermissionError" in warning
