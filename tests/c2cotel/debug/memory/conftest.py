"""An application of the real kernel with the memory's views, and who knows its secret."""

import pytest
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPGone
from pyramid.request import Request
from pyramid.response import Response

from c2cotel import broadcast
from c2cotel.pyramid.views import add_c2c_view

SECRET = "a secret of the tests"


class Kept:
    """What the application leaves behind, and what it saw of its callers."""

    def __init__(self):
        self.things = []
        self.seen = []


class Leaf:
    def __init__(self):
        self.payload = bytearray(1000)


class Application:
    def __init__(self, **settings):
        self.kept = Kept()
        config = Configurator(settings={"c2c.secret": SECRET, **settings})
        config.add_directive("add_c2c_view", add_c2c_view)
        for feature in ("c2cotel.pyramid.pages", "c2cotel.auth", "c2cotel.debug.memory"):
            config.include(feature)
        for name in ("leak", "fails", "teapot", "unseen"):
            config.add_route(name, f"/{name}")
            config.add_view(getattr(self, f"_{name}"), route_name=name)
        self.wsgi = config.make_wsgi_app()
        self.registry = config.registry

    def _leak(self, request):
        self.kept.things += [Leaf() for _ in range(int(request.params.get("number", "100")))]
        self.kept.seen.append(dict(request.headers))
        return Response("ok")

    def _fails(self, _):
        raise ZeroDivisionError("with password=hunter2")

    def _teapot(self, _):
        raise HTTPGone

    def _unseen(self, _):
        return HTTPGone()

    def ask(self, address, /, *, secret=SECRET, method="GET", headers=None, **query):
        request = Request.blank(address, method=method, headers=headers or {})
        request.GET.update(query)
        if secret is not None:
            request.headers["X-API-Key"] = secret
        return request.get_response(self.wsgi)

    def json(self, address, expected=200, /, **query):
        response = self.ask(address, **query)
        assert response.status_int == expected, response.text
        return response.json


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in ("C2C_SECRET", "C2C_BASE_PATH"):
        monkeypatch.delenv(name, raising=False)
    yield
    broadcast.cleanup()


@pytest.fixture
def app():
    return Application()
