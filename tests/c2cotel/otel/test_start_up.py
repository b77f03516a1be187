"""Every Python process of the application is instrumented: it must start fast."""

import json

IMPORTED = """
import json, sys
print(json.dumps(sorted(sys.modules)))
"""

# Most of the time that an exporter, a server or an HTTP client takes to start.
HEAVY = ["google.protobuf", "opentelemetry.sdk.metrics", "requests", "sqlalchemy"]
HEAVY += ["opentelemetry.sdk._logs", "prometheus_client", "pyramid", "urllib3"]


def heavy(done) -> list[str]:
    imported = json.loads(done.output)
    return [name for name in HEAVY if name in imported]


def test_what_is_not_needed_is_not_imported(instrumented):
    assert heavy(instrumented(IMPORTED)) == []


def test_exporters_are_imported_when_there_is_something_to_send(instrumented):
    done = instrumented(
        IMPORTED, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_METRICS_EXPORTER="none"
    )
    assert heavy(done) == ["opentelemetry.sdk._logs"]


def test_a_disabled_sdk_costs_next_to_nothing(instrumented):
    done = instrumented(IMPORTED, OTEL_SDK_DISABLED="true")
    assert heavy(done) == []
    assert "opentelemetry.sdk.trace" not in json.loads(done.output)


def test_requests_is_instrumented_when_it_is_imported(instrumented):
    code = """
import requests
print(requests.Session.send.__module__, hasattr(requests.Session.send, "__wrapped__"))
"""
    assert instrumented(code).output == "requests.sessions True\n"
