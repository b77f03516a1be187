"""The view that switches, in a real application with the real switch and authentication."""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c2cotel.db import readonly_of
from c2cotel.db_maintenance import core

SECRET = "a secret of the tests"
LINE = "GET /c2c/db/maintenance"


@pytest.fixture
def app(start, urls):
    return start(*urls)


# --- what c2cwsgiutils answered -------------------------------------------------------------------


def test_the_answers_are_those_of_c2cwsgiutils(app):
    def body(**query):
        return app(LINE, query=query, X_API_Key=SECRET).body

    assert body() == b'{"status":200,"current_readonly":null}'
    assert body(readonly="true") == b'{"status":200,"readonly":true}'
    assert body() == b'{"status":200,"current_readonly":true}'
    assert body(readonly="False") == b'{"status":200,"readonly":false}'
    assert body() == b'{"status":200,"current_readonly":false}'


def test_the_route_has_its_name(app):
    assert app.registry.c2c_console.entries[0].route == "c2c_db_maintenance_page"
    from pyramid.interfaces import IRoutesMapper

    route = app.registry.getUtility(IRoutesMapper).get_route("c2c_db_maintenance")
    assert route.path == "/c2c/db/maintenance"


@pytest.mark.parametrize("text", ["true", "True", "TRUE"])
def test_any_case_will_do(app, text):
    assert app.switch(readonly=text) == {"status": 200, "readonly": True}
    assert readonly_of(app.registry).forced


@pytest.mark.parametrize("text", ["1", "0", "", "yes", "on", " true", "t" * 500])
def test_another_word_is_400_and_changes_nothing(app, text):
    answer = app.switch(400, readonly=text)
    assert answer == {
        "message": f"readonly={text[:80]!r}: expected 'true' or 'false'",
        "status": 400,
    }
    assert app.switch()["current_readonly"] is None


def test_a_file_is_no_word(app):
    answer = app(
        "POST /c2c/db/maintenance", post={"readonly": ("a.txt", b"true")}, X_API_Key=SECRET
    )
    assert (answer.status_int, answer.json["message"]) == (
        400,
        "readonly: expected 'true' or 'false'",
    )


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.dictionaries(
        st.sampled_from(["readonly", "details", "back", "x"]),
        st.one_of(st.text(max_size=100), st.sampled_from(["true", "false", "1", "0"])),
    ),
    st.sampled_from(["GET", "HEAD", "POST"]),
)
def test_no_parameters_are_an_error_of_the_server(app, parameters, method):
    where = {"post": parameters} if method == "POST" else {"query": parameters}
    answer = app(f"{method} /c2c/db/maintenance", **where, X_API_Key=SECRET)
    assert answer.status_int in {200, 303, 400, 405}


# --- who may, and what is said of it --------------------------------------------------------------


def test_without_the_secret_nothing_is_told_or_changed(app):
    for query in ({}, {"readonly": "true"}, {"details": "1"}):
        assert app(LINE, query=query).status_int == 403
        assert app("GET /c2c/db", query=query).status_int == 403
    assert not readonly_of(app.registry).forced


def test_the_secret_may_be_a_parameter_as_the_seed_has_it(app):
    assert app(LINE, query={"secret": SECRET, "readonly": "true"}).status_int == 200
    assert readonly_of(app.registry).forced


def test_a_cookie_alone_does_not_switch_by_get(app):
    cookie = app("GET /c2c/db", query={"secret": SECRET}).headers["Set-Cookie"].partition(";")[0]
    assert app(LINE, Cookie=cookie).status_int == 200
    assert app(LINE, query={"readonly": "true"}, Cookie=cookie).status_int == 403
    assert not readonly_of(app.registry).forced


def test_who_has_switched_is_logged_and_told(app, caplog):
    with caplog.at_level(logging.WARNING, "c2cotel.broadcast.journal"):
        app.switch(readonly="true")
    (line,) = [each.getMessage() for each in caplog.records if "readonly" in each.getMessage()]
    assert line.endswith("by secret from 192.0.2.7")
    told = app.switch(details="1")
    assert (told["actor"], told["address"]) == ("secret", "192.0.2.7")


def test_details_tell_more(app):
    assert app.switch(details="1") == {
        "status": 200,
        "current_readonly": None,
        "since": None,
        "actor": None,
        "address": None,
        "answer": "error",
        "retry_after": 60,
        "primary": "sqlalchemy",
        "replica": "sqlalchemy_slave",
        # Nobody listens in these tests but the process that asks.
        "processes": [{**here(app), "readonly": False, "in_use": 0, "silent": False}],
    }
    app.switch(readonly="true")
    told = app.switch(details="1")
    assert told["since"].endswith("+00:00")
    assert [each["readonly"] for each in told["processes"]] == [True]


def here(app):
    (process,) = app.switch(details="1")["processes"]
    return {"host": process["host"], "pid": process["pid"]}


def test_details_without_a_replica_or_without_a_database(start, urls):
    told = start(urls[0]).switch(details="1")
    assert (told["primary"], told["replica"]) == ("sqlalchemy", None)
    told = start().switch(details="1")
    assert (told["primary"], told["replica"]) == (None, None)


def test_other_details_are_400(app):
    assert app.switch(400, details="yes")["message"] == "details: expected 1 or 0"


