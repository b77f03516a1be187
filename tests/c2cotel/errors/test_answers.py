"""What a client is told of an exception, and the log."""

import io
import json
import logging
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPBadRequest
from pyramid.request import Request
from pyramid.response import Response

from c2cotel import errors
from c2cotel.errors.core import UNEXPECTED

SECRET = "a secret of the tests"
NO_STORE = "max-age=0, must-revalidate, no-cache, no-store"
SQLITE_DUPLICATE = "UNIQUE constraint failed: pet.name"


def raised(configure, error):
    """An application whose ``/view`` raises *error*."""

    def view(_):
        raise error

    config = configure()
    config.add_route("view", "/view")
    config.add_view(view, route_name="view")
    return config.make_wsgi_app()


def library_error(name, *bases, **attributes):
    """An exception as a library has it that is not installed here."""
    module, _, name = name.rpartition(".")
    kind = type(name, bases or (Exception,), {"__module__": module})
    error = kind(attributes.pop("text", "its text"))
    vars(error).update(attributes)
    return error


def amazon(response):
    return library_error("botocore.exceptions.ClientError", response=response)


@pytest.mark.parametrize(
    ("path", "status", "message", "level"),
    [
        ("/hidden", 500, UNEXPECTED, "ERROR"),
        ("/bad", 400, "a=1: expected a letter", "WARNING"),
        ("/unauthorized", 401, "who?", "DEBUG"),
        ("/forbidden", 403, "not you", "WARNING"),
        ("/missing", 404, "no such pet", "WARNING"),
        ("/nowhere", 404, "/nowhere", "WARNING"),
        ("/only_put", 404, "/only_put", "WARNING"),
        ("/guarded", 403, "Access was denied to this resource.", "WARNING"),
        ("/unavailable", 503, "later", "WARNING"),
        ("/chained", 500, "above", "ERROR"),
        ("/with_body", 400, "in short", "WARNING"),
        ("/webob", 409, "twice", "WARNING"),
        ("/duplicate", 400, SQLITE_DUPLICATE, "WARNING"),
        ("/null", 400, "NOT NULL constraint failed: pet.name", "WARNING"),
        ("/no_table", 500, UNEXPECTED, "ERROR"),
        ("/reset", 500, "The client has gone away", "INFO"),
        ("/disconnected", 500, "The client has gone away", "INFO"),
        ("/no_more", 500, "The client has gone away", "INFO"),
        ("/waitress", 500, "The client has gone away", "INFO"),
        ("/chunk", 400, "The request is not well-formed HTTP", "WARNING"),
        ("/json_body", 400, "The body is not JSON: Expecting value, line 1 column 1", "WARNING"),
        ("/query?a=%ff", 400, "The request is not encoded as UTF-8", "WARNING"),
        ("/%ff", 400, "The path is not encoded as UTF-8", "WARNING"),
    ],
)
def test_an_exception_is_json_and_logged_once(app, ask, logged, path, status, message, level):
    response = ask(app, path, headers={"Accept": "text/html"})
    assert (response.status_int, response.content_type) == (status, "application/json")
    assert response.text == json.dumps({"message": message, "status": status})
    assert [record.levelname for record in logged()] == [level]


def test_nothing_internal_is_told(app, ask):
    for path in ("/hidden", "/no_table", "/duplicate", "/guarded", "/chained"):
        text = ask(app, path).text
        for word in (
            "pwd",
            "db.internal",
            "secret.py",
            "INSERT",
            "SELECT",
            "Rex",
            "sqlite",
            "view",
        ):
            assert word not in text


def test_a_head_has_no_body(app, ask):
    response = ask(app, "/hidden", "HEAD")
    assert (response.status_int, response.body) == (500, b"")


def test_errors_are_not_kept_and_not_guessed_at(app, ask):
    for path in ("/hidden", "/bad"):
        headers = ask(app, path).headers
        assert headers["Cache-Control"] == NO_STORE
        assert {"Expires", "Last-Modified", "Pragma"} <= set(headers)
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_headers_of_an_http_exception_go_along_all_of_them(app, ask):
    response = ask(app, "/unauthorized")
    assert response.headers["WWW-Authenticate"] == "Basic"
    assert response.headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert ask(app, "/unavailable").headers["Retry-After"] == "7"
    assert ask(app, "/with_body").headers.getall("Content-Type") == ["application/json"]


