"""The views of the threads in a real application, with real requests that wait."""

import json
import re
import sys
import threading
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyramid.config import Configurator
from pyramid.request import Request

from c2cotel import broadcast
from c2cotel.broadcast.messages import Process, Replies
from c2cotel.debug.stacks import core
from c2cotel.pyramid.console import console_of
from c2cotel.pyramid.views import add_c2c_view
from c2cotel_acceptance.utils import retry_timeout
from c2cotel_instrumentation.pyramid import PyramidInstrumentor

SECRET = "a secret of the tests"
STACKS, PAGE = "/c2c/debug/stacks", "/c2c/debug/threads"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PATIENCE = 20


class Pets:
    """What the application does: it waits for events and locks."""

    def __init__(self):
        self.event, self.over = threading.Event(), threading.Event()
        self.first, self.second = threading.Lock(), threading.Lock()
        self.barrier = threading.Barrier(2)

    def wait(self, _):
        self.event.wait()
        return {}

    def there(self, _):
        with self.first:
            self.barrier.wait()
            while not self.over.is_set():
                self.second.acquire(timeout=0.3)
        return {}

    def back(self, _):
        with self.second:
            self.barrier.wait()
            while not self.over.is_set():
                self.first.acquire(timeout=0.3)
        return {}


def configure(pets=None, feature="c2cotel.debug.stacks", **ini):
    config = Configurator(settings={"c2c.secret": SECRET, **ini})
    config.add_directive("add_c2c_view", add_c2c_view)
    for each in ("c2cotel.pyramid.pages", "c2cotel.auth", feature):
        config.include(each)
    for name in ("wait", "there", "back") if pets else ():
        config.add_route(name, f"/{name}/{{pet}}")
        config.add_view(getattr(pets, name), route_name=name, renderer="json")
    return config.make_wsgi_app()


@pytest.fixture
def instrumentor():
    made = PyramidInstrumentor()
    made.instrument()
    yield made
    made.uninstrument()


@pytest.fixture
def pets(threads):
    made = Pets()
    threads.end.callback(made.event.set)
    threads.end.callback(made.over.set)
    return made


@pytest.fixture
def app(instrumentor, pets):  # noqa: ARG001 - on, as in an application
    yield configure(pets, **{"c2c.trace_url": "https://traces.example/{trace_id}"})
    broadcast.cleanup()


def ask(app, path=STACKS, method="GET", *, query=None, post=None, **headers):
    request = Request.blank(path, method=method, POST=post)
    if query is not None:
        request.GET.update(query)
    request.method = method
    for name, value in headers.items():
        request.headers[name.replace("_", "-")] = value
    return request.get_response(app)


def tell(app, path=STACKS, **query):
    response = ask(app, path, query=query, X_API_Key=SECRET)
    assert response.status_int == 200, response.text
    return response.text if path == PAGE else response.json


@pytest.fixture
def in_requests(app, threads):
    """Starts requests, each in a thread of its own, and waits until all of them wait."""

    def start(*paths):
        started = [
            threads.start(
                lambda path=path: ask(app, path, traceparent=f"00-{TRACE}-b7ad6b7169203331-01"),
                name=f"worker-{number}",
            )
            for number, path in enumerate(paths)
        ]
        for ident in started:
            retry_timeout(lambda ident=ident: threads.seen(ident), PATIENCE, 0.01)
        return started

    return start


def until(app, what, **query):
    """The details, once they have *what*."""

    def look():
        told = tell(app, details="1", **query)
        return told if what(told) else None

    return retry_timeout(look, PATIENCE, 0.01)


# --- for programs ---------------------------------------------------------------------------------


def test_stacks_are_what_c2cwsgiutils_told(app, in_requests):
    ident, _ = in_requests("/wait/a", "/wait/b")
    told = tell(app)
    assert {key for each in told for key in each} == {"frames", "threads"}
    keys = {key for each in told for frame in each["frames"] for key in frame}
    assert keys == {"file", "line", "function", "code"}
    process = broadcast.broadcaster().process
    name = f"{process.host}/{process.pid}/worker-0({ident})"
    (mine,) = (each for each in told if name in each["threads"])
    assert [each.partition("worker-")[2][:1] for each in mine["threads"]] == ["0", "1"]
    assert {
        "file": __file__,
        "line": Pets.wait.__code__.co_firstlineno + 1,
        "function": "wait",
        "code": "self.event.wait()",
    } in mine["frames"]
    assert mine["frames"][0]["function"] == "_bootstrap"
    everybody = [thread for each in told for thread in each["threads"]]
    assert len(everybody) == len(set(everybody)) == len(sys._current_frames())


