"""An application of the real kernel with memory traces, in a run directory of its own."""

import tracemalloc

import pytest
from pyramid.config import Configurator
from pyramid.request import Request

from c2cotel import broadcast
from c2cotel.pyramid.views import add_c2c_view

SECRET = "a secret of the tests"


class Application:
    def __init__(self, **settings):
        config = Configurator(settings={"c2c.secret": SECRET, **settings})
        config.add_directive("add_c2c_view", add_c2c_view)
        for feature in ("c2cotel.pyramid.pages", "c2cotel.auth", "c2cotel.debug.memory_trace"):
            config.include(feature)
        self.wsgi = config.make_wsgi_app()
        self.registry = config.registry
        self.traces = config.registry.c2c_memory_traces

    def ask(self, address, /, *, secret=SECRET, method="GET", headers=None, post=None, **query):
        request = Request.blank(address, method=method, headers=headers or {}, POST=post)
        request.method = method
        request.GET.update(query)
        if secret is not None:
            request.headers["X-API-Key"] = secret
        return request.get_response(self.wsgi)


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in ("C2C_SECRET", "C2C_BASE_PATH"):
        monkeypatch.delenv(name, raising=False)
    yield
    broadcast.cleanup()
    assert not tracemalloc.is_tracing()


@pytest.fixture
def app():
    return Application()
