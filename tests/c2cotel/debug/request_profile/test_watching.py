"""Requests that are profiled, from outside."""

import logging
import sys
import threading
import timeit
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pyramid.exceptions import URLDecodeError
from pyramid.request import Request
from pyramid.response import Response

from c2cotel import broadcast
from c2cotel.debug.request_profile import core, recording, watching
from c2cotel.profiler import Profile
from c2cotel_instrumentation.pyramid import PyramidInstrumentor

from .conftest import ERROR, ID, JSON, PAGE, SECRET, Client, configure, hot_function


def order(client, **query):
    told = client.tell(**query)["ordered"]
    assert told["taken"] == 0
    return told


# --- by its header --------------------------------------------------------------------------------


def test_a_request_with_the_header_and_the_secret_is_profiled(client):
    response = client.profiled("/hello/you")
    assert response.text == "Hello you"
    (profile,) = client.kept()
    assert response.headers[ID] == profile["id"]
    assert profile["seconds"] >= 0.03
    assert profile["samples"] > 2
    told = {name: profile[name] for name in ("method", "route", "path", "status", "error", "order")}
    assert told == {
        "method": "GET",
        "route": "/hello/{name}",
        "path": "/hello/you",
        "status": 200,
        "error": None,
        "order": None,
    }
    text = client.get(f"{JSON}/{profile['id']}", query={"format": "text"}, X_API_Key=SECRET).text
    assert "hot_function" in text


@pytest.mark.parametrize("value", ["0", "", "no", "perhaps", "\0"])
def test_a_header_that_does_not_say_yes_is_ignored(client, value):
    response = client.get("/quick", X_C2C_Profile=value, X_API_Key=SECRET)
    assert (response.text, ID in response.headers, ERROR in response.headers) == (
        "quick",
        False,
        False,
    )


def test_the_parameter_and_the_cookie_show_who_asks_too(client):
    response = client.get("/quick", query={"secret": SECRET}, X_C2C_Profile="1")
    assert ID in response.headers
    assert "Set-Cookie" not in response.headers
    cookie, _ = client.session()
    assert ID in client.get("/quick", Cookie=cookie, X_C2C_Profile="1").headers


@pytest.mark.parametrize("headers", [{}, {"X_API_Key": "wrong"}, {"Cookie": "c2c-auth-jwt=x"}])
def test_without_the_right_it_is_a_request_like_any_other(client, headers):
    response = client.get("/quick", X_C2C_Profile="1", **headers)
    assert response.text == "quick"
    assert not [name for name in response.headers if name.lower().startswith("x-c2c")]
    assert client.kept() == []


def test_wrong_secrets_are_counted_and_then_not_looked_at(client):
    for number in range(8):
        client.get("/quick", X_C2C_Profile="1", X_API_Key=f"wrong {number}")
    assert ID not in client.profiled("/quick").headers


def test_a_body_is_the_applications():
    def reads(config):
        config.add_route("post", "/post")
        config.add_view(lambda request: Response(request.POST["name"]), route_name="post")

    response = Client(configure(reads)).profiled("/post", post={"name": "a value", "secret": "x"})
    assert response.text == "a value"
    assert ID in response.headers


def test_an_exception_reaches_whoever_asked_and_is_named(client):
    with pytest.raises(ValueError, match="of the application"):
        client.profiled("/fails")
    (profile,) = client.kept()
    assert (profile["status"], profile["error"]) == (500, "ValueError")
    assert sys.getprofile() is None


def test_an_exception_that_a_view_answers_is_named():
    def handle(config):
        config.add_exception_view(lambda _error, _request: Response("sorry", status=503))

    client = Client(configure(handle))
    assert client.profiled("/fails").status_int == 503
    (profile,) = client.kept()
    assert (profile["status"], profile["error"]) == (503, "ValueError")


