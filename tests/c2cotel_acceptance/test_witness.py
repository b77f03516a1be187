"""What an application told is found by its request, or it is said what came instead."""

import re
import threading
import time

import pytest
import requests
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from c2cotel_acceptance.connection import CheckError, Connection
from c2cotel_acceptance.telemetry import OtlpReceiver
from c2cotel_acceptance.witness import TelemetryError, Witness


@pytest.fixture
def receiver():
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def witness(receiver):
    return Witness(receiver, timeout=0.2)


@pytest.fixture
def tracer(receiver):
    provider = TracerProvider()
    provider.add_span_processor(
        SimpleSpanProcessor(OTLPSpanExporter(f"{receiver.endpoint}/v1/traces"))
    )
    yield provider.get_tracer("application")
    provider.shutdown()


@pytest.fixture
def log(receiver):
    provider = LoggerProvider()
    provider.add_log_record_processor(
        SimpleLogRecordProcessor(OTLPLogExporter(f"{receiver.endpoint}/v1/logs"))
    )
    logger = provider.get_logger("application")

    def emit(body, severity=SeverityNumber.INFO, **attributes):
        logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                body=body,
                severity_number=severity,
                severity_text=severity.name,
                attributes={key.replace("__", "."): value for key, value in attributes.items()},
                context=trace.set_span_in_context(trace.get_current_span()),
            )
        )

    yield emit
    provider.shutdown()


@pytest.fixture
def meters(receiver):
    made = []

    def make(temporality=AggregationTemporality.CUMULATIVE):
        exporter = OTLPMetricExporter(
            f"{receiver.endpoint}/v1/metrics",
            preferred_temporality={Counter: temporality, Histogram: temporality},
        )
        made.append(MeterProvider([PeriodicExportingMetricReader(exporter, 3_600_000)]))
        return made[-1]

    yield make
    for provider in made:
        provider.shutdown()


def trace_of(span):
    return f"{span.get_span_context().trace_id:032x}"


def test_a_span_is_found_by_its_trace(tracer, witness):
    with tracer.start_as_current_span("GET /a", kind=SpanKind.SERVER, attributes={"a": 1}) as one:
        tracer.start_span("query", attributes={"a": 2}).end()
    with tracer.start_as_current_span("GET /a", kind=SpanKind.SERVER):
        pass
    of = trace_of(one)
    found = witness.span(of, kind="SERVER")
    assert (found.name, found.trace_id) == ("GET /a", of)
    assert witness.span(of, attributes={"a": 2}).name == "query"
    assert [span.name for span in witness.spans(of, count=2)] == ["GET /a", "query"]
    assert witness.span(of.upper()).trace_id == of
    uuid = re.sub("(.{8})(.{4})(.{4})(.{4})(.*)", r"\1-\2-\3-\4-\5", of)
    assert witness.span(uuid, "query").trace_id == of


def test_a_span_is_found_by_a_request_id_that_is_no_trace(tracer, witness, log):
    with tracer.start_as_current_span("GET /a", attributes={"c2c.request.id": "from-varnish"}):
        log("said", c2c__request__id="from-varnish")
    assert witness.span("from-varnish").name == "GET /a"
    assert witness.log("from-varnish").body == "said"


def test_a_span_is_found_by_the_answer(server, tracer, witness):
    with tracer.start_as_current_span("GET /a", attributes={"c2c.request.id": "mine"}) as one:
        pass
    of = trace_of(one)
    with Connection(server.url, "https://site.example") as api:
        server.answer("/a", traceresponse=f"00-{of}-{'1' * 16}-01", X_Request_ID="other")
        assert witness.span(api.get_raw("a")).trace_id == of
        server.answer("/a", X_Request_ID="mine")
        assert witness.span(api.get_raw("a")).trace_id == of
        server.answer("/a", without=("X-Request-ID",))
        sent = api.get_raw("a", headers={"traceparent": f"00-{of}-{'1' * 16}-01"})
        assert witness.span(sent).trace_id == of
        with pytest.raises(CheckError, match="neither X-Request-ID nor traceresponse"):
            witness.span(api.get_raw("a"))


def test_a_span_that_comes_late_is_waited_for(tracer, receiver):
    span = tracer.start_span("late")
    receiver.delay = 0.2
    thread = threading.Thread(target=span.end)
    thread.start()
    assert Witness(receiver).span(trace_of(span)).name == "late"
    thread.join()


def test_a_missing_span_is_told_with_what_came_of_the_request(tracer, witness):
    with tracer.start_as_current_span("GET /a", kind=SpanKind.SERVER, attributes={"a": 1}) as one:
        pass
    with pytest.raises(TelemetryError) as caught:
        witness.span(trace_of(one), "GET /b", attributes={"a": 2})
    said = str(caught.value)
    assert said.startswith(
        f"No span with name='GET /b', a=2 of trace {trace_of(one)} within 0.2 s.\n"
        "What came of this request: 1\n    SERVER 'GET /a', UNSET; a=1\n"
    )


def test_too_few_spans_are_told(tracer, witness):
    with tracer.start_as_current_span("one") as one:
        pass
    with pytest.raises(TelemetryError, match="1 instead of 3 of a span at all of trace"):
        witness.spans(trace_of(one), count=3)


