"""Which sites may read an error, by the rules of cornice or without; and preflights."""

import pytest
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPBadRequest, HTTPFound, HTTPUnauthorized
from pyramid.response import Response

from c2cotel import services
from c2cotel.settings import SettingsError

ORIGIN = "https://page.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
EXPOSED = "X-Request-ID, traceresponse"


def cors_of(response):
    return {
        name.removeprefix("Access-Control-"): value
        for name, value in response.headers.items()
        if name.startswith("Access-Control-")
    }


@pytest.fixture
def with_services(configure):
    """An application with services of cornice that fail."""

    def with_services(ini=None):
        config = configure(ini)
        config.include("c2cotel.services")
        add_services(config)
        return config.make_wsgi_app()

    return with_services


def add_services(config):
    def bad(_):
        raise HTTPBadRequest("bad")

    def boom(_):
        raise ZeroDivisionError

    def found(_):
        raise HTTPFound("/elsewhere")

    def collected(request):
        request.errors.add("querystring", "a", "is missing")
        return {}

    options = {
        "anybody": {},
        "known": {"cors_credentials": True, "cors_origins": (ORIGIN,), "cors_headers": ("X-Mine",)},
        "closed": {"cors_enabled": False},
    }
    for name, policy in options.items():
        service = services.create(name, f"/{name}", **policy)
        service.add_view("GET", bad)
        service.add_view("POST", boom, content_type="application/json")
        service.add_view("PUT", found)
        service.add_view("DELETE", collected)
        config.add_cornice_service(service)


def test_without_cornice_any_page_reads_the_error(app, ask):
    for _ in range(3):
        assert cors_of(ask(app, "/bad", "POST")) == {
            "Allow-Origin": "*",
            "Allow-Methods": "POST,OPTIONS,HEAD",
            "Allow-Headers": "session-id",
            "Max-Age": "86400",
            "Expose-Headers": EXPOSED,
        }


def test_no_verb_is_named_twice(app, ask):
    assert cors_of(ask(app, "/bad", "HEAD"))["Allow-Methods"] == "HEAD,OPTIONS"


def test_what_the_application_says_of_origins_stays(app, ask):
    response = ask(app, "/own_origin")
    assert cors_of(response) == {
        "Allow-Origin": "https://one.example",
        "Expose-Headers": EXPOSED,
    }
    assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("path", ["/only_put", "/guarded", "/bad", "/unauthorized", "/missing"])
def test_a_preflight_of_a_route_is_answered(app, ask, logged, path):
    response = ask(app, path, "OPTIONS", PREFLIGHT)
    assert (response.status_int, response.body, response.content_type) == (200, b"", "text/html")
    assert cors_of(response)["Allow-Origin"] == "*"
    assert cors_of(response)["Allow-Methods"] == "PUT,OPTIONS,HEAD"
    assert logged() == []


def test_a_preflight_of_nothing_is_404(app, ask):
    response = ask(app, "/nowhere", "OPTIONS", PREFLIGHT)
    assert (response.status_int, response.json["message"]) == (404, "/nowhere")


def test_a_failure_of_the_servers_is_no_preflight(app, ask):
    assert ask(app, "/hidden", "OPTIONS", PREFLIGHT).status_int == 500


def test_a_preflight_of_a_resource_that_is_found_by_traversal_is_answered(ask):
    config = Configurator(
        settings={"c2c.enable_exception_handling": "1"}, root_factory=lambda _: {"there": object()}
    )
    config.include("c2cotel.errors")
    config.add_view(lambda _: Response(), name="", context=object, request_method="PUT")
    app = config.make_wsgi_app()
    assert ask(app, "/there", "OPTIONS", PREFLIGHT).status_int == 200
    assert ask(app, "/there/not", "OPTIONS", PREFLIGHT).status_int == 404


@pytest.mark.parametrize("verb", ["PUT, DELETE", "\xe9", "", "put", "BREW"])
def test_verbs_that_are_none_are_not_repeated(app, ask, verb):
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": verb}
    methods = cors_of(ask(app, "/only_put", "OPTIONS", headers))["Allow-Methods"]
    assert methods == "GET,OPTIONS,HEAD"