def test_an_http_exception_is_an_answer(client):
    response = client.profiled("/missing")
    assert response.status_int == 404
    (profile,) = client.kept()
    assert (profile["id"], profile["status"], profile["route"]) == (
        response.headers[ID],
        404,
        "/missing",
    )


def test_a_path_without_a_route_has_its_path(client):
    assert client.profiled("/nowhere/caf%C3%A9").status_int == 404
    (profile,) = client.kept()
    assert (profile["route"], profile["path"]) == (None, "/nowhere/café")


def test_a_secret_of_the_path_is_not_kept(client):
    client.profiled("/nowhere/x;token=hunter2?secret=hunter3&password=hunter4")
    assert "hunter" not in client.get(JSON, X_API_Key=SECRET).text


def test_a_stream_is_no_part_of_it():
    closed = []

    class Body:
        def __iter__(self):
            assert sys.getprofile() is None
            yield b"in "
            yield b"parts"

        def close(self):
            closed.append(True)

    def stream(config):
        config.add_route("stream", "/stream")
        config.add_view(lambda _: Response(app_iter=Body()), route_name="stream")

    response = Client(configure(stream)).profiled("/stream")
    assert response.body == b"in parts"
    assert ID in response.headers
    assert closed == [True]


def test_what_is_told_of_the_request_is_no_part_of_it():
    def slow_id(config):
        config.add_request_method(
            lambda _: (hot_function(0.02), "an id")[1], "c2c_request_id", property=True
        )

    client = Client(configure(slow_id))
    identity = client.profiled("/quick").headers[ID]
    body = client.get(f"{JSON}/{identity}", query={"format": "text"}, X_API_Key=SECRET).text
    assert "GET /quick" in body
    assert "slow_id" not in body
    assert "hot_function" not in body
    assert "_Watch" not in body


def test_a_request_that_is_tried_again_is_one():
    tries = []

    def fails_twice(request):
        from pyramid_retry import RetryableException

        tries.append(request.method)
        hot_function(0.003)
        if len(tries) < 3:
            raise RetryableException
        return Response("at last")

    def retry(config):
        config.include("pyramid_retry")
        config.add_route("again", "/again")
        config.add_view(fails_twice, route_name="again")

    client = Client(configure(retry, **{"retry.attempts": "3"}))
    response = client.profiled("/again")
    assert (response.text, len(tries)) == ("at last", 3)
    (profile,) = client.kept()
    assert (profile["status"], profile["route"]) == (200, "/again")


def test_an_explicit_list_of_tweens_changes_nothing():
    client = Client(configure(**{"pyramid.tweens": "pyramid.tweens.excview_tween_factory"}))
    assert ID in client.profiled("/quick").headers


def test_a_policy_of_the_application_stays():
    seen = []

    def policy(environ, router):
        seen.append(router.registry.package_name)
        with router.request_context(environ) as request:
            return router.invoke_request(request)

    client = Client(configure(lambda config: config.set_execution_policy(policy)))
    assert ID in client.profiled("/quick").headers
    assert len(seen) == 1
    assert client.kept()[0]["route"] == "/quick"


def test_a_response_that_is_none_of_webobs_goes_on():
    def bare(_environ, _router):
        def answer(_, start_response):
            start_response("200 OK", [])
            return [b"bare"]

        return answer

    client = Client(configure(lambda config: config.set_execution_policy(bare)))
    assert client.profiled("/quick").text == "bare"


def test_an_application_within_another_one_is_one_request(client):
    from pyramid.wsgi import wsgiapp2

    def mount(config):
        config.add_route("inner", "/inner/*subpath")
        config.add_view(wsgiapp2(client.app), route_name="inner")

    outer = Client(configure(mount))
    response = outer.profiled("/inner/hello/you")
    assert response.text == "Hello you"
    assert [profile["route"] for profile in outer.kept()] == ["/inner/*subpath"]


