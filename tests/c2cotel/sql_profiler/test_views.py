"""The profiler's views in a real application, with the real switch and authentication."""

import re
from html.parser import HTMLParser

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden
from pyramid.request import Request

from c2cotel.pyramid.access import Access, Actor, Identity
from c2cotel.pyramid.console import console_of
from c2cotel.pyramid.views import add_c2c_view
from c2cotel.settings import SettingsError
from c2cotel.sql_profiler import core
from c2cotel_instrumentation.sql_profiler import SqlProfilerInstrumentor

SECRET = "a secret of the tests"
PROFILER, PAGE = "/c2c/sql_profiler", "/c2c/sql_profiler/statements"
OFF = b'{"status":200,"enabled":false}'
ON = b'{"status":200,"enabled":true}'
RULES = {"sample_rate": 1.0, "min_duration": 0.0, "analyze": False, "values": False, "route": ""}


def configure(**ini):
    config = Configurator(settings={"c2c.secret": SECRET, **ini})
    config.add_directive("add_c2c_view", add_c2c_view)
    for feature in ("c2cotel.pyramid.pages", "c2cotel.auth", "c2cotel.sql_profiler"):
        config.include(feature)
    return config.make_wsgi_app()


@pytest.fixture
def instrumentor():
    instrumentor = SqlProfilerInstrumentor()
    instrumentor.instrument()
    yield instrumentor
    instrumentor.uninstrument()


@pytest.fixture
def app(instrumentor):  # noqa: ARG001 - on, as in an application
    """One in which the profiler is off, and which leaves it off."""
    executing = sa.Connection._exec_single_context
    made = configure(**{"c2c.sql_profiler_enabled": "true"})
    core.profiler().statements.clear()
    yield made
    made.registry.c2c_sql_profiler.reset()
    core.profiler().statements.clear()
    assert sa.Connection._exec_single_context is executing


def ask(app, path=PROFILER, method="GET", *, post=None, query=None, **headers):
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


def work(text="SELECT 1 AS a"):
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(sa.text(text))
    engine.dispose()


@pytest.fixture
def session(app):
    """The cookie of somebody who has logged in, and the CSRF token of the page."""
    response = ask(app, PAGE, query={"secret": SECRET})
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    page = ask(app, PAGE, Cookie=cookie).text
    return cookie, re.search(r'name="csrf_token" value="([^"]+)"', page)[1]


# --- what c2cwsgiutils answered -------------------------------------------------------------------


def test_it_tells_whether_it_is_on(app):
    assert ask(app, X_API_Key=SECRET).body == OFF
    assert ask(app, query={"enable": "1"}, X_API_Key=SECRET).body == ON
    assert ask(app, X_API_Key=SECRET).body == ON
    assert ask(app, query={"enable": "0"}, X_API_Key=SECRET).body == OFF
    assert ask(app, X_API_Key=SECRET).body == OFF
    assert ask(app, query={"enable": "0"}, X_API_Key=SECRET).body == OFF


def test_the_secret_may_be_a_parameter(app):
    assert ask(app, query={"secret": SECRET, "enable": "1"}).body == ON


# --- what is new ----------------------------------------------------------------------------------


def test_details_are_the_rules_and_the_statements(app):
    assert tell(app, details="1") == {
        "status": 200,
        "enabled": False,
        "available": True,
        "rules": None,
        "expires_in": None,
        "actor": None,
        "processes": 1,
        "silent": [],
        "statements": [],
        "other_statements": 0,
        "other_calls": 0,
        "other_total": 0.0,
    }
    told = tell(
        app, enable="1", ttl="900", sample_rate=".5", min_duration="0.01", route="/a", details="1"
    )
    assert told["rules"] == RULES | {"sample_rate": 0.5, "min_duration": 0.01, "route": "/a"}
    assert 890 < told["expires_in"] <= 900
    assert told["actor"] == "secret"


def test_it_finds_the_statements_of_this_process(app):
    tell(app, enable="1")
    work()
    work()
    work("SELECT * FROM (SELECT 1)")
    told = tell(app, details="1")["statements"]
    assert {each["text"]: each["calls"] for each in told} == {
        "SELECT ? AS a": 2,
        "SELECT * FROM (SELECT ?)": 1,
    }
    assert told[0]["mean"] * told[0]["calls"] == pytest.approx(told[0]["total"])


def test_what_was_found_stays_until_it_is_on_again(app):
    tell(app, enable="1")
    work()
    tell(app, enable="0")
    work("SELECT 2 AS unseen")
    assert [each["text"] for each in tell(app, details="1")["statements"]] == ["SELECT ? AS a"]
    assert tell(app, enable="1", details="1")["statements"] == []


def test_rules_hold_in_this_process(app):
    tell(app, enable="1", route="/api/*", values="true")
    work()
    assert tell(app, details="1")["statements"] == []


