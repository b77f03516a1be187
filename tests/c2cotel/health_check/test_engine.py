"""Checks in real threads."""

import logging
import os
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

from c2cotel.health_check.core import (
    CheckFailedError,
    DuplicateCheckError,
    Finding,
    JsonCheckException,
)
from c2cotel.health_check.engine import MOST_WAITING
from c2cotel_instrumentation.context import current_request_id, is_untraced, with_request_id


def only(outcomes):
    (outcome,) = outcomes
    return outcome


def fails(_):
    raise ValueError("not today")


def until(condition, timeout=10):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# --- one check ------------------------------------------------------------------------------------


def test_what_a_check_returns_is_its_result(bench):
    bench.add("answer", lambda _: {"a": [1, None, "é"]})
    outcome = only(bench.run())
    assert (outcome.ok, outcome.result, outcome.message) == (True, b'{"a":[1,null,"\xc3\xa9"]}', "")
    assert 0 <= outcome.timing < 2


def test_what_a_check_raises_is_its_message(bench):
    bench.add("bad", fails)
    outcome = only(bench.run())
    assert (outcome.ok, outcome.result, outcome.message) == (False, None, "not today")
    assert "in fails" in outcome.stack


def test_a_json_check_exception_has_a_result_too(bench):
    def check(_):
        raise JsonCheckException("too many", {"count": 12})

    bench.add("bad", check)
    outcome = only(bench.run())
    assert (outcome.ok, outcome.message, outcome.result) == (False, "too many", b'{"count":12}')


def test_details_are_kept_apart(bench):
    bench.add("redis", lambda _: Finding(result=1, details={"host": "a"}))
    outcome = only(bench.run())
    assert (outcome.result, outcome.details) == (b"1", b'{"host":"a"}')


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt: KeyboardInterrupt"),
        (BaseException("out"), "BaseException: out"),
        (ValueError(), "ValueError"),
    ],
)
def test_whatever_a_check_raises_is_reported(bench, raised, message):
    def check(_):
        raise raised

    bench.add("bad", check)
    bench.add("good", lambda _: None)
    bad, good = bench.run()
    assert (bad.ok, bad.message, good.ok) == (False, message, True)


def test_sys_exit_ends_the_check_only(bench):
    bench.add("bad", lambda _: sys.exit("bye"))
    for _ in range(5):
        assert only(bench.run()).message == "SystemExit: bye"


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no")


def test_an_exception_that_cannot_be_written_is_named(bench):
    def check(_):
        raise UnprintableError

    bench.add("bad", check)
    assert only(bench.run()).message == "UnprintableError"


class OddError(Exception):
    """It has what a failure of ours has, and uses it otherwise."""

    def details(self):
        return "for nobody"


class OddJsonError(JsonCheckException):
    def json_info(self):
        raise self.json


def with_details(value):
    error = OddError("odd")
    error.details = value
    return error


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (OSError("cannot open", "x"), "OSError: x"),
        (OSError(2**40, "too far"), "OSError: too far"),
        (OddError("odd"), "odd"),
        (with_details(["a", 1]), "odd"),
        (CheckFailedError("ours", details=["a"]), "ours"),
        (OddJsonError("no JSON", RuntimeError("broken")), "no JSON"),
        (OddJsonError("no JSON", SystemExit(1)), "OddJsonError"),
    ],
)
def test_no_failure_keeps_a_check_from_its_next_run(bench, raised, message):
    failures = [raised]

    def check(_):
        if failures:
            raise failures.pop()

    bench.add("odd", check, timeout=1.0)
    outcome = only(bench.run())
    assert (outcome.ok, outcome.message) == (False, message)
    assert isinstance(outcome.private, str)
    assert only(bench.run()).ok


@pytest.mark.parametrize("traced", [False, True])
def test_a_span_that_cannot_be_made_is_no_failure(bench, caplog, traced):
    class Broken(SpanProcessor):
        def on_start(self, span, parent_context=None):
            raise RuntimeError("no span today")

    bench.tracer_provider.add_span_processor(Broken())
    bench.add("good", lambda _: "fine")
    bench.add("bad", fails)
    assert [each.message for each in bench.run(traced=traced)] == ["", "not today"]
    assert [each.message for each in bench.run(traced=traced)] == ["", "not today"]
    assert "The health check bad has no span." in caplog.text


def endless():
    made = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    ("value", "kind"),
    [(object(), "object"), (endless(), "list"), ("\ud800", "str"), ({1j}, "set")],
)
def test_what_json_cannot_hold_is_the_failure_of_that_check(bench, value, kind):
    bench.add("odd", lambda _: value)
    bench.add("good", lambda _: "fine")
    odd, good = bench.run()
    assert odd.message == f"The check returned a {kind}, which cannot be written as JSON"
    assert "Return None, texts, numbers" in odd.private
    assert (odd.ok, good.ok) == (False, True)


