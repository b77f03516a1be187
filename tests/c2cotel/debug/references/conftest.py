"""An application of the real kernel with the views of references, and who knows its secret."""

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
        for feature in ("c2cotel.pyramid.pages", "c2cotel.auth", "c2cotel.debug.references"):
            config.include(feature)
        self.wsgi = config.make_wsgi_app()
        self.registry = config.registry

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
