"""Services that other sites may call, as a browser meets them."""

import subprocess
import sys
import types

import pytest
from cornice import Service
from cornice.resource import add_resource
from cornice.service import clear_services
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPNotFound
from pyramid.response import Response
from webob import Request

from c2cotel import services

SITE = "https://site.example"
PREFLIGHT = {"Origin": SITE, "Access-Control-Request-Method": "GET"}


@pytest.fixture(autouse=True)
def no_other_services(monkeypatch):
    monkeypatch.delenv("C2C_ENABLE_EXCEPTION_HANDLING", raising=False)
    yield
    clear_services()


def module(**members):
    """As the module of an application, to be scanned."""
    made = types.ModuleType("an_application")
    vars(made).update(members)
    return made


def hello(**options):
    """The example of the documentation."""
    service = services.create("hello", "/hello", depth=1, **options)

    @service.get()
    def hello_get(_):
        return {"hello": True}

    @service.post()
    def hello_post(_):
        raise HTTPNotFound("nothing here")

    return service


def application(*found, prefix=None, **settings):
    config = Configurator(settings=settings)
    config.include("c2cotel.pyramid.renderers")
    config.include("c2cotel.services")
    config.add_route("plain", "/plain")
    config.add_view(lambda _: Response("plain"), route_name="plain")

    def include(config):
        for service in found:
            config.add_cornice_service(service)

    config.include(include, route_prefix=prefix)
    return config.make_wsgi_app()


def ask(app, method="GET", path="/hello", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request.blank(path, method=method, headers=names).get_response(app)


def cors(response):
    """What a browser looks at."""
    return {
        name: value
        for name, value in response.headers.items()
        if name.startswith("Access-Control-") or name == "Vary"
    }


def test_a_get_from_another_site_is_answered_for_everybody():
    response = ask(application(hello()), Origin=SITE)
    assert (response.status_int, response.body) == (200, b'{"hello":true}')
    assert response.content_type == "application/json"
    assert cors(response) == {"Access-Control-Allow-Origin": "*"}
    assert response.headers["Cache-Control"] == "max-age=0, must-revalidate, no-cache, no-store"


def test_without_an_origin_nothing_is_said_about_origins():
    assert cors(ask(application(hello()))) == {}


def test_with_credentials_the_origin_is_named():
    app = application(hello(cors_credentials=True))
    expected = {
        "Access-Control-Allow-Origin": SITE,
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }
    assert cors(ask(app, Origin=SITE)) == expected
    assert cors(ask(app)) == {"Access-Control-Allow-Credentials": "true", "Vary": "Origin"}
    preflight = cors(ask(app, "OPTIONS", **PREFLIGHT))
    assert expected.items() <= preflight.items()


@pytest.mark.parametrize(("given", "age"), [({}, "86400"), ({"cors_max_age": 60}, "60")])
def test_the_preflight_may_be_kept(given, age):
    response = ask(application(hello(**given)), "OPTIONS", **PREFLIGHT)
    assert (response.status_int, response.body) == (200, b"null")
    assert response.content_type == "application/json"
    assert cors(response) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET,HEAD,POST,OPTIONS",
        "Access-Control-Allow-Headers": "",
        "Access-Control-Max-Age": age,
        "Vary": "Origin",
    }
    assert response.headers["Cache-Control"] == f"max-age={age}"
    assert not {"Expires", "Last-Modified", "Pragma"} & set(response.headers)


def test_headers_are_named_in_the_same_order_each_time():
    app = application(hello(cors_headers=("X-B", "X-A", "X-D", "X-C")))
    response = ask(app, "OPTIONS", **PREFLIGHT, Access_Control_Request_Headers="x-z, x-y,X-A")
    assert response.headers["Access-Control-Allow-Headers"] == "X-A,X-B,X-C,X-D,x-y,x-z"
    exposed = ask(app, Origin=SITE).headers["Access-Control-Expose-Headers"]
    assert exposed == "X-A, X-B, X-C, X-D"


