"""How long renderers take."""

import pytest
from pyramid.config import Configurator
from pyramid.renderers import RendererHelper, render

from c2cotel_instrumentation.pyramid import PyramidInstrumentor

from .conftest import get

DURATION = "c2c.pyramid.render.duration"


class Refusing:
    def __init__(self, _):
        pass

    def __call__(self, value, system):
        raise ZeroDivisionError


@pytest.fixture
def app():
    config = Configurator()
    config.add_renderer("refusing", Refusing)
    views = {
        "json": (lambda _: {"a": 1}, {"renderer": "json"}),
        "refusing": (lambda _: {"a": 1}, {"renderer": "refusing"}),
        "within": (lambda _: {"text": render("json", {"b": 2})}, {"renderer": "string"}),
    }
    for name, (view, options) in views.items():
        config.add_route(name, f"/{name}/{{number}}")
        config.add_view(view, route_name=name, **options)
    return config.make_wsgi_app()


def test_it_is_counted_by_route(telemetry, app):
    telemetry.instrument()
    get(app, "/json/1")
    assert get(app, "/json/2").json == {"a": 1}
    assert telemetry.points(DURATION) == [({"http.route": "/json/{number}"}, 2)]


def test_one_that_raises_is_counted_with_its_error(telemetry, app):
    telemetry.instrument()
    with pytest.raises(ZeroDivisionError):
        get(app, "/refusing/1")
    assert telemetry.points(DURATION) == [
        ({"http.route": "/refusing/{number}", "error.type": "ZeroDivisionError"}, 1)
    ]


def test_what_a_view_renders_itself_belongs_to_its_route(telemetry, app):
    telemetry.instrument()
    get(app, "/within/1")
    assert telemetry.points(DURATION) == [({"http.route": "/within/{number}"}, 2)]


def test_outside_of_requests_there_is_no_route(telemetry, app):
    telemetry.instrument()
    assert RendererHelper("json", registry=app.registry).render({"a": 1}, None) == '{"a": 1}'
    assert telemetry.points(DURATION) == [({}, 1)]


def test_afterwards_renderers_are_pyramids_again(telemetry, app):
    before = RendererHelper.render
    telemetry.instrument()
    assert RendererHelper.render is not before
    PyramidInstrumentor().uninstrument()
    assert RendererHelper.render is before
    get(app, "/json/1")
    assert telemetry.points(DURATION) == []
