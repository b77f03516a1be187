"""The views in a real application, with the real authentication and the real sampler."""

import io
import json
import pstats
import re
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden
from webob import Request

from c2cotel import broadcast
from c2cotel.broadcast.agreement import agreement
from c2cotel.debug.profile import core
from c2cotel.pyramid.access import Access, Actor, Identity
from c2cotel.pyramid.console import console_of
from c2cotel.pyramid.views import add_c2c_view
from c2cotel_acceptance.utils import retry_timeout
from c2cotel_instrumentation.pyramid import PyramidInstrumentor

from ...index.conftest import Page  # noqa: TID252 - as a neighbour reads pages
from .workers import REQUEST, ROUTE, TRACE, Answered

SECRET = "a secret of the tests"
PROFILE, PAGES = "/c2c/debug/profile", "/c2c/debug/profiles"


class Reader:
    """Somebody who may look, and not change anything."""

    def authorise(self, request, access):
        if access > Access.READ:
            raise HTTPForbidden("You may look only")
        return Actor("reader", request.remote_addr or "")

    def identity(self, _):
        return Identity("reader", "", "", Access.READ)

    def csrf_token(self, _):
        return "token"

    def check_csrf(self, _):
        pass


def configure(authority=None, **ini):
    config = Configurator(settings={"c2c.secret": SECRET, **ini})
    config.add_directive("add_c2c_view", add_c2c_view)
    for feature in ("c2cotel.pyramid.pages", "c2cotel.auth", "c2cotel.debug.profile"):
        config.include(feature)
    if authority is not None:
        config.registry.c2c_authority = authority
    return config.make_wsgi_app()


def sampler():
    return core.profiles(broadcast.broadcaster(), agreement()).sampler


@pytest.fixture(scope="module", autouse=True)
def _request():
    """A thread of this process answers a request all the time."""
    instrumentor, stop = PyramidInstrumentor(), threading.Event()
    instrumentor.instrument()
    running = instrumentor.running

    def answer():
        outer = running.enter(Answered())
        try:
            while not stop.wait(0.002):
                sum(range(20_000))
        finally:
            running.leave(outer)

    thread = threading.Thread(target=answer, name="worker-7")
    thread.start()
    yield
    stop.set()
    thread.join()
    sampler().stop()
    instrumentor.uninstrument()
    broadcast.cleanup()


@pytest.fixture(scope="module")
def app():
    return configure(**{"c2c.trace_url": "https://traces.example/{trace_id}"})


def ask(app, path=PROFILE, post=None, secret=SECRET, **query):
    request = Request.blank(path, POST=post)
    if query:
        request.GET.update(query)
    if post is not None:
        request.method = "POST"
    if secret:
        request.headers["X-API-Key"] = secret
    request.remote_addr = "192.0.2.7"
    return request.get_response(app)


def tell(app, path=PROFILE, expected=200, **query):
    response = ask(app, path, **query)
    assert response.status_int == expected, response.text
    return response.json


def page(app, path, expected=200, **query):
    request = Request.blank(path, headers={"X-API-Key": SECRET, "Accept": "text/html"})
    request.GET.update(query)
    response = request.get_response(app)
    assert response.status_int == expected, response.text
    return Page(response.text)


def refused(app, expected=400, **post):
    return tell(app, expected=expected, post=post)["message"]


@pytest.fixture
def idle():
    """No profile is on, before and after."""
    sampler().stop()
    yield
    sampler().stop()


@pytest.fixture(scope="module")
def done(app):
    """The id of a profile that has ended."""
    sampler().stop()
    id_ = tell(app, expected=202, post={"seconds": "1"})["id"]
    retry_timeout(lambda: tell(app, f"{PROFILE}/{id_}")["state"] == "done", 10, 0.05)
    return id_


