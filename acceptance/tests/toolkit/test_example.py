"""The toolkit on the example application, in real gunicorn: what its users do."""

import pytest

from c2cotel_acceptance.connection import CacheExpected, CheckError, Connection
from c2cotel_acceptance.telemetry import OtlpReceiver
from c2cotel_acceptance.witness import TelemetryError, Witness

SITE = "https://site.example"
DURATION = "http.server.request.duration"


@pytest.fixture(scope="module")
def receiver():
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def api(serve_long, receiver):
    env = {"OTEL_METRIC_EXPORT_INTERVAL": "300", "OTEL_METRICS_EXPORTER": "otlp"}
    env |= {"C2C_ENABLE_EXCEPTION_HANDLING": "1"}
    service = serve_long(
        ini="production-include.ini", workers=2, otlp=receiver, scraped=False, env=env
    )
    with Connection(f"{service.url}/api", SITE, timeout=20) as connection:
        yield connection


@pytest.fixture
def telemetry(receiver):
    return Witness(receiver)


def test_an_answer_leads_to_its_spans_log_lines_and_metrics(api, telemetry):
    answer = api.get_raw("tracking/1", cors=False, cache_expected=CacheExpected.DONT_CARE)
    span = telemetry.span(answer, kind="SERVER", attributes={"http.route": "/api/tracking/{depth}"})
    assert span.attributes["c2c.request.id"] == answer.headers["X-Request-ID"]
    line = telemetry.log(answer, "to go", severity="INFO")
    assert line.trace_id == span.trace_id
    measured = telemetry.metric(DURATION, {"http.route": "/api/tracking/{depth}"})
    assert measured.count >= 1
    telemetry.no_log(answer, severity="ERROR", within=0.5)
    with pytest.raises(
        TelemetryError, match=r"(?s)No span with name='cook'.*SERVER 'GET /api/track"
    ):
        telemetry.span(answer, "cook", timeout=0.5)


def test_each_answer_has_its_own_trace(api, telemetry):
    asked = [
        api.get_raw("ping", cors=False, cache_expected=CacheExpected.DONT_CARE) for _ in range(5)
    ]
    assert len({telemetry.span(answer, kind="SERVER").trace_id for answer in asked}) == 5


def test_a_service_for_other_sites_passes_its_checks(api):
    [latest] = api.get_json("messages", params={"limit": 1})["messages"]
    assert latest.keys() == {"id", "text", "said_at"}
    preflight = api.options(
        "messages",
        headers={"Origin": SITE, "Access-Control-Request-Method": "GET"},
        cors=True,
        cache_expected=CacheExpected.YES,
    )
    assert "GET" in preflight.headers["Access-Control-Allow-Methods"]


def test_an_error_names_the_request_by_which_its_log_lines_are_found(api, telemetry):
    with pytest.raises(CheckError) as caught:
        api.get("error", cors=False, cache_expected=CacheExpected.DONT_CARE)
    answer = caught.value.response
    assert '    {"message": "' in str(caught.value)
    assert f"log lines: {answer.headers['X-Request-ID']}" in str(caught.value)
    span = telemetry.span(answer, kind="SERVER", status="ERROR")
    assert f"Trace: {span.trace_id}" in str(caught.value)