def test_details_tell_the_request_of_a_thread(app, in_requests):
    (ident,) = in_requests("/wait/a")
    told = until(app, lambda told: told["threads"][0]["name"] == "worker-0")
    assert set(told) == {
        *("threads", "stacks", "deadlocks", "perhaps", "silent", "failed", "left_out")
    }
    asks = threading.get_ident()
    assert asks not in {thread["ident"] for thread in told["threads"]}, "its own is of no interest"
    assert all(stack["threads"] for stack in told["stacks"])
    thread = told["threads"][0]
    process = broadcast.broadcaster().process
    assert 0 <= thread["seconds"] < PATIENCE
    assert thread["native_id"] > 0
    assert told["stacks"][thread["stack"]]["threads"] == [thread["thread"]]
    assert thread | {"seconds": 0, "native_id": 0, "cpu": 0, "stack": 0, "request_id": ""} == {
        "thread": f"{process.host}/{process.pid}/worker-0({ident})",
        "host": process.host,
        "pid": process.pid,
        "name": "worker-0",
        "ident": ident,
        "native_id": 0,
        "method": "GET",
        "route": "/wait/{pet}",
        "trace_id": TRACE,
        "request_id": "",
        "seconds": 0,
        "waiting": {
            "for": "event",
            "detail": "until it is set",
            "lock": None,
            "held_by": None,
            "may_be_held_by": [],
        },
        "moved": False,
        "cpu": 0,
        "stack": 0,
    }
    assert thread["request_id"]
    assert (told["deadlocks"], told["silent"], told["failed"], told["left_out"]) == ([], [], {}, {})


def test_details_tell_a_deadlock(app, in_requests):
    in_requests("/there/a", "/back/a")
    told = until(app, lambda told: told["perhaps"])
    named = {thread["name"]: thread for thread in told["threads"]}
    one, other = named["worker-0"], named["worker-1"]
    assert told["deadlocks"] == [], "of a Lock, one cannot be certain"
    (cycle,) = told["perhaps"]
    assert sorted(cycle) == sorted((one["thread"], other["thread"]))
    assert one["waiting"]["held_by"] == other["thread"]
    assert other["waiting"]["held_by"] == one["thread"]


def test_without_the_instrumentor_there_are_no_requests(app, instrumentor):
    instrumentor.uninstrument()
    try:
        assert {thread["route"] for thread in tell(app, details="1")["threads"]} == {None}
        assert "the instrumentor pyramid is off" in tell(app, PAGE)
    finally:
        instrumentor.instrument()


# --- for people -----------------------------------------------------------------------------------