def test_without_the_setting_there_is_nothing(start, urls):
    app = start(*urls, **{"c2c.db_maintenance_view_enabled": "0"})
    assert app(LINE, X_API_Key=SECRET).status_int == 404
    assert readonly_of(app.registry).meanwhile is None
    assert not hasattr(app.registry, "c2c_readonly")


# --- which applications follow --------------------------------------------------------------------


def test_all_applications_of_the_process_follow_also_those_that_start_later(start, urls):
    first, second = start(*urls), start(*urls)
    first.switch(readonly="true")
    later = start(*urls)
    apps = first, second, later
    assert [readonly_of(app.registry).forced for app in apps] == [True] * 3
    later.switch(readonly="false")
    assert [readonly_of(app.registry).forced for app in apps] == [False] * 3


def test_what_is_stored_by_somebody_else_is_refused(app):
    switch = app.registry.c2c_readonly
    for value in ("true", 1, [True]):
        with pytest.raises(ValueError, match="expected true or false"):
            switch.set(value)
    assert switch.get() is None


def test_back_to_never_set_is_not_read_only(app):
    app.switch(readonly="true")
    app.registry.c2c_readonly.reset()
    assert not readonly_of(app.registry).forced
    assert app.switch()["current_readonly"] is None


# --- the page and the console ---------------------------------------------------------------------


@pytest.fixture
def cookie(app):
    answer = app("GET /c2c/db", query={"secret": SECRET})
    return answer.headers["Set-Cookie"].partition(";")[0]


def see(app, cookie, path="/c2c/db"):
    answer = app(f"GET {path}", Cookie=cookie, Accept="text/html")
    assert (answer.status_int, answer.content_type) == (200, "text/html")
    return " ".join(answer.text.split())


def button(text):
    """What the form of the page would send."""
    token = text.partition('name="csrf_token" value="')[2].partition('"')[0]
    form = text.partition('action="/c2c/db/maintenance"')[2].partition("</form>")[0]
    value = form.partition('name="readonly" value="')[2].partition('"')[0]
    return {"csrf_token": token, "readonly": value, "back": "/c2c/db"}


def test_the_page_switches_on_and_off(app, cookie):
    text = see(app, cookie)
    assert "Nobody has ever changed it." in text
    assert "all sessions are on sqlalchemy_slave, none on sqlalchemy." in text
    assert "Without Redis, it ends when the service is started anew." in text
    assert "gets the database's error, and is told to try again after 1 min." in text
    for value, told in (("true", "Let it write again"), ("false", "Make it read-only")):
        form = button(see(app, cookie))
        assert form["readonly"] == value
        answer = app("POST /c2c/db/maintenance", post=form, Cookie=cookie)
        assert (answer.status_int, answer.location) == (303, "http://localhost/c2c/db")
        assert readonly_of(app.registry).forced is (value == "true")
        text = see(app, cookie)
        assert told in text
        assert "by secret from 192.0.2.7" in text


def test_without_the_token_of_the_page_nothing_changes(app, cookie):
    answer = app("POST /c2c/db/maintenance", post={"readonly": "true"}, Cookie=cookie)
    assert answer.status_int == 403
    assert not readonly_of(app.registry).forced


def test_the_page_tells_of_a_single_engine_and_of_none(start, urls, cookie):
    ini = {"c2c.db_readonly_answer": "503", "c2c.db_readonly_retry_after": "0"}
    text = see(start(urls[0], **ini), cookie)
    assert (
        "There is no replica: sqlalchemy is still used. A request that would write gets 503."
        in (text)
    )
    assert "has not called c2cotel.db.init" not in text
    assert "has not called c2cotel.db.init" in see(start(), cookie)


def test_the_console_says_it_to_who_may_look(app, cookie):
    assert "read-only for maintenance" not in see(app, cookie, "/c2c")
    app.switch(readonly="true")
    assert "The database is read-only for maintenance, since 2" in see(app, cookie, "/c2c")
    assert "by secret from 192.0.2.7." in see(app, cookie, "/c2c")
    assert "read-only for maintenance" not in app("GET /c2c", Accept="text/html").text
    (notice,) = app("GET /c2c", query={"format": "json"}, X_API_Key=SECRET).json["notices"]
    assert notice.startswith("The database is read-only")
    app.switch(readonly="false")
    assert "read-only for maintenance" not in see(app, cookie, "/c2c")


def test_what_an_actor_is_called_is_text(app, cookie):
    app.registry.c2c_readonly.set(True, actor="<script>alert(1)</script>")
    for path in ("/c2c/db", "/c2c"):
        assert "<script>alert" not in see(app, cookie, path)


# --- the answers of other processes ---------------------------------------------------------------


def test_answers_may_be_anything():
    from c2cotel.broadcast.messages import Process, Replies

    hosts = [Process("web", pid) for pid in range(5)]
    answers = [{"readonly": True, "in_use": 3}, {"readonly": 1, "in_use": True}, None, {"x": []}]
    found = core.reports(Replies(answered=hosts[:4], answers=answers, silent=hosts[4:]))
    assert [(each.readonly, each.in_use, each.silent) for each in found] == [
        (True, 3, False),
        (None, None, False),
        (None, None, False),
        (None, None, False),
        (None, None, True),
    ]
