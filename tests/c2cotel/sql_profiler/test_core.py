"""What a process keeps of its statements, and what comes of several processes."""

import json
import re
import threading
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2cotel.broadcast.messages import Process, Replies
from c2cotel.broadcast.switch import checked_ttl
from c2cotel.sql_profiler.core import (
    MOST,
    Profiler,
    Statements,
    check,
    checked_number,
    report,
)
from c2cotel_instrumentation.sql_plans import Fingerprint, Plan
from c2cotel_instrumentation.sql_profiler import Executed, SqlProfilerInstrumentor

RULES = {"sample_rate": 1.0, "min_duration": 0.0, "analyze": False, "values": False, "route": ""}
PLAN = Plan({"Plan": {"Node Type": "Result"}}, "explain")


def execution(name="a", duration=1.0, **more):
    known = {
        "operation": "SELECT",
        "engine": "sqlalchemy",
        "route": None,
        "statement": f"SELECT {name}",
        "parameters": "",
        "duration": duration,
    }
    return Executed(Fingerprint(f"SELECT {name}", f"digest {name}"), **known | more)


def told(*executions, most=MOST):
    statements = Statements(most)
    for each in executions:
        statements.executed(each)
    return statements


def merged(*found, limit=50, silent=()):
    """What several processes have found, as it is after its way through JSON."""
    answers = [json.loads(json.dumps(each.top(limit))) for each in found]
    return report(Replies(answers, tuple(silent), ()), limit)


# --- rules ----------------------------------------------------------------------------------------