REFUSED = [
    ({"enable": "2"}, "enable='2': expected 1 or 0"),
    ({"enable": ""}, "enable='': expected 1 or 0"),
    ({"ttl": "5"}, "ttl: only together with enable=1"),
    ({"enable": "0", "route": "/a"}, "route: only together with enable=1"),
    ({"enable": "1", "ttl": "0"}, "ttl='0': expected a number of seconds above 0"),
    ({"enable": "1", "ttl": "soon"}, "ttl='soon': expected a number of seconds above 0"),
    ({"enable": "1", "sample_rate": "0"}, "sample_rate=0: to switch the profiler off"),
    ({"enable": "1", "sample_rate": "2"}, "sample_rate=2.0: expected a number above 0"),
    ({"enable": "1", "sample_rate": "all"}, "sample_rate='all': expected a number"),
    ({"enable": "1", "min_duration": "-1"}, "min_duration=-1.0: expected a number"),
    ({"enable": "1", "analyze": "maybe"}, "analyze='maybe': expected 1 or 0"),
    ({"enable": "1", "route": "x" * 501}, "route: expected the pattern of a route"),
    ({"details": "all"}, "details='all': expected 1 or 0"),
]


@pytest.mark.parametrize(("query", "message"), REFUSED, ids=lambda each: str(each)[:50])
def test_what_cannot_be_is_400_and_changes_nothing(app, query, message):
    body = tell(app, 400, **query)
    assert body["status"] == 400
    assert body["message"].startswith(message)
    assert ask(app, X_API_Key=SECRET).body == OFF


texts = st.one_of(
    st.text(max_size=600), st.sampled_from(["", "0", "1", "true", "never", "-1", "nan", "0.5"])
)
NAMES = ["enable", "ttl", "sample_rate", "min_duration", "route", "analyze", "values", "details"]


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from([PROFILER, PAGE]),
    st.dictionaries(st.sampled_from([*NAMES, "back"]), texts),
    st.sampled_from(["GET", "HEAD", "POST"]),
)
def test_no_parameters_are_an_error_of_the_server(app, path, parameters, method):
    where = {"post": parameters} if method == "POST" else {"query": parameters}
    response = ask(app, path, method, **where, X_API_Key=SECRET)
    assert response.status_int in {200, 303, 400, 405}


def test_a_file_is_no_text(app):
    post = {"enable": ("file.txt", b"1")}
    response = ask(app, method="POST", post=post, X_API_Key=SECRET)
    assert (response.status_int, response.json["message"]) == (400, "enable: expected a text")


def test_without_its_instrumentor_it_cannot_be_switched_on(app, instrumentor):
    instrumentor.uninstrument()
    try:
        body = tell(app, 409, enable="1")
        assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS" in body["message"]
        assert tell(app, details="1")["available"] is False
        text = ask(app, PAGE, X_API_Key=SECRET).text
        assert "its instrumentor is off" in text
    finally:
        instrumentor.instrument()


# --- who may --------------------------------------------------------------------------------------


def test_only_who_is_known_sees_or_changes_anything(app):
    for path in (PROFILER, PAGE):
        assert ask(app, path).status_int == 403
    assert ask(app, query={"enable": "1"}).status_int == 403
    assert ask(app, X_API_Key=SECRET).body == OFF


def test_a_cookie_alone_changes_nothing_by_get(app, session):
    cookie, _ = session
    assert ask(app, Cookie=cookie).body == OFF
    assert ask(app, query={"enable": "1"}, Cookie=cookie).status_int == 403
    assert ask(app, X_API_Key=SECRET).body == OFF


def test_without_the_setting_there_is_nothing():
    app = configure()
    for path in (PROFILER, PAGE):
        assert ask(app, path, X_API_Key=SECRET).status_int == 404
    assert console_of(app.registry).entries == []


def test_the_page_stands_on_the_console(app):
    (entry,) = console_of(app.registry).entries
    assert (entry.title, entry.route, entry.access) == (
        "SQL profiler",
        "c2c_sql_profiler_page",
        Access.READ,
    )


# --- the page -------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The texts of the cells of its table, and the fields of each form that is posted."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.forms, self.text = [], [], ""
        self._cell = self._form = self._select = None
        self.feed(html)

    @property
    def words(self):
        return " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self._cell = ""
        elif tag == "form":
            self._form = {} if attributes["method"] == "post" else None
            if self._form is not None:
                self.forms.append((attributes["action"], self._form))
        elif tag in {"input", "button"} and self._form is not None and "name" in attributes:
            # As a browser sends them: a box that nobody has ticked is not.
            if attributes.get("type") != "checkbox":
                self._form[attributes["name"]] = attributes["value"]
        elif tag == "select":
            self._select = attributes["name"]
        elif tag == "option" and "selected" in attributes:
            self._form[self._select] = attributes["value"]

    def handle_data(self, data):
        self.text += data
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self.rows[-1].append(" ".join(self._cell.split()))
            self._cell = None


def see(app, cookie):
    response = ask(app, PAGE, Cookie=cookie)
    assert (response.status_int, response.content_type) == (200, "text/html")
    return Page(response.text)


