"""Memory traces in a real application, by one process."""

import os
import re
import threading
import time
import tracemalloc
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c2cotel.debug.memory_trace import tracing
from c2cotel.pyramid.console import console_of

TRACE, PAGE = "/c2c/debug/memory_trace", "/c2c/debug/memory_traces"
SECRET = "a secret of the tests"
LEAK = []


@pytest.fixture(autouse=True)
def _clean():
    LEAK.clear()
    yield
    LEAK.clear()


def start(app, expected=202, **fields):
    post = {"seconds": "30", "force": "1"} | fields
    response = app.ask(TRACE, method="POST", post=post)
    assert response.status_int == expected, response.text
    return response.json


def get(app, id_, expected=200):
    response = app.ask(f"{TRACE}/{id_}")
    assert response.status_int == expected, response.text
    return response.json


def ended(app, id_):
    until = time.monotonic() + 20
    while (told := get(app, id_))["state"] == "running":
        assert time.monotonic() < until
        time.sleep(0.02)
    return told


def stop(app, id_):
    response = app.ask(TRACE, method="POST", post={"stop": id_})
    assert response.status_int == 200, response.text
    return ended(app, id_)


def test_a_planted_leak_is_found(app):
    started = start(app, frames="3", limit="7")
    assert list(started) == [
        *("status", "id", "seconds", "frames", "limit", "force", "processes", "silent"),
        *("url", "page"),
    ]
    assert get(app, started["id"])["state"] == "running"
    LEAK.extend([bytearray(100_000) for _ in range(50)])
    told = stop(app, started["id"])
    assert (told["state"], told["frames"], told["actor"]) == ("done", 3, "secret")
    (part,) = told["processes"]
    assert (part["state"], part["ended"]) == ("early", "it was stopped")
    assert part["process"].endswith(f"/{os.getpid()}")
    first = told["lines"][0]
    assert first["file"] == __file__
    assert first["code"] == "LEAK.extend([bytearray(100_000) for _ in range(50)])"
    assert first["size_diff"] == pytest.approx(5_000_000, rel=0.01)
    assert list(first["processes"]) == [part["process"]]
    assert len(told["lines"]) <= 7
    assert list(told["results"]) == [part["process"]]
    assert not tracemalloc.is_tracing()
    listed = app.ask(TRACE).json
    assert listed["traces"][0]["id"] == started["id"]


def test_two_at_once_are_409(app):
    id_ = start(app)["id"]
    message = start(app, 409)["message"]
    assert id_ in message
    assert "by secret" in message
    stop(app, id_)
    stop(app, start(app)["id"])


def test_of_three_at_the_same_moment_one_begins(app):
    answers, together = [], threading.Barrier(3)

    def ask():
        together.wait()
        answers.append(app.ask(TRACE, method="POST", post={"seconds": "30", "force": "1"}))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (begun,) = [each.json["id"] for each in answers if each.status_int == 202]
    refused = [each.json for each in answers if each.status_int != 202]
    assert [each["status"] for each in refused] == [409, 409]
    assert all(f"the memory trace {begun} by secret runs" in each["message"] for each in refused)
    stop(app, begun)


def test_one_frame_that_is_too_much_is_not_asked_to_be_fewer(app, monkeypatch):
    monkeypatch.setattr(tracing, "MOST_OVERHEAD", 0.0)
    assert "Ask for fewer frames; or write force=1" in start(app, 409, force="0")["message"]
    message = start(app, 409, force="0", frames="1")["message"]
    assert "to trace 1 frame would cost" in message
    assert "fewer" not in message
    assert ". Write force=1 to do it nevertheless" in message


def test_a_trace_that_would_cost_too_much_is_refused(app, monkeypatch):
    monkeypatch.setattr(tracing, "MOST_OVERHEAD", 0.0)
    message = start(app, 409, force="0")["message"]
    assert re.search(r"it uses \d+% of a core now, and what allocates takes \d", message)
    assert "write force=1 to do it nevertheless" in message
    assert app.ask(TRACE).json["traces"] == []
    assert not tracemalloc.is_tracing()
    stop(app, start(app)["id"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seconds": "1e9"}, "seconds=1e9: expected a number from 1 to 60"),
        ({"seconds": "nan"}, "seconds=nan: expected a number from 1 to 60"),
        ({"frames": "26"}, "frames=26: expected a whole number from 1 to 25"),
        ({"frames": "0"}, "frames=0: expected a whole number from 1 to 25"),
        ({"limit": "0"}, "limit=0: expected a whole number from 1 to 1000"),
        ({"force": "maybe"}, "force=maybe: expected 1 or 0"),
        ({"page": "maybe"}, "page=maybe: expected 1 or 0"),
        ({"process": "999999999"}, "process=999999999: no such process; there are "),
        ({"process": "one"}, "process=one: expected all, the number of a process, or host/number"),
        ({"process": "/1"}, "process=/1: expected all, the number of a process, or host/number"),
    ],
    ids=str,
)
def test_what_cannot_be_is_400_and_begins_nothing(app, fields, message):
    assert start(app, 400, **fields)["message"].startswith(message)
    assert app.ask(TRACE).json["traces"] == []
    assert not tracemalloc.is_tracing()