def test_only_the_origins_that_are_named_may_call():
    app = application(hello(cors_origins=(SITE, "https://*.example.com")))
    response = ask(app, Origin="https://a.example.com")
    assert cors(response) == {
        "Access-Control-Allow-Origin": "https://a.example.com",
        "Vary": "Origin",
    }
    response = ask(app, "OPTIONS", **{**PREFLIGHT, "Origin": "https://evil.example"})
    assert response.status_int == 400
    assert response.json["errors"][0]["description"] == "https://evil.example not allowed"
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_policy_goes_before_the_defaults_and_an_argument_before_it():
    policy = {"origins": (SITE,), "max_age": 7}
    app = application(hello(cors_policy=policy))
    preflight = ask(app, "OPTIONS", **PREFLIGHT)
    assert preflight.headers["Access-Control-Allow-Origin"] == SITE
    assert preflight.headers["Access-Control-Max-Age"] == "7"
    clear_services()
    app = application(hello(cors_policy=policy, cors_max_age=9))
    assert ask(app, "OPTIONS", **PREFLIGHT).headers["Access-Control-Max-Age"] == "9"


def test_an_options_that_is_no_preflight_is_told_what_it_lacks():
    response = ask(application(hello()), "OPTIONS")
    assert response.status_int == 400
    assert response.json == {
        "status": "error",
        "errors": [
            {
                "location": "header",
                "name": "Origin",
                "description": "this header is mandatory",
            },
            {
                "location": "header",
                "name": "Access-Control-Request-Method",
                "description": "this header is mandatory",
            },
        ],
    }


def test_a_preflight_for_a_verb_that_is_not_there_is_refused():
    asked = {**PREFLIGHT, "Access-Control-Request-Method": "DELETE"}
    assert ask(application(hello()), "OPTIONS", **asked).status_int == 400


def test_another_verb_is_405_with_what_would_do_and_the_browser_may_see_it():
    response = ask(application(hello()), "DELETE", Origin=SITE)
    assert response.status_int == 405
    assert response.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_an_error_is_for_the_other_site_too():
    response = ask(application(hello(cors_credentials=True)), "POST", Origin=SITE)
    assert response.status_int == 404
    assert response.headers["Access-Control-Allow-Origin"] == SITE
    assert response.headers["Access-Control-Allow-Credentials"] == "true"


def test_filters_validators_and_caching_of_the_application_stay():
    def shout(response, _):
        response.headers["X-Filtered"] = "yes"
        return response

    def check(request, **_):
        if "bad" in request.params:
            request.errors.add("querystring", "bad", "it is bad")

    for given in (shout, [shout]):
        service = hello(filters=given, validators=(check,), http_cache=60)
        app = application(service)
        response = ask(app)
        assert response.headers["X-Filtered"] == "yes"
        assert response.headers["Cache-Control"] == "max-age=60"
        refused = ask(app, path="/hello?bad=1")
        assert refused.status_int == 400
        assert refused.json["errors"] == [
            {"location": "querystring", "name": "bad", "description": "it is bad"}
        ]
        clear_services()


def test_a_renderer_of_ones_own_is_used():
    assert ask(application(hello(renderer="cornice_json"))).body == b'{"hello": true}'


def test_a_service_can_stand_on_a_route_that_is_there():
    service = services.create("on_route", pyramid_route="plain", depth=1)
    service.get()(lambda _: {"on": "route"})
    config = Configurator()
    config.include("c2cotel.pyramid.renderers")
    config.include("c2cotel.services")
    config.add_route("plain", "/plain")
    config.add_cornice_service(service)
    assert ask(config.make_wsgi_app(), path="/plain", Origin=SITE).json == {"on": "route"}


def test_a_prefix_of_the_routes_stands_before_the_path():
    app = application(hello(), prefix="/api")
    assert ask(app, path="/api/hello", Origin=SITE).headers["Access-Control-Allow-Origin"] == "*"