def test_rules_that_are_not_given_are_the_usual_ones():
    assert check("", {}) == RULES
    given = {"sample_rate": 0.1, "min_duration": 2, "route": "/api/*", "values": True}
    assert check("", given) == RULES | given


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"sample_rate": 0}, "sample_rate=0: to switch the profiler off, enable=0"),
        ({"sample_rate": 1.1}, "sample_rate=1.1: expected a number above 0 and up to 1"),
        ({"sample_rate": True}, "sample_rate=True: expected a number"),
        ({"sample_rate": float("nan")}, "sample_rate=nan: expected a number"),
        ({"min_duration": -1}, "min_duration=-1: expected a number from 0 to 86400"),
        ({"min_duration": "1"}, "min_duration='1': expected a number"),
        ({"analyze": "yes"}, "analyze: expected true or false"),
        ({"analyze": 1}, "analyze: expected true or false"),
        ({"values": 0}, "values: expected true or false"),
        ({"values": 0.0}, "values: expected true or false"),
        ({"route": 1}, "route: expected the pattern of a route"),
        ({"route": "a\nb"}, "route: expected the pattern of a route"),
        ({"route": "x" * 501}, "route: expected the pattern of a route"),
        ({"wrong": 1}, "wrong: expected analyze, min_duration, route, sample_rate, values"),
        ("on", "expected the rules"),
        (None, "expected the rules"),
    ],
)
def test_others_are_refused(value, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        check("", value)


def test_there_is_only_one_profiler():
    with pytest.raises(ValueError, match="the only profiler"):
        check("another", {})


@pytest.mark.parametrize("text", ["", "a", "nan", "inf", "1e999"])
def test_a_number_is_one(text):
    assert checked_number("min_duration", "0.5") == 0.5
    with pytest.raises(ValueError, match="expected a number"):
        checked_number("min_duration", text)


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1e9", "an hour"])
def test_a_ttl_is_a_number_of_seconds_or_never(text):
    assert (checked_ttl("900"), checked_ttl("never")) == (900, None)
    with pytest.raises(ValueError, match="expected a number of seconds above 0 and up to 31536000"):
        checked_ttl(text)


# --- statements -----------------------------------------------------------------------------------


def test_those_that_took_the_most_time_come_first():
    found = told(
        execution("a", 1), execution("b", 2), execution("a", 3), execution("c", 1, error="Error")
    )
    top = merged(found)
    assert [
        (each.text, each.calls, each.errors, each.total, each.mean, each.max)
        for each in top.statements
    ] == [
        ("SELECT a", 2, 0, 4, 2, 3),
        ("SELECT b", 1, 0, 2, 2, 2),
        ("SELECT c", 1, 1, 1, 1, 1),
    ]
    assert (top.total, top.other_statements, top.processes) == (7, 0, 1)


def test_the_trace_is_that_of_the_slowest_call():
    found = told(
        execution(duration=1, trace_id=1),
        execution(duration=3, trace_id=3),
        execution(duration=2, trace_id=2),
    )
    assert merged(found).statements[0].trace_id == f"{3:032x}"


def test_a_plan_is_kept_with_its_source():
    found = told(execution())
    found.planned(execution(), PLAN)
    found.planned(execution("unknown"), PLAN)
    (statement,) = merged(found).statements
    assert (statement.plan, statement.plan_source) == ("Result", "explain")


def test_a_very_long_plan_is_cut():
    found = told(execution())
    found.planned(execution(), Plan({"Plan": {"Node Type": "x" * 100_000}}, "explain"))
    assert len(merged(found).statements[0].plan) < 17_000


def test_processes_are_put_together():
    one = told(execution("a", 1), execution("b", 5, engine="other"))
    other = told(execution("a", 7, trace_id=7, engine="slave"), execution("c", 2))
    other.planned(execution("a"), PLAN)
    top = merged(one, other)
    first = top.statements[0]
    assert [each.text for each in top.statements] == ["SELECT a", "SELECT b", "SELECT c"]
    assert (first.calls, first.total, first.max, first.trace_id) == (2, 8, 7, f"{7:032x}")
    assert (first.engines, first.plan) == (("slave", "sqlalchemy"), "Result")
    assert top.processes == 2


def test_who_is_silent_or_says_something_else_is_left_out():
    replies = Replies(
        [told(execution()).top(5), None, {"status": 500, "message": "?"}, [], "x"],
        (Process("host", 7, ""),),
        (),
    )
    top = report(replies, 5)
    assert (top.processes, len(top.statements), len(top.silent)) == (1, 1, 1)
    assert "7" in top.silent[0]


def test_an_answer_of_a_later_version_is_read():
    answer = told(execution()).top(5)
    answer["statements"][0]["more"] = 1
    assert report(Replies([answer], (), ()), 5).statements[0].text == "SELECT a"


def test_what_does_not_fit_is_counted_together():
    found = told(*(execution(str(n), duration=n) for n in range(1, 101)), most=10)
    top = merged(found, limit=3)
    assert [each.text for each in top.statements] == ["SELECT 100", "SELECT 99", "SELECT 98"]
    assert (top.others.calls, top.others.total, top.other_statements) == (97, 5050 - 297, 97)
    assert top.total == 5050


def test_ten_thousand_statements_need_no_more_memory_than_some_hundred():
    text = "x" * 2000

    def fill(first, count):
        for n in range(first, first + count):
            each = execution(str(n), duration=n % 97)
            each.fingerprint = Fingerprint(f"SELECT {n} {text}", f"{n:016x}")
            statements.executed(each)
            statements.planned(each, Plan({"Plan": {"Node Type": f"{n} {text}"}}, "explain"))

    statements = Statements()
    tracemalloc.start()
    fill(0, 2 * MOST)
    before, _ = tracemalloc.get_traced_memory()
    fill(2 * MOST, 10_000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after < 1.2 * before
    top = merged(statements, limit=50)
    assert sum(each.calls for each in top.statements) + top.others.calls == 10_000 + 2 * MOST
    # Those that took the most time are still there.
    assert {each.max for each in top.statements} == {96}


# --- what a process answers -----------------------------------------------------------------------


def of(text, digest="a", **more):
    return replace(execution(**more), fingerprint=Fingerprint(text, digest))


def filled(count, text, plan):
    """Statements with texts and plans like these, the slowest first."""
    statements = Statements()
    for n in range(count):
        each = of(f"SELECT {n} {text}", f"{n:016x}", duration=count - n)
        statements.executed(each)
        statements.planned(each, Plan({"Plan": {"Node Type": f"{n} {plan}"}}, "explain"))
    return statements


@pytest.mark.parametrize("letter", ["x", "ä", "\n", '"', "😀"])
@pytest.mark.parametrize("limit", [100, MOST])
def test_an_answer_has_two_hundred_kilobytes_at_most(letter, limit):
    found = filled(2 * MOST, letter * 5000, letter * 50_000)
    # And not much less, if there is more to say.
    assert 190_000 < len(json.dumps(found.top(limit))) <= 200_000
    top = merged(found, limit=limit)
    assert len(top.statements) == limit
    assert all(each.text.startswith(f"SELECT {n} ") for n, each in enumerate(top.statements))
    assert all(each.text.endswith("…") for each in top.statements[-50:])


def test_what_took_the_most_time_is_told_in_full_before_the_others():
    found = filled(100, "x" * 1000, "y" * 14_000)
    top = merged(found, limit=100).statements
    assert {len(each.text) for each in top[:5]} == {1009}
    assert {len(each.plan) for each in top[:5]} == {14_002}
    assert {each.plan for each in top[-50:]} == {""}
    assert {each.plan_source for each in top[-50:]} == {""}
    lengths = [len(each.plan) for each in top]
    assert lengths == sorted(lengths, key=bool, reverse=True)


def test_plans_of_a_usual_length_are_all_told():
    top = merged(filled(100, "x" * 300, "y" * 1000), limit=100).statements
    assert {each.plan for each in top} == {f"{n} {'y' * 1000}" for n in range(100)}


def test_the_plan_comes_from_a_process_that_tells_it():
    one, other = (filled(100, "x" * 1000, name * 5000) for name in ("one", "two"))
    last = of("SELECT 99", f"{99:016x}", duration=1000.0)
    one.executed(last)
    # Later, and not told: there are fifty that took more time.
    other.planned(last, PLAN)
    first = merged(one, other, limit=100).statements[0]
    assert (first.fingerprint, first.plan[:9]) == (last.fingerprint.digest, "99 oneone")


@pytest.mark.parametrize("texts", [("SELECT…", "SELECT 1"), ("SELECT 1", "SELECT…")])
def test_the_longer_one_of_two_texts_is_shown(texts):
    (shown,) = merged(*(told(of(text)) for text in texts)).statements
    assert shown.text == "SELECT 1"


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 100)), max_size=200),
    st.integers(1, 10),
    st.integers(1, 10),
)
def test_nothing_is_lost_or_counted_twice(calls, most, limit):
    found = told(*(execution(str(name), float(seconds)) for name, seconds in calls), most=most)
    top = merged(found, limit=limit)
    assert sum(each.calls for each in top.statements) + top.others.calls == len(calls)
    assert top.total == sum(seconds for _, seconds in calls)
    totals = [each.total for each in top.statements]
    assert totals == sorted(totals, reverse=True)
    assert len(totals) <= limit


def test_threads_count_each_call():
    found = Statements(10)

    def work():
        for n in range(2000):
            found.executed(execution(str(n % 50), 1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    top = merged(found)
    assert sum(each.calls for each in top.statements) + top.others.calls == 8000


# --- the switch -----------------------------------------------------------------------------------


@pytest.fixture
def profiler():
    instrumentor = SqlProfilerInstrumentor()
    instrumentor.instrument()
    yield Profiler(instrumentor)
    instrumentor.uninstrument()


def test_each_time_a_new_list_begins_and_the_last_one_stays_to_be_read(profiler):
    profiler.statements.executed(execution())
    profiler.apply("", RULES)
    assert profiler.told()["statements"] == []
    profiler.statements.executed(execution())
    profiler.apply("", None)
    assert len(profiler.told()["statements"]) == 1


def test_without_its_instrumentor_it_is_not_available():
    profiler = Profiler(SqlProfilerInstrumentor())
    assert not profiler.available
    with pytest.raises(RuntimeError, match="sql_profiler is not on"):
        profiler.apply("", RULES)
    profiler.apply("", None)
