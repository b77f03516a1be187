"""A log level is the same in every process, however they are told of it and whenever they start."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from c2cotel_acceptance.utils import retry_timeout

NAME = "c2cotel_app.views"  # nobody sets its level but these tests
DEBUG = {("DEBUG", "DEBUG", "DEBUG")}
PREFIXES = ("hosts_", "redis_", "corrupt_", "broadcast_api_")  # of the services that use Redis here
UNSET = {("NOTSET", "INFO", None)}  # as the ini says of its parent


@pytest.fixture(params=["no-redis", "no-redis+preload", "redis", "sentinel"])
def operator(request, shared):
    return shared(request.param)


def test_a_level_set_through_one_worker_is_read_back_from_all(operator):
    for level in ("DEBUG", "ERROR", "CRITICAL", "DEBUG"):
        told = operator.level(NAME, level=level)
        assert told == {"status": 200, "name": NAME, "level": level, "effective_level": level}
        assert operator.read_back(NAME) == {(level, level, level)}
    assert operator.get("logging/level").json() == {"status": 200, "overrides": {NAME: "DEBUG"}}
    assert set(operator.levels_by_worker(NAME).values()) == {"DEBUG"}


@pytest.mark.parametrize("operator", ["no-redis+preload", "redis"], indirect=True)
def test_workers_that_start_later_have_it(operator):
    before = operator.wait_workers()
    operator.level(NAME, level="DEBUG")
    operator.service.process.signal(signal.SIGHUP)
    operator.wait_workers(without=before)
    assert set(operator.levels_by_worker(NAME).values()) == {"DEBUG"}
    assert operator.read_back(NAME) == DEBUG


@pytest.mark.alone
def test_it_expires_in_every_worker_also_in_one_that_was_killed_meanwhile(operator):
    victim, *others = operator.wait_workers()
    began = time.monotonic()
    operator.level(NAME, level="DEBUG", ttl="4")
    assert operator.read_back(NAME) == DEBUG
    os.kill(victim, signal.SIGKILL)
    workers = operator.wait_workers(without=[victim])
    levels = operator.levels_by_worker(NAME)
    if time.monotonic() - began < 3.5:  # a slow machine: nothing to see any more
        assert levels == dict.fromkeys(workers, "DEBUG")
    retry_timeout(lambda: operator.read_back(NAME, 10) == UNSET, 10, interval=0.1)
    assert 3.5 < time.monotonic() - began < 8
    assert set(others) < set(operator.levels_by_worker(NAME))
    assert set(operator.levels_by_worker(NAME).values()) == {"NOTSET"}
    assert operator.get("logging/level").json() == {"status": 200, "overrides": {}}


def test_of_changes_at_once_one_wins_everywhere(operator):
    levels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] * 4
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda level: operator.level(NAME, level=level), levels))
    ((level, effective, override),) = operator.read_back(NAME)
    assert level == effective == override
    assert set(operator.levels_by_worker(NAME).values()) == {level}


def test_an_unknown_level_is_refused_and_not_stored(operator):
    operator.level(NAME, level="ERROR")
    answer = operator.get("logging/level", name=NAME, level="LOUD")
    assert answer.status_code == 400
    assert "LOUD" in answer.json()["message"]
    assert operator.read_back(NAME) == {("ERROR", "ERROR", "ERROR")}


@pytest.mark.alone
@pytest.mark.parametrize("operator", ["sentinel"], indirect=True)
def test_during_a_failover_no_answer_is_stale(operator, sentinels):
    operator.level(NAME, level="ERROR")
    expected = "ERROR"
    killed = sentinels.kill_primary()
    began = time.monotonic()
    changed = 0
    for level in ("DEBUG", "WARNING", "CRITICAL", "DEBUG", "INFO"):
        asked = time.monotonic()
        answer = operator.get("logging/level", name=NAME, level=level)
        assert answer.status_code in (200, 503), answer.text
        assert time.monotonic() - asked < 5
        if answer.ok:
            expected, changed = level, changed + 1
        assert operator.read_back(NAME) == {(expected, expected, expected)}
    assert changed, "no change went through"
    sentinels.wait_failover(killed)
    assert time.monotonic() - began < 30
    killed.restart()  # as a replica from now on
    # What was true during it is true afterwards.
    assert operator.read_back(NAME) == {(expected, expected, expected)}
    operator.level(NAME, level="DEBUG")
    assert operator.read_back(NAME) == DEBUG

    def stored():
        # And it is where processes that start later look for it.
        client = redis.Redis(port=sentinels.primary().port, decode_responses=True)
        with client:
            return [key for key in client.scan_iter() if key.startswith("sentinel_")]

    assert retry_timeout(stored, 10, interval=0.1)
    before = operator.wait_workers()
    operator.service.process.signal(signal.SIGHUP)
    operator.wait_workers(without=before)
    assert operator.read_back(NAME) == DEBUG


def test_workers_that_are_recycled_all_the_time_never_forget_it(operate):
    operator = operate("--preload", "--max-requests", "25", workers=2)
    operator.level(NAME, level="DEBUG")
    first = set(operator.service.workers())
    for _ in range(4):
        assert operator.read_back(NAME) == DEBUG
    assert not first & set(operator.service.workers())
    operator.get("logging/level", name=NAME, reset="1")
    assert operator.read_back(NAME) == UNSET


def test_a_new_master_has_it(operate):
    operator = operate("--preload", workers=2)
    operator.level(NAME, level="DEBUG")
    old = operator.service.workers()
    operator.service.process.signal(signal.SIGUSR2)
    retry_timeout(lambda: len(operator.service.process.members()) == 6, interval=0.05)
    # Old and new ones answer side by side for a while.
    assert operator.read_back(NAME) == DEBUG
    operator.level(NAME, level="ERROR")
    assert operator.read_back(NAME) == {("ERROR", "ERROR", "ERROR")}
    operator.service.process.signal(signal.SIGTERM)
    operator.service.process.wait(30)
    retry_timeout(lambda: not set(old) & set(operator.service.process.members()), 10, 0.05)
    assert operator.read_back(NAME) == {("ERROR", "ERROR", "ERROR")}


@pytest.mark.parametrize("where", ["x" * 180, "nowhere"])
def test_a_run_directory_with_a_long_name_or_none_at_all(operate, tmp_path, where):
    """A Unix socket's address has at most 107 bytes; and without any folder, one process is one."""
    folder = tmp_path / where if where != "nowhere" else "/proc/nowhere"
    workers = 3 if where != "nowhere" else 1
    operator = operate(workers=workers, env={"C2C_RUN_DIR": str(folder)})
    assert operator.level(NAME, level="DEBUG")["level"] == "DEBUG"
    assert set(operator.levels_by_worker(NAME).values()) == {"DEBUG"}