def test_requests_in_several_threads_have_a_profile_each(client):
    both = threading.Barrier(2, timeout=20)

    def together(name):
        def view(_):
            both.wait()
            hot_function(0.05)
            both.wait()
            return Response(name)

        return view

    def add(config):
        for name in ("one", "two"):
            config.add_route(name, f"/{name}")
            config.add_view(together(name), route_name=name)

    client = Client(configure(add))
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(client.profiled, ["/one", "/two"]))
    assert [answer.text for answer in answers] == ["one", "two"]
    found = {profile["route"]: profile for profile in client.kept()}
    for route, answer in zip(("/one", "/two"), answers, strict=True):
        assert found[route]["id"] == answer.headers[ID]
        assert found[route]["samples"] > 2


def test_its_span_and_the_profile_name_each_other():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = PyramidInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        client = Client(configure())
        response = client.profiled("/quick")
        assert client.get("/quick").text == "quick"
        (profile,) = client.kept()
    finally:
        instrumentor.uninstrument()
    spans = [span for span in exporter.get_finished_spans() if span.name == "GET /quick"]
    assert [span.attributes.get("c2c.profile.id") for span in spans] == [response.headers[ID], None]
    assert profile["trace_id"] == f"{spans[0].context.trace_id:032x}"
    assert profile["request_id"] == spans[0].attributes["c2c.request.id"]


# --- what may be in the way -----------------------------------------------------------------------


def test_another_profiler_of_the_thread_is_left_alone(client, caplog):
    heard = []

    def mine(*event):
        heard.append(event)

    sys.setprofile(mine)
    try:
        responses = [client.profiled("/quick") for _ in range(2)]
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(None)
    assert [response.headers[ERROR] for response in responses] == [
        "Another profiler looks at this thread"
    ] * 2
    said = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert said == ["A request is not profiled: Another profiler looks at this thread"]


def test_a_profile_of_the_application_within_it_harms_neither(tmp_path):
    path = tmp_path / "inner.prof"

    def inner(config):
        config.add_route("inner", "/inner")
        config.add_view(
            Profile(path)(lambda _: Response(str(hot_function(0.005)))),
            route_name="inner",
        )

    client = Client(configure(inner))
    response = client.profiled("/inner")
    assert response.text == "None"
    assert ID in response.headers
    # From Python 3.12 on, both see it.
    assert path.exists() == (sys.version_info >= (3, 12))


