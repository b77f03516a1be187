"""Applications with the real kernel, a browser that keeps cookies, and a GitHub to log in with."""

from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

import pytest
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPBadRequest
from pyramid.session import SignedCookieSessionFactory
from webob import Request

from c2cotel.auth import check_access, is_auth, is_auth_user
from c2cotel.pyramid.access import Access
from c2cotel.pyramid.views import add_c2c_view
from c2cotel_acceptance.github import FakeGitHub

REPOSITORY = "camptocamp/private"


class Browser:
    """Keeps cookies as a browser does, and sends them where they belong."""

    def __init__(self, application, host="localhost", scheme="http"):
        self.application = application
        self.base = f"{scheme}://{host}"
        self.cookies = {}

    def get(self, path, headers=None, remote="192.0.2.7", **query):
        url = f"{path}?{urlencode(query)}" if query else path
        return self._send(Request.blank(url, base_url=self.base, headers=headers or {}), remote)

    def post(self, path, headers=None, **fields):
        request = Request.blank(
            path, base_url=self.base, method="POST", POST=fields, headers=headers or {}
        )
        return self._send(request)

    def open(self, url):
        """Go to an absolute address of the application."""
        parts = urlsplit(url)
        return self._send(Request.blank(f"{parts.path}?{parts.query}", base_url=self.base))

    def to_github_and_back(self, **query):
        """Where GitHub sends the browser to, once it was sent there."""
        return FakeGitHub.send_back(self.get("/c2c/github-login", **query).location)

    def log_in(self, **query):
        """All the way; the answer of the callback."""
        return self.open(self.to_github_and_back(**query))

    def _send(self, request, remote="192.0.2.7"):
        request.remote_addr = remote
        sent = {
            name: cookie
            for name, cookie in self.cookies.items()
            if request.path.startswith(cookie["path"])
        }
        if sent:
            request.headers["Cookie"] = "; ".join(f"{n}={c.value}" for n, c in sent.items())
        response = request.get_response(self.application)
        for header in response.headers.getall("Set-Cookie"):
            for name, cookie in SimpleCookie(header).items():
                if cookie["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = cookie
        return response


def application(environ, monkeypatch, prefix=None, settings=None):
    """A real application with something to look at, something to change, and a view of its own."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    config = Configurator(settings=settings)
    config.set_session_factory(SignedCookieSessionFactory("the-application-has-sessions"))
    config.add_directive("add_c2c_view", add_c2c_view)

    def include(config):
        config.include("c2cotel.pyramid.proxies")
        config.include("c2cotel.pyramid.pages")
        config.include("c2cotel.auth")
        config.add_c2c_view("", _console, name="c2c_index", access=Access.PUBLIC)
        # The pages link to these.
        config.add_c2c_view("settings", _look)
        config.add_c2c_view("changes", _look)
        config.add_c2c_view("look", _look)
        config.add_c2c_view("change", _look, changes=lambda request: "set" in request.params)

    config.include(include, route_prefix=prefix)
    config.add_route("mine", "/mine")
    config.add_view(_mine, route_name="mine", renderer="json")
    return config.make_wsgi_app()


def _console(request):
    authority = request.registry.c2c_authority
    identity = authority.identity(request)
    return {
        "login": identity and identity.login,
        "access": identity and identity.access.name,
        "csrf": authority.csrf_token(request),
    }


def _look(request):
    if "bad" in request.params:
        raise HTTPBadRequest("bad")
    return {"actor": str(request.c2c_actor), "means": request.c2c_actor.means}


def _mine(request):
    repository, right = request.params.get("repository"), request.params.get("right")
    return {
        "auth": is_auth(request),
        "user": is_auth_user(request)[1],
        "access": check_access(request, repository, right),
    }


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in ("C2C_SECRET", "C2C_USE_SESSION", "C2C_BASE_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def start(monkeypatch):
    """``start(C2C_SECRET="…")``: a browser at an application that is set up like this."""

    def start(prefix=None, settings=None, scheme="http", **environ):
        made = application(environ, monkeypatch, prefix, settings)
        browser = Browser(made, scheme=scheme)
        browser.authority = made.registry.c2c_authority
        return browser

    return start


@pytest.fixture
def github():
    with FakeGitHub() as github:
        github.add("octocat", {REPOSITORY: "push"}, name="The Octocat")
        yield github
