"""What is hostile, corrupt, too much or too slow does not keep processes from agreeing."""

import json
import time

import pytest
import redis

from .service import LEVELS, connected, soon

# The greatest that a record can have.
HUGE = 2**52 - 1
RECORD = {"kind": "level", "key": "evil", "value": "DEBUG", "token": "ff"}


class Intruder:
    """Writes what it likes, to Redis and to the run directories of a service."""

    def __init__(self, service, server):
        self.service = service
        self.client = redis.Redis.from_url(server.url, decode_responses=True)

    def tell(self, params):
        message = json.dumps({"params": params})
        return self.client.publish(f"{self.service.prefix}c2c_switch", message)

    def tell_refused(self):
        self.tell({"records": [{**RECORD, "value": "NOPE", "n": HUGE - 1}]})

    def tell_unknown(self):
        self.tell({"records": [{**RECORD, "kind": "unknown", "n": HUGE - 1}]})

    def tell_next_week(self):
        self.tell({"records": [{**RECORD, "n": (int(time.time()) + 7 * 86_400) * 1000}]})

    def set_clock(self):
        self.client.set(f"{self.service.prefix}c2c_switch_clock", HUGE - 2)

    def keep(self):
        self.client.sadd(f"{self.service.prefix}c2c_switches", "level/x")
        kept = {"n": HUGE, "token": "ff", "record": json.dumps({**RECORD, "key": "x", "n": 5})}
        self.client.hset(f"{self.service.prefix}c2c_switch/level/x", mapping=kept)

    def write(self, content):
        (self.service.folder / "one" / "agreed.json").write_text(json.dumps(content))

    def write_clock(self):
        self.write({"clock": HUGE - 1, "records": {}})

    def write_record(self):
        record = {**RECORD, "key": "x", "n": HUGE}
        self.write({"clock": 5, "records": {"level/x": record}})


@pytest.fixture
def intruder(service, redis_server):
    intruder = Intruder(service, redis_server)
    with intruder.client:
        yield intruder


@pytest.mark.parametrize(
    "way",
    [
        "tell_refused",
        "tell_unknown",
        "tell_next_week",
        "set_clock",
        "keep",
        "write_clock",
        "write_record",
    ],
)
def test_a_clock_far_ahead_is_ignored_with_a_warning_and_changes_go_on(
    service, redis_server, intruder, way
):
    url = redis_server.url
    processes = [service.process("one", url), service.process("one", url)]
    processes.append(service.process("two", url))
    connected(*processes)
    processes[0].set("DEBUG", key="before")
    getattr(intruder, way)()
    if way.startswith("tell"):
        for process in processes:
            soon(lambda heard=process: len(heard.warned("ignored")), 1)
    # As it does each time Redis is back.
    processes[1].reconcile()
    for number in range(6):
        level = LEVELS[number % 3]
        processes[number % 3].set(level, key="x")
        processes[number % 3].reconcile()
        assert [process.value("x") for process in processes] == [level] * 3
    assert processes[1].reset("x") is True
    assert [process.value("x") for process in processes] == [None] * 3
    warned = [line for process in processes for line in process.warned("ignored")]
    assert any("ahead" in line for line in warned) or way == "tell_refused", warned
    assert [process.failed() for process in processes] == [[]] * 3
    later = service.process("three", url)
    assert later.effective() == {"before": "DEBUG"}


@pytest.mark.parametrize(
    "fields",
    [
        {"value": "\ud800"},
        {"value": "x" * 20_000},
        {"key": "x" * 20_000},
        {"at": float("nan")},
        {"value": 2**70, "at": None},
    ],
)
def test_a_record_that_could_not_be_told_on_is_ignored(service, redis_server, intruder, fields):
    here = service.process("one", redis_server.url)
    connected(here)
    now = int(time.time() * 1000)
    intruder.tell({"records": [{**RECORD, "kind": "unknown", "n": now, **fields}]})
    soon(lambda: len(here.warned("ignored")), 1)
    here.set("DEBUG", key="after")
    here.reconcile()
    assert here.failed() == []
    assert service.process("two", redis_server.url).effective() == {"after": "DEBUG"}


@pytest.mark.parametrize("params", [{"self": 1}, {"records": None, "more": 1}])
def test_parameters_that_nobody_knows_are_ignored(service, redis_server, intruder, params):
    here = service.process("one", redis_server.url)
    connected(here)
    assert intruder.tell(params) == 1
    soon(lambda: len(here.warned("ignored")), 1)
    assert here.failed() == []


def test_records_that_take_more_room_when_they_are_told_are_told(service):
    here, other = service.process("one"), service.process("one")
    keys = ["\x7f" * 2500 + f"{number}" for number in range(8)] + ["é" * 2500]
    here.set_many(keys)
    assert other.effective() == dict.fromkeys(keys, "DEBUG")
    with pytest.raises(ValueError, match="too long"):
        here.set("DEBUG", key="\x7f" * 2800)
    late = service.process("one", start=False)
    late.set_many([key + "late" for key in keys])
    late.start()
    soon(lambda: len(other.effective()), 18)
    assert [each.failed() for each in (here, other, late)] == [[]] * 3


def test_more_than_a_message_holds_reaches_the_other_hosts_when_redis_is_back(service, own_server):
    one, one_too, two = (service.process(host, own_server.url) for host in ("one", "one", "two"))
    connected(one, one_too, two)
    own_server.kill()
    keys = [f"a.package.with.a.name.{number}" for number in range(400)]
    one.begin("set_many", keys[:200])
    one_too.set_many(keys[200:])
    one.finish()
    assert two.effective() == {}
    own_server.restart()
    soon(two.effective, dict.fromkeys(keys, "DEBUG"))
    assert [process.failed() for process in (one, one_too, two)] == [[]] * 3


@pytest.mark.alone
def test_callbacks_that_hang_do_not_keep_a_process_from_changing_and_being_told(service):
    hanging, other = service.process(), service.process()
    hanging.hang(9)
    other.hang(9)
    started = time.monotonic()
    hanging.set("DEBUG")
    other.set("INFO", key="a")
    assert time.monotonic() - started < 1.5
    assert hanging.effective() == other.effective() == {"": "DEBUG", "a": "INFO"}
    assert hanging.warned("No answer on c2c_switch") == []
    assert other.warned("No answer on c2c_switch") == []


def test_changes_made_while_redis_was_away_are_listed_on_other_hosts_once(service, own_server):
    one, one_too, two = (service.process(host, own_server.url) for host in ("one", "one", "two"))
    connected(one, one_too, two)
    one.set("DEBUG", key="before")
    own_server.kill()
    one.set("INFO", actor="alice")
    one_too.set("ERROR", ttl=0.1)
    soon(lambda: len(one.changes()), 4)
    one.reset("before")
    two.set("DEBUG", key="there")
    own_server.restart()
    connected(one, one_too, two)
    soon(lambda: len(two.changes()), 6)
    assert two.changes() == one.changes()
    assert {change.actor for change in two.whole_changes()} == {"alice", ""}
    for process in (one, one_too, two):
        process.reconcile()
    with redis.Redis.from_url(own_server.url) as client:
        assert client.llen(f"{service.prefix}c2c_changes") == 6