def test_without_pyinstrument_the_answer_says_so_and_orders_are_refused(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyinstrument", None)
    recording._bounded.cache_clear()
    monkeypatch.setattr(recording, "available", lambda: False)
    try:
        response = client.profiled("/quick")
        assert response.text == "quick"
        assert response.headers[ERROR] == recording.LACKING
        refused = client.tell(501, requests="1")
        assert "pip install 'c2cotel[debug]'" in refused["message"]
        page = client.get(PAGE, X_API_Key=SECRET, Accept="text/html")
        assert "needs pyinstrument" in page.text
        assert ">Profile them<" not in page.text
    finally:
        recording._bounded.cache_clear()


def test_what_fails_in_here_reaches_nobody_and_is_said_once(client, monkeypatch, caplog):
    def refuse(*_, **__):
        raise RuntimeError("no room")

    monkeypatch.setattr(core.Kept, "keep", refuse)
    responses = [client.profiled("/quick") for _ in range(2)]
    assert [(response.text, ID in response.headers) for response in responses] == [
        ("quick", False)
    ] * 2
    assert sys.getprofile() is None
    said = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert said == ["A request could not be profiled; it goes on. Further ones are not logged."]


def test_a_request_that_nobody_profiles_costs_next_to_nothing(client):
    """Of the 1 µs that is allowed here, on a busy machine, it takes a tenth."""
    environ = Request.blank("/quick").environ

    def bare(*_):
        return None

    watched = watching.around(bare, client.app.registry)
    cost = min(timeit.repeat(lambda: watched(environ, None), number=2000, repeat=7))
    base = min(timeit.repeat(lambda: bare(environ, None), number=2000, repeat=7))
    assert (cost - base) / 2000 < 1e-6


# --- as ordered -----------------------------------------------------------------------------------


def test_the_next_requests_of_a_route_are_profiled(client):
    ordered = order(client, requests="2", route="/hello/*")
    for path in ("/quick", "/hello/a", "/hello/b", "/hello/c"):
        assert ID not in client.get(path).headers
    told = client.tell()
    assert told["ordered"]["taken"] == 2
    assert {profile["path"] for profile in told["profiles"]} == {"/hello/a", "/hello/b"}
    assert {profile["order"] for profile in told["profiles"]} == {ordered["id"]}
    assert {profile["actor"] for profile in told["profiles"]} == {"secret"}


def test_without_a_route_it_is_the_next_requests_but_not_those_of_operators(client):
    order(client, requests="2")
    client.kept()
    client.get("/nowhere")
    client.get("/quick")
    client.get("/hello/a")
    assert {profile["path"] for profile in client.kept()} == {"/nowhere", "/quick"}


def test_requests_of_another_route_do_not_count_even_if_their_path_looks_like_it():
    def overlap(config):
        config.add_route("posted", "/both", request_method="POST")
        config.add_view(lambda _: Response("posted"), route_name="posted")
        config.add_route("other", "/{any}")
        config.add_view(lambda _: Response("other"), route_name="other")

    client = Client(configure(overlap))
    order(client, requests="1", route="/both")
    assert client.get("/both").text == "other"
    told = client.tell()
    assert (told["ordered"]["taken"], told["profiles"]) == (0, [])
    assert client.get("/both", method="POST").text == "posted"
    assert client.tell()["ordered"]["taken"] == 1


def test_an_order_can_be_called_off(client):
    order(client, requests="2")
    assert client.tell(requests="0")["ordered"] is None
    client.get("/quick")
    assert client.kept() == []


def test_an_order_ends_by_itself(client):
    order(client, requests="2", ttl="1")
    deadline = threading.Event()
    for _ in range(100):
        if core.profiles().waiting is None:
            break
        deadline.wait(0.1)
    client.get("/quick")
    assert client.tell()["ordered"] is None
    assert client.kept() == []


def test_a_new_order_takes_the_place_of_the_one_before(client):
    first = order(client, requests="2", route="/quick")
    second = order(client, requests="1", route="/hello/*")
    client.get("/quick")
    client.get("/hello/a")
    (profile,) = client.kept()
    assert first["id"] != second["id"] == profile["order"]


def test_paths_that_are_no_text_are_none_of_an_order(client):
    order(client, requests="1", route="/hello/*")
    environ = Request.blank("/hello/a").environ
    environ["PATH_INFO"] = "/hello/\xff"
    with pytest.raises(URLDecodeError):
        Request(environ).get_response(client.app)
    assert client.tell()["ordered"]["taken"] == 0


def test_what_another_host_has_profiled_is_heard(client):
    ordered = order(client, requests="2")
    told = {"order": ordered["id"], "place": "another host", "number": 0}
    broadcast.broadcast(core.CHANNEL, told)
    broadcast.broadcast(core.CHANNEL, {**told, "order": "0" * 16, "number": 1})
    client.get("/quick")
    client.get("/quick")
    told = client.tell()
    assert (told["ordered"]["taken"], len(told["profiles"])) == (2, 1)


def test_what_is_profiled_here_other_hosts_are_told(client):
    """Without a run directory every process is like a host of its own."""
    heard = threading.Event()
    seen = []

    def hear(**told):
        seen.append(told)
        heard.set()

    ordered = order(client, requests="2")
    profiles = core.profiles()
    tell = profiles._broadcaster.tell
    profiles._broadcaster.tell = lambda _, told, *__, **___: hear(**told)
    try:
        client.get("/quick")
        assert heard.wait(10)
    finally:
        profiles._broadcaster.tell = tell
    assert seen == [{"order": ordered["id"], "place": profiles.kept.place, "number": 0}]
