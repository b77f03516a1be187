"""What a real service emits is on the page that lists it, by the same names."""

import re

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from c2cotel_acceptance.telemetry import OtlpReceiver
from c2cotel_docs import DOCS, spans

PAGE = (DOCS / "metrics.md").read_text()
SECRET = "a secret of the tests"
# Of Prometheus' own conventions, and of the example.
NOT_OURS = ("target", "app_")
PATHS = (
    "/api/ping",
    "/api/hello",
    "/api/tracking/1",
    "/api/error",
    "/nowhere",
    "/c2c/health_check?max_level=9&trace=1",
    "/c2c/logging/level?name=c2cotel_app&level=DEBUG&ttl=60",
)


@pytest.fixture(scope="module")
def served(serve_long, valkey):
    with OtlpReceiver() as otlp:
        service = serve_long(
            workers=2,
            otlp=otlp,
            ini="production-include.ini",
            env={
                "C2C_REDIS_URL": valkey.url,
                "C2C_SECRET": SECRET,
                "C2C_LOG_VIEW_ENABLED": "1",
                "C2C_DB_MAINTENANCE_VIEW_ENABLED": "1",
            },
        )
        for path in PATHS:
            requests.get(f"{service.url}{path}", headers={"X-API-Key": SECRET}, timeout=30)
        otlp.wait(lambda so_far: len(so_far.server_spans()) >= len(PATHS) and so_far.logs)
        yield service.scrape(), service, otlp


def test_every_metric_of_a_scrape_is_on_the_page(served):
    _, service, _ = served
    text = requests.get(service.metrics_url, timeout=30).text
    families = [family.name for family in text_string_to_metric_families(text)]
    ours = {name for name in families if not name.startswith(NOT_OURS)}
    assert len(ours) > 40
    assert {name for name in ours if not re.search(rf"`{name}(_total)?`", PAGE)} == set()


def test_every_attribute_of_a_span_is_on_the_page(served):
    _, _, otlp = served
    known = {each.scope: set(each.attributes) for each in spans.SPANS}
    seen = {}
    for span in otlp.spans:
        seen.setdefault(span.scope, set()).update(span.attributes)
    assert set(seen) >= {"c2cotel_instrumentation.pyramid", "c2cotel_instrumentation.sqlalchemy"}
    assert {scope: found - known.get(scope, set()) for scope, found in seen.items()} == {
        scope: set() for scope in seen
    }
    events = {event.name for span in otlp.spans for event in span.events}
    assert events <= set(spans.EVENTS)


def test_every_attribute_of_a_log_record_is_on_the_page(served):
    _, _, otlp = served
    seen = {name for record in otlp.logs for name in record.attributes}
    assert seen >= {"c2c.request.id", "exception.type"}
    assert seen - set(spans.OTLP_RECORD) - set(spans.ACCESS) == set()
