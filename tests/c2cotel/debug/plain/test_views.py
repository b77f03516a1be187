"""Sleep, headers, error and time in a real application, with and without exception handling."""

import ast
import re
import time
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyramid.config import Configurator
from pyramid.httpexceptions import status_map
from pyramid.request import Request

from c2cotel.debug.plain import core
from c2cotel.pyramid.access import Access
from c2cotel.pyramid.console import console_of
from c2cotel.pyramid.views import add_c2c_view

SECRET = "a secret of the tests"
SLEEP, HEADERS, ERROR, TIME = (
    f"/c2c/debug/{name}" for name in ("sleep", "headers", "error", "time")
)
ALL = (SLEEP, HEADERS, ERROR, TIME)


def configure(handling="0", *, secret=SECRET, feature="c2cotel.debug.plain"):
    ini = {"c2c.enable_exception_handling": handling, "c2c.secret": secret or ""}
    config = Configurator(settings=ini)
    config.add_directive("add_c2c_view", add_c2c_view)
    for each in ("c2cotel.pyramid.pages", "c2cotel.auth", feature, "c2cotel.errors"):
        config.include(each)
    return config.make_wsgi_app()


@pytest.fixture(scope="module", params=["0", "1"], ids=["plain", "handled"])
def app(request):
    """One without exception handling, and one with it: what is told is the same."""
    return configure(request.param)


def ask(app, path, method="GET", *, query=None, **headers):
    request = Request.blank(path, method=method)
    if query is not None:
        request.GET.update(query)
    for name, value in headers.items():
        request.headers[name.replace("_", "-")] = value
    return request.get_response(app)


def tell(app, path, **query):
    return ask(app, path, query=query, X_API_Key=SECRET)


# --- sleep ----------------------------------------------------------------------------------------


def test_sleep_answers_nothing_after_that_time(app):
    began = time.monotonic()
    response = tell(app, SLEEP, time="0.15")
    assert time.monotonic() - began >= 0.15
    assert (response.status, response.body) == ("204 No Content", b"")
    assert not {"Content-Type", "Content-Length"} & set(response.headers)
    assert tell(app, SLEEP, time="0").status_int == 204


@pytest.mark.parametrize("text", ["-1", "300.1", "1e9", "nan", "inf", "soon", "9" * 400, "0x1"])
def test_a_time_that_cannot_be_slept_is_400(app, text):
    response = tell(app, SLEEP, time=text)
    expected = f"time={text[:80]}: expected a number from 0 to 300"
    assert (response.status_int, response.json["message"]) == (400, expected)


def test_sleep_needs_a_time(app):
    assert tell(app, SLEEP).json == {
        "message": "time is missing: expected a number from 0 to 300",
        "status": 400,
    }


# --- headers --------------------------------------------------------------------------------------


def test_headers_are_those_that_came_without_secrets(app):
    response = ask(
        app,
        HEADERS,
        X_API_Key=SECRET,
        Cookie="c2c-auth-jwt=hunter2",
        Authorization="Basic aHVudGVyMg==",
        Proxy_Authorization="Basic aHVudGVyMg==",
        X_Auth_Token="hunter2",
        X_CSRF_Token="hunter2",
        X_Amz_Signature="hunter2",
        X_Original_URL="/pets?secret=hunter2&page=1",
        Referer="https://me:hunter2@example.com/?token=hunter2",
        X_Request_ID="a-request",
    )
    assert response.json == {
        "headers": {
            "Host": "localhost:80",
            "X-Api-Key": "REDACTED",
            "Cookie": "REDACTED",
            "Authorization": "REDACTED",
            "Proxy-Authorization": "REDACTED",
            "X-Auth-Token": "REDACTED",
            "X-Csrf-Token": "REDACTED",
            "X-Amz-Signature": "REDACTED",
            "X-Original-Url": "/pets?secret=REDACTED&page=1",
            "Referer": "https://me:REDACTED@example.com/?token=REDACTED",
            "X-Request-Id": "a-request",
        },
        "client_info": {
            "client_addr": None,
            "host": "localhost:80",
            "host_port": "80",
            "http_version": "HTTP/1.0",
            "path": HEADERS,
            "path_info": HEADERS,
            "remote_addr": None,
            "remote_host": None,
            "scheme": "http",
            "server_name": "localhost",
            "server_port": 80,
        },
    }


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_with_a_status_they_are_in_its_message(app, status):
    response = tell(app, HEADERS, status=str(status))
    assert response.status_int == response.json["status"] == status
    assert response.body.startswith(b'{"message": "{')
    told = ast.literal_eval(response.json["message"])
    assert told == tell(app, HEADERS).json
    assert SECRET not in response.text


def test_headers_that_are_no_ascii_are_told(app):
    response = ask(app, HEADERS, X_API_Key=SECRET, X_Name="\xe9t\xe9\x01", Host="\xff")
    assert response.json["headers"]["X-Name"] == "\xe9t\xe9\x01"


# --- error ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [code for code in sorted(status_map) if 400 <= code != 520])
def test_an_error_is_json(app, status):
    response = tell(app, ERROR, status=str(status))
    assert response.status_int == status
    assert response.content_type == "application/json"
    assert response.body == b'{"message": "Test", "status": %d}' % status


@pytest.mark.parametrize("status", [code for code in sorted(status_map) if code < 400])
def test_what_is_no_error_is_as_pyramid_has_it(app, status):
    response = ask(app, ERROR, query={"status": str(status)}, X_API_Key=SECRET, Accept="text/html")
    assert response.status_int == status
    if status in (204, 205, 304):
        assert response.body == b""
    else:
        assert response.content_type == "text/html"
        assert b"Test" in response.body
    if status in (204, 304):
        assert "Content-Type" not in response.headers


