"""Applications whose exceptions are answered, with the real authentication by secret."""

import logging

import pytest
import sqlalchemy
import webob.exc
import webob.request
from gunicorn.http.errors import InvalidChunkSize, NoMoreData
from pyramid.authorization import ACLHelper
from pyramid.config import Configurator
from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPForbidden,
    HTTPFound,
    HTTPInternalServerError,
    HTTPNoContent,
    HTTPNotFound,
    HTTPNotModified,
    HTTPServiceUnavailable,
    HTTPUnauthorized,
)
from pyramid.request import Request
from waitress.channel import ClientDisconnected

from c2cotel.pyramid.views import add_c2c_view

SECRET = "a secret of the tests"
LOGGER = "c2cotel.errors.views"


class HiddenError(Exception):
    """Of the application; its text is nobody else's business."""


def failing_database(statement, **parameters):
    engine = sqlalchemy.create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE pet (name TEXT UNIQUE NOT NULL)"))
            connection.execute(sqlalchemy.text("INSERT INTO pet VALUES ('Rex')"))
            connection.execute(sqlalchemy.text(statement), parameters)
    finally:
        engine.dispose()


def chained(_):
    raise HTTPInternalServerError("above") from HiddenError("below")


class Policy:
    """Nobody has any permission."""

    def identity(self, request):
        return None

    def authenticated_userid(self, request):
        return None

    def permits(self, request, context, permission):
        return ACLHelper().permits(context, [], permission)


RAISED = {
    "hidden": lambda: HiddenError("postgresql://me:pwd@db.internal/x in /app/secret.py"),
    "bad": lambda: HTTPBadRequest("a=1: expected a letter"),
    "unauthorized": lambda: HTTPUnauthorized(
        "who?",
        headers=[("WWW-Authenticate", "Basic"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
    ),
    "forbidden": lambda: HTTPForbidden("not you"),
    "missing": lambda: HTTPNotFound("no such pet"),
    "unavailable": lambda: HTTPServiceUnavailable("later", headers=[("Retry-After", "7")]),
    "own_origin": lambda: HTTPBadRequest(
        "x", headers=[("Access-Control-Allow-Origin", "https://one.example")]
    ),
    "with_body": lambda: HTTPBadRequest("in short", json_body={"own": 1}),
    "found": lambda: HTTPFound("/elsewhere"),
    "empty": HTTPNoContent,
    "same": HTTPNotModified,
    "webob": lambda: webob.exc.HTTPConflict("twice"),
    "reset": lambda: ConnectionResetError(104, "reset by peer"),
    "disconnected": lambda: webob.request.DisconnectionError("gone"),
    "no_more": lambda: NoMoreData(b""),
    "waitress": ClientDisconnected,
    "chunk": lambda: InvalidChunkSize(b"zz"),
}


def raiser(make):
    def view(_):
        raise make()

    return view


VIEWS = {
    **{name: raiser(make) for name, make in RAISED.items()},
    "fine": lambda request: request.response,
    "chained": chained,
    "json_body": lambda request: request.json_body,
    "query": lambda request: request.GET,
    "body": lambda request: request.POST,
    "duplicate": lambda _: failing_database("INSERT INTO pet VALUES (:a)", a="Rex"),
    "null": lambda _: failing_database("INSERT INTO pet VALUES (:a)", a=None),
    "no_table": lambda _: failing_database("SELECT * FROM secrets"),
}


def add_views(config):
    for name, view in VIEWS.items():
        config.add_route(name, f"/{name}")
        config.add_view(view, route_name=name)
    config.add_route("only_put", "/only_put")
    config.add_view(VIEWS["fine"], route_name="only_put", request_method="PUT")
    config.add_route("guarded", "/guarded")
    config.add_view(VIEWS["fine"], route_name="guarded", permission="edit")


def with_errors(ini=None, handling="1", **options):
    settings = {"c2c.secret": SECRET, "c2c.enable_exception_handling": handling, **(ini or {})}
    config = Configurator(settings=settings, **options)
    # Not all of c2cotel: that would instrument this process.
    config.add_directive("add_c2c_view", add_c2c_view)
    for feature in ("c2cotel.pyramid.renderers", "c2cotel.auth", "c2cotel.request_tracking"):
        config.include(feature)
    config.include("c2cotel.errors")
    return config


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("C2C_SECRET", "DEVELOPMENT", "C2C_ENABLE_EXCEPTION_HANDLING"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def configure():
    def configure(ini=None, handling="1", **options):
        config = with_errors(ini, handling, **options)
        config.set_security_policy(Policy())
        add_views(config)
        return config

    return configure


@pytest.fixture
def app(configure):
    return configure().make_wsgi_app()


@pytest.fixture
def ask():
    """``ask(app, path)``: what it answers."""

    def ask(app, path, method="GET", headers=(), **environ):
        request = Request.blank(path, method=method, headers=dict(headers), environ=environ)
        return request.get_response(app)

    return ask


@pytest.fixture
def logged(caplog):
    """The records about exceptions so far."""
    caplog.set_level(logging.DEBUG)

    def logged():
        return [record for record in caplog.records if record.name == LOGGER]

    return logged
