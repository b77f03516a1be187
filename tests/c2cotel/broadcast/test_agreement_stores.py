"""What is remembered of an agreement, in the run directory and in Redis."""

import contextlib
import fcntl
import json
import os
import signal
import time
import uuid
import warnings

import msgspec
import pytest

from c2cotel.broadcast.agreed_file import AgreedFile
from c2cotel.broadcast.agreed_redis import AgreedRedis
from c2cotel.broadcast.complaints import Complaints
from c2cotel.broadcast.records import MAX_CHANGES, REMEMBERED, Record, change_of, end_of
from c2cotel.metrics.directory import lock
from c2cotel.redis import connect
from c2cotel.settings import Redis
from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError

FAR = int(time.time() * 1000) + 10_000_000


def record(n, value, *, key="", tie="a", **fields):
    return Record(kind="level", key=key, value=value, n=n, token=tie, **fields)


def change(draft, previous=None):
    return change_of(draft, previous)


@pytest.fixture(scope="module")
def server():
    try:
        with servers.valkey() as running:
            yield running
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture
def connections(server):
    with contextlib.closing(connect(Redis(url=server.url))) as connected:
        yield connected


@pytest.fixture
def client(connections):
    return connections.primary


@pytest.fixture
def prefix():
    return f"test-{uuid.uuid4().hex}_"


@pytest.fixture
def in_redis(connections, prefix):
    return AgreedRedis(connections, prefix, Complaints())


@pytest.fixture
def in_files(tmp_path):
    return AgreedFile(tmp_path, Complaints())


@pytest.fixture(params=["in_files", "in_redis"])
def store(request):
    return request.getfixturevalue(request.param)


def test_a_place_in_the_order_is_after_all_others(store):
    draft = record(1000, "DEBUG")
    first = store.stamp(draft, change(draft))
    second = store.stamp(draft, change(draft))
    third = store.stamp(record(5000, "INFO", key="a"), change(draft))
    fourth = store.stamp(record(1000, "INFO", key="b"), change(draft))
    assert [each.n for each in (first, second, third, fourth)] == [1000, 1001, 5000, 5001]
    found = {each.key: (each.n, each.value) for each in store.read()}
    assert found == {"": (1001, "DEBUG"), "a": (5000, "INFO"), "b": (5001, "INFO")}


def test_what_is_stored_is_read_back_whole(store):
    draft = record(
        FAR,
        {"é": [1, None, "\n"]},
        key="a/b é",
        actor="alice",
        address="192.0.2.7",
        host="h",
        at=1.5,
    )
    assert store.stamp(draft, change(draft)) == draft
    assert store.read() == [draft]


def test_an_offer_is_kept_only_if_it_is_newer(store):
    draft = record(1000, "DEBUG", tie="b")
    store.stamp(draft, change(draft))
    older, other = record(1000, "INFO", tie="a"), record(7, "INFO", key="x")
    assert store.offer([older, other]) == [other]
    newer = record(1000, "INFO", tie="c")
    assert store.offer([newer, draft, other]) == [newer]
    assert {each.key: each for each in store.read()} == {"": newer, "x": other}


def test_an_offer_moves_the_order_on(store):
    store.offer([record(FAR, "DEBUG")])
    draft = record(5, "INFO", key="x")
    assert store.stamp(draft, change(draft)).n == FAR + 1


def test_what_is_left_of_the_time_is_read(store):
    draft = record(FAR, "DEBUG", ttl=100.0, left=40.0)
    store.offer([draft])
    (found,) = store.read()
    assert found.ttl == 100
    assert 39 < found.left <= 40


def test_the_first_process_to_see_the_end_is_told_so(store):
    draft = record(FAR, "DEBUG", ttl=100.0, left=40.0)
    store.offer([draft])
    end = end_of(draft, 1.0)
    assert [store.end(draft, end), store.end(draft, end)] == [True, False]
    (found,) = store.read()
    assert found.over
    assert store.offer([record(FAR - 1, "INFO")]) == []
    assert [(each.action, each.previous, each.n) for each in store.changes()] == [
        ("expired", "DEBUG", FAR + 100_000)
    ]


def test_the_last_hundred_changes_are_listed_newest_first(store):
    for number in range(MAX_CHANGES + 5):
        draft = record(FAR, number, tie=f"{number:x}")
        store.stamp(draft, change(draft, number - 1))
    listed = store.changes()
    assert [each.value for each in listed] == list(range(MAX_CHANGES + 4, 4, -1))
    assert (listed[0].previous, listed[0].n) == (MAX_CHANGES + 3, FAR + MAX_CHANGES + 4)


def test_nothing_is_agreed_at_first(store):
    assert (store.read(), store.changes()) == ([], [])


# 2**52 - 1 is the greatest that a record may have; more than a day ahead is no time, either.
AHEAD = [2**52 - 1, (int(time.time()) + 2 * 86_400) * 1000]