def test_it_is_switched_on_and_off_with_the_forms_alone(app, session):
    cookie, _ = session
    ((action, form),) = see(app, cookie).forms
    assert form.pop("csrf_token")
    assert (action, form) == (
        PROFILER,
        {
            "back": PAGE,
            "enable": "1",
            "ttl": "900",
            "sample_rate": "1",
            "min_duration": "0",
            "route": "",
        },
    )
    ((action, form),) = see(app, cookie).forms
    response = ask(app, action, "POST", post=form | {"values": "true"}, Cookie=cookie)
    assert (response.status_int, response.location) == (303, f"http://localhost{PAGE}")
    assert app.registry.c2c_sql_profiler.get().value == RULES | {"values": True}
    page = see(app, cookie)
    assert re.search(r"on\s+for 1[45] min", page.text)
    assert "by secret" in page.text
    assert "Plans of all transactions; with the values of statements." in page.words

    ((action, form),) = [each for each in page.forms if each[1].get("enable") == "0"]
    assert ask(app, action, "POST", post=form, Cookie=cookie).status_int == 303
    assert ask(app, X_API_Key=SECRET).body == OFF


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, "Plans of all transactions."),
        ({"sample_rate": 0.25}, "Plans of 25 % of the transactions."),
        (
            {"min_duration": 0.5, "route": "/api/*"},
            "transactions, of executions of 500.0 ms or more; only on routes like /api/*.",
        ),
        ({"analyze": True}, "Plans of all transactions; a SELECT may be executed again."),
    ],
)
def test_it_says_what_is_profiled(app, session, rules, words):
    app.registry.c2c_sql_profiler.set(rules)
    assert words in see(app, session[0]).words


def test_it_has_the_statements_with_their_numbers_and_plans(app, session):
    tell(app, enable="1")
    work()
    work()
    found = core.profiler().statements
    (statement,) = found._found.values()
    statement.plan, statement.plan_source = "Seq Scan on <users>", "auto_explain"
    statement.total, statement.max, statement.trace_id = 0.5, 0.4, "0" * 31 + "7"
    _, row = see(app, session[0]).rows
    assert row[0] == (
        f"SELECT ? AS a {statement.fingerprint} "
        "Slowest in the trace 00000000000000000000000000000007 "
        "Plan as it was executed Seq Scan on <users>"
    )
    assert row[1:-1] == ["100 %", "500.0 ms", "2", "250.0 ms", "400.0 ms", ""]


def test_the_slowest_call_is_linked_to_its_trace(instrumentor):  # noqa: ARG001 - on
    app = configure(
        **{
            "c2c.sql_profiler_enabled": "true",
            "c2c.trace_url": "https://traces.example.com/trace/{trace_id}?a=1&b=2",
        }
    )
    tell(app, enable="1")
    work()
    (statement,) = core.profiler().statements._found.values()
    statement.trace_id = "7" * 32
    text = ask(app, PAGE, X_API_Key=SECRET).text
    app.registry.c2c_sql_profiler.reset()
    core.profiler().statements.clear()
    assert f'href="https://traces.example.com/trace/{"7" * 32}?a=1&amp;b=2">{"7" * 32}</a>' in text


@pytest.mark.parametrize("url", ["javascript:{trace_id}", "https://example.com/", "{trace_id}"])
def test_an_address_that_cannot_be_one_of_a_trace_stops_the_start(url):
    with pytest.raises(SettingsError, match=r"c2c\.trace_url = .*: not an http or https URL"):
        configure(**{"c2c.sql_profiler_enabled": "true", "c2c.trace_url": url})


def test_of_many_statements_the_others_are_one_row(app, session):
    tell(app, enable="1")
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        for number in range(1000):
            connection.exec_driver_sql(f"SELECT 1 AS a{number}")
    engine.dispose()
    page = see(app, session[0])
    assert len(page.rows) == 1 + 50 + 1
    assert page.rows[-1][0] == "950 others"
    assert page.rows[-1][3] == "950"


def test_what_a_statement_says_is_text(app, session):
    tell(app, enable="1")
    work('SELECT 1 AS "<script>alert(1)</script>"')
    response = ask(app, PAGE, Cookie=session[0])
    assert "<script>alert" not in response.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in response.text


def test_without_the_csrf_token_nothing_changes(app, session):
    post = {"enable": "1", "back": PAGE}
    assert ask(app, PROFILER, "POST", post=post, Cookie=session[0]).status_int == 403
    assert ask(app, X_API_Key=SECRET).body == OFF


def test_a_mistake_in_the_form_is_a_page_that_says_it(app, session):
    cookie, token = session
    post = {"enable": "1", "sample_rate": "7", "back": PAGE, "csrf_token": token}
    response = ask(app, PROFILER, "POST", post=post, Cookie=cookie, Accept="text/html")
    assert (response.status_int, response.content_type) == (400, "text/html")
    assert "expected a number above 0 and up to 1" in response.text


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
    app.registry.c2c_sql_profiler.set({})
    app.registry.c2c_authority = Reading()
    tell(app, 403, enable="0")
    page = see(app, "")
    assert page.forms == []
    assert "log in to the console" in page.text