@pytest.fixture(scope="module")
def hosts(operate_long, valkey, tmp_path_factory):
    """Two gunicorns with nothing in common but Redis and its prefix."""
    started = []
    for name in ("one", "two"):
        run = str(tmp_path_factory.mktemp(name))
        env = {"C2C_RUN_DIR": run, "C2C_BROADCAST_PREFIX": "hosts_"}
        started.append(operate_long(workers=2, valkey=valkey, env=env))
    yield started
    for operator in started:
        operator.service.process.stop()


def test_two_hosts_that_share_redis_agree_and_another_service_is_left_alone(hosts, shared, valkey):
    one, two = hosts
    other = shared("redis")
    for level in ("DEBUG", "ERROR"):
        one.level(NAME, level=level)
        assert two.read_back(NAME) == {(level, level, level)}
        assert one.read_back(NAME) == {(level, level, level)}
    two.level(NAME, level="DEBUG", ttl="2")
    assert one.read_back(NAME) == DEBUG
    assert other.read_back(NAME) == UNSET
    retry_timeout(lambda: one.read_back(NAME, 5) == two.read_back(NAME, 5) == UNSET, 10, 0.1)
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        # Applications of other tests have prefixes that are paths.
        keys = [key for key in client.scan_iter() if not key.startswith("/")]
        strange = [key for key in keys if not key.startswith(PREFIXES)]
    assert strange == []


def test_changes_at_once_on_two_hosts_end_the_same(hosts):
    one, two = hosts
    levels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] * 4
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda turn: (one, two)[turn[0] % 2].level(NAME, level=turn[1]), enumerate(levels)
            )
        )
    seen = one.read_back(NAME) | two.read_back(NAME)
    assert len(seen) == 1


def test_what_is_stored_and_is_nonsense_is_ignored_and_said_the_rest_is_restored(operate, valkey):
    env = {"C2C_BROADCAST_PREFIX": "corrupt_"}
    first = operate(workers=1, valkey=valkey, env=env)
    for name in (NAME, "good"):
        first.level(name, level="DEBUG")
    first.service.process.stop()
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        stored = f"corrupt_c2c_switch/logging_level/{NAME}"
        assert client.hset(stored, "record", "{nonsense") == 0  # there it is, and now it is not
        client.sadd("corrupt_c2c_switches", "a/b/c", "logging_level/gone", "\0", "x" * 5000)
    second = operate(workers=1, valkey=valkey, env=env)
    assert (second.level("good")["level"], second.level(NAME)["level"]) == ("DEBUG", "NOTSET")
    assert [line for line in second.told("ignored") if NAME in line]
    assert not second.told("Traceback")