def test_this_process_may_be_named(app):
    for process in (str(os.getpid()), "all"):
        stop(app, start(app, process=process)["id"])


@pytest.mark.parametrize("id_", ["0" * 16, "x", "..", "0" * 17, "0000000000000000%0a"])
def test_a_trace_that_there_is_not_is_404(app, id_):
    for address in (f"{TRACE}/{id_}", f"{PAGE}/{id_}"):
        assert app.ask(address).status_int == 404
    response = app.ask(TRACE, method="POST", post={"stop": id_})
    assert response.status_int == 404


# --- pages ----------------------------------------------------------------------------------------


class Operator:
    """Somebody with a browser: a cookie, and what the forms of a page have in them."""

    def __init__(self, app):
        self.app = app
        response = app.ask(f"{PAGE}?{urlencode({'secret': SECRET})}", secret=None)
        self.cookie = response.headers["Set-Cookie"].partition(";")[0]

    def see(self, address=PAGE):
        response = self.app.ask(address, secret=None, headers={"Cookie": self.cookie})
        assert (response.status_int, response.content_type) == (200, "text/html")
        return response.text

    def send(self, page, /, **fields):
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]
        return self.app.ask(
            TRACE,
            secret=None,
            method="POST",
            headers={"Cookie": self.cookie},
            post={"csrf_token": token, **fields},
        )


def test_an_operator_finds_the_leak_with_the_pages_alone(app, monkeypatch):
    # Whoever runs the tests may be busy.
    monkeypatch.setattr(tracing, "MOST_OVERHEAD", 1000.0)
    operator = Operator(app)
    page = operator.see()
    assert "None yet." in page
    response = operator.send(page, page="1", seconds="30", frames="2", process="all", limit="5")
    assert response.status_int == 303
    address = response.location.removeprefix("http://localhost")
    id_ = address.rpartition("/")[2]
    page = operator.see(address)
    assert "running" in page
    LEAK.extend(bytearray(2_000_000) for _ in range(3))
    response = operator.send(page, stop=id_, back=address)
    assert (response.status_int, response.location) == (303, f"http://localhost{address}")
    ended(app, id_)
    page = operator.see(address)
    assert "LEAK.extend(bytearray(2_000_000) for _ in range(3))" in page
    assert __file__ in page
    assert re.search(r"\+(5\.7|6\.0) M", page)
    assert "ended early" in page
    assert "it was stopped" in page
    assert id_[:8] in operator.see()


def test_what_is_wrong_stands_above_the_form_as_it_was_filled_in(app, monkeypatch):
    operator = Operator(app)
    sent = {"seconds": "12", "frames": "4", "limit": "7", "process": "all", "page": "1"}
    response = operator.send(operator.see(), **(sent | {"frames": "26", "force": "true"}))
    assert (response.status_int, response.content_type) == (400, "text/html")
    assert "frames=26: expected a whole number from 1 to 25" in response.text
    assert 'name="seconds" type="number" min="1" max="60" step="any" value="12"' in response.text
    assert 'value="26"' in response.text
    assert 'value="true" checked' in response.text
    monkeypatch.setattr(tracing, "MOST_OVERHEAD", 0.0)
    response = operator.send(response.text, **sent)
    assert (response.status_int, response.content_type) == (409, "text/html")
    assert "would cost too much" in response.text
    assert 'value="7"' in response.text
    assert not tracemalloc.is_tracing()


def test_nobody_else_sees_or_begins_anything(app):
    for address in (TRACE, PAGE, f"{TRACE}/{'0' * 16}", f"{PAGE}/{'0' * 16}"):
        assert app.ask(address, secret=None).status_int == 403
    assert app.ask(TRACE, secret=None, method="POST", post={"seconds": "1"}).status_int == 403
    operator = Operator(app)
    response = app.ask(
        TRACE, secret=None, method="POST", headers={"Cookie": operator.cookie}, post={"a": "b"}
    )
    assert response.status_int == 403
    assert not tracemalloc.is_tracing()


def test_the_page_stands_on_the_console(app):
    (entry,) = console_of(app.registry).entries
    assert (entry.title, entry.section) == ("Memory traces", "Debug")


# --- whatever is asked ----------------------------------------------------------------------------

texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "0", "1", "all", "-1", "nan", "1e9", "999999999", "0" * 16]),
)
NAMES = ["seconds", "frames", "process", "limit", "force", "stop", "page", "back"]


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from([TRACE, PAGE, f"{TRACE}/x", f"{PAGE}/{'0' * 16}"]),
    st.dictionaries(st.sampled_from(NAMES), texts),
    st.sampled_from(["GET", "HEAD", "POST"]),
)
def test_no_parameters_are_an_error_of_the_server_or_an_endless_answer(
    app, address, parameters, method
):
    if method == "POST":
        response = app.ask(address, method="POST", post=parameters)
    else:
        response = app.ask(address, method=method, **parameters)
    assert response.status_int in {200, 202, 303, 400, 404, 405, 409}, response.text
    assert len(response.body) < 1_000_000
    if response.status_int in {202, 303}:
        for told in app.ask(TRACE).json["traces"]:
            if told["state"] == "running":
                stop(app, told["id"])
