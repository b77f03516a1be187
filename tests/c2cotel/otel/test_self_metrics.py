"""What becomes of spans, log records and metrics is counted, whatever the collector is like."""

import logging
import os
import warnings

import pytest
from opentelemetry import _logs, trace

from c2cotel.otel import set_up
from c2cotel.otel.exporters import DeferredExporter
from c2cotel_acceptance import scraping
from c2cotel_acceptance.telemetry import HangingCollector, OtlpReceiver
from c2cotel_acceptance.utils import retry_timeout

OFTEN = {"OTEL_BSP_SCHEDULE_DELAY": "20", "OTEL_BLRP_SCHEDULE_DELAY": "20"}


def counted(name):
    """The counter or gauge by its ``error.type``."""
    text = set_up().scraper.expose()[0].decode()
    return {kind: n for (kind,), n in scraping.parse(text).by(name, "error_type").items()}


def exported(item="span"):
    return counted(f"otel_sdk_exporter_{item}_exported_total")


def work(number=5):
    for each in range(number):
        trace.get_tracer("t").start_span(f"s{each}").end()
        logging.getLogger("t").warning("served")


def soon(what):
    return retry_timeout(what, 15, 0.02)


def worked(number=5):
    set_up()
    work(number)
    return soon(lambda: sum(exported().values()) == number and exported()), soon(
        lambda: sum(exported("log").values()) == number and exported("log")
    )


def test_what_has_arrived_has_no_error(in_child):
    with OtlpReceiver() as collector:
        spans, logs = in_child(worked, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **OFTEN)
    assert spans == logs == {"": 5}


def test_a_dead_collector_is_the_exception_of_its_connection(in_child, closed_port):
    spans, logs = in_child(
        worked,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{closed_port}",
        OTEL_EXPORTER_OTLP_TIMEOUT="2",
        **OFTEN,
    )
    assert spans == logs == {"ConnectionError": 5}


@pytest.mark.parametrize("status", [401, 503])
def test_a_collector_that_refuses_is_its_status(in_child, status):
    with OtlpReceiver(status=status) as collector:
        spans, logs = in_child(
            worked,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_EXPORTER_OTLP_TIMEOUT="2",
            **OFTEN,
        )
    assert spans == logs == {str(status): 5}


@pytest.mark.parametrize(("status", "delay"), [(401, 0), (503, 1.5)], ids=["again", "late"])
def test_so_it_is_where_the_exporter_does_not_say_so(in_child, status, delay):
    """It does not say the same twice, nor what the answer was if it has no time to try again."""

    def one_by_one():
        worked(1)
        work(1)
        return soon(lambda: sum(exported("log").values()) == 2 and exported("log"))

    with OtlpReceiver(status=status, delay=delay) as collector:
        logs = in_child(
            one_by_one,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_EXPORTER_OTLP_TIMEOUT="2",
            **OFTEN,
        )
    assert logs == {str(status): 2}


def test_so_do_metrics_that_are_pushed(in_child):
    def pushed():
        set_up()
        return soon(lambda: sum(exported("metric_data_point").values()) > 20) and exported(
            "metric_data_point"
        )

    with OtlpReceiver(status=401) as collector:
        found = in_child(
            pushed,
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{collector.endpoint}/v1/metrics",
            OTEL_METRIC_EXPORT_INTERVAL="50",
        )
    assert found.keys() == {"401"}


def test_a_full_queue_is_counted_with_what_it_holds_and_can_hold(in_child):
    def told():
        set_up()
        work(10)
        # The exporter has them, and hangs; the next ten wait for it.
        soon(lambda: processed() == {"": 10})
        work(40)
        return processed(), counted_queue("size"), counted_queue("capacity")

    def processed():
        return counted("otel_sdk_processor_span_processed_total")

    def counted_queue(what):
        return sum(counted(f"otel_sdk_processor_span_queue_{what}").values())

    with HangingCollector() as collector:
        found = in_child(
            told,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_BSP_MAX_QUEUE_SIZE="10",
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10",
        )
    assert found == ({"": 10, "queue_full": 30}, 10, 10)


def in_a_fork(do):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            do()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def test_forked_processes_have_queues_of_their_own(in_child):
    def capacity():
        return sum(counted("otel_sdk_processor_log_queue_capacity").values())

    def capacities():
        set_up()
        reading, writing = os.pipe()
        alone = capacity()
        in_a_fork(lambda: os.write(writing, repr(capacity()).encode()))
        both = float(os.read(reading, 100))
        return alone, both, capacity()

    with OtlpReceiver() as collector:
        found = in_child(capacities, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert found == (2048, 4096, 2048)


def test_what_a_process_leaves_behind_is_counted_when_it_ends(in_child):
    def left():
        telemetry = set_up()

        def end():
            work(30)
            telemetry.exit.run()

        in_a_fork(end)
        return {
            what: counted(f"otel_sdk_{what}_total")
            for what in ("exporter_span_exported", "processor_span_processed")
        }

    with HangingCollector() as collector:
        found = in_child(
            left,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10",
            C2C_EXIT_TIMEOUT="1",
        )
    assert found == {
        "exporter_span_exported": {"shutdown_timeout": 10},
        "processor_span_processed": {"": 10, "shutdown_timeout": 20},
    }


def test_where_the_sdk_is_not_to_count_itself_nothing_is(in_child):
    def names():
        set_up()
        work()
        trace.get_tracer_provider().force_flush()
        return set_up().scraper.expose()[0].decode()

    with OtlpReceiver() as collector:
        text = in_child(
            names,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED="false",
        )
        assert len(collector.spans) == 5
    assert "otel_sdk" not in text


def test_neither_spans_nor_log_records_are_counted_one_by_one(in_child):
    def names():
        set_up()
        work()
        _logs.get_logger_provider().force_flush()
        return set_up().scraper.expose()[0].decode()

    with OtlpReceiver() as collector:
        text = in_child(names, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert "otel_sdk_processor_log_processed_total{" in text
    assert "otel_sdk_span" not in text
    assert "otel_sdk_log" not in text


class Broken:
    def export(self, _):
        raise ZeroDivisionError


def test_an_exporter_that_raises_or_cannot_be_made_is_its_exception(in_child):
    def told():
        set_up()
        for make in (Broken, lambda: 1 / 0):
            exporter = DeferredExporter("spans", make)
            try:
                exporter.export([1, 2, 3])
            except ZeroDivisionError:
                continue
        text = set_up().scraper.expose()[0].decode()
        by = scraping.parse(text).by(
            "otel_sdk_exporter_span_exported_total", "otel_component_type", "error_type"
        )
        return dict(by)

    assert in_child(told) == {
        ("Broken", "ZeroDivisionError"): 3,
        ("", "ZeroDivisionError"): 3,
    }


def test_what_is_not_tried_again_at_the_end_is_one_too(in_child, closed_port):
    def ended():
        telemetry = set_up()
        work()
        in_a_fork(lambda: (work(), telemetry.exit.run()))
        return exported()

    found = in_child(ended, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{closed_port}")
    assert found == {"ConnectionError": 5}