def test_a_result_is_taken_when_the_check_ends(bench):
    mutable = {"a": 1}
    bench.add("answer", lambda _: mutable)
    outcome = only(bench.run())
    mutable["a"] = 2
    assert outcome.result == b'{"a":1}'


# --- together -------------------------------------------------------------------------------------


def test_checks_run_at_once_and_are_told_in_their_order(bench):
    meeting = threading.Barrier(3, timeout=10)
    for name in "cab":
        bench.add(name, lambda _: meeting.wait() < 3)
    assert [(each.name, each.ok) for each in bench.run()] == [("c", True), ("a", True), ("b", True)]


@pytest.mark.alone
def test_a_late_check_has_failed_and_the_others_have_not(bench, gate):
    bench.add("slow", gate, timeout=0.2)
    bench.add("good", lambda _: "fine")
    began = time.monotonic()
    slow, good = bench.run()
    assert time.monotonic() - began < 2
    assert (slow.ok, good.ok, slow.message) == (False, True, "No result after 0.2 s")
    assert 0.2 <= slow.timing < 1
    assert "in __call__" in slow.stack  # where it hangs


def test_a_late_check_is_not_started_again_while_it_runs(bench, gate):
    bench.add("slow", gate, timeout=0.05)
    first = only(bench.run())
    for _ in range(3):
        again = only(bench.run())
        assert (again.ok, again.timing > first.timing) == (False, True)
    assert gate.calls == 1
    gate.opened.set()
    until(lambda: only(bench.run()).ok)
    assert gate.calls == 2


def test_a_late_check_is_given_up_once(bench, gate):
    given_up = []
    bench.add("slow", gate, timeout=0.05, give_up=lambda: given_up.append(1))
    for _ in range(3):
        bench.run()
    assert given_up == [1]


def test_only_the_run_that_is_late_is_given_up(bench, gate):
    """Not one that has ended since, nor the next one."""
    running_when_given_up = []
    bench.add(
        "slow",
        gate,
        timeout=0.05,
        give_up=lambda: running_when_given_up.append(
            (bench.engine._lock.locked(), list(bench.engine._running))
        ),
    )
    bench.run()
    assert running_when_given_up == [(True, ["slow"])]


@pytest.mark.alone
def test_the_deadline_of_all_is_kept_whatever_a_check_may_take(make_bench, gate):
    bench = make_bench(deadline=0.2)
    bench.add("slow", gate, timeout=60)
    began = time.monotonic()
    assert not only(bench.run()).ok
    assert time.monotonic() - began < 2
    gate.opened.set()
    # It was late for its caller, not for itself.
    until(lambda: bench.points("c2c.health_check.status") == {"slow": 1})


def test_hanging_checks_keep_no_other_from_its_thread(bench, gate):
    for number in range(20):
        bench.add(f"slow {number}", gate, timeout=0.2)
    bench.add("good", lambda _: "fine")
    assert [each.ok for each in bench.run()] == [False] * 20 + [True]
    bench.add("another", lambda _: "fine")
    assert only(bench.run(*[each for each in bench.checks if each.name == "another"])).ok


def test_threads_are_bounded_by_the_number_of_checks(bench):
    for number in range(3):
        bench.add(f"check {number}", lambda _: threading.current_thread().name)
    names = {each.result for _ in range(30) for each in bench.run()}
    assert len(names) <= 3


def test_simultaneous_callers_share_one_run(bench, gate, running):
    bench.add("slow", gate, timeout=20)
    with running(bench.run) as first:
        gate.wait()
        with running(bench.run) as second:
            until(lambda: bench.engine._waiting == 2)
            gate.opened.set()
    assert first[0][0] is second[0][0]
    assert (gate.calls, first[0][0].ok) == (1, True)


def test_callers_of_other_selections_share_what_they_have_in_common(bench, gate, running):
    slow = bench.add("slow", gate, timeout=20)
    calls = []
    fast = bench.add("fast", lambda _: calls.append(1))
    with running(bench.run, slow) as first:
        gate.wait()
        with running(bench.run, slow, fast) as both:
            until(lambda: calls)
            gate.opened.set()
    assert first[0][0] is both[0][0]
    assert (gate.calls, calls) == (1, [1])


@pytest.mark.alone
def test_who_comes_to_a_crowd_is_told_what_was_found_before(bench, gate, running):
    gate.opened.set()
    bench.add("slow", gate, timeout=20)
    known = only(bench.run())
    gate.opened.clear()
    with running(bench.run), running(bench.run):
        until(lambda: bench.engine._waiting == MOST_WAITING)
        began = time.monotonic()
        for _ in range(5):
            assert only(bench.run()) is known
        assert time.monotonic() - began < 3
        gate.opened.set()
    assert bench.engine._waiting == 0