def test_an_error_is_a_page_for_a_browser(app):
    response = ask(app, ERROR, query={"status": "503"}, X_API_Key=SECRET, Accept="text/html")
    assert (response.status_int, response.content_type) == (503, "text/html")
    assert "Test" in response.text


@pytest.mark.parametrize("path", [HEADERS, ERROR])
@pytest.mark.parametrize("status", ["99", "600", "-1", "soon", "404.0", "9" * 5000])
def test_what_is_no_status_is_400(app, path, status):
    response = tell(app, path, status=status)
    assert response.status_int == 400
    assert re.match(r"status(=.*: expected|: has 5000 characters)", response.json["message"])


@pytest.mark.parametrize("path", [HEADERS, ERROR])
@pytest.mark.parametrize("status", ["100", "101", "299", "419", "520", "599"])
def test_a_status_that_pyramid_does_not_have_is_400(app, path, status):
    response = tell(app, path, status=status)
    assert response.status_int == 400
    known = f"status={status}: expected one of 200, 201, "
    assert response.json["message"].startswith(known)


def test_an_error_needs_a_status(app):
    message = "status is missing: write for example status=500"
    assert tell(app, ERROR).json == {"message": message, "status": 400}


# --- time -----------------------------------------------------------------------------------------


@pytest.fixture
def _in_zurich(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_in_zurich")
def test_the_clock_is_for_everybody(app):
    before = time.time()
    told = ask(app, TIME).json
    assert list(told) == ["local_time", "gmt_time", "epoch", "timezone"]
    assert before <= told["epoch"] <= time.time()
    utc = datetime.fromisoformat(told["gmt_time"]).replace(tzinfo=UTC)
    assert utc.timestamp() == pytest.approx(told["epoch"], abs=1e-5)
    local = datetime.fromisoformat(told["local_time"])
    assert told["local_time"] == str(local)
    assert local.timestamp() == pytest.approx(told["epoch"], abs=1e-5)
    assert told["timezone"] in ("CET", "CEST")


def test_the_clock_is_there_without_authentication():
    app = configure(secret=None)
    assert ask(app, TIME).status_int == 200
    assert {ask(app, path).status_int for path in (SLEEP, HEADERS, ERROR)} == {403}


# --- pages ----------------------------------------------------------------------------------------


def test_the_headers_have_a_page(app):
    given = {"X_API_Key": SECRET, "X_Odd": "<b>&hunter3", "Cookie": "a=hunter2"}
    response = ask(app, f"{HEADERS}/table", **given)
    assert (response.status_int, response.content_type) == (200, "text/html")
    page = response.text
    assert "&lt;b&gt;&amp;hunter3" in page
    assert "client_addr" in page
    assert "hunter2" not in page
    assert SECRET not in page
    assert f'href="{HEADERS}"' in page
    assert re.search(rf'<form[^>]* action="{HEADERS}"', page)
    assert ask(app, f"{HEADERS}/table").status_int == 403


def test_the_time_has_a_page_for_everybody(app):
    response = ask(app, f"{TIME}/clock")
    assert (response.status_int, response.content_type) == (200, "text/html")
    told = float(re.search(r"<dd>(\d{10}\.\d+)</dd>", response.text)[1])
    assert abs(time.time() - told) < 60
    assert f'href="{TIME}"' in response.text


# --- all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SLEEP, HEADERS, ERROR])
def test_nobody_unknown_gets_anything(app, path):
    response = ask(app, path, query={"time": "300", "status": "404"})
    assert response.status_int == 403
    assert ask(app, path, "POST").status_int == 405


@pytest.mark.parametrize("path", ALL)
def test_without_the_setting_there_is_nothing(path):
    assert ask(configure(feature="c2cotel.debug"), path, X_API_Key=SECRET).status_int == 404


def test_the_console_offers_them(app):
    entries = {entry.title: entry for entry in console_of(app.registry).entries}
    assert {
        title: [each.name for each in entries[title].form.fields] for title in ("Sleep", "Error")
    } == {
        "Sleep": ["time"],
        "Error": ["status"],
    }
    assert entries["Time"].access is Access.PUBLIC
    assert {title: entries[title].route for title in ("Headers", "Time")} == {
        "Headers": "c2c_debug_headers_table",
        "Time": "c2c_debug_time_clock",
    }
    assert {entry.section for entry in entries.values()} == {"Debug"}


texts = st.one_of(
    st.text(max_size=300),
    st.sampled_from(["", "0", "404", "1e-3", "1e9", "nan", "-0", "\xb2", "٤٠٤", "4_0_4", "\r\n"]),
    st.integers().map(str),
    st.floats().map(str),
)


@settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from(ALL),
    st.dictionaries(st.sampled_from(["status", "back"]), texts),
    st.sampled_from(["*/*", "text/html", "application/json", "image/*;q=x", ""]),
    st.sampled_from(["GET", "HEAD"]),
)
def test_no_parameters_are_a_failure(app, path, parameters, accept, method):
    response = ask(app, path, method, query=parameters, X_API_Key=SECRET, Accept=accept)
    asked = parameters.get("status", "").strip()
    if response.status_int >= 500:
        assert int(asked) == response.status_int, "what was asked for"
    assert len(response.body) < 20_000


@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(texts.filter(lambda text: not text.strip() or not is_slow(text)))
def test_no_time_is_a_failure(app, text):
    assert tell(app, SLEEP, time=text).status_int in (204, 400)


def is_slow(text):
    try:
        return 0.1 < float(text) <= core.LONGEST_SLEEP
    except ValueError:
        return False
