"""The console in a real application: who sees what, login and logout, forms, JSON."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest

from c2cotel.broadcast import broadcaster
from c2cotel.broadcast.agreement import agreement
from c2cotel.pyramid.access import Access, Actor, Identity

EVIL = "<script>alert(1)</script>"
WRONG = {"secret": "wrong"}


class Known:
    """An authority that knows one person."""

    def __init__(self, identity):
        self._identity = identity

    def authorise(self, request, access):
        return Actor(self._identity.login, "", "cookie")

    def identity(self, request):
        return self._identity

    def csrf_token(self, request):
        return "token"

    def check_csrf(self, request):
        return None


def titles(page):
    """What of the features is on the page."""
    return [title for title in ("Health", "Memory", "Read-only") if title in page.text]


# --- who sees what --------------------------------------------------------------------------------


def test_an_anonymous_visitor_sees_the_login_and_what_is_for_everybody(browser):
    page = browser.page()
    assert titles(page) == ["Health"]
    assert page.all("input", type="password", name="secret", autocomplete="current-password")
    assert "Processes" not in page.text
    assert str(os.getpid()) not in page.text
    assert page.all("nav") == []


def test_who_is_logged_in_sees_everything(reader):
    page = reader.page()
    assert titles(page) == ["Health", "Memory", "Read-only"]
    assert f"{os.getpid()} {socket.gethostname()} this page" in page.text
    assert "Redis not configured" in page.text
    assert "Nothing has been changed." in page.text
    assert page.all("input", type="password") == []


def test_the_process_tells_how_it_is(reader):
    told = reader.get("/c2c?format=json").json
    (worker,) = told["workers"]
    assert (worker["pid"], worker["host"]) == (os.getpid(), socket.gethostname())
    assert (worker["silent"], worker["here"]) == (False, True)
    assert 0 < worker["age"] < 24 * 3600
    assert worker["memory"] > 1_000_000
    # Nobody counts them in these tests.
    assert worker["requests"] is None


@pytest.mark.parametrize("path", ["/c2c", "/c2c/"])
@pytest.mark.parametrize("verb", ["GET", "HEAD", "POST"])
def test_it_is_there_with_and_without_a_slash(browser, path, verb):
    response = browser.post(path) if verb == "POST" else browser.get(path, verb)
    assert (response.status_int, response.content_type) == (200, "text/html")
    assert ("Log in" in response.text) == (verb != "HEAD")


def test_without_a_base_path_there_is_none(start):
    browser = start({"c2c.base_path": ""})
    assert {browser.get(path).status_int for path in ("/", "/c2c", "/settings")} == {404}


def test_below_a_route_prefix_all_addresses_are(start):
    browser = start(prefix="app")
    assert browser.post("/app/c2c", secret=browser.secret).location == "http://localhost/app/c2c"
    page = browser.page("/app/c2c")
    local = [found["href"] for found in page.all("a") + page.all("link")]
    assert {path for path in local if not path.startswith(("/app/c2c", "#"))} == set()
    assert [found["action"] for found in page.all("form")] == [
        *("/app/c2c", "/app/c2c/look", "/app/c2c/change")
    ]


def test_without_authentication_the_page_says_what_to_configure(start):
    page = start({}).page()
    assert "C2C_SECRET" in page.text
    assert page.all("form") == []
    assert titles(page) == ["Health"]


def test_who_may_only_look_is_told_so_where_the_form_would_be(start):
    page = start(authority=Known(Identity("ann", "Ann", "", Access.READ))).page()
    assert "To change this, log in with the right to change." in page.text
    assert page.all("form", action="/c2c/change") == []
    assert page.all("form", action="/c2c/look")


def test_who_has_no_right_sees_what_everybody_sees_and_why(start):
    page = start(authority=Known(Identity("ann", "Ann", "", Access.PUBLIC))).page()
    assert "You are logged in as Ann, who may not look further." in page.text
    assert titles(page) == ["Health"]


def test_what_a_name_or_an_address_from_outside_is_shows_as_text(start):
    evil = Identity(EVIL, f'{EVIL}" onclick="x', "javascript:alert(1)", Access.CHANGE)
    response = start(authority=Known(evil)).get("/c2c")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34; onclick=&#34;x" in response.text
    assert EVIL not in response.text
    assert "javascript:" not in response.text


# --- login and logout -----------------------------------------------------------------------------


def test_after_a_login_the_page_can_be_loaded_again_without_sending_the_secret(browser):
    response = browser.post("/c2c", secret=browser.secret)
    assert (response.status_int, response.location) == (303, "http://localhost/c2c")
    assert "Memory" in browser.page().text


def test_the_secret_in_the_address_logs_in_too(browser):
    response = browser.get("/c2c?" + urlencode({"secret": browser.secret}))
    assert response.status_int == 200
    assert "Memory" in response.text
    assert browser.secret not in response.text
    assert "Memory" in browser.page().text


def test_a_wrong_secret_is_said_on_the_page(browser):
    for response in (browser.post("/c2c", **WRONG), browser.get("/c2c?secret=wrong")):
        assert (response.status_int, response.content_type) == (200, "text/html")
        assert "Missing or invalid secret" in response.text
        assert "wrong" not in response.text
        assert 'role="alert"' in response.text
    assert browser.cookies == {}


def test_too_many_wrong_secrets_are_429_with_the_time_to_wait(browser):
    for _ in range(6):
        response = browser.post("/c2c", **WRONG)
    assert response.status_int == 429
    assert int(response.headers["Retry-After"]) > 0
    assert "Too many wrong secrets" in response.text
    assert browser.get("/c2c").status_int == 200


def test_an_empty_secret_logs_out(reader):
    page = reader.page()
    (button,) = page.all("form", action="/c2c")
    assert button["method"] == "post"
    response = reader.post("/c2c", secret="")
    assert (response.status_int, reader.cookies) == (303, {})
    assert titles(reader.page()) == ["Health"]


def test_an_empty_secret_in_the_address_logs_out_and_shows_the_page(reader):
    response = reader.get("/c2c?secret=")
    assert (response.status_int, reader.cookies) == (200, {})
    assert 'role="alert"' not in response.text


def test_in_github_mode_login_and_logout_are_links_to_there(start):
    settings = {
        "c2c.auth.github.repository": "camptocamp/private",
        "c2c.auth.github.client_id": "id",
        "c2c.auth.github.client_secret": "not told",
        "c2c.auth.github.auth.secret": "a secret of 16 characters",
    }
    page = start(settings).page()
    assert page.all("a", href="/c2c/github-login?came_from=%2Fc2c")
    assert page.all("input", type="password") == []
    ann = Known(Identity("ann", "Ann", "https://github.com/ann", Access.CHANGE))
    page = start(settings, authority=ann).page()
    assert page.all("a", href="/c2c/github-logout?came_from=%2Fc2c")
    assert page.all("a", href="https://github.com/ann")
    assert page.all("form", action="/c2c") == []


# --- forms ----------------------------------------------------------------------------------------


def test_a_form_that_changes_something_comes_back_and_says_so(reader):
    page = reader.page()
    (form,) = page.all("form", action="/c2c/change")
    (token,) = {found["value"] for found in page.all("input", name="csrf_token")}
    (back,) = page.all("input", name="back")
    assert (form["method"], back["value"]) == ("post", "/c2c?done=c2c_change")
    response = reader.post("/c2c/change", mode="a", csrf_token=token, back=back["value"])
    assert (response.status_int, response.location) == (303, "http://localhost/c2c?done=c2c_change")
    assert "Done: Read-only" in reader.page(response.location).text


def test_only_what_is_on_the_page_can_have_been_done(reader):
    assert "Done" not in reader.page("/c2c?done=c2c_nothing").text
    assert "alert(1)" not in reader.page("/c2c?" + urlencode({"done": EVIL})).text


def test_the_fields_of_a_form_are_as_the_feature_says(reader):
    page = reader.page()
    (limit,) = page.all("input", name="limit")
    assert (limit["type"], limit["value"]) == ("number", "30")
    assert page.all("p", id=limit["aria-describedby"])
    assert page.all("select", name="mode")
    assert [found["value"] for found in page.all("option") if "selected" in found] == ["b"]
    assert page.all("input", type="checkbox", name="all", value="true")


def test_every_input_has_a_label_and_no_id_is_there_twice(reader):
    page = reader.page()
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    inputs = page.all("input") + page.all("select")
    shown = [found for found in inputs if found.get("type") != "hidden"]
    labelled = {found["for"] for found in page.all("label")}
    assert {found["id"] for found in shown} == labelled


# --- for programs ---------------------------------------------------------------------------------


def test_as_json_it_tells_the_same(reader):
    told = reader.get("/c2c?format=json").json
    assert set(told) == {"service", "workers", "notices", "redis", "views", "changes"}
    assert set(told["service"]) == {"name", "version", "git_hash", "instance", "host"}
    assert told["redis"] == {"configured": False, "reachable": None}
    assert [(view["title"], view["url"], view["parameters"]) for view in told["views"]] == [
        ("Health", "/c2c/open", []),
        ("Memory", "/c2c/look", ["limit"]),
        ("Read-only", "/c2c/change", ["mode", "all"]),
    ]
    assert [view["changes"] for view in told["views"]] == [False, False, True]
    assert [view["public"] for view in told["views"]] == [True, False, False]


@pytest.mark.parametrize("path", ["/c2c", "/c2c/settings", "/c2c/changes"])
def test_as_json_nothing_is_for_everybody(browser, path):
    response = browser.get(f"{path}?format=json")
    assert (response.status_int, response.json["status"]) == (403, 403)
    known = browser.get(f"{path}?format=json", **{"X-API-Key": browser.secret})
    assert (known.status_int, known.content_type) == (200, "application/json")


@pytest.mark.parametrize("path", ["/c2c", "/c2c/settings", "/c2c/changes"])
def test_another_format_is_bad(reader, path):
    response = reader.get(f"{path}?format=xml")
    message = "format='xml': expected 'html' or 'json'"
    assert (response.status_int, response.json["message"]) == (400, message)


# --- settings -------------------------------------------------------------------------------------


def test_every_setting_is_shown_with_where_it_comes_from_but_no_secret(start, monkeypatch):
    monkeypatch.setenv("C2C_BROADCAST_PREFIX", EVIL)
    url = "redis://me:hunter2@redis.invalid/0"
    browser = start(
        {
            "c2c.secret": "a secret that nobody guesses",
            "c2c.redis_url": url,
            "c2c.redis_options": "password=hunter2,socket_timeout=2",
            "c2c.baze_path": "x",
        }
    )
    browser.log_in()
    response = browser.get("/c2c/settings")
    assert browser.secret not in response.text
    assert "hunter2" not in response.text
    assert EVIL not in response.text
    assert "C2C_SECRET" in response.text
    assert "Is c2c.base_path meant?" in response.text
    told = {row["name"]: row for row in browser.get("/c2c/settings?format=json").json}
    assert (told["secret"]["value"], told["secret"]["origin"]) == ("***", "ini c2c.secret")
    assert told["broadcast.prefix"]["value"] == EVIL
    assert told["broadcast.prefix"]["origin"] == "environment C2C_BROADCAST_PREFIX"
    assert (told["base_path"]["value"], told["base_path"]["changed"]) == ("/c2c", False)
    assert "hunter2" not in json.dumps(told)


def test_settings_are_searched_by_all_words_anywhere(reader):
    def found(searched):
        query = urlencode({"format": "json", "q": searched})
        return {row["name"] for row in reader.get(f"/c2c/settings?{query}").json}

    assert found("GITHUB cookie name") == {"auth.github.cookie"}
    assert found("ini c2c.secret") >= {"secret"}
    assert found("no such thing") == set()
    page = reader.page("/c2c/settings?" + urlencode({"q": f"{EVIL}x"}))
    assert f"No setting has “{EVIL}x” in it." in page.text


# --- changes --------------------------------------------------------------------------------------


@pytest.fixture
def switch(tmp_path):
    """A switch that is remembered in a directory of the test's own."""
    agreement.cache_clear()
    broadcaster().start(tmp_path, None, "")
    yield agreement().switch("lamp", check=lambda _, value: value, apply=lambda *_: None)
    agreement.cache_clear()