@pytest.mark.parametrize(("path", "status"), [("/found", 302), ("/empty", 204)])
def test_what_is_no_error_passes(app, ask, logged, path, status):
    response = ask(app, path)
    assert (response.status_int, logged()) == (status, [])
    assert response.headers["Cache-Control"] == NO_STORE
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_a_redirection_that_is_raised_leads_where_it_says(app, ask):
    assert ask(app, "/found").location == "http://localhost/elsewhere"


def test_no_content_has_neither_type_nor_length(app, ask):
    headers = ask(app, "/empty").headers
    assert not {"Content-Type", "Content-Length"} & set(headers)


def test_what_is_not_modified_stays_in_the_caches(app, ask):
    response = ask(app, "/same")
    assert (response.status_int, "Cache-Control" in response.headers) == (304, False)


@pytest.mark.parametrize(
    ("response", "status", "message"),
    [
        (
            {"Error": {"Code": "NoSuchKey"}, "ResponseMetadata": {"HTTPStatusCode": 404}},
            404,
            "A service behind this one answered: NoSuchKey",
        ),
        ({"Error": {"Code": "404"}}, 404, "A service behind this one answered: 404"),
        (
            {"Error": {"Code": "a b"}, "ResponseMetadata": {"HTTPStatusCode": 503}},
            503,
            "A service behind this one answered: 503",
        ),
        ({"ResponseMetadata": {"HTTPStatusCode": 200}}, 500, UNEXPECTED),
        ({"ResponseMetadata": {"HTTPStatusCode": 999}}, 500, UNEXPECTED),
        ({"ResponseMetadata": None, "Error": []}, 500, UNEXPECTED),
        (None, 500, UNEXPECTED),
    ],
)
def test_an_error_of_amazons_client_has_its_status(configure, ask, response, status, message):
    answer = ask(raised(configure, amazon(response)), "/view")
    assert (answer.status_int, answer.json["message"]) == (status, message)


def test_an_error_derived_from_amazons_has_it_too(configure, ask):
    class NoSuchBucket(type(amazon({}))):
        response = {"Error": {"Code": "NoSuchBucket"}, "ResponseMetadata": {"HTTPStatusCode": 404}}  # noqa: RUF012

    assert ask(raised(configure, NoSuchBucket()), "/view").status_int == 404


def test_a_signature_that_beaker_refuses_is_401(configure, ask, logged):
    forged = library_error("beaker.exceptions.BeakerException", text="Invalid signature")
    response = ask(raised(configure, forged), "/view")
    assert (response.status_int, response.json["message"]) == (401, "Invalid signature")
    other = library_error("beaker.exceptions.BeakerException", text="no backend at 10.0.0.1")
    assert ask(raised(configure, other), "/view").json == {"message": UNEXPECTED, "status": 500}
    assert [record.levelname for record in logged()] == ["DEBUG", "ERROR"]


def test_what_an_upstream_has_reset_is_no_client_that_went_away(configure, ask, logged):
    from http.client import RemoteDisconnected

    ask(raised(configure, RemoteDisconnected("by upstream")), "/view")
    assert [record.levelname for record in logged()] == ["ERROR"]


def test_the_drivers_first_line_is_all_that_is_told(configure, ask):
    from sqlalchemy.exc import DataError, IntegrityError

    class UniqueViolation(Exception):  # noqa: N818 - psycopg's name
        """As psycopg's."""

    said = 'duplicate key value violates unique constraint "pet_pkey"'
    driver = UniqueViolation(f"{said}\nDETAIL:  Key (name)=(Rex) already exists.")
    error = IntegrityError("INSERT INTO pet VALUES (%s)", ("Rex",), driver)
    assert ask(raised(configure, error), "/view").json == {"message": said, "status": 400}
    said = 'invalid input syntax for type integer: "abcd"'
    driver = UniqueViolation(f"{said}\nLINE 1: SELECT 'abcd'::int\n               ^")
    error = DataError("SELECT 'abcd'::int", {}, driver)
    assert ask(raised(configure, error), "/view").json == {"message": said, "status": 400}


