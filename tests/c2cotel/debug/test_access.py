"""Who may see what the processes do, and that nobody can where it is not switched on."""

import pytest
from pyramid.config import Configurator
from pyramid.interfaces import IRoutesMapper
from pyramid.request import Request

from c2cotel import broadcast
from c2cotel.pyramid.views import add_c2c_view

SECRET = "a secret of the tests"
PUBLIC = {"c2c_debug_time", "c2c_debug_time_clock"}


@pytest.fixture
def application(monkeypatch):
    def make(enabled):
        monkeypatch.setenv("C2C_SECRET", SECRET)
        monkeypatch.setenv("C2C_DEBUG_VIEW_ENABLED", enabled)
        config = Configurator()
        config.add_directive("add_c2c_view", add_c2c_view)
        for feature in ("c2cotel.pyramid.pages", "c2cotel.auth", "c2cotel.debug"):
            config.include(feature)
        return config.make_wsgi_app()

    yield make
    broadcast.cleanup()


def paths(app):
    """An address of each view, by the name of its route."""
    found = {}
    for route in app.registry.getUtility(IRoutesMapper).get_routes():
        if route.name.startswith("c2c_debug"):
            found[route.name] = route.generate(
                {"id": "0" * 16, "format": "json", "path": ("hello",)}
            )
    return found


def answer(app, path, **headers):
    return Request.blank(path, headers=headers).get_response(app)


def test_there_is_nothing_where_it_is_not_switched_on(application):
    addresses = paths(application("1"))
    assert len(addresses) > 15
    off = application("0")
    assert paths(off) == {}
    assert {answer(off, path).status_int for path in addresses.values()} == {404}


def test_who_does_not_know_the_secret_sees_only_the_time(application):
    app = application("1")
    for name, path in paths(app).items():
        expected = 200 if name in PUBLIC else 403
        for verb in ("GET", "HEAD", "POST"):
            request = Request.blank(path, method=verb)
            if verb == "POST":
                request.body = b"seconds=1"
            status = request.get_response(app).status_int
            assert status == expected or (verb == "POST" and status == 405), (name, verb, status)


def test_who_knows_it_is_answered(application):
    app = application("1")
    for name, path in paths(app).items():
        # What is asked for without what it needs is 400, what does not exist 404.
        status = answer(app, path, **{"X-API-Key": SECRET}).status_int
        assert status in (200, 204, 400, 404), (name, status)