def test_a_scan_finds_the_service_in_the_module_that_creates_it(tmp_path, monkeypatch):
    (tmp_path / "scanned_services.py").write_text(
        "from c2cotel import services\n"
        "hello_service = services.create('hello', '/hello', cors_credentials=True)\n"
        "@hello_service.get()\n"
        "def hello_get(request):\n"
        "    return {'hello': True}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = Configurator()
    config.include("c2cotel.pyramid.renderers")
    config.include("c2cotel.services")
    config.scan("scanned_services")
    assert ask(config.make_wsgi_app()).json == {"hello": True}


def test_a_resource_can_be_added_and_includes_cornice_as_a_service_does():
    class Words:
        def __init__(self, request, context=None):
            self.request = request

        def get(self):
            return {"word": self.request.matchdict["id"]}

    add_resource(Words, path="/words/{id}", depth=2)
    config = Configurator()
    config.include("c2cotel.services")
    config.add_cornice_resource(Words)
    app = config.make_wsgi_app()
    assert ask(app, path="/words/7").json == {"word": "7"}
    assert hasattr(app.registry, "cornice_services")


def test_a_scan_finds_a_resource(tmp_path, monkeypatch):
    (tmp_path / "scanned_resources.py").write_text(
        "from cornice.resource import resource\n"
        "@resource(path='/words/{id}')\n"
        "class Words:\n"
        "    def __init__(self, request, context=None):\n"
        "        self.request = request\n"
        "    def get(self):\n"
        "        return {'word': self.request.matchdict['id']}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = Configurator()
    config.include("c2cotel.services")
    config.scan("scanned_resources")
    assert ask(config.make_wsgi_app(), path="/words/7").json == {"word": "7"}


def test_services_of_cornice_itself_work_and_so_does_including_it_oneself():
    service = Service("direct", "/hello", depth=1)
    service.get()(lambda _: {"direct": True})
    config = Configurator()
    config.include("c2cotel.services")
    config.include("cornice")
    config.add_cornice_service(service)
    assert ask(config.make_wsgi_app()).json == {"direct": True}


def test_cornice_included_before_is_left_as_it_is():
    service = hello()
    config = Configurator()
    config.include("cornice")
    config.include("c2cotel.pyramid.renderers")
    config.include("c2cotel.services")
    config.add_cornice_service(service)
    config.include("cornice")
    assert ask(config.make_wsgi_app()).json == {"hello": True}


def test_an_application_without_services_does_not_pay_for_cornice():
    app = application()
    assert not app.registry.has_listeners
    assert not hasattr(app.registry, "cornice_services")


@pytest.mark.parametrize("path", ["/plain", "/nowhere"])
@pytest.mark.parametrize("found", [0, 1])
def test_no_answer_has_its_type_guessed(path, found):
    app = application(*[hello()] * found)
    assert ask(app, path=path).headers.getall("X-Content-Type-Options") == ["nosniff"]


class TestWithExceptionHandling:
    """By the views of :mod:`c2cotel.errors`."""

    @pytest.fixture
    def app(self, monkeypatch):
        monkeypatch.setenv("C2C_ENABLE_EXCEPTION_HANDLING", "1")

        def make(service):
            config = Configurator()
            for feature in ("pyramid.renderers", "errors", "services"):
                config.include(f"c2cotel.{feature}")
            config.add_cornice_service(service)
            return config.make_wsgi_app()

        return make

    def test_another_verb_is_405_in_json(self, app):
        response = ask(app(hello()), "DELETE", Origin=SITE)
        assert response.body == b'{"message": "", "status": 405}'
        assert response.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
        assert response.headers["Access-Control-Allow-Origin"] == "*"

    def test_an_error_follows_the_rules_of_its_service(self, app):
        made = app(hello(cors_credentials=True))
        response = ask(made, "POST", Origin=SITE)
        assert response.body == b'{"message": "nothing here", "status": 404}'
        assert response.headers["Access-Control-Allow-Origin"] == SITE
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert response.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Origin" not in ask(made, "POST").headers

    def test_a_preflight_that_is_refused_stays_refused(self, app):
        response = ask(app(hello()), "OPTIONS")
        assert (response.status_int, response.json["status"]) == (400, "error")
        assert ask(app(hello()), "OPTIONS", path="/nowhere", **PREFLIGHT).status_int == 404

    def test_the_preflight_is_the_same(self, app):
        response = ask(app(hello()), "OPTIONS", **PREFLIGHT)
        assert (response.status_int, response.body) == (200, b"null")
        assert response.headers["Cache-Control"] == "max-age=86400"


def test_an_options_of_an_unknown_route_is_404():
    assert ask(application(hello()), "OPTIONS", path="/nowhere", **PREFLIGHT).status_int == 404


def test_without_cornice_it_is_said_what_to_install(tmp_path):
    (tmp_path / "cornice.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'cornice'\", name='cornice')\n"
    )
    code = (
        "from pyramid.config import Configurator\n"
        "config = Configurator()\n"
        "config.include('c2cotel.services')\n"
        "config.make_wsgi_app()\n"
        "from c2cotel import services\n"
        "services.create('a', '/a')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == (
        "ImportError: services.create needs cornice: pip install 'c2cotel[cors]'"
    )
