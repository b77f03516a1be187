"""Applications with a console, the real authentication, and a browser that keeps its cookie."""

import re
from html.parser import HTMLParser

import pytest
from pyramid.config import Configurator
from webob import Request

from c2cotel import broadcast, index
from c2cotel.pyramid.access import Access
from c2cotel.pyramid.console import Field, Form
from c2cotel.pyramid.views import add_c2c_view

SECRET = "a secret that nobody guesses"


class Page(HTMLParser):
    """A page as parsed: its elements with their attributes, and its text."""

    _VOID = frozenset({"meta", "link", "input", "hr", "br"})

    def __init__(self, html):
        super().__init__()
        self.elements = []
        self._open = []
        self.text = ""
        self.feed(html)
        assert self._open == []
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self._VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag, **attributes):
        """The attributes of the elements *tag* that have these *attributes*."""
        return [
            found
            for name, found in self.elements
            if name == tag and attributes.items() <= found.items()
        ]


class Browser:
    """Keeps its cookies, from one address."""

    secret = SECRET

    def __init__(self, application):
        self.application = application
        self.cookies = {}

    def get(self, path, method="GET", **headers):
        return self._send(Request.blank(path, method=method, headers=headers))

    def post(self, path, **fields):
        return self._send(Request.blank(path, method="POST", POST=fields))

    def page(self, path="/c2c"):
        response = self.get(path, Accept="text/html")
        assert response.content_type == "text/html"
        return Page(response.text)

    def log_in(self):
        response = self.post("/c2c", secret=SECRET)
        assert (response.status_int, response.location) == (303, "http://localhost/c2c")

    def _send(self, request):
        request.remote_addr = "192.0.2.7"
        if self.cookies:
            request.headers["Cookie"] = "; ".join(f"{n}={v}" for n, v in self.cookies.items())
        response = request.get_response(self.application)
        for header in response.headers.getall("Set-Cookie"):
            name, _, rest = header.partition("=")
            value = rest.partition(";")[0]
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return response


def _features(config):
    """A view to look at for everybody, one to look at, one that changes something."""
    config.add_c2c_view(
        "open", lambda _: {}, access=Access.PUBLIC, title="Health", section="For everybody"
    )
    config.add_c2c_view(
        "look",
        lambda _: {},
        title="Memory",
        description="The biggest objects.",
        form=Form([Field("limit", "Limit", "number", "30", help="Of each process.")], "Show"),
    )
    config.add_c2c_view(
        "change",
        lambda request: {"mode": request.params["mode"]},
        changes=lambda request: "mode" in request.params,
        title="Read-only",
        form=Form(
            [Field("mode", "Mode", "select", "b", ("a", "b")), Field("all", "All", "checkbox")],
            "Switch",
            "post",
        ),
    )


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """No settings from outside, no broadcast left, nothing added to the console."""
    for name in ("C2C_SECRET", "C2C_BASE_PATH", "GIT_HASH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(index, "additional_title", None)
    monkeypatch.setattr(index, "additional_noauth", [])
    monkeypatch.setattr(index, "additional_auth", [])
    yield
    broadcast.cleanup()


@pytest.fixture
def start():
    """``start({"c2c.secret": …})``: a browser at an application with these settings."""

    def start(settings=None, prefix=None, authority=None):
        config = Configurator(settings={"c2c.secret": SECRET} if settings is None else settings)
        config.add_directive("add_c2c_view", add_c2c_view)

        def include(config):
            config.include("c2cotel.pyramid.pages")
            config.include("c2cotel.auth")
            config.include(_features)
            config.include("c2cotel.index")

        config.include(include, route_prefix=prefix)
        if authority is not None:
            config.registry.c2c_authority = authority
        return Browser(config.make_wsgi_app())

    return start


@pytest.fixture
def browser(start):
    return start()


@pytest.fixture
def reader(browser):
    """One that is logged in."""
    browser.log_in()
    return browser
