"""The views of the log levels in a real application, with the real switch and authentication."""

import json
import logging
import re
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden
from pyramid.request import Request

from c2cotel.pyramid.access import Access, Actor, Identity
from c2cotel.pyramid.console import console_of
from c2cotel.pyramid.views import add_c2c_view

SECRET = "a secret of the tests"
A = "c2cotel_test_levels"
LEVEL, PAGE = "/c2c/logging/level", "/c2c/logging"


def configure(**ini):
    config = Configurator(settings={"c2c.secret": SECRET, **ini})
    config.add_directive("add_c2c_view", add_c2c_view)
    for feature in ("c2cotel.pyramid.pages", "c2cotel.auth", "c2cotel.logging_level"):
        config.include(feature)
    return config.make_wsgi_app()


@pytest.fixture
def app():
    """One in which nothing is overridden, and which leaves nothing behind."""
    made = configure(**{"c2c.log_view_enabled": "true"})
    logger = logging.getLogger(A)
    yield made
    switch = made.registry.c2c_logging_level
    for key in switch.states():
        switch.reset(key)
    assert logger.level == logging.NOTSET


def ask(app, path=LEVEL, method="GET", *, post=None, query=None, **headers):
    request = Request.blank(path, method=method, POST=post)
    if query is not None:
        request.GET.update(query)
    request.method = method
    for name, value in headers.items():
        request.headers[name.replace("_", "-")] = value
    return request.get_response(app)


def tell(app, expected=200, **query):
    """The answer to these parameters, with the secret as header."""
    response = ask(app, query=query, X_API_Key=SECRET)
    assert response.status_int == expected, response.text
    return response.json


@pytest.fixture
def session(app):
    """The cookie of somebody who has logged in, and the CSRF token of the page."""
    response = ask(app, PAGE, query={"secret": SECRET})
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    page = ask(app, PAGE, Cookie=cookie).text
    return cookie, re.search(r'name="csrf_token" value="([^"]+)"', page)[1]


# --- what c2cwsgiutils answered -------------------------------------------------------------------


def test_without_parameters_it_lists_the_overrides(app):
    response = ask(app, X_API_Key=SECRET)
    assert response.body == b'{"status":200,"overrides":{}}'
    tell(app, name=A, level="debug")
    assert ask(app, X_API_Key=SECRET).body == (
        b'{"status":200,"overrides":{"%s":"debug"}}' % A.encode()
    )


def test_a_name_tells_its_level(app):
    response = ask(app, query={"name": A}, X_API_Key=SECRET)
    effective = logging.getLevelName(logging.getLogger(A).getEffectiveLevel())
    assert response.text == (
        f'{{"status":200,"name":"{A}","level":"NOTSET","effective_level":"{effective}"}}'
    )


def test_name_and_level_set_it(app):
    expected = {"status": 200, "name": A, "level": "DEBUG", "effective_level": "DEBUG"}
    assert tell(app, name=A, level="DEBUG") == expected
    assert tell(app, name=A) == expected
    assert logging.getLogger(A).level == logging.DEBUG


@pytest.mark.parametrize("name", ["", "root"])
def test_an_empty_name_is_the_root(app, name):
    before = logging.getLogger().level
    expected = {"status": 200, "name": name, "level": "ERROR", "effective_level": "ERROR"}
    try:
        assert tell(app, name=name, level="error") == expected
        assert tell(app) == {"status": 200, "overrides": {"": "error"}}
        assert logging.getLogger().level == logging.ERROR
        tell(app, name="", reset="1")
        assert logging.getLogger().level == before
    finally:
        logging.getLogger().setLevel(before)


def test_a_question_makes_no_logger(app):
    tell(app, name="c2cotel_test_unheard_of")
    assert "c2cotel_test_unheard_of" not in logging.Logger.manager.loggerDict


# --- what is new ----------------------------------------------------------------------------------


def test_a_reset_answers_as_a_question_does(app):
    before = tell(app, name=A)
    tell(app, name=A, level="DEBUG")
    tell(app, name=A, level="ERROR")
    assert tell(app, name=A, reset="1") == before
    assert tell(app) == {"status": 200, "overrides": {}}
    assert tell(app, name=A, reset="1") == before


def test_a_ttl_is_how_long_it_lasts(app):
    tell(app, name=A, level="DEBUG", ttl="3600")
    assert 3500 < app.registry.c2c_logging_level.get(A).expires_in <= 3600
    tell(app, name=A, level="DEBUG", ttl="never")
    assert app.registry.c2c_logging_level.get(A).expires_in is None
    tell(app, name=A, level="DEBUG", ttl="5")
    tell(app, name=A, level="DEBUG")
    assert app.registry.c2c_logging_level.get(A).expires_in is None


def test_who_did_it_is_kept(app):
    tell(app, name=A, level="DEBUG")
    assert app.registry.c2c_logging_level.get(A).actor == "secret"


