"""Spans of outgoing requests: no secrets, and none of ours."""

import time

import pytest
import requests
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from c2cotel.otel import instrument
from c2cotel_acceptance.telemetry import OtlpReceiver


def exported(act) -> list[str]:
    """The spans that are made while *act* runs, as the exporter gets them."""
    instrument()
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    act()
    return [span.to_json() for span in exporter.get_finished_spans()]


@pytest.mark.parametrize("opt_in", ["", "http", "http/dup"])
def test_a_secret_in_the_url_is_not_shown(in_child, opt_in):
    def call():
        # It answers 501 to a GET, which is an answer.
        with OtlpReceiver() as server:
            url = f"{server.endpoint}/a?secret=hunter2&page=3"
            return exported(lambda: requests.get(url, timeout=5))

    (span,) = in_child(call, OTEL_SEMCONV_STABILITY_OPT_IN=opt_in)
    assert "/a?secret=REDACTED&page=3" in span
    assert "hunter2" not in span


@pytest.mark.parametrize("limit", ["", "200"])
def test_nor_is_it_when_the_call_fails(in_child, closed_port, limit):
    def fail():
        url = f"http://me:hunter2@127.0.0.1:{closed_port}/a?secret=hunter2&page=3"
        with (
            pytest.raises(requests.ConnectionError, match="hunter2"),
            # Of the application: the exception passes it.
            trace.get_tracer("t").start_as_current_span("view"),
        ):
            requests.get(url, timeout=5)

    # With a limit the spans are the SDK's, not ours.
    client, view = in_child(lambda: exported(fail), OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=limit)
    for span in (client, view):
        assert "exception.stacktrace" in span
        assert "secret=REDACTED" in span
        assert "hunter2" not in span


def test_exceptions_without_secrets_are_as_they_were(in_child):
    def fail():
        with pytest.raises(KeyError), trace.get_tracer("t").start_as_current_span("view"):
            raise KeyError("café?")

    (span,) = in_child(lambda: exported(fail))
    assert '"description": "KeyError: \'caf\\u00e9?\'"' in span
    assert '"exception.message": "\'caf\\u00e9?\'"' in span


def test_a_push_of_metrics_is_no_call_of_the_application(in_child):
    def pushed():
        with OtlpReceiver() as collector:
            import os

            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint
            telemetry = instrument()
            requests.get(f"{collector.endpoint}/mine", timeout=5)
            collector.wait(lambda it: it.requests["/v1/metrics"] > 2)
            # Were they recorded, the next batch would have those that have been pushed so far.
            collector.wait(lambda it: it.spans)
            time.sleep(0.3)
            telemetry.exit.run()
            return [span.attributes["url.full"] for span in collector.spans]

    (mine,) = in_child(pushed, OTEL_METRIC_EXPORT_INTERVAL="50", OTEL_BSP_SCHEDULE_DELAY="100")
    assert mine.endswith("/mine")