def test_the_last_changes_are_on_the_page_and_more_of_them_on_their_own(switch, start):
    for number in range(12):
        switch.set(f"on-{number}", key=EVIL, ttl=5400, actor="ann", address="192.0.2.9")
    switch.reset(EVIL, actor=EVIL)
    browser = start()
    browser.log_in()
    console, changes = browser.page(), browser.page("/c2c/changes")
    assert f"lamp {EVIL} reset on-11 → to as configured" in console.text
    assert f"lamp {EVIL} on-10 → to on-11 1 h 30 min ann 192.0.2.9" in console.text
    assert (console.text.count("lamp"), changes.text.count("lamp")) == (10, 13)
    assert console.all("a", href="/c2c/changes")
    assert EVIL not in browser.get("/c2c/changes").text
    told = browser.get("/c2c/changes?format=json").json
    assert len(told) == 13
    newest = told[0]
    assert (newest["switch"], newest["key"], newest["action"]) == ("lamp", EVIL, "reset")
    assert (newest["before"], newest["after"], newest["actor"]) == ("on-11", None, EVIL)


# --- all pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/c2c", "/c2c/settings", "/c2c/changes", "/c2c/look?x=%00"])
def test_no_page_has_a_script_or_a_style_in_it_and_all_comes_from_here(reader, path):
    response = reader.get(path, Accept="text/html")
    assert "'unsafe" not in response.headers["Content-Security-Policy"]
    page = reader.page(path)
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert tag != "style"
        for name in ("src", "href", "action"):
            assert not re.match(r"(?i)(https?:|//|javascript:|data:)", attributes.get(name, ""))
    (script,) = page.all("script")
    assert script["src"].startswith("/c2c/static/c2c.js?v=")
    for address in (script["src"], *(found["href"] for found in page.all("link"))):
        assert reader.get(address).status_int == 200


