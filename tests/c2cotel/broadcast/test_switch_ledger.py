"""What one process makes of the records that reach it."""

import logging
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2cotel.broadcast.complaints import Complaints
from c2cotel.broadcast.ledger import Ledger, Rules, Taken
from c2cotel.broadcast.records import Record, Version, convert

VERSIONS = st.builds(Version, st.integers(1, 9), st.sampled_from("abc"))


def record(n, value, *, key="", tie="a", **fields):
    return Record(kind="level", key=key, value=value, n=n, token=tie, **fields)


class Process:
    """A ledger, and what it has applied."""

    def __init__(self, check=lambda _, value: value):
        self.ledger = Ledger(Complaints())
        self.applied = []
        self.check = check

    def apply(self, key, value):
        self.applied.append((key, value))

    def use(self, kind="level"):
        self.ledger.define(kind, Rules(self.check, self.apply))
        return self

    def take(self, *records):
        return [self.ledger.take(each, "a test") for each in records]

    def effective(self):
        return {key: value for key, value in dict(self.applied).items() if value is not None}


@given(
    st.dictionaries(
        st.tuples(VERSIONS, st.sampled_from(["", "x"])), st.none() | st.integers(0, 9), min_size=1
    ),
    st.data(),
)
def test_records_in_any_order_and_more_than_once_lead_to_the_same(values, data):
    records = [
        record(version.n, value, key=key, tie=version.token)
        for (version, key), value in values.items()
    ]
    newest = {each.key: each.value for each in sorted(records, key=lambda each: each.version)}
    orders = st.permutations(records + records[:3])
    for _ in range(3):
        process = Process().use()
        process.take(*data.draw(orders))
        assert process.effective() == {k: v for k, v in newest.items() if v is not None}
        assert {each.key: each.value for each in process.ledger.records()} == newest


def test_what_is_known_of_a_kind_is_applied_once_it_is_used():
    process = Process()
    process.take(record(1, "DEBUG", key="a"), record(2, None, key="b"))
    assert process.applied == []
    process.use()
    assert process.applied == [("a", "DEBUG")]
    assert process.ledger.get("level/b") is None


def test_what_the_check_refuses_is_complained_of_once_and_the_rest_is_applied(caplog):
    def check(_, value):
        return value.upper()

    process = Process(check).use()
    taken = process.take(record(5, 42, key="bad"), record(6, "info", key="good"))
    assert taken[0] == Taken(
        news=False, problem="level 'bad' = 42: 'int' object has no attribute 'upper'"
    )
    process.take(record(5, 42, key="bad"))
    assert process.applied == [("good", "INFO")]
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert warning.getMessage().startswith("From a test, ignored: level 'bad' = 42")


def test_a_failing_apply_is_logged_and_answered(caplog):
    process = Process()
    process.apply = lambda *_: 1 / 0
    process.use()
    (taken,) = process.take(record(5, "DEBUG"))
    assert taken.problem == "level '' = DEBUG: ZeroDivisionError: division by zero"
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    assert process.ledger.get("level/").value == "DEBUG"


FIRST_READERS = """
import os, sys, threading
import msgspec
from c2cotel.broadcast.agreed_file import _Filed
from c2cotel.broadcast.records import RECORD, Record, convert, read

sys.setswitchinterval(1e-6)
fields = {"kind": "level", "key": "", "n": 5, "token": "a"}
text = msgspec.json.encode(fields)

def work(barrier):
    barrier.wait()
    assert convert(fields, Record) == read(text, RECORD)
    convert(fields, _Filed)

def run():
    barrier = threading.Barrier(6)
    threads = [threading.Thread(target=work, args=(barrier,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

for _ in range(30):
    child = os.fork()
    if child == 0:
        run()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status == 0, status
"""


def test_threads_that_are_the_first_to_read_a_record_do_not_crash():
    """As they did with msgspec 0.22, which has read a type only half when another thread comes."""
    subprocess.run([sys.executable, "-c", FIRST_READERS], check=True, timeout=60)


def test_the_clock_counts_on_from_what_was_seen():
    process = Process().use()
    ahead = int(time.time() * 1000) + 3_600_000
    process.take(record(ahead, "DEBUG"))
    assert [process.ledger.tick(), process.ledger.tick()] == [ahead + 1, ahead + 2]


def test_what_is_refused_does_not_move_the_clock():
    def check(_, value):
        raise ValueError(value)

    process = Process(check).use()
    ahead = int(time.time() * 1000) + 3_600_000
    process.take(record(ahead, "NOPE"))
    assert process.ledger.tick() < ahead


def test_a_clock_that_was_set_back_by_days_is_followed():
    """What came from before it would win for days, and others would refuse what follows it."""
    process = Process().use()
    ahead = int(time.time() * 1000) + 5 * 86_400_000
    process.take(record(ahead, "before"))
    n = process.ledger.tick()
    assert n < ahead - 4 * 86_400_000
    process.take(record(n, "after"))
    assert process.effective() == {"": "after"}


def test_an_older_value_is_never_applied_after_a_newer_one():
    process = Process()
    applying, going_on = threading.Event(), threading.Event()

    def apply(_, value):
        if value == "old":
            applying.set()
            assert going_on.wait(5)
        process.applied.append(value)

    process.apply = apply
    process.use()
    old = threading.Thread(target=process.take, args=(record(1, "old"),))
    new = threading.Thread(target=process.take, args=(record(2, "new"),))
    old.start()
    assert applying.wait(5)
    new.start()
    going_on.set()
    old.join()
    new.join()
    assert process.applied == ["old", "new"]


def test_a_value_ends_once_and_goes_back_to_what_was_configured():
    process = Process().use()
    process.take(record(1, "DEBUG", ttl=9.0, left=0.01))
    assert 0 < process.ledger.get("level/").left <= 0.01
    ends = process.ledger.next_end()
    while time.monotonic() <= ends:
        assert process.ledger.end() == [] or time.monotonic() > ends
    process.ledger.end()
    assert process.applied == [("", "DEBUG"), ("", None)]
    assert process.ledger.end() == []
    assert process.ledger.next_end() is None
    assert process.ledger.get("level/") is None


def test_what_is_over_is_not_applied_but_wins_over_what_is_older():
    process = Process().use()
    process.take(record(2, "DEBUG", ttl=9.0, left=0.0), record(1, "INFO"))
    assert process.applied == []
    process.take(record(3, "INFO"), record(4, "DEBUG", ttl=9.0, left=0.0))
    assert process.applied == [("", "INFO"), ("", None)]


def test_the_latest_functions_of_a_kind_get_what_is_known():
    first = Process().use()
    first.take(record(1, "DEBUG"))
    second = []
    rules = Rules(lambda _, value: value, lambda key, value: second.append((key, value)))
    first.ledger.define("level", rules)
    assert second == [("", "DEBUG")]
    first.take(record(2, None))
    assert (first.applied, second[1:]) == ([("", "DEBUG")], [("", None)])


@pytest.mark.parametrize("kind", ["", "Level", "a/b", "a b", "x" * 65, "a\n"])
def test_a_kind_that_is_no_name_is_refused(kind):
    with pytest.raises(ValueError, match="kind"):
        convert({"kind": kind, "key": "", "n": 1, "token": "a"}, Record)
