"""Which request a thread is answering, seen from another thread."""

import os
import threading
import warnings
from time import perf_counter

import pytest
from opentelemetry.trace import NoOpTracerProvider
from pyramid.response import Response

from c2cotel_instrumentation.pyramid import PyramidInstrumentor
from c2cotel_instrumentation.running import PROFILE_ID, Answering, Running

from .conftest import application, get


class Halted:
    """A view that waits until the test has looked."""

    def __init__(self):
        self.entered, self.leave = threading.Event(), threading.Event()
        self.ident = 0

    def __call__(self, _):
        self.ident = threading.get_ident()
        self.entered.set()
        assert self.leave.wait(10)
        return Response("done")


@pytest.fixture
def halted():
    return Halted()


def ask(app, path="/view", **environ):
    thread = threading.Thread(target=get, args=(app, path), kwargs=environ)
    thread.start()
    return thread


def running():
    return PyramidInstrumentor().running


def test_its_route_trace_and_request_id_are_there_while_it_runs(telemetry, halted):
    telemetry.instrument()
    begun = perf_counter()
    thread = ask(application(view=halted), HTTP_X_REQUEST_ID="abc")
    assert halted.entered.wait(10)
    seen = running().of(halted.ident)
    assert running().all() == {halted.ident: seen}
    halted.leave.set()
    thread.join()
    assert seen == Answering(
        method="GET",
        route="/view",
        trace_id=f"{telemetry.span.context.trace_id:032x}",
        request_id="abc",
        since=seen.since,
    )
    assert begun <= seen.since <= perf_counter()
    assert running().all() == {}


def test_without_traces_there_is_the_route(telemetry, halted):
    PyramidInstrumentor().instrument(
        tracer_provider=NoOpTracerProvider(), meter_provider=telemetry.meter_provider
    )
    thread = ask(application(view=halted))
    assert halted.entered.wait(10)
    seen = running().of(halted.ident)
    halted.leave.set()
    thread.join()
    assert (seen.trace_id, seen.route) == (None, "/view")


def test_a_request_that_raises_is_over(telemetry):
    def failing(_):
        assert len(running().all()) == 1
        raise ZeroDivisionError

    telemetry.instrument()
    with pytest.raises(ZeroDivisionError):
        get(application(view=failing), "/view")
    assert running().all() == {}


def test_an_application_that_asks_another_one_goes_on_with_its_own(telemetry):
    inner = application()
    routes = []

    def view(_):
        get(inner, "/hello/y", HTTP_X_REQUEST_ID="inner")
        routes.append(running().of(threading.get_ident()).request_id)
        return Response("done")

    telemetry.instrument()
    get(application(view=view), "/view", HTTP_X_REQUEST_ID="outer")
    assert routes == ["outer"]
    assert running().all() == {}


def test_a_streamed_body_belongs_to_its_request(telemetry):
    seen = []

    def parts():
        seen.append(running().of(threading.get_ident()))
        yield b"a"

    telemetry.instrument()
    assert get(application(view=lambda _: Response(app_iter=parts())), "/view").body == b"a"
    assert [answering.route for answering in seen] == ["/view"]
    assert running().all() == {}


def test_a_child_knows_only_the_thread_that_was_forked(telemetry, halted):
    def forking(_):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writing, b"%d" % (running().all().keys() == {threading.get_ident()}))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            told = answer.read()
        os.waitpid(pid, 0)
        return Response(told)

    telemetry.instrument()
    app = application(view=halted)
    thread = ask(app)
    assert halted.entered.wait(10)
    with warnings.catch_warnings():
        # Python 3.12 warns of threads in the parent: the child waits for none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        assert get(application(view=forking), "/view").body == b"1"
    halted.leave.set()
    thread.join()


def test_a_profile_marks_what_runs_and_what_begins_until_it_ends(telemetry, halted):
    telemetry.instrument()
    app, others = application(view=halted), application()
    get(others, "/hello/before")
    thread = ask(app)
    assert halted.entered.wait(10)
    running().mark("p1")
    get(others, "/hello/during")
    running().unmark("p1")
    get(others, "/hello/after")
    halted.leave.set()
    thread.join()
    marks = [span.attributes.get(PROFILE_ID) for span in telemetry.spans]
    assert marks == [None, "p1", None, "p1"]


def test_the_end_of_a_profile_leaves_a_later_one_alone():
    running = Running()
    running.mark("first")
    running.mark("second")
    running.unmark("first")
    assert running.profile == "second"
    running.unmark("second")
    assert running.profile is None


def test_without_instrumentor_there_are_none():
    assert running().all() == {}
