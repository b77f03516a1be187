"""Requests of a Pyramid application behind proxies."""

import pytest
from pyramid.config import Configurator
from pyramid.events import ApplicationCreated, NewRequest
from pyramid.response import Response
from webob import Request

from c2cotel.pyramid.access import client_address

CLIENT = "203.0.113.9"


@pytest.fixture(autouse=True)
def nobody_else_says_anything(monkeypatch):
    for name in ("C2C_TRUSTED_PROXIES", "C2C_PROXY_HEADERS", "C2C_FORCE_HOST"):
        monkeypatch.delenv(name, raising=False)


def who(request):
    told = (request.client_addr, client_address(request), request.remote_addr, request.url)
    return Response("|".join(map(str, told)))


def application(*before, also=(), **settings):
    config = Configurator(settings=settings)
    for include in before:
        config.include(include)
    config.include("c2cotel.pyramid.proxies")
    config.add_route("who", "/who")
    config.add_view(who, route_name="who")
    for change in also:
        change(config)
    return config.make_wsgi_app()


def ask(app, peer="10.0.0.1", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request.blank("/who", headers=names)
    request.remote_addr = peer
    return request.get_response(app).text


def test_the_request_object_knows_who_asks_and_for_what():
    told = ask(
        application(),
        X_Forwarded_For=f"198.51.100.1, {CLIENT}",
        X_Forwarded_Proto="https",
        X_Forwarded_Host="example.com",
    )
    assert told == f"{CLIENT}|{CLIENT}|{CLIENT}|https://example.com/who"


def test_what_a_stranger_says_does_not_reach_the_request_object():
    told = ask(application(), peer=CLIENT, X_Forwarded_For="10.0.0.1", X_Forwarded_Proto="https")
    assert told == f"{CLIENT}|{CLIENT}|{CLIENT}|http://localhost/who"


def test_the_ini_names_the_proxies():
    app = application(**{"c2c.trusted_proxies": CLIENT, "c2c.force_host": "a.example"})
    assert ask(app, peer=CLIENT, Forwarded="for=192.0.2.1;proto=https") == (
        "192.0.2.1|192.0.2.1|192.0.2.1|https://a.example/who"
    )
    assert ask(app, Forwarded="for=192.0.2.1").startswith("10.0.0.1|")


def test_a_retried_request_is_set_right_once_and_the_policy_of_the_application_stays():
    tries = []

    def retrying(environ, router):
        for _ in range(3):
            with router.request_context(environ) as request:
                tries.append(request.client_addr)
                response = router.invoke_request(request)
        return response

    app = application(also=[lambda config: config.set_execution_policy(retrying)])
    assert ask(app, X_Forwarded_For=f"{CLIENT}, 10.0.0.2").startswith(CLIENT)
    assert tries == [CLIENT] * 3


def test_pyramid_retry_goes_along():
    app = application("pyramid_retry", **{"retry.attempts": "2"})
    assert ask(app, X_Forwarded_For=CLIENT).startswith(CLIENT)


def test_an_application_without_listeners_does_not_pay_for_events():
    app = application()
    assert not app.registry.has_listeners
    seen = []
    app = application(also=[lambda config: config.add_subscriber(seen.append, NewRequest)])
    ask(app)
    assert len(seen) == 1
    app = application(also=[lambda config: config.add_subscriber(seen.append, ApplicationCreated)])
    assert len(seen) == 2
    assert not app.registry.has_listeners


def test_a_listener_that_comes_later_is_heard():
    app = application()
    seen = []
    config = Configurator(registry=app.registry)
    config.add_subscriber(seen.append, NewRequest)
    config.commit()
    ask(app)
    assert len(seen) == 1