REFUSED = [
    ({"name": A, "level": "NOPE"}, "level='NOPE': expected one of CRITICAL, FATAL, ERROR, "),
    ({"name": A, "level": ""}, "level='': expected one of CRITICAL"),
    ({"name": A, "level": "10"}, "level='10': expected one of CRITICAL"),
    ({"level": "DEBUG"}, "name: missing; empty for the root logger"),
    ({"reset": "1"}, "name: missing; empty for the root logger"),
    ({"name": A, "level": "DEBUG", "ttl": "-1"}, "ttl='-1': expected a number of seconds above 0"),
    ({"name": A, "level": "DEBUG", "ttl": "0"}, "ttl='0': expected"),
    ({"name": A, "level": "DEBUG", "ttl": ""}, "ttl='': expected"),
    ({"name": A, "level": "DEBUG", "ttl": "an hour"}, "ttl='an hour': expected"),
    ({"name": A, "level": "DEBUG", "ttl": "inf"}, "ttl='inf': expected"),
    ({"name": A, "level": "DEBUG", "ttl": "nan"}, "ttl='nan': expected"),
    ({"name": A, "level": "DEBUG", "reset": "1"}, "reset: not together with level"),
    ({"name": A, "reset": "yes"}, "reset: expected 1"),
    ({"name": A, "ttl": "5"}, "ttl: only together with level"),
    ({"name": A, "reset": "1", "ttl": "5"}, "ttl: only together with level"),
    ({"name": "a" * 201}, f"name='{'a' * 80}'…: expected the name of a logger, at most 200"),
    ({"name": "a\nb", "level": "DEBUG"}, r"name='a\nb': expected the name of a logger"),
]


@pytest.mark.parametrize(("query", "message"), REFUSED, ids=lambda each: str(each)[:50])
def test_what_cannot_be_is_400_and_changes_nothing(app, query, message):
    body = tell(app, 400, **query)
    assert body["status"] == 400
    assert body["message"].startswith(message)
    assert tell(app) == {"status": 200, "overrides": {}}


texts = st.one_of(
    st.text(max_size=300),
    st.sampled_from(["", "1", "root", "DEBUG", "debug", "never", "-1", "nan", A, f"{A}.x"]),
)


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from([LEVEL, PAGE]),
    st.dictionaries(st.sampled_from(["name", "level", "ttl", "reset", "q", "back"]), texts),
    st.sampled_from(["GET", "HEAD", "POST"]),
)
def test_no_parameters_are_an_error_of_the_server(app, path, parameters, method):
    where = {"post": parameters} if method == "POST" else {"query": parameters}
    response = ask(app, path, method, **where, X_API_Key=SECRET)
    assert response.status_int in {200, 303, 400, 405}


@pytest.mark.parametrize("query", ["name=%ff", "name=a%00b&level=DEBUG", "%ff=1", "name=a&name=b"])
def test_nor_is_what_a_browser_would_not_send(app, query):
    for path in (LEVEL, PAGE):
        assert ask(app, f"{path}?{query}", X_API_Key=SECRET).status_int in {200, 400}


def test_a_file_is_no_text(app):
    post = {"name": ("file.txt", b"a"), "level": "DEBUG"}
    response = ask(app, method="POST", post=post, X_API_Key=SECRET)
    assert (response.status_int, response.json["message"]) == (400, "name: expected a text")


# --- who may --------------------------------------------------------------------------------------


def test_only_who_is_known_sees_or_changes_anything(app):
    for path in (LEVEL, PAGE):
        assert ask(app, path).status_int == 403
    assert ask(app, query={"name": A, "level": "DEBUG"}).status_int == 403
    assert logging.getLogger(A).level == logging.NOTSET


def test_a_cookie_alone_changes_nothing_by_get(app, session):
    cookie, _ = session
    assert ask(app, query={"name": A}, Cookie=cookie).status_int == 200
    for change in ({"level": "DEBUG"}, {"reset": "1"}):
        assert ask(app, query={"name": A, **change}, Cookie=cookie).status_int == 403
    assert tell(app) == {"status": 200, "overrides": {}}


def test_without_the_setting_there_is_nothing():
    app = configure()
    for path in (LEVEL, PAGE):
        assert ask(app, path, X_API_Key=SECRET).status_int == 404
    assert console_of(app.registry).entries == []


def test_the_page_stands_on_the_console(app):
    (entry,) = console_of(app.registry).entries
    assert (entry.title, entry.route, entry.access) == (
        "Log levels",
        "c2c_logging_page",
        Access.READ,
    )


# --- the page -------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The texts of the cells of each table, and the fields of each form that is posted."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.forms, self._cell, self._form = [], [], None, None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self._cell = ""
        elif tag == "form":
            self._form = {}
            if attributes["method"] == "post":
                self.forms.append((attributes["action"], self._form))
        elif tag in {"input", "button"} and self._form is not None and "name" in attributes:
            self._form[attributes["name"]] = attributes["value"]
        elif tag == "select":
            self._select = attributes["name"]
        elif tag == "option" and "selected" in attributes:
            self._form[self._select] = attributes.get("value")

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self.tables[-1][-1].append(" ".join(self._cell.split()))
            self._cell = None

    @property
    def rows(self):
        return {row[0]: row[1:] for table in self.tables for row in table[1:]}


