"""How a script ends, and what is told of it."""

import signal
import time

import pytest

from c2cotel_acceptance.telemetry import HangingCollector

from .conftest import SCRIPT


@pytest.mark.parametrize(
    ("body", "status", "told", "said"),
    [
        ("return 0", 0, {"process.exit.code": 0}, ("UNSET", "")),
        (
            "return 3",
            3,
            {"process.exit.code": 3, "error.type": "3"},
            ("ERROR", "exit status 3"),
        ),
        ("return None", 0, {"process.exit.code": 0}, ("UNSET", "")),
        (
            "\n    try:\n        sys.exit(4)\n    except SystemExit:\n        return 0",
            0,
            {"process.exit.code": 0},
            ("UNSET", ""),
        ),
        (
            "sys.exit('no tiles')",
            1,
            {"process.exit.code": 1, "error.type": "1"},
            ("ERROR", "exit status 1"),
        ),
        (
            "raise ValueError('at postgresql://me:hush@db')",
            1,
            {"process.exit.code": 1, "error.type": "ValueError"},
            ("ERROR", "ValueError: at postgresql://me:REDACTED@db"),
        ),
        (
            # Who is started in the background ignores it.
            (
                "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
                "signal.raise_signal(signal.SIGINT)"
            ),
            -signal.SIGINT,
            {"process.exit.code": 130, "error.type": "KeyboardInterrupt"},
            ("ERROR", "KeyboardInterrupt: "),
        ),
        (
            "import signal; signal.raise_signal(signal.SIGTERM)",
            -signal.SIGTERM,
            {"error.type": "SIGTERM"},
            ("ERROR", "SIGTERM"),
        ),
    ],
)
def test_its_end_is_told_and_its_exit_status_kept(scripts, collector, body, status, told, said):
    done = scripts.run(body, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert done.status == status
    (root,) = collector.spans
    shown = {k: v for k, v in root.attributes.items() if k in ("process.exit.code", "error.type")}
    assert shown == told
    assert (root.status, root.status_message.strip()) == (said[0], said[1].strip())


@pytest.mark.parametrize(
    ("body", "status", "told"), [("return 3", 3, None), ("sys.exit(3)", 3, 3), ("1 / 0", 1, 1)]
)
def test_a_status_that_python_tells_nobody_is_left_out(scripts, collector, body, status, told):
    script = SCRIPT.replace("c2cotel.setup_process.run(main)", "main()")
    done = scripts.run(
        body,
        "--config-uri",
        "c2c://production.ini",
        script=script,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
    )
    assert done.status == status
    assert collector.spans[0].attributes.get("process.exit.code") == told


def test_it_belongs_to_the_trace_of_what_has_started_it(scripts, collector):
    scripts.run(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        TRACEPARENT=f"00-{'ab' * 16}-{'cd' * 8}-01",
    )
    assert [(span.trace_id, span.parent) for span in collector.spans] == [("ab" * 16, "cd" * 8)]


def test_a_forked_process_does_not_end_the_span_of_its_parent(scripts, collector):
    body = """
    import os
    if os.fork() == 0:
        logging.getLogger("tiles").info("child")
        sys.exit(5)
    os.wait()"""
    done = scripts.run(body, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert done.status == 0
    (root,) = collector.spans
    assert root.attributes["process.exit.code"] == 0
    (child,) = (it for it in collector.logs if it.body == "child")
    assert child.trace_id == root.trace_id


@pytest.mark.alone
def test_a_collector_that_hangs_takes_what_the_end_may_and_no_more(scripts):
    with HangingCollector() as hanging:
        done = scripts.run(
            "import time; print(time.time())",
            OTEL_EXPORTER_OTLP_ENDPOINT=hanging.endpoint,
            C2C_EXIT_TIMEOUT="1",
        )
        took = time.time() - float(done.output)
    assert done.status == 0
    assert took < 3.5
    assert "undelivered" in done.errors
