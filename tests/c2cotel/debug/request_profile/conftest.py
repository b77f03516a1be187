"""An application whose requests are profiled, with the real authentication and switch."""

import re
import time

import pytest
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPNotFound
from pyramid.request import Request
from pyramid.response import Response

from c2cotel import broadcast
from c2cotel.debug.request_profile import core
from c2cotel.pyramid.views import add_c2c_view

SECRET = "a secret of the tests"
JSON, PAGE = "/c2c/debug/request_profile", "/c2c/debug/requests"
ID, ERROR = "X-C2C-Profile-Id", "X-C2C-Profile-Error"
FEATURES = (
    "c2cotel.pyramid.proxies",
    "c2cotel.pyramid.pages",
    "c2cotel.auth",
    "c2cotel.debug.request_profile",
    "c2cotel.index",
)


def hot_function(seconds):
    """Compute, in calls."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        sum(number * number for number in range(1000))


def hello(request):
    hot_function(0.03)
    return Response(f"Hello {request.matchdict['name']}")


def quick(_):
    return Response("quick")


def fails(_):
    hot_function(0.005)
    raise ValueError("of the application")


def missing(_):
    raise HTTPNotFound("gone")


def configure(*more, **ini):
    config = Configurator(settings={"c2c.secret": SECRET, **ini})
    config.add_directive("add_c2c_view", add_c2c_view)
    for feature in FEATURES:
        config.include(feature)
    for name, pattern, view in (
        ("hello", "/hello/{name}", hello),
        ("quick", "quick", quick),
        ("fails", "/fails", fails),
        ("missing", "/missing", missing),
    ):
        config.add_route(name, pattern)
        config.add_view(view, route_name=name)
    for change in more:
        change(config)
    return config.make_wsgi_app()


class Client:
    """Somebody who asks an application."""

    def __init__(self, app):
        self.app = app

    def get(self, path, *, method="GET", post=None, query=None, **headers):
        request = Request.blank(path, POST=post)
        if query is not None:
            request.GET.update(query)
        request.method = "POST" if post is not None else method
        request.remote_addr = "192.0.2.7"
        for name, value in headers.items():
            request.headers[name.replace("_", "-")] = value
        return request.get_response(self.app)

    def profiled(self, path, **more):
        return self.get(path, X_C2C_Profile="1", X_API_Key=SECRET, **more)

    def tell(self, expected=200, path=JSON, **query):
        """The answer to these parameters, with the secret."""
        response = self.get(path, query=query, X_API_Key=SECRET)
        assert response.status_int == expected, response.text
        return response.json

    def kept(self):
        return self.tell()["profiles"]

    def session(self):
        """The cookie of somebody who has logged in, and the token of the page."""
        response = self.get(PAGE, query={"secret": SECRET})
        cookie = response.headers["Set-Cookie"].partition(";")[0]
        page = self.get(PAGE, Cookie=cookie).text
        return cookie, re.search(r'name="csrf_token" value="([^"]+)"', page)[1]


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """No settings from outside, and nothing of other tests."""
    for name in ("C2C_SECRET", "C2C_BASE_PATH", "C2C_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    core.profiles.cache_clear()
    yield
    core.profiles()._apply("", None)
    broadcast.cleanup()
    core.profiles.cache_clear()


@pytest.fixture
def client():
    return Client(configure())
