"""The end of a process, with collectors of all kinds."""

import logging
import os
import re
import time

import pytest
from opentelemetry import trace

from c2cotel.otel import set_up
from c2cotel.otel.exit import Exit
from c2cotel_acceptance.telemetry import HangingCollector, OtlpReceiver

WORK = """
import logging, sys, time
from opentelemetry import metrics, trace
tracer = trace.get_tracer("t")
for number in range(600):
    tracer.start_span(f"s{number}").end()
metrics.get_meter("t").create_counter("served").add(600)
logging.warning("served")
print(time.time(), flush=True)
"""

FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
if (pid := os.fork()) == 0:
    WORK
    sys.exit()
os.waitpid(pid, 0)
import time
print(time.time(), flush=True)
""".replace("WORK", WORK.strip().replace("\n", "\n    "))


def spent(done) -> float:
    """Seconds between the last line of the script and now, when the process has ended."""
    return time.time() - float(done.output.split()[-1])


def test_a_collector_that_is_there_gets_everything(instrumented):
    with OtlpReceiver() as collector:
        done = instrumented(WORK, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
        assert done.errors == ["served"]
        assert sorted(span.name for span in collector.spans) == sorted(
            f"s{number}" for number in range(600)
        )
        assert [record.body for record in collector.logs] == ["served"]
        assert [point.value for point in collector.points if point.name == "served"] == [600]


def test_so_it_does_from_a_forked_process_and_its_parent(instrumented):
    with OtlpReceiver() as collector:
        done = instrumented(FORK, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
        assert done.errors == ["served"]
        assert len(collector.spans) == 600
        assert len(collector.logs) == 1
        assert [point.value for point in collector.points if point.name == "served"] == [600]


def test_a_dead_collector_takes_no_time_and_one_line(instrumented, closed_port):
    endpoint = f"http://127.0.0.1:{closed_port}"
    done = instrumented(WORK, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, C2C_EXIT_TIMEOUT="20")
    # Importing the exporters is in it.
    assert spent(done) < 10
    assert done.status == 0
    assert done.errors[0] == "served"
    assert re.sub(r"\d+", "N", done.errors[1], count=1) == (
        "Process N ends with 600 spans and 1 log records undelivered: "
        f"nobody takes them at {endpoint}/v1/traces (Connection refused)."
    )
    assert len(done.errors) == 2


def test_the_reason_is_that_of_what_is_lost(in_child):
    def said():
        with OtlpReceiver() as collector:
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint
            telemetry = set_up()
            trace.get_tracer("t").start_span("sent").end()
            collector.wait(lambda it: it.spans)
        logging.getLogger("app").warning("late")
        texts = []
        handler = logging.Handler()
        handler.emit = lambda record: texts.append(record.getMessage())
        logging.getLogger("c2cotel.otel.exit").addHandler(handler)
        telemetry.exit.run()
        return texts

    (text,) = in_child(
        said,
        C2C_EXIT_TIMEOUT="20",
        OTEL_BSP_SCHEDULE_DELAY="100",
        OTEL_METRICS_EXPORTER="none",
    )
    assert "ends with 1 log records undelivered: nobody takes them at http://" in text
    assert text.endswith("/v1/logs (Connection refused).")


@pytest.mark.alone
def test_so_does_one_that_died_while_the_process_ran(in_child):
    def took():
        with OtlpReceiver() as collector:
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint
            telemetry = set_up()
            trace.get_tracer("t").start_span("sent").end()
            collector.wait(lambda it: it.spans)
        trace.get_tracer("t").start_span("late").end()
        started = time.monotonic()
        telemetry.exit.run()
        (spans,) = (it for it in telemetry.exit.pipelines if it.what == "spans")
        return spans.undelivered(), time.monotonic() - started

    lost, seconds = in_child(
        took,
        C2C_EXIT_TIMEOUT="20",
        OTEL_BSP_SCHEDULE_DELAY="100",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    )
    # The exporter, which was made long ago, would try again for ten seconds.
    assert (lost, seconds < 4) == (1, True)


@pytest.mark.alone
def test_a_hanging_collector_takes_the_time_it_is_given_and_one_line(instrumented):
    with HangingCollector() as collector:
        done = instrumented(
            WORK, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, C2C_EXIT_TIMEOUT="2"
        )
        took = spent(done)
    assert 1.9 < took < 4
    assert done.status == 0
    assert [line.partition(" ends ")[2] for line in done.errors] == [
        "",
        (
            "with 600 spans and 1 log records undelivered: "
            "the collector did not take them within 2.0 s."
        ),
    ]


@pytest.mark.alone
def test_a_fork_and_its_parent_share_the_time(instrumented):
    with HangingCollector() as collector:
        done = instrumented(
            FORK, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, C2C_EXIT_TIMEOUT="2.5"
        )
        total = time.time() - float(done.output.split()[0])
    assert total < 4.5
    assert [line.partition(": ")[2] for line in done.errors if "undelivered" in line] == [
        "the collector did not take them within 1.4 s."
    ]


def test_a_collector_that_refuses_says_why(instrumented):
    with OtlpReceiver(status=401) as collector:
        done = instrumented(WORK, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert len(done.errors) == 2
    assert done.errors[1].endswith("code: 401, reason: Unauthorized")


def test_a_part_that_fails_or_is_late_does_not_keep_the_others(in_child):
    def told():
        done = []
        end = Exit(0.3)
        end.last = [lambda _: 1 / 0, lambda _: time.sleep(60), lambda _: done.append(os.getpid())]
        started = time.monotonic()
        end.run()
        end.run()
        return len(done), time.monotonic() - started < 5

    assert in_child(told) == (1, True)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_who_has_forked_leaves_time_to_those_who_end_before(in_child):
    def told():
        end = Exit(5.0)
        alone = end.share
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            os.write(writing, repr(end.share).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        return alone, end.share, float(os.read(reading, 100))

    assert in_child(told) == (5.0, 1.75, 2.75)
