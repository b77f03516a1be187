"""What the application asks of others: over HTTP, and of Redis."""

import pytest
import requests

from c2cotel_acceptance.utils import retry_timeout

CALLS = "http_client_request_duration_seconds_count"
COMMANDS = "db_client_operation_duration_seconds_count"


def test_calls_are_counted_and_have_the_request_id(application):
    before = application.service.scrape().by(CALLS, "http_response_status_code")
    answer = application.get("/api/tracking/2", headers={"X-Request-ID": "of-the-client"}).json()
    assert answer["request_ids"] == ["of-the-client"] * 3
    assert [call["x_request_id"] for call in answer["calls"]] == ["of-the-client"] * 3
    after = application.service.scrape().by(CALLS, "http_response_status_code")
    assert after[("200",)] - before.get(("200",), 0) == 2


def test_a_call_that_fails_is_counted_and_shows_no_secret(application):
    answer = application.get("/api/error?kind=call")
    assert answer.status_code == 500
    counted = application.service.scrape().by(CALLS, "server_port", "error_type")
    (kind,) = (kind for port, kind in counted if port == "9")
    assert "Connect" in kind
    (line,) = application.lines(request_id=answer.headers["X-Request-ID"], level_name="ERROR")
    assert "127.0.0.1" in line["full_message"]
    output = application.service.output()
    assert "hunter2" not in output
    assert "opensesame" not in output
    # There is a default.
    assert "timeout" not in " ".join(each["msg"] for each in application.lines())


def _redis(service):
    by = service.scrape().by(COMMANDS, "db_system_name", "db_operation_name")
    return {operation for system, operation in by if system == "redis"}


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "not tracked"])
def test_commands_of_redis_are_measured(serve, valkey, secret, tracked):
    service = serve(
        "--preload",
        workers=1,
        ini="production-include.ini",
        instrument=False,
        env={"C2C_SECRET": secret, "C2C_REDIS_URL": valkey.url}
        | ({} if tracked else {"C2C_TRACK_REDIS": "no"}),
    )
    url = f"{service.url}/c2c/health_check?max_level=2&checks={valkey.url}"
    assert requests.get(url, timeout=10).status_code == 200
    if not tracked:
        assert _redis(service) == set()
        return
    # INFO and the size of the database are what the check of Redis asks for.
    retry_timeout(lambda: {"INFO", "DBSIZE"} <= _redis(service), 10, 0.2)
    # Pools are looked at every few seconds.
    metrics = service.metrics_url
    retry_timeout(
        lambda: "db_client_connection_count{" in requests.get(metrics, timeout=10).text, 20, 0.5
    )