@pytest.mark.usefixtures("idle")
def test_starting_one_tells_where_it_will_be_and_who_takes_part(app):
    response = ask(app, post={"seconds": "30", "hz": "50", "mode": "cpu", "route": "/report/*"})
    assert response.status_int == 202
    told = response.json
    id_ = told.pop("id")
    assert re.fullmatch("[0-9a-f]{16}", id_)
    me = broadcast.broadcaster().process
    assert told == {
        "status": 202,
        "seconds": 30.0,
        "hz": 50.0,
        "mode": "cpu",
        "route": "/report/*",
        "processes": [str(me)],
        "silent": [],
        "url": f"{PROFILE}/{id_}",
        "page": f"{PAGES}/{id_}",
    }
    assert response.headers["Location"].endswith(told["url"])
    current = sampler().current
    assert (current.profile_id, current.order.hz) == (id_, 50.0)
    # It runs, and says so.
    (first, *_) = tell(app)["profiles"]
    assert (first["id"], first["state"], first["actor"]) == (id_, "running", "secret")
    assert first["address"] == "192.0.2.7"
    assert 20 < first["left"] <= 30
    assert [part["state"] for part in first["processes"]] == ["running"]
    assert refused(app, 409).startswith(f"{me}: the profile {id_} by secret runs there, for")
    assert tell(app, f"{PROFILE}/{id_}/json", 409)["message"].startswith(f"The profile {id_} runs")
    assert "functions" not in tell(app, f"{PROFILE}/{id_}")
    running = page(app, f"{PAGES}/{id_}")
    assert "It runs for another" in running.text
    (progress,) = running.all("progress")
    assert progress["data-profile-state"] == f"{PROFILE}/{id_}"
    assert tell(app, post={"stop": id_}) == {"status": 200, "id": id_}
    retry_timeout(lambda: tell(app, f"{PROFILE}/{id_}")["state"] == "done", 5, 0.05)
    assert tell(app, f"{PROFILE}/{id_}")["processes"][0]["state"] == "early"
    assert f"stop={id_}: no such profile" in refused(app, 404, stop=id_)


@pytest.mark.parametrize(
    ("post", "message"),
    [
        ({"seconds": "1e9"}, "seconds=1e9: expected a number from 1 to 60"),
        ({"seconds": "0"}, "seconds=0: expected a number from 1 to 60"),
        ({"seconds": "nan"}, "seconds=nan: expected a number from 1 to 60"),
        ({"hz": "0"}, "hz=0: expected a number from 1 to 200"),
        ({"hz": "many"}, "hz=many: expected a number from 1 to 200"),
        ({"mode": "gpu"}, "mode=gpu: expected one of wall, cpu"),
        (
            {"process": "mine"},
            "process=mine: expected all, the number of a process, or host/number",
        ),
        ({"process": "/1"}, "process=/1: expected all, the number of a process, or host/number"),
        ({"process": "٣"}, "process=٣: expected all, the number of a process, or host/number"),
        ({"route": "/a\nb"}, "route: expected the pattern of a route, for example /api/*"),
    ],
)
def test_what_cannot_be_is_refused_with_what_could(app, post, message):
    assert refused(app, **post) == message
    assert sampler().current is None


def test_an_unknown_process_is_refused_with_those_that_there_are(app):
    me = broadcast.broadcaster().process
    assert refused(app, process="1") == f"process=1: no such process; there are {me}"
    told = refused(app, process=f"elsewhere/{me.pid}")
    assert told == f"process=elsewhere/{me.pid}: no such process; there are {me}"


@pytest.mark.usefixtures("idle")
def test_one_process_is_chosen_by_its_number_or_with_its_host(app):
    me = broadcast.broadcaster().process
    for name in (str(me.pid), str(me)):
        told = tell(app, expected=202, post={"process": name})
        assert told["processes"] == [str(me)]
        tell(app, post={"stop": told["id"]})


def test_only_who_may_change_things_starts_and_stops_one():
    app = configure(Reader())
    assert ask(app, secret=None).status_int == 200
    assert ask(app, post={}, secret=None).status_int == 403
    assert ask(app, post={"stop": "0" * 16}, secret=None).status_int == 403
    assert "log in to the console with the right to change" in page(app, PAGES).text
    assert sampler().current is None


def test_somebody_unknown_sees_nothing(app, done):
    for path in (PROFILE, f"{PROFILE}/{done}", f"{PROFILE}/{done}/json", PAGES, f"{PAGES}/{done}"):
        assert ask(app, path, secret=None).status_int == 403


def test_a_get_starts_nothing(app):
    tell(app, seconds="30")
    assert sampler().current is None