@pytest.mark.parametrize("ahead", AHEAD, ids=["the greatest", "in two days"])
def test_what_is_more_than_a_day_ahead_is_left_out_and_overwritten(store, ahead, caplog):
    evil = record(ahead, "EVIL", tie="f")
    if isinstance(store, AgreedRedis):
        store._client.set(store._clock, ahead)
        store._client.sadd(store._index, "level/")
        kept = {"n": ahead, "token": "f", "record": msgspec.json.encode(evil)}
        store._client.hset(f"{store._before}level/", mapping=kept)
        store._client.lpush(store._changes, f"{ahead} {msgspec.json.encode(change(evil)).decode()}")
    else:
        content = {"clock": ahead, "records": {"level/": msgspec.to_builtins(evil)}}
        (store.directory / "agreed.json").write_bytes(msgspec.json.encode(content))
        line = msgspec.json.encode(change(evil)) + b"\n"
        (store.directory / "changes.jsonl").write_bytes(line)
    assert (store.read(), store.changes()) == ([], [])
    offered = record(FAR - 1, "INFO")
    assert store.offer([offered, record(ahead, "EVIL", key="own clock set back")]) == [offered]
    draft = record(FAR, "DEBUG")
    assert store.stamp(draft, change(draft)) == draft
    assert store.read() == [draft]
    assert [each.value for each in store.changes()] == ["DEBUG"]
    warned = [each.getMessage() for each in caplog.records]
    assert all("ignored" in line for line in warned)
    assert len([line for line in warned if "ahead" in line]) == 3


# Redis


def test_a_clock_that_redis_cannot_have_is_complained_of(in_redis, client, prefix, caplog):
    client.set(f"{prefix}c2c_switch_clock", 2**52 - 2)
    draft = record(FAR, "DEBUG")
    assert in_redis.stamp(draft, change(draft)).n == FAR
    assert in_redis.stamp(draft, change(draft)).n == FAR + 1
    (warning,) = caplog.records
    assert "In Redis, ignored: the clock b'4503599627370494'" in warning.getMessage()


def test_changes_are_offered_once(in_redis, client, prefix):
    made = [change(record(FAR + number, number, tie=f"{number:x}")) for number in range(105)]
    in_redis.list_changes(made[:3])
    in_redis.list_changes(made[:3])
    assert client.llen(f"{prefix}c2c_changes") == 3
    assert in_redis.changes() == made[2::-1]
    in_redis.list_changes(made)
    assert in_redis.changes() == made[:4:-1]


def test_the_keys_in_redis_start_with_the_prefix(in_redis, client, prefix):
    draft = record(FAR, "DEBUG", key="sqlalchemy.engine", ttl=60.0, left=60.0)
    in_redis.stamp(draft, change(draft))
    key = f"{prefix}c2c_switch/level/sqlalchemy.engine"
    names = {key, *(prefix + name for name in ("c2c_switches", "c2c_switch_clock", "c2c_changes"))}
    assert set(client.scan_iter(f"*{prefix}*")) == names
    assert client.hget(key, "n") == str(FAR)
    assert 0 < client.pttl(key) - REMEMBERED * 1000 <= 60_000
    in_redis.stamp(record(FAR, "DEBUG", key="sqlalchemy.engine"), change(draft))
    assert client.pttl(key) == -1


def test_what_redis_has_forgotten_leaves_no_name(in_redis, client, prefix):
    in_redis.offer([record(FAR, "DEBUG", key="x")])
    client.delete(f"{prefix}c2c_switch/level/x")
    assert in_redis.read() == []
    assert client.exists(f"{prefix}c2c_switches") == 0


def test_what_is_corrupt_in_redis_is_left_out(in_redis, client, prefix, caplog):
    good = record(FAR, "DEBUG", key="good")
    in_redis.offer([good])
    before = f"{prefix}c2c_switch/level/"
    text = msgspec.json.encode(record(FAR, "INFO", key="json")).decode()
    client.set(f"{before}type", "DEBUG")
    client.hset(f"{before}empty", "what", "ever")
    client.hset(f"{before}json", mapping={"n": "5", "token": "a", "record": "{"})
    client.hset(f"{before}utf8", mapping={"n": "5", "token": "a", "record": b"\xff\xfe"})
    client.hset(f"{before}n", mapping={"n": "many", "token": "a", "record": text})
    client.hset(f"{before}huge", mapping={"n": "1" * 40, "token": "a", "record": text})
    client.hset(f"{before}other", mapping={"n": "5", "token": "a", "record": text})
    names = ("type", "empty", "json", "utf8", "n", "huge", "other")
    client.sadd(f"{prefix}c2c_switches", *(f"level/{name}" for name in names), b"\xff")
    client.set(f"{prefix}c2c_switch_clock", "noon")
    for _ in range(2):
        assert in_redis.read() == [good]
    warned = [each.getMessage() for each in caplog.records]
    assert len(warned) == len(names)
    assert all(any(f"level/{name}'" in line for line in warned) for name in names)
    drafts = [record(FAR + 9, "INFO", key=name) for name in names]
    for draft in drafts:
        in_redis.stamp(draft, change(draft))
    assert {each.key for each in in_redis.read()} == {"good", *names}


