"""What ``add_c2c_view`` puts around a view, with the real authentication by secret."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPBadRequest, HTTPFound, HTTPServiceUnavailable
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.pyramid.access import Access
from c2cotel.pyramid.views import add_c2c_view

SECRET = "a secret of the tests"


class Lamp:
    """Something with a state that requests read and change."""

    def __init__(self):
        self.lit = False
        self.by = []

    def view(self, request):
        if (text := request.params.get("lit")) is not None:
            if text not in ("true", "false"):
                raise HTTPBadRequest(f"lit={text!r}: expected 'true' or 'false'")
            self.lit = text == "true"
            self.by.append((str(request.c2c_actor), request.c2c_actor.means))
        return {"lit": self.lit}


@pytest.fixture
def lamp():
    return Lamp()


@pytest.fixture
def configure(monkeypatch, lamp):
    monkeypatch.delenv("C2C_SECRET", raising=False)

    def configure(ini=None, **options):
        config = Configurator(settings={"c2c.secret": SECRET, **(ini or {})}, **options)
        # Not all of it: that would instrument this process, and have it listen to others.
        config.add_directive("add_c2c_view", add_c2c_view)
        for feature in ("c2cotel.pyramid.pages", "c2cotel.auth", "c2cotel.index"):
            config.include(feature)
        config.add_c2c_view(
            "lamp/state", lamp.view, changes=lambda request: "lit" in request.params
        )
        config.add_c2c_view("open", lambda _: {"a": 1, "b": [1, 2]}, access=Access.PUBLIC)
        return config

    return configure


@pytest.fixture
def app(configure):
    return configure().make_wsgi_app()


def ask(app, path, method="GET", *, post=None, **headers):
    request = Request.blank(path, method=method, POST=post)
    request.method = method
    for name, value in headers.items():
        request.headers[name.replace("_", "-")] = value
    return request.get_response(app)


def cookie_of(response):
    return response.headers["Set-Cookie"].partition(";")[0]


@pytest.fixture
def session(app):
    """The cookie of somebody who has logged in, and the CSRF token that a page gives them."""
    cookie = cookie_of(ask(app, "/c2c", "POST", post={"secret": SECRET}))
    page = ask(app, "/c2c/settings", Cookie=cookie).text
    return cookie, re.search(r'name="csrf_token" value="([^"]+)"', page)[1]


def test_the_answer_is_json_without_blanks_that_nobody_keeps(app):
    response = ask(app, "/c2c/open")
    assert (response.status_int, response.body) == (200, b'{"a":1,"b":[1,2]}')
    assert response.content_type == "application/json"
    assert set(response.headers["Cache-Control"].split(", ")) == {
        "max-age=0",
        "must-revalidate",
        "no-cache",
        "no-store",
    }
    assert {"Expires", "Last-Modified", "Pragma"} <= set(response.headers)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_route_is_named_after_the_path(configure):
    config = configure()
    config.commit()
    routes = config.get_routes_mapper().get_routes()
    assert {route.name: route.pattern for route in routes}["c2c_lamp_state"] == "/c2c/lamp/state"


@pytest.mark.parametrize(
    ("ini", "prefix", "path"),
    [
        ({}, None, "/c2c/open"),
        ({"c2c.base_path": "/ops/console"}, None, "/ops/console/open"),
        ({"c2c.base_path": ""}, None, "/open"),
        ({}, "api", "/api/c2c/open"),
    ],
)
def test_views_are_below_the_prefix_and_the_base_path(configure, ini, prefix, path):
    app = configure(ini, route_prefix=prefix).make_wsgi_app()
    assert ask(app, path).status_int == 200


def test_head_is_get_without_the_body(app):
    response = ask(app, "/c2c/open", "HEAD")
    assert (response.status_int, response.body, response.content_length) == (200, b"", 17)


@pytest.mark.parametrize(
    ("path", "verb", "allowed"),
    [
        ("/c2c/open", "POST", "GET, HEAD, OPTIONS"),
        ("/c2c/open", "PUT", "GET, HEAD, OPTIONS"),
        ("/c2c/lamp/state", "DELETE", "GET, HEAD, POST, OPTIONS"),
        ("/c2c/lamp/state", "BREW", "GET, HEAD, POST, OPTIONS"),
    ],
)
def test_another_verb_is_405_with_those_that_do(app, path, verb, allowed):
    response = ask(app, path, verb)
    assert (response.status_int, response.headers["Allow"]) == (405, allowed)
    assert response.json == {
        "message": f"{verb}: only {allowed} can be used here",
        "status": 405,
    }


def test_options_tells_the_verbs(app):
    response = ask(app, "/c2c/lamp/state", "OPTIONS")
    assert (response.status_int, response.headers["Allow"]) == (204, "GET, HEAD, POST, OPTIONS")


def test_nobody_looks_without_the_secret(app):
    response = ask(app, "/c2c/lamp/state")
    assert response.status_int == 403
    assert response.text == (
        '{"message": "Missing or invalid secret (parameter, X-API-Key header or cookie)", '
        '"status": 403}'
    )


def test_without_authentication_nothing_but_the_public_is_open(configure):
    app = configure({"c2c.secret": ""}).make_wsgi_app()
    assert ask(app, "/c2c/open").status_int == 200
    assert ask(app, "/c2c/lamp/state?secret=").status_int == 403


def test_a_browser_gets_its_error_as_a_page(app):
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    response = ask(app, "/c2c/lamp/state", Accept=accept)
    assert (response.status_int, response.content_type) == (403, "text/html")
    assert "Missing or invalid secret" in response.text
    assert 'href="/c2c"' in response.text


def test_the_secret_changes_by_get(app, lamp):
    assert ask(app, "/c2c/lamp/state?lit=true", X_API_Key=SECRET).json == {"lit": True}
    assert ask(app, f"/c2c/lamp/state?lit=false&secret={SECRET}").json == {"lit": False}
    assert [means for _, means in lamp.by] == ["header", "parameter"]


def test_head_changes_nothing(app, lamp):
    response = ask(app, "/c2c/lamp/state?lit=true", "HEAD", X_API_Key=SECRET)
    assert (response.status_int, lamp.lit) == (405, False)
    assert response.headers["Allow"] == "GET, POST, OPTIONS"


def test_a_cookie_reads_by_get_but_changes_by_post_only(app, lamp, session):
    cookie, token = session
    assert ask(app, "/c2c/lamp/state", Cookie=cookie).json == {"lit": False}
    refused = ask(app, "/c2c/lamp/state?lit=true", Cookie=cookie)
    assert (refused.status_int, lamp.lit) == (403, False)
    assert "X-API-Key" in refused.json["message"]
    post = {"lit": "true", "csrf_token": token}
    assert ask(app, "/c2c/lamp/state", "POST", post=post, Cookie=cookie).json == {"lit": True}
    assert lamp.by == [("secret from an unknown address", "cookie")]


@pytest.mark.parametrize("token", [None, "", "wrong", "\u20ac"])
def test_a_change_by_cookie_needs_the_token(app, lamp, session, token):
    cookie, _ = session
    post = {"lit": "true"} | ({} if token is None else {"csrf_token": token})
    response = ask(app, "/c2c/lamp/state", "POST", post=post, Cookie=cookie)
    assert (response.status_int, lamp.lit) == (403, False)


def test_a_form_is_sent_back_to_its_page(app, lamp):
    post = {"lit": "true", "secret": SECRET, "back": "/c2c/settings?search=x#top"}
    response = ask(app, "/c2c/lamp/state", "POST", post=post)
    assert (response.status_int, lamp.lit) == (303, True)
    assert response.location == "http://localhost/c2c/settings?search=x#top"


@pytest.mark.parametrize(
    "back",
    [
        "//evil.example/c2c",
        "https://evil.example/c2c",
        "/c2c/../admin",
        "/c2c//evil.example",
        "/c2cx",
        "/other",
        "/c2c/%2e%2e/admin",
        "/c2c/%5c%5cevil.example",
        "\\\\evil.example",
        "/c2c/\r\nX: y",
        "javascript:alert(1)",
    ],
)
def test_nobody_is_sent_elsewhere(app, back):
    post = {"lit": "true", "secret": SECRET, "back": back}
    response = ask(app, "/c2c/lamp/state", "POST", post=post)
    assert (response.status_int, response.location) == (200, None)


def test_bad_parameters_are_said(app):
    response = ask(app, "/c2c/lamp/state?lit=1", X_API_Key=SECRET)
    assert (response.status_int, response.json) == (
        400,
        {"message": "lit='1': expected 'true' or 'false'", "status": 400},
    )


@pytest.mark.parametrize("query", ["lit=%ff", "%ff=1", "lit=a%00b"])
def test_parameters_that_are_no_text_are_refused(app, query):
    assert ask(app, f"/c2c/lamp/state?{query}", X_API_Key=SECRET).status_int == 400


def test_a_body_that_is_too_long_is_refused_unread(app):
    request = Request.blank("/c2c/lamp/state", method="POST", body=b"lit=" + b"x" * 70_000)
    request.content_type = "application/x-www-form-urlencoded"
    request.headers["X-API-Key"] = SECRET
    assert request.get_response(app).status_int == 413


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(
    body=st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                b"--x\r\n",
                b"--x--\r\n",
                b"Content-Disposition: form-data\r\n",
                b'Content-Disposition: form-data; name="lit"\r\n',
                b"Content-Type: multipart/mixed\r\n",
                b"Content-Length: -1\r\n",
                b"\r\n",
                b"true",
                b"lit=%ff&",
            ]
        )
    ).map(b"".join),
    kind=st.sampled_from(
        [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "multipart/form-data",
            "application/json",
            "text/plain; charset=nonsense",
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/x-www-form-urlencoded; charset=nonsense",
            "",
        ]
    ),
)
def test_no_body_is_an_error_of_the_servers(app, body, kind):
    request = Request.blank("/c2c/lamp/state", method="POST", body=body)
    request.headers["Content-Type"] = kind
    request.headers["X-API-Key"] = SECRET
    assert request.get_response(app).status_int in (200, 400)


def test_what_a_view_raises_keeps_its_headers(configure):
    def unavailable(_):
        raise HTTPServiceUnavailable("later", headers=[("Retry-After", "7")])

    def elsewhere(_):
        raise HTTPFound("/c2c/open")

    config = configure()
    config.add_c2c_view("unavailable", unavailable, access=Access.PUBLIC)
    config.add_c2c_view("elsewhere", elsewhere, access=Access.PUBLIC)
    app = config.make_wsgi_app()
    response = ask(app, "/c2c/unavailable")
    assert (response.status_int, response.headers["Retry-After"]) == (503, "7")
    assert response.json == {"message": "later", "status": 503}
    assert ask(app, "/c2c/elsewhere").location == "http://localhost/c2c/open"


def test_a_view_may_answer_itself(configure):
    config = configure()
    config.add_c2c_view("own", lambda _: Response(b"x", status=204), access=Access.PUBLIC)
    response = ask(config.make_wsgi_app(), "/c2c/own")
    assert (response.status_int, response.headers["X-Frame-Options"]) == (204, "DENY")


def test_the_applications_own_permission_and_csrf_defaults_are_not_ours(configure, lamp):
    config = configure()
    config.set_default_permission("admin")
    config.set_default_csrf_options(require_csrf=True)
    app = config.make_wsgi_app()
    post = {"lit": "true"}
    response = ask(app, "/c2c/lamp/state", "POST", post=post, X_API_Key=SECRET)
    assert (response.status_int, lamp.lit) == (200, True)


def test_a_body_that_is_no_text_is_refused(app):
    request = Request.blank("/c2c/lamp/state", method="POST", body=b"lit=%ff")
    request.content_type = "application/x-www-form-urlencoded"
    request.headers["X-API-Key"] = SECRET
    response = request.get_response(app)
    assert (response.status_int, "UTF-8" in response.json["message"]) == (400, True)


def test_static_files_are_kept_as_long_as_their_address_names_the_version(app, session):
    cookie, _ = session
    page = ask(app, "/c2c", Cookie=cookie).text
    address = re.search(r'href="([^"]+\.css[^"]*)"', page)[1]
    response = ask(app, address)
    assert (response.status_int, response.content_type) == (200, "text/css")
    assert "immutable" in response.headers["Cache-Control"]
    assert "no-store" in ask(app, address.partition("?")[0]).headers["Cache-Control"]
    assert ask(app, "/c2c/static/other.css").status_int == 404
