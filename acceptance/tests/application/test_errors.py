"""Errors as JSON, to the byte, as the clients of c2cwsgiutils know them."""

import pytest

from c2cotel_acceptance.connection import CacheExpected

INTERNAL = "Internal server error: the log of the service has the details"
CACHE = "max-age=0, must-revalidate, no-cache, no-store"


def body(message, status):
    return f'{{"message": "{message}", "status": {status}}}'


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/error?kind=http", 404, "The resource could not be found."),
        ("/api/error?kind=http&status=409", 409, None),
        ("/api/error?kind=http&status=503", 503, None),
        ("/nowhere", 404, "/nowhere"),
        ("/api/error?kind=unhandled", 500, INTERNAL),
        ("/api/error?kind=database", 500, INTERNAL),
        (
            "/api/error?kind=constraint",
            400,
            'duplicate key value violates unique constraint \\"message_pkey\\"',
        ),
    ],
)
def test_an_exception_is_json_with_nothing_internal_in_it(api, path, status, message):
    answer = api.get_raw(path, expected_status=status)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == CACHE
    if message is not None:
        assert answer.text == body(message, status)
    assert set(answer.json()) == {"message", "status"}


def test_an_error_names_its_request_and_is_logged_once_with_it(application, api):
    answer = api.get_raw(
        "/api/error?kind=unhandled", expected_status=500, headers={"Referer": "http://a.page/x"}
    )
    request_id = answer.headers["X-Request-ID"]
    trace_id = answer.headers["traceresponse"].split("-")[1]
    assert request_id.replace("-", "") == trace_id
    (line,) = application.lines(request_id=request_id, level_name="ERROR")
    assert line["referrer"] == "http://a.page/x"
    assert line["trace_id"] == trace_id
    assert "RuntimeError: Nothing catches this" in line["full_message"]
    assert (line["method"], line["path"], line["matched_route"]) == ("GET", "/api/error", "error")


def test_who_has_the_secret_sees_the_stack(api, secret):
    key = {"X-API-Key": secret}
    seen = api.get_json("/api/error?kind=database", expected_status=500, headers=key)
    assert set(seen) == {"message", "status", "stacktrace"}
    assert "no_such_table" in seen["message"]
    wrong = api.get_json("/api/error?secret=wrong-wrong", expected_status=500)
    assert set(wrong) == {"message", "status"}


def test_other_sites_can_read_errors(api):
    answer = api.get_raw("/api/error?kind=http", expected_status=404)
    told = {name: value for name, value in answer.headers.items() if name.startswith("Access-")}
    assert told == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET,OPTIONS,HEAD",
        "Access-Control-Allow-Headers": "session-id",
        "Access-Control-Max-Age": "86400",
        "Access-Control-Expose-Headers": "X-Request-ID, traceresponse",
    }


def test_an_exception_view_of_the_application_goes_first(api):
    answer = api.get_json(
        "/api/error?kind=view",
        expected_status=500,
        cors=False,
        cache_expected=CacheExpected.DONT_CARE,
    )
    assert answer == {"message": "No more of these"}


def test_options_is_answered_for_routes_that_exist(api):
    api.options("/api/ping", cache_expected=CacheExpected.DONT_CARE)
    api.options("/nowhere", expected_status=404)
