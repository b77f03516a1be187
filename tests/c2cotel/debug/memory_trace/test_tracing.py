"""One trace of this process."""

import linecache
import os
import queue
import threading
import time
import tracemalloc

import pytest

from c2cotel.debug.jobs import End, Job
from c2cotel.debug.memory_trace import tracing
from c2cotel.debug.memory_trace.tracing import Overhead, TooMuchError, Tracing, summed

LEAK = []


def leak(number):
    LEAK.append(bytearray(number))


class Ended:
    def __init__(self):
        self.results = queue.Queue()

    def get(self):
        return self.results.get(timeout=20)


def trace(ended, **options):
    options = {"seconds": 30.0, "frames": 3, "limit": 10, "forced": True} | options
    return Tracing(
        on_end=ended.results.put,
        on_failure=lambda text: ended.results.put({"failed": text}),
        **options,
    )


@pytest.fixture
def ended():
    LEAK.clear()
    yield Ended()
    LEAK.clear()
    tracemalloc.stop()


def test_the_line_that_grows_comes_first_with_its_size_and_callers(ended):
    traced = trace(ended)
    for _ in range(100):
        leak(50_000)
    traced.stop()
    result = ended.get()
    assert not tracemalloc.is_tracing()
    row = result["lines"][0]
    assert (row["file"], row["code"]) == (__file__, "LEAK.append(bytearray(number))")
    assert row["size_diff"] == pytest.approx(5_000_000, rel=0.01)
    # Each array is an object, and its bytes are another piece of memory.
    assert row["count_diff"] in range(200, 210)
    assert row["traceback"][0] == f"{__file__}:{row['line']}"
    assert len(row["traceback"]) == 3
    assert row["traceback"][1].startswith(__file__)
    assert result["ended"] == "it was stopped"
    assert result["size"] >= row["size_diff"]
    assert result["frames"] == 3
    assert result["records"] > 0


def test_it_ends_by_itself(ended):
    began = time.monotonic()
    trace(ended, seconds=0.3)
    result = ended.get()
    assert result["ended"] == ""
    assert 0.3 <= result["seconds"] < 5
    assert time.monotonic() - began < 10


def test_what_has_been_freed_and_what_we_do_is_no_growth(ended):
    traced = trace(ended, limit=1000)
    for _ in range(1000):
        kept = [bytearray(10_000)]
        kept.append(kept)
    del kept
    traced.stop()
    lines = ended.get()["lines"]
    assert not [row for row in lines if row["file"] == __file__ and row["size_diff"] > 50_000]
    assert not [row for row in lines if row["file"] in (tracing.__file__, tracemalloc.__file__)]


def test_of_many_lines_the_others_are_counted(ended):
    traced = trace(ended, limit=1)
    exec("\n".join(f"LEAK.append(bytearray({1000 + n}))" for n in range(20)))  # noqa: S102
    leak(1_000_000)
    traced.stop()
    result = ended.get()
    assert len(result["lines"]) == 1
    assert result["other_lines"] >= 20
    assert result["other_size"] >= 20_000


def test_sources_are_not_left_in_memory(ended):
    linecache.clearcache()
    traced = trace(ended)
    leak(1_000_000)
    traced.stop()
    assert ended.get()["lines"][0]["code"]
    assert __file__ not in linecache.cache


def test_a_secret_in_the_source_is_not_shown(ended):
    traced = trace(ended)
    LEAK.append(dict(password="hunter2" * 10, size=bytearray(9_000_000)))  # noqa: C408
    traced.stop()
    code = ended.get()["lines"][0]["code"]
    assert "password=REDACTED" in code


# --- what it costs --------------------------------------------------------------------------------


