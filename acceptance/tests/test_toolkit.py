"""The tools of these tests, before anything is concluded from them."""

import signal
import sys
import threading

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import Compression, OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from c2cotel_acceptance import scraping, servers, telemetry
from c2cotel_acceptance.processes import Process
from c2cotel_acceptance.traffic import Call
from c2cotel_acceptance.utils import retry_timeout, wait_url


def test_retrying_gives_the_first_true_answer():
    answers = iter([0, None, "there"])
    assert retry_timeout(lambda: next(answers), timeout=5, interval=0) == "there"


def test_retrying_in_vain_tells_the_last_failure():
    def fail():
        raise ValueError("not yet")

    with pytest.raises(TimeoutError, match=r"0\.01 s: ValueError: not yet"):
        retry_timeout(fail, timeout=0.01, interval=0.001)


def test_a_closed_port_refuses():
    with servers.closed_port() as port, pytest.raises(TimeoutError, match="refused"):
        wait_url(f"http://127.0.0.1:{port}/", timeout=0.1)


def test_a_process_ends_with_all_that_it_started(tmp_path):
    shell = "sleep 60 & trap '' TERM; echo started; while :; do sleep 60; done"
    with Process(["sh", "-c", shell], log=tmp_path / "log", grace=0.2) as process:
        retry_timeout(lambda: len(process.children()) == 2, timeout=10, interval=0.02)
        assert len(process.members()) == 3
    assert process.output() == "started\n"
    assert process.members() == []
    assert process.returncode == -signal.SIGKILL


def test_a_process_that_ends_at_once_is_told_with_its_output(tmp_path):
    argv = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    with (
        Process(argv, log=tmp_path / "log") as process,
        pytest.raises(RuntimeError, match="no such thing"),
    ):
        process.wait_url("http://127.0.0.1:9/", timeout=20)


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_receiver_has_every_span_of_many_senders(otlp, compression):
    def tell(number):
        provider = TracerProvider(resource=Resource({"service.name": f"sender {number}"}))
        exporter = OTLPSpanExporter(f"{otlp.endpoint}/v1/traces", compression=compression)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        for _ in range(20):
            with tracer.start_as_current_span("out", kind=SpanKind.SERVER, attributes={"a": 1}):
                tracer.start_span("in").end()
        provider.shutdown()

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    otlp.wait(lambda received: len(received.spans) == 200)
    assert len(otlp.server_spans()) == 100
    outer = {span.span_id: span for span in otlp.server_spans()}
    inner = [span for span in otlp.spans if span.name == "in"]
    assert {span.parent for span in inner} == set(outer)
    assert all(outer[span.parent].trace_id == span.trace_id for span in inner)
    one = otlp.server_spans()[0]
    assert (one.name, one.kind, one.parent, one.status) == ("out", "SERVER", None, "UNSET")
    assert one.attributes == {"a": 1}
    assert one.resource["service.name"].startswith("sender ")


def test_the_receiver_tells_an_exception_and_metrics(otlp):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{otlp.endpoint}/v1/traces")))
    with (
        pytest.raises(ValueError, match="broken"),
        provider.get_tracer("test").start_as_current_span("it"),
    ):
        raise ValueError("broken")
    [span] = otlp.spans
    assert (span.status, span.status_message) == ("ERROR", "ValueError: broken")
    assert span.events[0].attributes["exception.type"] == "ValueError"

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{otlp.endpoint}/v1/metrics"))
    meters = MeterProvider([reader])
    meters.get_meter("test").create_counter("count", "{thing}").add(3, {"a": "b"})
    meters.get_meter("test").create_histogram(
        "wait", "s", explicit_bucket_boundaries_advisory=[1.0]
    ).record(2.5)
    meters.shutdown()
    provider.shutdown()
    count, wait = sorted(otlp.points, key=lambda point: point.name)
    assert (count.kind, count.value, count.unit) == ("sum", 3, "{thing}")
    assert (count.attributes, count.temporality) == ({"a": "b"}, "CUMULATIVE")
    assert (wait.kind, wait.value, wait.count) == ("histogram", 2.5, 1)
    assert (wait.bounds, wait.buckets) == ((1.0,), (0, 1))
    assert otlp.errors == []