def test_who_comes_to_a_crowd_waits_if_nothing_is_known(bench, running):
    """A check that takes more than half of its time is healthy for everybody."""
    bench.add("slow", lambda _: time.sleep(0.6), timeout=1.0)
    with running(bench.run) as a, running(bench.run) as b, running(bench.run) as c:
        outcomes = bench.run()
    assert {only(each).message for each in (outcomes, *a, *b, *c)} == {""}


def test_who_comes_to_a_crowd_after_a_failure_waits_for_better_news(bench, running):
    failures = [ValueError("not today")]

    def check(_):
        time.sleep(0.5)
        if failures:
            raise failures.pop()

    bench.add("slow", check, timeout=2.0)
    assert not only(bench.run()).ok
    with running(bench.run) as a, running(bench.run) as b, running(bench.run) as c:
        outcomes = bench.run()
    assert {only(each).message for each in (outcomes, *a, *b, *c)} == {""}


def test_old_news_are_not_told(bench, gate, running):
    gate.opened.set()
    check = bench.add("slow", gate, timeout=20)
    known = replace(only(bench.run()), ended=time.monotonic() - 6)
    bench.engine._last[check.name] = known
    gate.opened.clear()
    with running(bench.run), running(bench.run), running(bench.run) as third:
        until(lambda: bench.engine._waiting == 3)
        time.sleep(0.2)
        assert third == []
        gate.opened.set()
    assert only(third[0]).ok
    assert only(third[0]) is not known


def test_good_news_are_not_told_of_a_check_that_is_late(bench, gate, running):
    gate.opened.set()
    slow = bench.add("slow", gate, timeout=0.3)
    other_gate = type(gate)()
    other = bench.add("other", other_gate, timeout=20)
    bench.run(slow)
    gate.opened.clear()
    with running(bench.run, other), running(bench.run, other):
        until(lambda: bench.engine._waiting == MOST_WAITING)
        assert only(bench.run(slow)).ok
        time.sleep(0.3)
        assert only(bench.run(slow)).message.startswith("No result after 0.")
        other_gate.opened.set()


@pytest.mark.alone
def test_who_comes_to_a_crowd_waits_half_the_time_for_what_may_need_its_thread(
    bench, gate, running
):
    """Else a check that asks the application itself finds no thread there in its time."""

    class OwnPage:
        may_ask_itself = True

        def __call__(self, _):
            return gate()

    bench.add("own page", OwnPage(), timeout=1.6)
    with running(bench.run) as first, running(bench.run):
        until(lambda: bench.engine._waiting == MOST_WAITING)
        began = time.monotonic()
        outcome = only(bench.run())
        assert 0 < time.monotonic() - began < 1.4
        assert (outcome.ok, outcome.message) == (False, "No result yet, after 0.8 s")
        gate.opened.set()
    assert only(first[0]).ok
    assert bench.points("c2c.health_check.status") == {"own page": 1}
    assert bench.spans == ()


def test_an_outcome_is_told_again_while_it_is_fresh(make_bench):
    bench, calls = make_bench(cache=60), []
    bench.add("check", calls.append)
    assert only(bench.run()) is only(bench.run())
    assert len(calls) == 1


def test_without_a_cache_each_caller_has_a_new_run(bench):
    calls = []
    bench.add("check", calls.append)
    bench.run()
    bench.run()
    assert len(calls) == 2


def test_no_check_at_all_is_no_failure(bench):
    assert bench.run() == []


def test_what_a_check_is_given_is_made_and_left_in_its_thread(bench):
    seen = []

    @contextmanager
    def subject():
        seen.append(("made", threading.get_ident()))
        yield "a request"
        seen.append(("left", threading.get_ident()))

    bench.add("check", lambda given: [given, threading.get_ident()])
    outcome = only(bench.run(subject=subject))
    (_, thread), left = seen
    assert left == ("left", thread)
    assert outcome.result == b'["a request",%d]' % thread
    assert thread != threading.get_ident()


def test_a_check_whose_subject_cannot_be_left_has_failed(bench):
    @contextmanager
    def subject():
        yield None
        raise RuntimeError("cannot roll back")

    bench.add("check", lambda _: "fine")
    assert only(bench.run(subject=subject)).message == "cannot roll back"


