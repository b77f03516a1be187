from hypothesis import given, settings
from hypothesis import strategies as st

from c2cotel_instrumentation import sample_tally
from c2cotel_instrumentation.running import Answering
from c2cotel_instrumentation.sample_tally import MOST_REQUESTS, Tally
from c2cotel_instrumentation.samples import Order, Samples


def code(name="f", line=1):
    """The code of a function of this name, a new one each time."""
    source = "\n" * (line - 1) + f"def {name}(): pass"
    return compile(source, "/app.py", "exec").co_consts[0]


def told(tally):
    samples = Samples("f3a1", Order(1), started=0.0)
    tally.into(samples)
    return samples


def answering(number, route="/hello"):
    return Answering("GET", route, f"{number:032x}", f"request-{number}", float(number))


F, G, H = code("f"), code("g"), code("h")


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "/one", "/two"]),
            st.sampled_from(["MainThread", "worker-*"]),
            st.lists(st.sampled_from([F, G, H, None]), min_size=1, max_size=5),
            st.integers(1, 1000),
        ),
        max_size=60,
    )
)
def test_whatever_the_bounds_all_that_was_added_is_in_the_sums(added):
    for most in (5, 10**6):
        tally = Tally(None, ours=False)
        try:
            sample_tally.MOST_STACKS, before = most, sample_tally.MOST_STACKS
            for route, kind, codes, seconds in added:
                tally.add(route, kind, codes, seconds)
        finally:
            sample_tally.MOST_STACKS = before
        samples = told(tally)
        for route in (None, "/one", "/two"):
            assert sum(stack.seconds for stack in samples.stacks if stack.route == route) == sum(
                seconds for its, _, _, seconds in added if its == route
            )
        assert sum(stack.ticks for stack in samples.stacks) == len(added)
        assert len({stack[:3] for stack in samples.stacks}) == len(samples.stacks)
        assert all(
            index < len(samples.frames) for stack in samples.stacks for index in stack.frames
        )


def test_stacks_are_told_from_outside_to_inside_the_longest_first():
    tally = Tally(None, ours=False)
    tally.add("/hello", "worker-*", [G, F], 0.5)
    tally.add("/hello", "worker-*", [H, F], 0.75)
    tally.add("/hello", "worker-*", [H, None], 0.25)
    tally.add("/hello", "worker-*", [H, F], 0.5)
    samples = told(tally)
    assert samples.frames == [
        ("f", "/app.py", 1),
        ("g", "/app.py", 1),
        ("h", "/app.py", 1),
        ("(cut)", "", 0),
    ]
    assert samples.stacks == [
        ("/hello", "worker-*", (0, 2), 2, 1.25),
        ("/hello", "worker-*", (0, 1), 1, 0.5),
        ("/hello", "worker-*", (3, 2), 1, 0.25),
    ]


def test_code_that_was_loaded_again_is_the_same_function():
    tally = Tally(None, ours=False)
    for _ in range(3):
        tally.add(None, "MainThread", [code("f"), F], 1.0)
    samples = told(tally)
    assert samples.frames == [("f", "/app.py", 1)]
    assert samples.stacks == [(None, "MainThread", (0, 0), 3, 3.0)]


def test_code_that_is_made_while_the_application_runs_is_bounded(monkeypatch):
    monkeypatch.setattr(sample_tally, "_MOST_FRAMES", 10)
    tally = Tally(None, ours=False)
    for line in range(1, 51):
        tally.add(None, "MainThread", [code("f", line), F], 1.0)
    samples = told(tally)
    assert len(samples.frames) == 11
    assert samples.frames[-1] == ("(other)", "", 0)
    assert sum(stack.seconds for stack in samples.stacks) == 50


def test_long_names_and_long_stacks_are_bounded(monkeypatch):
    monkeypatch.setattr(sample_tally, "_MOST_CELLS", 100)
    tally = Tally(None, ours=False)
    for line in range(1, 10):
        tally.add(None, "MainThread", [code("f" * 1000, line)] * 30, 1.0)
    samples = told(tally)
    assert samples.truncated
    assert len(samples.stacks) == 5
    assert {len(frame.function) for frame in samples.frames} == {200, len("(other)")}


def test_names_of_threads_are_counted_by_kind_and_few_of_them():
    tally = Tally(None, ours=False)
    assert tally.kind("ThreadPoolExecutor-0_12") == "ThreadPoolExecutor-*_*"
    assert tally.kind("MainThread") == "MainThread"
    assert tally.kind("c2cotel-push") is None
    assert Tally(None, ours=True).kind("c2cotel-push") == "c2cotel-push"
    letters = str.maketrans("0123456789", "abcdefghij")
    kinds = {tally.kind(f"job {number}".translate(letters)) for number in range(5000)}
    assert len(kinds) <= 100
    assert "(other)" in kinds
    assert len(tally._threads) <= 1001


def test_the_requests_with_most_time_are_kept_and_the_others_counted():
    tally = Tally(None, ours=False)
    slow = answering(7)
    for number in range(100, 20_100):
        now = answering(number)
        tally.add_request(now, number / 1000, [now, slow])
        tally.add_request(slow, 0.002, [now, slow])
        assert len(tally._requests) <= 4 * MOST_REQUESTS
    samples = told(tally)
    assert len(samples.requests) == MOST_REQUESTS
    # The slow one was never among the most until the end.
    assert samples.requests[0] == (
        "GET",
        "/hello",
        f"{7:032x}",
        "request-7",
        20_000,
        samples.requests[0].seconds,
    )
    assert [request.request_id for request in samples.requests[1:]] == [
        f"request-{number}" for number in range(20_099, 20_099 - MOST_REQUESTS + 1, -1)
    ]
    assert samples.other_requests == 20_001 - MOST_REQUESTS


def test_a_request_has_the_route_that_it_found_at_last():
    tally = Tally(None, ours=False)
    for route in (None, None, "/hello"):
        now = answering(1, route)
        tally.add_request(now, 1.0, [now])
    assert told(tally).requests == [("GET", "/hello", f"{1:032x}", "request-1", 3, 3.0)]


def test_requests_with_one_trace_and_one_id_are_several():
    tally = Tally(None, ours=False)
    for since in (1.0, 2.0):
        now = answering(1)._replace(since=since)
        tally.add_request(now, 1.0, [now])
    assert len(told(tally).requests) == 2