@pytest.mark.parametrize("name", ["c2c_switches", "c2c_switch_clock", "c2c_changes"])
def test_what_lies_under_one_of_our_names_is_overwritten(in_redis, client, prefix, name):
    client.hset(prefix + name, "not", "ours")
    draft = record(FAR, "DEBUG")
    in_redis.stamp(draft, change(draft))
    assert in_redis.read() == [draft]
    assert len(in_redis.changes()) == 1


def test_corrupt_changes_in_redis_are_left_out(in_redis, client, prefix):
    draft = record(FAR, "DEBUG")
    in_redis.stamp(draft, change(draft))
    client.lpush(f"{prefix}c2c_changes", "", "5 {}", "x {", b"\xff", "[[")
    assert [each.value for each in in_redis.changes()] == ["DEBUG"]


def test_redis_that_is_away_is_an_error_of_the_system():
    with contextlib.closing(connect(Redis(url="redis://127.0.0.1:1"))) as nobody:
        away = AgreedRedis(nobody, "", Complaints())
        with pytest.raises(OSError, match="ConnectionError"):
            away.read()


# Files


def test_a_file_that_is_corrupt_is_complained_of_and_replaced(in_files, tmp_path, caplog):
    path = tmp_path / "agreed.json"
    for content in (b"", b"{", b"[]", b'{"records": 5}', b"\xff", b"[" * 100_000):
        path.write_bytes(content)
        assert in_files.read() == []
    assert [each.getMessage().partition(" ")[0] for each in caplog.records] == [f"{path},"]
    draft = record(FAR, "DEBUG")
    in_files.stamp(draft, change(draft))
    assert in_files.read() == [draft]


def test_corrupt_records_in_the_file_are_left_out(in_files, tmp_path, caplog):
    good = record(FAR, "DEBUG", key="good")
    in_files.offer([good])
    content = json.loads((tmp_path / "agreed.json").read_text())
    content["clock"] = "noon"
    content["records"] |= {
        "level/n": {**content["records"]["level/good"], "key": "n", "n": -1},
        "level/other": content["records"]["level/good"],
        "level/type": ["DEBUG"],
    }
    (tmp_path / "agreed.json").write_text(json.dumps(content))
    for _ in range(2):
        assert in_files.read() == [good]
    warned = [each.getMessage() for each in caplog.records]
    assert len(warned) == 4
    assert all(f"In {tmp_path}, ignored: 'level/" in line for line in warned[:3])
    assert warned[3].endswith("ignored: the clock 'noon' is no time, or more than a day ahead")


def test_corrupt_lines_of_the_changes_are_left_out(in_files, tmp_path):
    draft = record(FAR, "DEBUG")
    in_files.stamp(draft, change(draft))
    with (tmp_path / "changes.jsonl").open("ab") as file:
        file.write(b'{"switch":\n\xff\n[]\n')
    assert [each.value for each in in_files.changes()] == ["DEBUG"]


@pytest.mark.alone
def test_a_file_that_another_process_keeps_locked_is_an_error_soon(in_files, tmp_path):
    holder = os.open(tmp_path / "agree", os.O_RDWR | os.O_CREAT)
    try:
        assert lock(holder, fcntl.LOCK_EX)
        started = time.monotonic()
        with pytest.raises(TimeoutError, match="another process holds it"):
            in_files.offer([record(FAR, "DEBUG")])
        assert time.monotonic() - started < 1
    finally:
        os.close(holder)
    assert len(in_files.offer([record(FAR, "DEBUG")])) == 1


def test_a_forked_child_does_not_keep_the_lock_of_its_parent(in_files):
    with in_files._locked():
        with warnings.catch_warnings():
            # Python 3.12 warns of fork, if another test has left a thread.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                in_files.renew()
                signal.pause()
            finally:
                os._exit(0)
    try:
        assert len(in_files.offer([record(FAR, "DEBUG")])) == 1
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_has_ended_long_ago_is_forgotten(in_files):
    past = FAR - 2 * REMEMBERED * 1000
    in_files.offer([record(past, None, key="reset"), record(past, "DEBUG", key="kept")])
    in_files.offer([record(FAR, "DEBUG", key="later")])
    assert {each.key for each in in_files.read()} == {"kept", "later"}


def test_a_clock_that_was_set_back_does_not_make_a_time_longer(in_files, tmp_path):
    in_files.offer([record(FAR, "DEBUG", ttl=60.0, left=60.0)])
    content = json.loads((tmp_path / "agreed.json").read_text())
    content["records"]["level/"]["until"] += 3600
    (tmp_path / "agreed.json").write_text(json.dumps(content))
    assert in_files.read()[0].left == 60