def test_a_busy_process_refuses_and_says_the_numbers(ended):
    over = threading.Event()

    def work():
        while not over.is_set():
            [object() for _ in range(1000)]

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with pytest.raises(
            TooMuchError,
            match=r"to trace 25 frames would cost too much: it uses \d+% of a core now, and what "
            r"allocates takes \d+\.\d times as long, so it would need about \d+%\. Ask for "
            "fewer frames; or write force=1",
        ):
            trace(ended, frames=25, forced=False)
        assert not tracemalloc.is_tracing()
        traced = trace(ended, frames=25, forced=True)
    finally:
        over.set()
        thread.join()
    traced.stop()
    result = ended.get()
    assert result["busy"] > 0.05
    assert result["factor"] > 1


@pytest.mark.alone
def test_an_idle_one_does_not(ended, monkeypatch):
    monkeypatch.setattr(tracing, "_LOOK_AT_CPU", 0.5)
    traced = trace(ended, frames=1, forced=False)
    traced.stop()
    assert ended.get()["busy"] < 0.3


def test_the_numbers_are_those_of_the_product():
    overhead = Overhead(busy=0.5, factor=3.0)
    assert overhead.expected == 1.5
    assert str(overhead) == (
        "it uses 50% of a core now, and what allocates takes 3.0 times as long, so it would need "
        "about 150%"
    )


def test_too_many_records_end_it_early(ended, monkeypatch):
    monkeypatch.setattr(tracing, "MOST_RECORDS", 10_000)
    trace(ended)
    LEAK.extend([number] for number in range(100_000))
    result = ended.get()
    assert result["ended"].startswith("its records had more than 0 MB")
    assert result["lines"][0]["file"] == __file__


# --- whatever happens -----------------------------------------------------------------------------


def test_it_is_switched_off_also_if_something_fails(ended, monkeypatch):
    traced = trace(ended)
    monkeypatch.setattr(tracing, "_lines", lambda *_: 1 / 0)
    traced.stop()
    assert ended.get() == {"failed": "ZeroDivisionError while it was summed up"}
    assert not tracemalloc.is_tracing()


def test_what_was_on_before_stays_on(ended):
    tracemalloc.start(2)
    leak(1_000_000)
    try:
        traced = trace(ended, frames=9, forced=False)
        leak(3_000_000)
        traced.stop()
        result = ended.get()
        assert tracemalloc.is_tracing()
        assert tracemalloc.get_traceback_limit() == 2
    finally:
        tracemalloc.stop()
    assert (result["was_on"], result["frames"], result["busy"]) == (True, 2, None)
    # Of what was there before, nothing is growth.
    assert result["lines"][0]["size_diff"] == pytest.approx(3_000_000, rel=0.01)


def test_a_forked_child_is_not_traced(app):
    """The trace of its parent would never end there."""
    job = Job(kind="memory_trace", id="0" * 16, order={"force": True}, seconds=30.0, at=0.0)
    results = queue.Queue()
    work = app.traces._begin(job, End(lambda state, **_: results.put(state)))
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, b"on" if tracemalloc.is_tracing() else b"off")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"off"
    os.close(read)
    os.close(write)
    assert tracemalloc.is_tracing()
    work.stop()
    assert results.get(timeout=20) == "early"


# --- several processes ----------------------------------------------------------------------------


def row(line, size, caller="a"):
    return {
        "file": "a.py",
        "line": line,
        "code": "x",
        "size_diff": size,
        "count_diff": 1,
        "traceback": [f"a.py:{line}", caller],
    }


def test_lines_of_several_processes_are_summed():
    results = {
        "web/1": {"lines": [row(1, 10), row(2, 5)]},
        "web/2": {"lines": [row(2, 50, "b"), row(3, 1)]},
    }
    found = summed(results.items(), 2)
    assert [(each["line"], each["size_diff"], each["processes"]) for each in found] == [
        (2, 55, {"web/1": 5, "web/2": 50}),
        (1, 10, {"web/1": 10}),
    ]
    assert found[0]["traceback"][1] == "b"
    assert found[0]["count_diff"] == 2