def test_a_page_is_a_document_with_language_title_and_one_heading(reader):
    for path in ("/c2c", "/c2c/settings", "/c2c/changes", "/c2c/look?x=%00"):
        page = reader.page(path)
        assert page.all("html") == [{"lang": "en"}]
        assert [len(page.all(tag)) for tag in ("title", "main", "h1")] == [1, 1, 1]


# --- with the telemetry ---------------------------------------------------------------------------

COUNTING = """
import json
from pyramid.config import Configurator
from webob import Request

config = Configurator(settings={"c2c.secret": "a secret that nobody guesses"})
config.include("c2cotel")
config.include("c2cotel.auth")
config.include("c2cotel.index")
app = config.make_wsgi_app()
key = {"X-API-Key": "a secret that nobody guesses"}
for _ in range(3):
    Request.blank("/c2c", headers=key).get_response(app).text
print(Request.blank("/c2c?format=json", headers=key).get_response(app).text)
"""


def test_with_the_telemetry_it_has_the_name_the_version_and_the_requests(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", COUNTING],
        env={
            **os.environ,
            "C2C_RUN_DIR": f"{tmp_path}/run",
            "OTEL_SERVICE_NAME": "maps",
            "GIT_HASH": "abc123",
            "PYTHONWARNINGS": "ignore",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = json.loads(done.stdout)
    service = told["service"]
    assert (service["name"], service["version"]) == ("maps", "abc123")
    assert service["instance"]
    assert [worker["requests"] for worker in told["workers"]] == [3]
