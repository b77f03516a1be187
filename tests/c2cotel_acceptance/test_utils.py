"""Waiting, trying again, comparing."""

import asyncio
import inspect
import subprocess
import sys
from decimal import Decimal
from typing import NamedTuple

import pytest

import c2cotel_acceptance
from c2cotel_acceptance.utils import approx, retry, retry_timeout, wait_url


def fails(times, error=OSError):
    """A function that fails so many times, then tells how often it was called."""
    calls = []

    def function(*args, **kwargs):
        calls.append((args, kwargs))
        if len(calls) <= times:
            raise error(f"call {len(calls)}")
        return len(calls)

    function.calls = calls
    return function


# retry


def test_it_is_where_the_predecessor_had_it():
    assert c2cotel_acceptance.retry is retry


def test_what_fails_is_called_again_with_the_same_arguments():
    function = fails(2)
    assert retry(OSError, delay=0)(function)(1, a=2) == 3
    assert function.calls == [((1,), {"a": 2})] * 3


def test_the_last_failure_is_the_callers():
    function = fails(9)
    with pytest.raises(OSError, match="call 4"):
        retry(OSError, tries=4, delay=0)(function)()
    assert len(function.calls) == 4


def test_another_failure_is_not_tried_again():
    function = fails(1, KeyError)
    with pytest.raises(KeyError):
        retry((OSError, ValueError), delay=0)(function)()
    assert len(function.calls) == 1


def test_the_pauses_grow(monkeypatch):
    pauses = []
    monkeypatch.setattr("c2cotel_acceptance.utils.time.sleep", pauses.append)
    decorated = retry(OSError, tries=4, delay=0.5, backoff=3)(fails(3))
    assert decorated() == 4
    assert pauses == [0.5, 1.5, 4.5]
    assert decorated() == 5
    assert pauses == [0.5, 1.5, 4.5]


def test_one_try_does_not_wait(monkeypatch):
    monkeypatch.setattr("c2cotel_acceptance.utils.time.sleep", lambda _: pytest.fail("waited"))
    with pytest.raises(OSError, match="call 1"):
        retry(OSError, tries=1)(fails(1))()


class Methods:
    def __init__(self):
        self.calls = 0

    @retry(OSError, delay=0)
    def method(self, answer: int, *, more: int = 1) -> int:
        """Fail once."""
        self.calls += 1
        if self.calls == 1:
            raise OSError
        return answer + more

    tries = 0

    @retry(OSError, delay=0)
    @classmethod
    def below(cls):
        cls.tries += 1
        if cls.tries % 2:
            raise OSError
        return cls

    @classmethod
    @retry(OSError, delay=0)
    def above(cls):
        return cls.below()

    @retry(OSError, delay=0)
    @staticmethod
    def static():
        Methods.tries += 1
        if Methods.tries % 2:
            raise OSError
        return "static"

    @property
    @retry(OSError, delay=0)
    def value(self):
        return self.method(1)


def test_methods_of_all_kinds_are_tried_again():
    assert Methods().method(2, more=3) == 5
    assert Methods().below() is Methods
    assert Methods.above() is Methods
    assert Methods.static() == Methods().static() == "static"
    assert Methods().value == 2


def test_the_signature_is_kept():
    assert str(inspect.signature(Methods.method)) == "(self, answer: int, *, more: int = 1) -> int"
    assert (Methods.method.__name__, Methods.method.__doc__) == ("method", "Fail once.")


def test_a_coroutine_is_awaited_again():
    function = fails(2)

    @retry(OSError, delay=0)
    async def ask():
        return function()

    assert inspect.iscoroutinefunction(ask)
    assert asyncio.run(ask()) == 3


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ((fails,), "not an exception. Write for example @retry"),
        (((OSError, 3),), "not an exception"),
        ((OSError, 0), "tries = 0: it has to be called at least once"),
        ((OSError, 3, -1), "delay = -1"),
    ],
)
def test_a_mistake_is_told_where_it_is_made(how, said):
    with pytest.raises((TypeError, ValueError), match=said):
        retry(*how)
    with pytest.raises(TypeError, match="is not a function"):
        retry(OSError)(property(fails))


# approx


class Pair(NamedTuple):
    x: object
    y: object


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (0.1 + 0.2, 0.3),
        ({"a": [0.1 + 0.2, {"b": (1, 0.1 + 0.2)}]}, {"a": [0.3, {"b": (1, 0.3)}]}),
        (Pair(0.1 + 0.2, "a"), Pair(0.3, "a")),
        ([1, "a", None, True, {1.5}], [1, "a", None, True, {1.5}]),
        ([1j + 1e-12], [1j]),
        ([Decimal("0.1")], [Decimal("0.1")]),
        ([1], [1.0]),
        ({}, {}),
    ],
)
def test_floats_are_nearly_equal_however_deep(got, expected):
    assert got == approx(expected)
    assert approx(expected) == got


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ([1.1], [1.0]),
        ({"a": 1.0, "b": 1}, {"a": 1.0}),
        ([1.0, 2.0], [1.0]),
        ([2], [1]),
        ((1.0,), [1.0]),
        ([float("nan")], [float("nan")]),
    ],
)
def test_what_differs_differs(got, expected):
    assert got != approx(expected)


def test_how_near_is_up_to_the_test():
    assert approx([1.0], abs=0.1) == [1.05]
    assert approx([1.0]) != [1.05]
    assert [float("nan")] == approx([float("nan")], nan_ok=True)


# wait_url, retry_timeout


def test_an_url_is_waited_for(server):
    statuses = iter([500, 404, 200])

    def write(handler):
        handler.send_response(next(statuses))
        handler.end_headers()

    server.act("/a", write)
    wait_url(f"{server.url}/a", timeout=5)
    assert len(server.asked) == 3


def test_an_url_in_vain_tells_the_last_answer(server):
    server.answer("/a", 503, body=b"starting" * 100_000)
    with pytest.raises(TimeoutError, match=r"/a answers 503: starting") as caught:
        wait_url(f"{server.url}/a", timeout=0.1)
    assert len(str(caught.value)) < 400


def test_a_truth_that_comes_late_still_counts():
    assert retry_timeout(lambda: "there", timeout=0) == "there"


def test_waiting_costs_no_import_of_requests():
    code = "import sys, c2cotel_acceptance.plugin as p; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = ("requests", "urllib3", "opentelemetry", "google", "c2cotel", "lxml", "asyncio")
    assert not set(heavy) & set(loaded)
    assert [name for name in loaded if name.startswith("c2cotel")] == [
        "c2cotel_acceptance",
        "c2cotel_acceptance.plugin",
        "c2cotel_acceptance.utils",
    ]
