"""A service that other sites may call, and its rows and dates as JSON."""

import re

from c2cotel_acceptance.connection import CacheExpected

PREFLIGHT = {"Origin": "http://a.page", "Access-Control-Request-Method": "GET"}


def test_rows_of_the_database_are_compact_json(api):
    how = {"cors": False, "cache_expected": CacheExpected.DONT_CARE}
    api.post_json("/api/hello", json={"text": "é/ü"}, expected_status=201, **how)
    answer = api.get_raw("/api/messages?limit=1")
    said = r'{"messages":\[{"id":\d+,"text":"é/ü","said_at":"\d{4}-\d\d-\d\dT[\d:.]{8,15}Z"}\]}'
    assert re.fullmatch(said, answer.text), answer.text
    assert answer.headers["Content-Type"].startswith("application/json")


def test_the_origin_is_echoed_with_credentials(api):
    answer = api.get_raw("/api/messages")
    assert answer.headers["Access-Control-Allow-Origin"] == "http://a.page"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in answer.headers["Vary"]


def test_a_preflight_can_be_kept(api):
    answer = api.options(
        "/api/messages", headers=PREFLIGHT, cors=True, cache_expected=CacheExpected.YES
    )
    assert answer.text == "null"
    assert answer.headers["Cache-Control"] == "max-age=86400"
    assert answer.headers["Vary"] == "Origin"
    assert answer.headers["Access-Control-Max-Age"] == "86400"


def test_a_verb_that_it_does_not_have_is_405(api):
    answer = api.delete("/api/messages", expected_status=405)
    assert answer.json() == {"message": "", "status": 405}
    assert "GET" in answer.headers["Allow"]


def test_an_options_that_is_no_preflight_says_what_it_lacks(api):
    answer = api.options("/api/messages", expected_status=400)
    assert answer.json()["status"] == "error"


def test_an_error_of_a_service_has_its_cors(api):
    answer = api.get_raw("/api/messages?limit=x", expected_status=400)
    assert answer.json()["status"] == 400
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