def test_a_missing_request_is_told_with_the_others(tracer, witness):
    for number in range(30):
        tracer.start_span(f"number {number}", attributes={"long": "x" * 1000}).end()
    with pytest.raises(TelemetryError) as caught:
        witness.span("0" * 31 + "1")
    said = str(caught.value)
    assert "Nothing came of this request; of others: 30, at last\n    … and 10 before" in said
    assert "number 9'" not in said
    assert "number 29'" in said
    assert len(said) < 8000


def test_when_nothing_arrives_the_way_is_told(receiver, witness):
    with pytest.raises(TelemetryError) as caught:
        witness.log("0" * 31 + "1")
    assert f"OTEL_EXPORTER_OTLP_ENDPOINT={receiver.endpoint}" in str(caught.value)


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")],  # noqa: S104 - as one may
)
def test_the_endpoint_is_where_it_listens(host, reached):
    with OtlpReceiver(host=host) as receiver:
        assert receiver.endpoint == f"http://{reached}:{receiver.port}"
        assert requests.post(f"{receiver.endpoint}/v1/traces", data=b"", timeout=5).ok


def test_what_could_not_be_read_is_told(receiver, witness):
    requests.post(f"{receiver.endpoint}/v1/traces", b"\xff", timeout=5)
    with pytest.raises(
        TelemetryError, match=r"Arrived so far: 0 spans.*errors .*/v1/traces: Error"
    ):
        witness.span("0" * 31 + "1")


def test_a_log_line_is_found_by_a_part_of_it(tracer, witness, log):
    with tracer.start_as_current_span("GET /a") as one:
        log("Said hello to 3 people", language="en")
        log({"structured": ["hello"]}, SeverityNumber.ERROR)
    log("Said hello to nobody")
    of = trace_of(one)
    assert witness.log(of, "hello to 3", severity="INFO").attributes["language"] == "en"
    assert witness.log(of, re.compile(r"\d people$"), attributes={"language": "en"})
    assert witness.log(of, "structured", severity="ERROR")
    assert len(witness.logs(of, "hello", count=2)) == 2
    with pytest.raises(
        TelemetryError, match=r"(?s)No log line with body='nobody'.*: 2\n    INFO 'Said"
    ):
        witness.log(of, "nobody")


def test_a_line_that_must_not_come_is_told(tracer, witness, log):
    with tracer.start_as_current_span("GET /a") as one:
        log("fine")
    witness.no_log(trace_of(one), severity="ERROR", within=0.1)
    with tracer.start_as_current_span("GET /a") as one:
        log("broken", SeverityNumber.ERROR)
    with pytest.raises(
        TelemetryError, match=r"A log line with severity='ERROR' of trace .*\n    ERROR"
    ):
        witness.no_log(trace_of(one), severity="ERROR")


@pytest.mark.parametrize(
    "temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA]
)
def test_a_metric_is_what_it_got_since_the_test_began(receiver, meters, temporality):
    provider = meters(temporality)
    counter = provider.get_meter("application").create_counter("said")
    histogram = provider.get_meter("application").create_histogram("took")
    counter.add(5, {"to": "a"})
    histogram.record(2.0, {"to": "a"})
    provider.force_flush()
    receiver.wait(lambda received: len(received.points) == 2)

    witness = Witness(receiver, timeout=0.2)
    for _ in range(2):
        counter.add(1, {"to": "a"})
        counter.add(10, {"to": "b"})
        histogram.record(0.5, {"to": "a"})
        provider.force_flush()
    assert witness.metric("said", {"to": "a"}, at_least=2).value == 2
    assert witness.metric("said").value == 22
    took = witness.metric("took", at_least=2)
    assert (took.value, took.count) == (1.0, 2)
    with pytest.raises(TelemetryError) as caught:
        witness.metric("said", {"to": "a"}, at_least=3)
    said = str(caught.value)
    assert said.startswith("The metric with name='said', to='a' got 2 since the test began, not 3.")
    assert "The latest of its series:" in said
    assert "    sum said = " in said
    assert "to='b'" in said
    with pytest.raises(TelemetryError, match=r"got 0 .*\nWhat came instead: said, took"):
        witness.metric("unsaid")


def test_two_processes_are_added_up_and_a_new_one_starts_at_zero(receiver, meters):
    old = meters()
    old.get_meter("application").create_counter("said").add(100)
    old.force_flush()
    receiver.wait(lambda received: received.points)
    witness = Witness(receiver, timeout=2)
    new = meters()
    new.get_meter("application").create_counter("said").add(3)
    new.force_flush()
    assert witness.metric("said").value == 3


def test_a_gauge_is_its_latest_value(receiver, meters):
    witness = Witness(receiver, timeout=2)
    provider = meters()
    gauge = provider.get_meter("application").create_gauge("queued")
    for value in (7, 0):
        gauge.set(value)
        provider.force_flush()
    receiver.wait(lambda received: len(received.points) == 2)
    measured = witness.metric("queued")
    assert (measured.value, len(measured.points)) == (0, 1)


def test_a_metric_of_before_does_not_count(receiver, meters):
    provider = meters()
    provider.get_meter("application").create_counter("said").add(1)
    provider.force_flush()
    receiver.wait(lambda received: received.points)
    with pytest.raises(TelemetryError, match="got 0 since the test began, not 1"):
        Witness(receiver, timeout=0.1).metric("said")
