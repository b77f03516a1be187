"""What a script has from its bootstrap on."""

import os
import subprocess
import sys

from c2cotel_acceptance.sentry import SentryReceiver


def test_a_script_has_the_application_and_its_logging(scripts):
    done = scripts.run("print(env['request'].route_path('tile', id=7)); env['closer']()")
    assert (done.status, done.output) == (0, "/tile/7\n")
    (line,) = done.errors.splitlines()
    assert line.startswith("INFO [")
    assert line.endswith("] hello here")
    assert len(line.split()[1]) == 38


def test_variables_of_the_command_line_win(scripts):
    done = scripts.run("", "--config-vars", "PLACE=there")
    assert done.errors.endswith("] hello there\n")


def test_what_is_no_variable_is_said_in_one_line(scripts):
    done = scripts.run("", "--config-vars", "greeting")
    assert done.status == 1
    assert done.errors.splitlines()[-1].endswith("Write NAME=VALUE.")
    assert "Traceback" not in done.errors


def test_all_of_it_is_one_span_with_the_rest_below_it(scripts, collector):
    body = "from opentelemetry import trace; trace.get_tracer('t').start_span('work').end()"
    done = scripts.run(body, "--password", "hush", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert done.status == 0
    spans = {span.name: span for span in collector.spans}
    root = spans["import_tiles"]
    assert (root.kind, root.parent, root.status) == ("INTERNAL", None, "UNSET")
    assert root.attributes["process.exit.code"] == 0
    assert (spans["work"].parent, spans["work"].trace_id) == (root.span_id, root.trace_id)
    (record,) = (it for it in collector.logs if it.body == "hello here")
    assert (record.trace_id, record.span_id) == (root.trace_id, root.span_id)
    assert record.attributes["c2c.request.id"] == root.attributes["c2c.request.id"]
    assert "hush" not in repr(collector.spans) + repr(collector.logs) + repr(collector.points)


def test_an_uncaught_exception_is_an_event_of_sentry_with_the_trace(scripts, collector):
    with SentryReceiver() as receiver:
        done = scripts.run(
            "raise ValueError('no tiles')",
            "--password",
            "hush",
            SENTRY_URL=receiver.url,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        )
        assert done.status == 1
        (event,) = receiver.events
    (root,) = collector.spans
    assert event["exception"]["values"][-1]["value"] == "no tiles"
    assert event["contexts"]["trace"] == {"trace_id": root.trace_id, "span_id": root.span_id}
    assert event["tags"]["request_id"] == root.attributes["c2c.request.id"]
    assert "hush" not in repr(event)


def test_without_the_application_there_is_all_that_is_around_it(scripts, collector):
    script = """
import logging
from c2cotel import broadcast, setup_process
setup_process.init("c2c://production.ini")
setup_process.init("c2c://production.ini")
broadcast.subscribe("here", lambda: 1)
logging.getLogger("tiles").info("%d", broadcast.broadcast("here", expect_answers=True)[0])
"""
    done = scripts.run(script=script, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert done.status == 0, done.errors
    assert done.errors.endswith("] 1\n")
    assert [span.name for span in collector.spans] == ["import_tiles"]


def test_a_wrong_setting_is_named_and_ends_the_script(scripts):
    done = scripts.run("print('not reached')", C2C_BASE_PATH="no slash")
    assert (done.status, done.output) == (1, "")
    assert "C2C_BASE_PATH = 'no slash'" in done.errors


def test_the_sdk_may_be_off(scripts):
    done = scripts.run("return 3", OTEL_SDK_DISABLED="true")
    assert done.status == 3
    assert done.errors.endswith("] hello here\n")


def test_what_a_job_counts_is_in_the_scrape_of_its_service(scripts):
    job = "from opentelemetry import metrics; metrics.get_meter('t').create_counter('tiles').add(7)"
    service = """
import sys
from c2cotel import otel
telemetry = otel.set_up()
print(flush=True)
sys.stdin.read(1)
print(telemetry.scraper.expose()[0].decode())
"""
    path = scripts.folder / "service.py"
    path.write_text(service)
    environ = {**os.environ, "C2C_RUN_DIR": str(scripts.folder / "run"), "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(
        [sys.executable, path],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        assert scripts.run(job).status == 0
        assert scripts.run(job).status == 0
        output, _ = process.communicate("x", timeout=60)
    (line,) = (it for it in output.splitlines() if it.startswith("tiles_total"))
    assert float(line.split()[-1]) == 14
