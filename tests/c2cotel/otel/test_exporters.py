"""What was delivered and what was not, and when trying again is pointless."""

import os
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace.export import SpanExportResult

from c2cotel.otel.exporters import DeferredExporter, stop_retrying
from c2cotel.otel.push import MetricsPush
from c2cotel_acceptance.telemetry import HangingCollector


class Exporter:
    """Does what each batch says."""

    def __init__(self) -> None:
        self.closed = False

    def export(self, batch: Sequence[object]) -> SpanExportResult:
        if batch[0] == "raise":
            raise OSError("gone")
        return SpanExportResult.FAILURE if batch[0] == "fail" else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.closed = True


def test_what_fails_or_raises_is_lost():
    exporter = DeferredExporter("spans", Exporter)
    assert exporter.export(["take", 2, 3]) is SpanExportResult.SUCCESS
    assert (exporter.lost, exporter.in_flight) == (0, 0)
    exporter.export(["fail", 2])
    with pytest.raises(OSError, match="gone"):
        exporter.export(["raise"])
    assert (exporter.lost, exporter.in_flight) == (3, 0)


def test_what_an_exporter_that_cannot_be_made_was_to_send_is_lost():
    def make():
        raise ValueError("no certificate")

    exporter = DeferredExporter("spans", make)
    with pytest.raises(ValueError, match="no certificate"):
        exporter.export([1, 2])
    assert exporter.lost == 2


def test_it_is_made_for_the_first_batch():
    made = []
    exporter = DeferredExporter("spans", lambda: made.append(1) or Exporter())
    exporter.shutdown()
    assert not made
    exporter.export(["take"])
    exporter.export(["take"])
    exporter.shutdown()
    assert made == [1]
    assert exporter._made.closed


def test_what_is_being_sent_is_counted():
    asked, answer = threading.Event(), threading.Event()

    class Slow(Exporter):
        def export(self, batch):
            asked.set()
            answer.wait()
            return super().export(batch)

    exporter = DeferredExporter("spans", Slow)
    thread = threading.Thread(target=exporter.export, args=(["take", 2],))
    thread.start()
    asked.wait()
    assert exporter.in_flight == 2
    answer.set()
    thread.join()
    assert exporter.in_flight == 0


def test_a_forked_process_makes_its_own_and_owes_nothing(in_child):
    exporter = DeferredExporter("spans", lambda: (os.getpid(), Exporter())[1])
    exporter.export(["fail", 2])
    exporter.in_flight = 5

    def child():
        inherited = exporter._made
        exporter.export(["fail"])
        return inherited, exporter.lost

    assert in_child(child) == (None, 1)
    assert exporter.lost == 2


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_where_nobody_listens_nothing_is_retried(closed_port):
    exporter = OTLPSpanExporter(f"http://me:secret@127.0.0.1:{closed_port}/v1/traces")
    why = stop_retrying(exporter)
    assert why == (
        f"nobody takes them at http://me:***@127.0.0.1:{closed_port}/v1/traces "
        "(Connection refused)."
    )
    assert exporter._client._shutdown_event.is_set()


def test_where_somebody_listens_it_is():
    with HangingCollector() as collector:
        exporter = OTLPSpanExporter(f"{collector.endpoint}/v1/traces")
        assert stop_retrying(exporter) == ""
    assert not exporter._client._shutdown_event.is_set()


def test_behind_a_proxy_nobody_knows(closed_port, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "")
    exporter = OTLPSpanExporter(f"http://collector.example:{closed_port}/v1/traces")
    assert stop_retrying(exporter) == ""


@pytest.mark.parametrize("exporter", [Exporter(), None])
def test_other_exporters_are_left_alone(exporter):
    assert stop_retrying(exporter) == ""


@pytest.mark.parametrize("endpoint", ["http://[::1", "ftp://x/v1/traces", "http://x:99999/", "/"])
def test_an_endpoint_that_is_no_url_gets_nothing(endpoint):
    assert stop_retrying(OTLPSpanExporter(endpoint)).startswith("nobody takes them at")


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_waits_until_an_exporter_is_imported(in_child):
    def told():
        making, imported = threading.Event(), threading.Event()
        done = []

        def make():
            making.set()
            imported.wait(10)
            done.append(True)
            return Exporter()

        exporter = DeferredExporter("spans", make)
        thread = threading.Thread(target=exporter.export, args=[["x"]])
        thread.start()
        making.wait(10)
        threading.Timer(0.2, imported.set).start()
        # The lock of a module that a thread imports would stay locked in the child.
        if (pid := os.fork()) == 0:
            os._exit(0 if done and exporter.export(["x"]) is SpanExportResult.SUCCESS else 1)
        thread.join()
        return os.waitpid(pid, 0)[1]

    assert in_child(told) == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_waits_until_the_first_push_has_imported_what_it_needs(in_child):
    def told():
        pushing, imported = threading.Event(), threading.Event()
        done = []

        class Importing:
            def metrics_data(self, _resource):
                pushing.set()
                imported.wait(10)
                done.append(True)
                return MetricsData(())

        push = MetricsPush(Importing(), [], {}, interval=0.01)
        push.start()
        pushing.wait(10)
        threading.Timer(0.2, imported.set).start()
        # A worker that is forked in the middle of it could never send a span.
        if (pid := os.fork()) == 0:
            os._exit(0 if done else 1)
        push.stop(10)
        return os.waitpid(pid, 0)[1]

    assert in_child(told) == 0