def test_a_profile_tells_who_took_part_what_is_hot_and_which_traces_ran(app, done):
    told = tell(app, f"{PROFILE}/{done}", route=ROUTE)
    (process,) = told["processes"]
    assert process["process"] == str(broadcast.broadcaster().process)
    assert (process["state"], process["truncated"], process["problem"]) == ("done", False, None)
    assert process["ticks"] > 20
    assert 0 < process["cost"] < 1
    routes = {each["route"]: each["seconds"] for each in told["routes"]}
    assert routes[ROUTE] == pytest.approx(told["shown_seconds"])
    assert told["thread_seconds"] == pytest.approx(sum(routes.values()))
    functions = {each["function"]: each for each in told["functions"]}
    answering = functions["_request.<locals>.answer"]
    assert answering["file"] == __file__
    assert answering["total"] == pytest.approx(told["shown_seconds"])
    (trace,) = told["traces"]
    assert trace.pop("seconds") == pytest.approx(told["shown_seconds"], rel=0.1)
    assert trace == {
        "trace_id": TRACE,
        "method": "GET",
        "route": ROUTE,
        "request_id": REQUEST,
        "requests": 1,
        "share": 1.0,
    }
    assert len(tell(app, f"{PROFILE}/{done}", limit="1")["functions"]) == 1
    assert tell(app, f"{PROFILE}/{done}", route="/elsewhere")["functions"] == []


@pytest.mark.parametrize(
    ("name", "content_type", "suffix"),
    [
        ("speedscope", "application/json", "speedscope.json"),
        ("collapsed", "text/plain", "collapsed.txt"),
        ("pstats", "application/octet-stream", "pstats"),
        ("json", "application/json", "json"),
        ("flame", "application/json", "flame.json"),
    ],
)
def test_each_format_is_a_file_with_a_name(app, done, name, content_type, suffix):
    response = ask(app, f"{PROFILE}/{done}/{name}")
    assert (response.status_int, response.content_type) == (200, content_type)
    expected = f'attachment; filename="profile-{done}.{suffix}"'
    assert response.headers["Content-Disposition"] == expected
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    me = str(broadcast.broadcaster().process)
    of_me = ask(app, f"{PROFILE}/{done}/{name}", process=me)
    assert of_me.body == response.body
    named = re.sub("[^A-Za-z0-9.]+", "-", me)
    assert f"profile-{done}-{named}.{suffix}" in of_me.headers["Content-Disposition"]


def test_the_files_have_what_was_sampled(app, done, tmp_path):
    collapsed = ask(app, f"{PROFILE}/{done}/collapsed").text
    assert re.search(rf"^{re.escape(ROUTE)};.*answer.* \d+$", collapsed, re.MULTILINE)
    speedscope = ask(app, f"{PROFILE}/{done}/speedscope").json
    assert {"name": ROUTE} in speedscope["shared"]["frames"]
    assert speedscope["exporter"].startswith("c2cotel@")
    path = tmp_path / "p.pstats"
    path.write_bytes(ask(app, f"{PROFILE}/{done}/pstats").body)
    out = io.StringIO()
    pstats.Stats(str(path), stream=out).print_stats("answer").print_callers("answer")
    assert "answer" in out.getvalue()
    whole = json.loads(ask(app, f"{PROFILE}/{done}/json").body)
    assert [each["process"] for each in whole["processes"]] == [
        str(broadcast.broadcaster().process)
    ]


def test_what_is_not_there_is_404_and_an_unknown_process_400(app, done):
    for path in (f"{PROFILE}/{'0' * 16}", f"{PROFILE}/x", f"{PAGES}/x", f"{PROFILE}/x/json"):
        assert "There is no profile" in tell(app, path, 404)["message"]
    told = tell(app, f"{PROFILE}/{done}/svg", 404)["message"]
    assert told == "svg: expected one of speedscope, collapsed, pstats, json, flame"
    told = tell(app, f"{PROFILE}/{done}/json", 400, process="elsewhere/1")["message"]
    assert told == f"process=elsewhere/1: expected one of {broadcast.broadcaster().process}"


def test_the_page_of_a_profile_has_it_all_without_a_script(app, done):
    shown = page(app, f"{PAGES}/{done}")
    assert f"c2c.profile.id = {done}" in shown.text
    for text in ("Own cost", "% of one core", "Hottest functions", "Processes", ROUTE, REQUEST):
        assert text in shown.text
    assert shown.all("a", href=f"https://traces.example/{TRACE}")
    for name in ("speedscope", "collapsed", "pstats", "json"):
        assert shown.all("a", href=f"{PROFILE}/{done}/{name}")
    (flame,) = shown.all("div", id="flame-graph")
    assert flame["data-flame"] == f"{PROFILE}/{done}/flame"
    assert flame["data-threads"] == "requests"
    assert "Of all threads" in page(app, f"{PAGES}/{done}", threads="all").text
    searched = page(app, f"{PAGES}/{done}", q="ANSWER test_views")
    (hottest,) = searched.text.partition("With what it calls Share")[2:]
    assert hottest.split()[0].endswith("answer")
    assert "No function is like that" in page(app, f"{PAGES}/{done}", q="nobody").text
    assert f"Of the route {ROUTE} only" in page(app, f"{PAGES}/{done}", route=ROUTE).text


