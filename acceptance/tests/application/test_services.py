"""A service that other sites may call, and its rows and dates as JSON."""

import json
import re

ORIGIN = {"Origin": "http://a.page"}


def test_rows_of_the_database_are_compact_json(application):
    application.ask("POST", "/api/hello", json={"text": "é/ü"})
    answer = application.get("/api/messages?limit=1")
    said = r'{"messages":\[{"id":\d+,"text":"é/ü","said_at":"\d{4}-\d\d-\d\dT[\d:.]{8,15}Z"}\]}'
    assert re.fullmatch(said, answer.text), answer.text
    assert answer.headers["Content-Type"].startswith("application/json")


def test_the_origin_is_echoed_with_credentials(application):
    answer = application.get("/api/messages", headers=ORIGIN)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://a.page"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in answer.headers["Vary"]


def test_a_preflight_can_be_kept(application):
    preflight = {**ORIGIN, "Access-Control-Request-Method": "GET"}
    answer = application.ask("OPTIONS", "/api/messages", headers=preflight)
    assert (answer.status_code, answer.text) == (200, "null")
    assert answer.headers["Cache-Control"] == "max-age=86400"
    assert answer.headers["Vary"] == "Origin"
    assert answer.headers["Access-Control-Max-Age"] == "86400"
    assert answer.headers["Access-Control-Allow-Origin"] == "http://a.page"


def test_a_verb_that_it_does_not_have_is_405(application):
    answer = application.ask("DELETE", "/api/messages", headers=ORIGIN)
    assert answer.status_code == 405
    assert answer.json() == {"message": "", "status": 405}
    assert "GET" in answer.headers["Allow"]
    assert answer.headers["Access-Control-Allow-Origin"] == "http://a.page"


def test_an_options_that_is_no_preflight_says_what_it_lacks(application):
    answer = application.ask("OPTIONS", "/api/messages")
    assert answer.status_code == 400
    assert json.loads(answer.text)["status"] == "error"


def test_an_error_of_a_service_has_its_cors(application):
    answer = application.get("/api/messages?limit=x", headers=ORIGIN)
    assert (answer.status_code, answer.json()["status"]) == (400, 400)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://a.page"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