def test_an_exception_that_cannot_speak_is_answered(configure, ask, logged):
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("no")

    class MuteRequestError(HTTPBadRequest):
        def __str__(self):
            raise RuntimeError("no")

    app = raised(configure, MuteError())
    assert ask(app, "/view").json["message"] == UNEXPECTED
    assert ask(app, f"/view?secret={SECRET}").json["message"].endswith("MuteError")
    app = raised(configure, MuteRequestError())
    assert ask(app, "/view").json["message"].endswith("MuteRequestError")
    assert len(logged()) == 3


def test_the_log_has_the_traceback_but_not_of_what_the_client_did_wrong(app, ask, logged):
    for path in ("/hidden", "/bad", "/nowhere", "/unavailable", "/chained", "/duplicate", "/reset"):
        ask(app, path)
    traced = [record.exc_info is not None for record in logged()]
    assert traced == [True, False, False, True, True, True, False]


def test_the_log_line_says_what_and_where_from_without_secrets(app, ask, logged):
    referrer = "https://other.example/x?token=abcdef"
    ask(app, "/hidden?secret=wrong&a=1", "POST", {"Referer": referrer})
    (record,) = logged()
    assert record.referrer == "https://other.example/x?token=REDACTED"
    assert record.getMessage() == (
        "POST http://localhost:80/hidden?secret=REDACTED&a=1 answered with 500: "
        f"{record.exc_info[0].__module__}.HiddenError: "
        "postgresql://me:REDACTED@db.internal/x in /app/secret.py"
    )


def test_the_log_line_is_one_line_whatever_the_client_sends(app, ask, logged):
    ask(app, "/no%0Asuch%0D%0Aline", "GET", {"Referer": "x" * 10_000})
    (record,) = logged()
    assert "\n" not in record.getMessage()
    assert len(record.referrer) == 2048


@pytest.mark.parametrize("given_by", ["parameter", "header", "development", "cookie"])
def test_who_may_see_everything_does(configure, ask, given_by):
    app = configure({}).make_wsgi_app()
    query, headers = "", {}
    if given_by == "parameter":
        query = f"?secret={SECRET.replace(' ', '+')}"
    elif given_by == "header":
        headers["X-API-Key"] = SECRET
    elif given_by == "cookie":
        config = configure()
        config.add_c2c_view("look", lambda _: {})
        app = config.make_wsgi_app()
        cookie = ask(app, "/c2c/look", headers={"X-API-Key": SECRET}).headers["Set-Cookie"]
        headers["Cookie"] = cookie.partition(";")[0]
    response = None
    if given_by == "development":
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DEVELOPMENT", "1")
            app = configure().make_wsgi_app()
    response = ask(app, f"/duplicate{query}", headers=headers)
    body = response.json
    assert list(body) == ["message", "status", "stacktrace"]
    assert body["status"] == response.status_int == 400
    assert "[SQL: INSERT INTO pet VALUES (?)]\n[parameters: ('Rex',)]" in body["message"]
    assert body["stacktrace"].startswith("Traceback (most recent call last):\n")
    assert "failing_database" in body["stacktrace"]
    hidden = ask(app, f"/hidden{query}", headers=headers).json
    assert hidden["message"] == "postgresql://me:REDACTED@db.internal/x in /app/secret.py"
    assert "pwd@" not in hidden["stacktrace"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?secret=wrong", {}),
        ("?secret=", {}),
        ("?secret=%ff", {}),
        ("", {"X-API-Key": "wrong"}),
        ("", {"Cookie": "c2c-auth-jwt=nonsense"}),
        ("", {"Cookie": "\xff="}),
        ("", {"Authorization": f"Bearer {SECRET}"}),
    ],
)
def test_who_may_not_does_not(app, ask, query, headers):
    body = ask(app, f"/hidden{query}", headers=headers).json
    assert body == {"message": UNEXPECTED, "status": 500}


def test_without_a_secret_nobody_sees_more(configure, ask):
    app = configure({"c2c.secret": ""}).make_wsgi_app()
    assert ask(app, "/hidden?secret=").json == {"message": UNEXPECTED, "status": 500}


def test_an_applications_own_keys_are_not_complained_of(app, ask, caplog):
    caplog.set_level(logging.DEBUG)
    for number in range(20):
        ask(app, "/missing", headers={"X-API-Key": f"the application's own {number}"})
    levels = {record.levelno for record in caplog.records if record.name == "c2cotel.auth.secret"}
    assert levels == {logging.INFO}