# Python 3.12 warns of forks beside threads.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_starts_anew_while_a_check_hangs(bench, gate, running):
    bench.add("slow", gate, timeout=20)
    with running(bench.run):
        gate.wait()
        pid = os.fork()
        if pid == 0:
            gate.opened = threading.Event()
            gate.opened.set()
            os._exit(0 if only(bench.run()).ok else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        gate.opened.set()


# --- what is seen of it ---------------------------------------------------------------------------


def test_a_failure_has_a_span_from_its_beginning_and_a_success_has_none(bench):
    bench.add("bad", fails)
    bench.add("good", lambda _: None)
    before = time.time_ns()
    with bench.tracer_provider.get_tracer("tests").start_as_current_span("request"):
        bench.run()
    failed, request = bench.spans
    assert (failed.name, request.name) == ("health_check bad", "request")
    assert failed.parent.span_id == request.context.span_id
    assert before <= failed.start_time <= failed.end_time
    assert failed.attributes == {"c2c.check.name": "bad"}
    assert failed.status.description == "ValueError: not today"
    assert failed.events[0].attributes["exception.message"] == "not today"


def test_a_late_check_has_one_span_when_it_is_late(bench, gate):
    bench.add("slow", gate, timeout=0.05)
    bench.run()
    bench.run()
    gate.opened.set()
    until(lambda: only(bench.run()).ok)
    (span,) = bench.spans
    assert span.status.description.startswith("No result after 0.")
    assert span.end_time - span.start_time >= 50_000_000


def test_who_asks_for_spans_gets_one_of_each_check_and_those_below(bench):
    tracer = bench.tracer_provider.get_tracer("tests")

    def check(_):
        with tracer.start_as_current_span("below"):
            return is_untraced()

    bench.add("good", check)
    assert only(bench.run(traced=True)).result == b"false"
    below, span = bench.spans
    assert (below.name, span.name) == ("below", "health_check good")
    assert below.parent.span_id == span.context.span_id


def test_a_check_knows_the_request_id_and_makes_no_spans_by_itself(bench):
    bench.add("check", lambda _: [current_request_id(), is_untraced()])
    token = otel_context.attach(with_request_id("the-id"))
    try:
        assert only(bench.run()).result == b'["the-id",true]'
    finally:
        otel_context.detach(token)
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_the_metrics_agree_with_the_answer(bench, gate):
    bench.add("good", lambda _: None)
    bench.add("bad", fails)
    bench.add("slow", gate, timeout=0.05)
    bench.run()
    assert bench.points("c2c.health_check.status") == {"good": 1, "bad": 0, "slow": 0}
    assert bench.points("c2c.health_check.duration") == {"good": 1, "bad": 1}
    gate.opened.set()
    until(lambda: bench.points("c2c.health_check.duration").get("slow") == 1)
    assert bench.points("c2c.health_check.status")["slow"] == 0


def test_a_change_is_logged_once(bench, caplog):
    broken = []

    def check(_):
        if broken:
            fails(_)

    bench.add("check", check)
    with caplog.at_level(logging.INFO):
        bench.run()
        broken.append(1)
        bench.run()
        bench.run()
        broken.clear()
        bench.run()
        bench.run()
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("WARNING", "The health check check fails: not today"),
        ("WARNING", "The health check check passes again."),
    ]


# --- which ----------------------------------------------------------------------------------------


def test_levels_names_and_groups_select_together(bench):
    for name, level, group in (
        ("a", 1, None),
        ("b", 2, "db"),
        ("c", 3, "db"),
        ("redis-1:26379,redis-2:26379", 2, None),
    ):
        bench.add(name, lambda _: None, level=level, group=group)

    def names(*args, **kwargs):
        return [check.name for check in bench.checks.selected(*args, **kwargs)]

    assert names(0) == []
    assert names(1) == ["a"]
    assert names(2, group="db") == ["b"]
    assert names(3, "c,a") == ["a", "c"]
    assert names(1, "c,a") == ["a"]
    assert names(9, "nobody") == []
    assert names(9, "") == []
    assert names(9, "a,redis-1:26379,redis-2:26379") == ["a", "redis-1:26379,redis-2:26379"]


def test_two_checks_of_one_name_are_named(bench):
    bench.add("a", lambda _: None)
    with pytest.raises(DuplicateCheckError, match="Two health checks are called 'a': the one of a"):
        bench.add("a", lambda _: None)


def test_an_automatic_check_makes_place(bench):
    bench.add("a", lambda _: "automatic", replaceable=True)
    bench.add("a", lambda _: "mine")
    bench.add("a", lambda _: "automatic", replaceable=True)
    assert only(bench.run()).result == b'"mine"'


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"level": 0}, "level 0: write a whole number from 1 on"),
        ({"level": True}, "level True: write"),
        ({"level": "1"}, "level '1': write"),
        ({"timeout": 0}, "timeout 0: write seconds"),
        ({"timeout": float("inf")}, "timeout inf: write seconds"),
        ({"name": ""}, "'' is no name"),
        ({"name": "a\nb"}, "is no name"),
        ({"run": "a text"}, "'a text' cannot be called"),
    ],
)
def test_a_check_that_cannot_be_is_refused(bench, wrong, said):
    with pytest.raises((ValueError, TypeError), match=said):
        bench.add(**{"name": "a", "run": fails, **wrong})