def see(app, cookie, **query):
    response = ask(app, PAGE, query=query, Cookie=cookie)
    assert response.status_int == 200
    assert response.content_type == "text/html"
    return Page(response.text)


def test_the_page_shows_the_tree(app, session):
    child = logging.getLogger(f"{A}.child")
    child.addHandler(handler := logging.NullHandler())
    try:
        page = see(app, session[0], q=A.upper())
    finally:
        child.removeHandler(handler)
    effective = logging.getLevelName(logging.getLogger().level)
    assert page.rows == {
        A: ["NOTSET", "", effective, ""],
        f"{A}.child": ["NOTSET", "", effective, "NullHandler"],
    }


def test_a_level_is_set_and_reset_with_the_forms_alone(app, session):
    cookie, _ = session
    page = see(app, cookie, q=A, name=A)
    ((action, form),) = page.forms
    assert form.pop("csrf_token")
    assert (action, form) == (
        LEVEL,
        {"back": f"{PAGE}?q={A}&name={A}", "name": A, "level": "DEBUG", "ttl": "3600"},
    )

    ((action, form),) = see(app, cookie, q=A, name=A).forms
    response = ask(app, action, "POST", post=form, Cookie=cookie)
    assert (response.status_int, response.location) == (303, f"http://localhost{form['back']}")
    page = see(app, cookie, q=A, name=A)
    (level, lasts, by, _), (configured, override, effective, _) = (
        next(row[1:] for row in table if row[0] == A) for table in page.tables
    )
    assert (level, configured, override, effective) == ("DEBUG", "NOTSET", "DEBUG", "DEBUG")
    assert lasts in {"1 h 0 min", "59 min"}
    assert by.startswith("secret")
    assert logging.getLogger(A).level == logging.DEBUG

    (reset,) = [(action, form) for action, form in page.forms if "reset" in form]
    response = ask(app, reset[0], "POST", post=reset[1], Cookie=cookie)
    assert response.status_int == 303
    assert logging.getLogger(A).level == logging.NOTSET


def test_without_the_csrf_token_nothing_changes(app, session):
    cookie, _ = session
    post = {"name": A, "level": "DEBUG", "back": PAGE}
    response = ask(app, LEVEL, "POST", post=post, Cookie=cookie)
    assert response.status_int == 403
    assert logging.getLogger(A).level == logging.NOTSET


def test_a_mistake_in_the_form_is_a_page_that_says_it(app, session):
    cookie, token = session
    post = {"name": A, "level": "NOPE", "back": PAGE, "csrf_token": token}
    response = ask(app, LEVEL, "POST", post=post, Cookie=cookie, Accept="text/html")
    assert (response.status_int, response.content_type) == (400, "text/html")
    assert "expected one of CRITICAL" in response.text


def test_of_many_loggers_the_first_are_shown_and_the_search_finds_the_others(app, session):
    for number in range(310):
        logging.getLogger(f"c2cotel_test_many.{number:03}")
    cookie, _ = session
    response = ask(app, PAGE, query={"q": "c2cotel_test_many"}, Cookie=cookie)
    assert "The first 300 of 311 loggers" in response.text
    assert len(Page(response.text).rows) == 300
    assert len(see(app, cookie, q="c2cotel_test_many.309").rows) == 1
    assert len(response.body) < 200_000


def test_what_a_name_or_a_search_says_is_text(app, session):
    evil = "<script>alert(1)</script>"
    logging.getLogger(evil)
    text = ask(app, PAGE, query={"q": evil, "name": evil}, Cookie=session[0]).text
    assert evil not in text
    assert json.dumps("&lt;script&gt;alert(1)&lt;/script&gt;")[1:-1] in text


def test_the_secret_of_the_address_stands_nowhere_on_the_page(app):
    response = ask(app, PAGE, query={"secret": SECRET, "q": A})
    assert response.status_int == 200
    assert SECRET not in response.text
    assert SECRET.replace(" ", "+") not in response.text


class Reading:
    """An authority for which everybody may look, and nobody change anything."""

    def authorise(self, request, access):
        if access is Access.CHANGE:
            raise HTTPForbidden("You may not")
        return Actor("alice", "", "cookie")

    def identity(self, request):
        return Identity("alice", "Alice", "", Access.READ)

    def csrf_token(self, request):
        return "token"

    def check_csrf(self, request):
        return None


def test_who_may_only_look_gets_no_form(app):
    app.registry.c2c_authority = Reading()
    tell(app, 403, name=A, level="DEBUG")
    app.registry.c2c_logging_level.set("DEBUG", key=A)
    page = see(app, "", q=A, name=A)
    assert page.forms == []
    assert page.tables[0][1][:3] == [A, "DEBUG", "until reset"]