class Page(HTMLParser):
    """The texts of a page by section, and that every tag ends."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.ids, self.links = [], [], set(), []
        self.feed(text)
        assert self.open == []
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "input", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                assert value not in self.ids, value
                self.ids.add(value)
            if name == "href":
                self.links.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_shows_requests_with_all_one_needs(app, in_requests):
    (ident,) = in_requests("/wait/a")
    page = Page(tell(app, PAGE))
    assert "GET /wait/{pet}" in page.text
    assert f"https://traces.example/{TRACE}" in page.links
    assert f"worker-0({ident})" in page.text
    assert "until it is set" in page.text
    assert "self.event.wait()" in page.text
    assert "GET /c2c/debug/threads" not in page.text, "its own request is of no interest"
    assert f"{STACKS}?details=1" in page.links
    anchors = {link[1:] for link in page.links if link.startswith("#")}
    assert anchors <= page.ids


def test_the_page_names_a_deadlock_and_marks_who_is_stuck(app, in_requests):
    there, back = in_requests("/there/a", "/back/a")
    until(app, lambda told: told["perhaps"])
    page = Page(
        retry_timeout(lambda: (t := tell(app, PAGE, stuck="0")) and "a deadlock" in t and t)
    )
    assert "Perhaps a deadlock" in page.text
    assert "These 2 threads seem to wait for each other" in page.text
    assert "GET /there/{pet}" in page.text
    assert re.search(
        rf"worker-0\({there}\) , GET /there/{{pet}} for [\d.]+ s, waits for the lock "
        rf"Lock self.second 0x[0-9a-f]+ , held by \S+worker-1\({back}\)",
        page.text,
    )
    assert "stuck" in page.text
    # A moment later, nobody is stuck for so long.
    assert "marked red" not in tell(app, PAGE, stuck="3600")


def test_threads_at_the_same_place_are_one_line(app, threads):
    event = threading.Event()
    threads.end.callback(event.set)
    for _ in range(7):
        threads.waits(threads.start(event.wait, name="pool"), "event")
    page = Page(tell(app, PAGE, q="pool"))
    assert "7 threads" in page.text
    assert "None of those searched for, but this page's." in page.text


def test_the_page_can_be_searched(app, in_requests):
    in_requests("/wait/a", "/wait/b")
    assert Page(tell(app, PAGE, q="wait worker-1")).text.count("GET /wait/{pet}") == 1
    page = Page(tell(app, PAGE, q="<nobody>"))
    assert "0 with “<nobody>”" in page.text
    assert "None of those searched for" in page.text


def test_nothing_of_a_thread_becomes_markup(app, threads):
    event = threading.Event()
    threads.end.callback(event.set)
    name = "<img src=x onerror=alert(1)>\ud800"
    threads.waits(threads.start(event.wait, name=name), "event")
    page = tell(app, PAGE)
    assert "<img" not in page
    assert "&lt;img" in page
    assert "<img src=x onerror=alert(1)>\\ud800" in json.dumps(tell(app)).replace("\\\\", "\\")


def test_processes_without_an_answer_are_named(app, monkeypatch):
    replies = Replies(
        answers=[
            {"status": 500, "message": "secret=hunter2 failed"},
            7,
            {"threads": [], "stacks": [], "frames": []},
            {
                "threads": [{"ident": 1, "name": "a", "native_id": None, "stack": 3}],
                "stacks": [],
                "frames": [],
            },
        ],
        silent=(Process("web-1", 17),),
        answered=(
            Process("web-2", 1),
            Process("web-3", 1),
            Process("web-4", 1),
            Process("web-5", 1),
        ),
    )
    # What other processes say: real ones are asked in test_processes.py.
    monkeypatch.setattr(core.broadcast, "ask", lambda *_, **__: replies)
    told = tell(app, details="1")
    assert told["silent"] == ["web-1/17"]
    assert told["failed"] == {
        "web-2/1": "secret=REDACTED failed",
        "web-3/1": "its answer cannot be read: it may run another version",
        "web-5/1": "its answer cannot be read",
    }
    page = Page(tell(app, PAGE))
    assert "No answer from web-1/17" in page.text
    assert "Of web-2/1 nothing is known: secret=REDACTED failed" in page.text
    assert tell(app) == []


# --- who may, and what ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [STACKS, PAGE])
def test_nobody_unknown_sees_anything(app, path):
    assert ask(app, path).status_int == 403
    assert ask(app, path, "POST", post={}).status_int == 405
    assert ask(configure(feature="c2cotel.debug"), path, X_API_Key=SECRET).status_int == 404


def test_the_console_names_the_page(app):
    entries = {entry.title: entry for entry in console_of(app.registry).entries}
    assert (entries["Threads"].route, entries["Threads"].section) == ("c2c_debug_threads", "Debug")


@pytest.mark.parametrize(
    ("path", "query", "message"),
    [
        (STACKS, {"details": "all"}, "details=all: expected 1 or 0"),
        (PAGE, {"stuck": "-1"}, "stuck=-1: expected a number from 0 to 86400"),
        (PAGE, {"stuck": "nan"}, "stuck=nan: expected a number from 0 to 86400"),
        (PAGE, {"q": "x" * 201}, "q: has 201 characters, expected 200 at most"),
    ],
)
def test_what_cannot_be_is_400(app, path, query, message):
    response = ask(app, path, query=query, X_API_Key=SECRET)
    assert response.json == {"message": message, "status": 400}


texts = st.one_of(
    st.text(max_size=300), st.sampled_from(["", "0", "1", "true", "nan", "1e999", "5"])
)


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from([STACKS, PAGE]),
    st.dictionaries(st.sampled_from(["details", "q", "stuck", "back", "format"]), texts),
    st.sampled_from(["GET", "HEAD"]),
)
def test_no_parameters_are_an_error_of_the_server(app, path, parameters, method):
    # The pause between two looks says nothing about parameters.
    response = ask(app, path, method, query=parameters, X_API_Key=SECRET)
    assert response.status_int in (200, 400)
    assert len(response.body) < 2_000_000