def test_the_list_has_a_form_and_leads_to_the_profiles(app, done):
    shown = page(app, PAGES)
    assert shown.all("a", href=f"{PAGES}/{done}")
    assert "by secret from 192.0.2.7" in shown.text


@pytest.mark.usefixtures("idle")
def test_the_form_leads_to_the_page_of_the_profile(app):
    response = ask(app, post={"seconds": "30", "page": "1"})
    assert response.status_int == 303
    id_ = sampler().current.profile_id
    assert response.location.endswith(f"{PAGES}/{id_}")
    response = ask(app, post={"stop": id_, "back": f"{PAGES}/{id_}"})
    assert (response.status_int, sampler().current) == (303, None)


@pytest.mark.usefixtures("idle")
def test_what_is_wrong_stands_above_the_form_as_it_was_filled_in(app):
    sent = {"seconds": "12", "hz": "1000", "mode": "cpu", "route": "/<b>", "page": "1"}
    response = ask(app, post=sent)
    assert (response.status_int, response.content_type) == (400, "text/html")
    shown = Page(response.text)
    assert "hz=1000: expected a number from 1 to 200" in shown.text
    fields = {field["name"]: field["value"] for field in shown.all("input") if "value" in field}
    assert {name: fields[name] for name in ("seconds", "hz", "route")} == {
        name: sent[name] for name in ("seconds", "hz", "route")
    }
    assert [each["value"] for each in shown.all("option") if "selected" in each] == ["cpu"]
    id_ = tell(app, expected=202, post={"seconds": "30"})["id"]
    response = ask(app, post={"seconds": "13", "page": "1"})
    assert (response.status_int, response.content_type) == (409, "text/html")
    assert f"the profile {id_} by secret runs there" in Page(response.text).text
    assert Page(response.text).all("input", name="seconds", value="13")


def test_programs_and_people_see_the_same_threads_by_default(app, done):
    told = tell(app, f"{PROFILE}/{done}")
    assert told["shown_seconds"] == pytest.approx(
        tell(app, f"{PROFILE}/{done}", threads="requests")["shown_seconds"]
    )
    assert told["shown_seconds"] < tell(app, f"{PROFILE}/{done}", threads="all")["shown_seconds"]


def test_they_are_on_the_console_and_every_name_is_that_of_a_route(app):
    entries = {entry.route: entry for entry in console_of(app.registry).entries}
    assert entries["c2c_debug_profiles"].section == "Debug"


def test_the_script_and_the_style_come_from_here(app, done):
    shown = page(app, f"{PAGES}/{done}")
    (script,) = (each["src"] for each in shown.all("script") if "flame" in each["src"])
    response = ask(app, script, secret=None)
    assert (response.status_int, response.content_type) == (200, "text/javascript")
    assert not [attributes for _, attributes in shown.elements if "style" in attributes]


FOUND = f"{PROFILE}/{{id}}"
PATHS = (PROFILE, FOUND, f"{FOUND}/json", PAGES, f"{PAGES}/{{id}}")
QUERY = ("q", "process", "route", "threads", "limit", "seconds", "stop", "page", "back")
anything = st.text(max_size=30) | st.sampled_from(["all", "1", "60", "-1", "1e400", "a/1", "/"])


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    path=st.sampled_from(PATHS),
    query=st.dictionaries(st.sampled_from(QUERY), anything, max_size=3),
    posted=st.none()
    | st.dictionaries(
        st.sampled_from(["seconds", "hz", "mode", "process", "route", "stop", "page", "back"]),
        anything,
        max_size=4,
    ),
)
def test_no_parameters_are_an_error_of_the_servers(app, done, path, query, posted):
    request = Request.blank(path.format(id=done), POST=posted)
    request.GET.update(query)
    request.headers["X-API-Key"] = SECRET
    request.headers["Accept"] = "text/html, application/json;q=0.5"
    response = request.get_response(app)
    sampler().stop()
    assert response.status_int in (200, 202, 303, 400, 404, 405, 409)
    assert len(response.body) < 2_000_000