def test_an_applications_own_key_uses_up_no_tries(app, ask):
    for _ in range(20):
        ask(app, "/missing", headers={"X-API-Key": "the application's own"})
    assert "stacktrace" in ask(app, "/missing", headers={"X-API-Key": SECRET}).json
    assert "stacktrace" in ask(app, f"/missing?secret={SECRET}").json


def test_guesses_by_errors_lock_nobody_out_of_our_views(configure, ask):
    config = configure()
    config.add_c2c_view("look", lambda _: {"seen": True})
    app = config.make_wsgi_app()
    for number in range(20):
        ask(app, f"/missing?secret=wrong{number}", REMOTE_ADDR="192.0.2.7")
    assert "stacktrace" not in ask(app, f"/missing?secret={SECRET}", REMOTE_ADDR="192.0.2.7").json
    response = ask(app, "/c2c/look", headers={"X-API-Key": SECRET}, REMOTE_ADDR="192.0.2.7")
    assert response.json == {"seen": True}


DEEP = b"[" * 200_000
CHARSET = "The charset of the request cannot be read: send UTF-8"
FORM = "application/x-www-form-urlencoded"
PART = b'--a\r\nContent-Disposition: form-data; name="x"\r\nContent-Type: text/plain; charset=zlib'


@pytest.mark.parametrize(
    ("path", "kind", "body", "message"),
    [
        ("/json_body", "application/json", DEEP, "The body is nested too deeply"),
        ("/json_body", "application/json", DEEP.replace(b"[", b'{"a":'), None),
        ("/json_body", "application/json; charset=nonsense", b"{}", CHARSET),
        ("/json_body", "application/json; charset=hex", b"{}", CHARSET),
        ("/json_body", "application/json; charset=punycode", b"\xff", None),
        ("/body", f"{FORM}; charset=nonsense", b"a=1", CHARSET),
        ("/body", f"{FORM}; charset=latin-1", b"a=1", CHARSET),
        ("/body", "multipart/form-data; boundary=a", PART + b"\r\n\r\nx\r\n--a--", CHARSET),
        ("/body", "multipart/form-data", b"--a", "The request cannot be read"),
    ],
)
def test_a_body_that_nobody_can_read_is_the_clients(app, ask, logged, path, kind, body, message):
    environ = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    environ["webob.is_body_seekable"] = True  # or it makes a file of a long one
    response = ask(app, path, "POST", CONTENT_TYPE=kind, **environ)
    assert response.status_int == 400
    assert response.json["message"] == (message or response.json["message"])
    assert [(record.levelname, record.exc_info) for record in logged()] == [("WARNING", None)]


def test_an_application_that_calls_itself_for_ever_is_at_fault_itself(configure, ask):
    def reading(request):
        request.params.get("x")
        return reading(request)

    def looking(request):
        return {"there": request.json_body["not there"]}

    config = configure()
    for name, view in (("reading", reading), ("looking", looking)):
        config.add_route(name, f"/{name}")
        config.add_view(view, route_name=name)
    app = config.make_wsgi_app()
    assert ask(app, "/reading?x=1").status_int == 500
    environ = {"wsgi.input": io.BytesIO(b"{}"), "CONTENT_LENGTH": "2"}
    assert ask(app, "/looking", "POST", **environ).status_int == 500


class Unread(io.RawIOBase):
    """A body that must not be waited for."""

    def readable(self):
        return True

    def readinto(self, buffer):
        raise AssertionError("the body was read")


def test_the_body_is_not_read_for_the_answer(app, ask):
    environ = {
        "wsgi.input": io.BufferedReader(Unread()),
        "CONTENT_LENGTH": "1000000000",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
    }
    response = ask(app, f"/hidden?secret={SECRET}", "POST", **environ)
    assert "stacktrace" in response.json


def test_an_authority_that_fails_hides_nothing(configure, ask, logged):
    class Broken:
        def identity(self, request):
            raise OSError("away")

    config = configure()
    config.registry.c2c_authority = Broken()
    app = config.make_wsgi_app()
    assert ask(app, "/hidden?secret=x").json == {"message": UNEXPECTED, "status": 500}
    assert [record.exc_info[0].__name__ for record in logged()] == ["HiddenError", "OSError"]