@pytest.mark.parametrize(
    ("verb", "status", "message"),
    [
        ("GET", 400, "bad"),
        ("POST", 500, None),
        ("PATCH", 405, ""),
    ],
)
def test_a_service_for_anybody_says_so_also_with_its_errors(
    with_services, ask, verb, status, message
):
    headers = {"Origin": ORIGIN, "Content-Type": "application/json"}
    response = ask(with_services(), "/anybody", verb, headers)
    assert response.status_int == status
    assert message in (None, response.json["message"])
    cors = cors_of(response)
    assert (cors.pop("Allow-Origin"), cors) == ("*", {"Expose-Headers": EXPOSED})


def test_without_an_origin_a_service_says_nothing_of_origins(with_services, ask):
    assert cors_of(ask(with_services(), "/anybody")) == {}


def test_a_wrong_verb_is_405_with_those_that_do(with_services, ask):
    response = ask(with_services(), "/anybody", "PATCH")
    assert response.text == '{"message": "", "status": 405}'
    assert response.headers["Allow"].split(", ") == [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "OPTIONS",
    ]


def test_a_service_with_cookies_tells_its_errors_to_its_own_pages_only(with_services, ask):
    app = with_services()
    response = ask(app, "/known", headers={"Origin": ORIGIN})
    assert cors_of(response) == {
        "Allow-Origin": ORIGIN,
        "Allow-Credentials": "true",
        "Expose-Headers": f"X-Mine, {EXPOSED}",
    }
    assert response.headers["Vary"] == "Origin"
    evil = ask(app, "/known", headers={"Origin": "https://evil.example"})
    assert "Allow-Origin" not in cors_of(evil)


def test_a_redirection_of_a_service_can_be_followed(with_services, ask):
    response = ask(with_services(), "/anybody", "PUT", {"Origin": ORIGIN})
    assert (response.status_int, cors_of(response)["Allow-Origin"]) == (302, "*")


def test_a_service_that_is_closed_to_others_stays_so(with_services, ask):
    app = with_services()
    for verb in ("GET", "OPTIONS"):
        response = ask(app, "/closed", verb, PREFLIGHT)
        assert response.status_int >= 400
        assert cors_of(response) == {}


def test_what_cornice_has_collected_is_told_by_cornice(with_services, ask, logged):
    app = with_services()
    response = ask(app, "/anybody", "DELETE", {"Origin": ORIGIN})
    assert (response.status_int, response.json["status"]) == (400, "error")
    response = ask(app, "/anybody", "POST", {"Origin": ORIGIN, "Content-Type": "text/plain"})
    assert (response.status_int, response.json["status"]) == (415, "error")
    assert cors_of(response)["Allow-Origin"] == "*"
    assert [record.levelname for record in logged()] == ["WARNING"]


def test_the_request_id_is_not_exposed_where_it_is_not_sent(configure, ask):
    app = configure({"c2c.request_id_response": "false"}).make_wsgi_app()
    response = ask(app, "/bad")
    assert "X-Request-ID" not in response.headers
    assert cors_of(response)["Expose-Headers"] == "traceresponse"


def test_cornice_that_answers_exceptions_itself_is_found_at_the_start():
    config = Configurator(settings={"c2c.enable_exception_handling": "1"})
    config.include("cornice")
    with pytest.raises(SettingsError, match="handle_exceptions = false in the ini"):
        config.include("c2cotel.errors")


@pytest.mark.parametrize("first", ["cornice", "errors"])
def test_cornice_may_be_included_before_and_after(ask, first):
    settings = {"c2c.enable_exception_handling": "1"}
    if first == "cornice":
        settings["handle_exceptions"] = "false"
    config = Configurator(settings=settings)
    names = ["cornice", "c2cotel.errors"] if first == "cornice" else ["c2cotel.errors", "cornice"]
    for name in names:
        config.include(name)

    def who(_):
        raise HTTPUnauthorized("who?")

    config.add_route("who", "/who")
    config.add_view(who, route_name="who")
    response = ask(config.make_wsgi_app(), "/who")
    assert response.json == {"message": "who?", "status": 401}