def test_a_hanging_collector_takes_the_connection_and_keeps_silent():
    with telemetry.HangingCollector() as collector:
        with pytest.raises(requests.ReadTimeout):
            requests.post(f"{collector.endpoint}/v1/traces", b"x", timeout=0.2)
        assert len(collector.connections) == 1


def test_a_scrape_sums_by_label():
    page = scraping.parse('# TYPE a counter\na_total{x="1",y="2"} 3\na_total{x="1",y="3"} 4\n')
    assert page.total("a_total") == 7
    assert page.total("a_total", y="3") == 4
    assert page.by("a_total", "x", "z") == {("1", ""): 7}


def test_prometheus_evaluates(prometheus):
    server = prometheus()
    assert server.value("1 + 1") == 2
    assert server.value("up") == 0
    with pytest.raises(ValueError, match="parse error"):
        server.query("(")


def test_the_example_serves_without_any_telemetry(serve):
    service = serve("--threads", "4", workers=2, instrument=False, scraped=False)
    assert len(service.workers()) == 2
    traffic = service.send(
        Call("/api/hello", route="/api/hello"),
        Call("/api/hello", "POST", "/api/hello", b'{"text": "one more"}'),
        Call("/api/hello", "POST", "/api/hello", b"[]"),
        Call("/api/tracking/2", route="/api/tracking/{depth}"),
        Call("/api/error", route="/api/error"),
        Call("/api/error?kind=http&status=503", route="/api/error"),
        Call("/api/error?kind=http", route="/api/error"),
        Call("/api/error?kind=view", route="/api/error"),
        Call("/api/error?kind=database", route="/api/error"),
        Call("/api/slow?seconds=0.01", route="/api/slow"),
        Call("/api/ping", route="/api/ping"),
        Call("/api/subprocess", route="/api/subprocess"),
        Call("/api/none"),
        count=26,
        concurrency=2,
    )
    assert traffic.by_route() == {
        ("/api/hello", 200): 2,
        ("/api/hello", 201): 2,
        ("/api/hello", 400): 2,
        ("/api/tracking/{depth}", 200): 2,
        ("/api/error", 500): 6,
        ("/api/error", 503): 2,
        ("/api/error", 404): 2,
        ("/api/slow", 200): 2,
        ("/api/ping", 200): 2,
        ("/api/subprocess", 200): 2,
        ("", 404): 2,
    }
    assert "is written" in service.output()
    answer = requests.get(f"{service.url}/api/error?kind=view", timeout=10)
    assert answer.json() == {"message": "No more of these"}


def test_pserve_serves_the_example_in_one_process(serve_alone):
    service = serve_alone(instrument=False)
    assert service.send(Call("/api/hello"), count=10).total == 10
    assert service.workers() == []


def test_a_master_that_was_replaced_ends_with_the_test(serve):
    service = serve(workers=2, instrument=False, scraped=False)
    old = service.workers()
    service.process.signal(signal.SIGUSR2)
    retry_timeout(lambda: len(service.process.members()) == 6, timeout=20, interval=0.05)
    [new_master] = set(service.workers()) - set(old)
    assert len(service.process.children(new_master)) == 2
    service.process.signal(signal.SIGTERM)
    service.process.wait(20)
    retry_timeout(lambda: len(service.process.members()) == 3, timeout=20, interval=0.05)
    assert service.send(Call("/api/ping"), count=5).answered == {("GET", "", 200): 5}
    service.process.stop()
    assert service.process.members() == []


def test_a_small_tmpfs_is_small(small_tmpfs):
    with pytest.raises(OSError, match="No space left"):
        (small_tmpfs("64k") / "file").write_bytes(bytes(100_000))