def test_what_another_request_cannot_read_is_no_fault_of_this_one(configure, ask):
    def reading(_):
        return Request.blank("/x", body=b"no json").json_body

    def sending(request):
        def failing(*_):
            raise ValueError("of the other application")

        return request.get_response(failing)

    config = configure()
    for name, view in (("reading", reading), ("sending", sending)):
        config.add_route(name, f"/{name}")
        config.add_view(view, route_name=name)
    app = config.make_wsgi_app()
    assert ask(app, "/reading").status_int == 500
    assert ask(app, "/sending").status_int == 500


def test_exception_views_of_the_application_go_first(configure, ask):
    config = configure()
    config.add_exception_view(lambda e, _: Response(f"own {e}", status=418), context=LookupError)
    config.add_notfound_view(lambda _: Response("own page", status=404))
    config.add_route("look", "/look")

    def look(_):
        raise KeyError("a")

    config.add_view(look, route_name="look")
    app = config.make_wsgi_app()
    assert ask(app, "/look").status_int == 418
    assert ask(app, "/nowhere").text == "own page"
    assert ask(app, "/hidden").json["status"] == 500


def test_one_for_all_exceptions_goes_first_too(configure, ask):
    config = configure()
    config.add_exception_view(lambda _: Response("own", status=500), context=Exception)
    assert ask(config.make_wsgi_app(), "/hidden").text == "own"


def test_what_a_view_returns_stays_as_it_is(configure, ask):
    config = configure()
    config.add_route("view", "/view")
    config.add_view(lambda _: HTTPBadRequest("x", json_body={"own": 1}), route_name="view")
    assert ask(config.make_wsgi_app(), "/view").json == {"own": 1}


@pytest.mark.parametrize("handling", ["0", "", "false"])
def test_without_the_setting_nothing_is_answered(configure, ask, handling):
    app = configure(handling=handling).make_wsgi_app()
    with pytest.raises(Exception, match="internal"):
        ask(app, "/hidden")
    assert ask(app, "/bad", headers={"Accept": "text/html"}).content_type == "text/html"


def test_the_environment_can_switch_it_on(configure, ask, monkeypatch):
    monkeypatch.setenv("C2C_ENABLE_EXCEPTION_HANDLING", "1")
    assert ask(configure(handling="0").make_wsgi_app(), "/hidden").status_int == 500


def test_init_is_deprecated_and_does_it(ask):
    config = Configurator(settings={"c2c.enable_exception_handling": "1"})
    with pytest.warns(DeprecationWarning, match="errors.init"):
        errors.init(config)
    assert ask(config.make_wsgi_app(), "/x").json == {"message": "/x", "status": 404}


def test_no_library_is_loaded_for_it():
    assert not {"botocore", "beaker"} & set(sys.modules)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(
    path=st.text(st.characters(codec="latin-1"), max_size=20)
    | st.sampled_from(["hidden", "bad", "only_put", "json_body", "query", "body", "duplicate"]),
    query=st.text(st.characters(codec="ascii"), max_size=30) | st.just("secret=%ff&secret=x"),
    headers=st.fixed_dictionaries(
        {},
        optional={
            "HTTP_REFERER": st.text(st.characters(codec="latin-1")),
            "HTTP_COOKIE": st.text(st.characters(codec="latin-1")),
            "HTTP_X_API_KEY": st.text(st.characters(codec="latin-1")),
            "HTTP_HOST": st.text(st.characters(codec="latin-1"), max_size=20),
            "HTTP_ORIGIN": st.text(st.characters(codec="latin-1"), max_size=20),
            "HTTP_ACCESS_CONTROL_REQUEST_METHOD": st.text(st.characters(codec="latin-1")),
        },
    ),
    method=st.sampled_from(["GET", "POST", "OPTIONS", "HEAD", "BREW", "DELETE"]),
)
def test_whatever_is_asked_it_is_answered(app, path, query, headers, method):
    environ = Request.blank("/").environ
    environ |= {"PATH_INFO": f"/{path}", "QUERY_STRING": query, "REQUEST_METHOD": method, **headers}
    told = []
    body = b"".join(app(environ, lambda status, fields: told.append((status, fields))))
    ((status, fields),) = told
    assert status[:3] in {
        "200",
        "204",
        "302",
        "304",
        "400",
        "401",
        "403",
        "404",
        "409",
        "500",
        "503",
    }
    assert all("\n" not in value and "\r" not in value for _, value in fields)
    if body:
        assert json.loads(body)["status"] == int(status[:3])
