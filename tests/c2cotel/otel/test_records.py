"""The request on spans and log records, and the process in their resource."""

import logging
import os

import pytest
from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from c2cotel.otel import set_up
from c2cotel.otel.exit import Exit
from c2cotel.otel.log_records import RequestIdLogProcessor, add_handler
from c2cotel_instrumentation.context import with_request_id


def spans_of(action) -> list:
    """What *action* makes, with telemetry set up."""
    set_up()
    exporter = InMemorySpanExporter()
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
    action(trace.get_tracer("t"))
    return list(exporter.get_finished_spans())


def test_each_span_of_a_request_has_its_id(in_child):
    def nested(tracer):
        with tracer.start_as_current_span("outside"):
            pass
        token = attach(with_request_id("it"))
        with tracer.start_as_current_span("server"), tracer.start_as_current_span("child"):
            pass
        detach(token)

    def told():
        return [(span.name, span.attributes.get("c2c.request.id")) for span in spans_of(nested)]

    assert in_child(told) == [("outside", None), ("child", "it"), ("server", "it")]


def logged(action) -> list:
    """What *action* logs, as it leaves over OTLP."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(RequestIdLogProcessor())
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    end = Exit(1)
    add_handler(provider, None, end)
    action(end)
    return [
        (record.log_record.body, dict(record.log_record.attributes))
        for record in exporter.get_finished_logs()
    ]


def test_each_log_record_of_a_request_has_its_id(in_child):
    def log(_):
        logging.getLogger("t").warning("outside", extra={"mine": 1})
        token = attach(with_request_id("it"))
        logging.getLogger("t").warning("inside")
        detach(token)
        # What the logging instrumentor adds, in a thread that has no context.
        ids = {"request_id": "other", "trace_id": "t", "span_id": "s"}
        logging.getLogger("t").warning("later", extra=ids)

    assert in_child(lambda: logged(log)) == [
        ("outside", {"mine": 1}),
        ("inside", {"c2c.request.id": "it"}),
        ("later", {"c2c.request.id": "other"}),
    ]


def test_a_logging_configuration_leaves_the_handler(in_child):
    def log(_):
        import logging.config

        logging.config.dictConfig({"version": 1, "root": {"handlers": [], "level": "INFO"}})
        logging.getLogger("t").info("seen")

    assert in_child(lambda: logged(log)) == [("seen", {})]


def test_after_the_end_has_begun_nothing_is_taken(in_child):
    def log(end):
        end.run()
        logging.getLogger("t").warning("late")

    assert in_child(lambda: logged(log)) == []


SHOWN = """
import logging
from opentelemetry.sdk._logs import LoggerProvider
{before}
logging.getLogger("mine").warning("a %s", "word")
logging.getLogger("mine").info("no word")
"""


@pytest.mark.parametrize(
    ("before", "errors"),
    [
        ("", ["a word"]),
        ("logging.basicConfig(format='%(name)s: %(message)s')", ["mine: a word"]),
        ("logging.getLogger('mine').addHandler(logging.NullHandler())", []),
    ],
)
def test_the_console_shows_what_it_shows_without(instrumented, before, errors):
    done = instrumented(SHOWN.format(before=before), OTEL_LOGS_EXPORTER="console")
    assert done.errors == errors
    assert done.output.count('"body": "a word"') == 1


def resource() -> dict:
    return dict(trace.get_tracer_provider().resource.attributes)


def test_the_resource_says_what_runs_where(in_child, tmp_path):
    versions = tmp_path / "versions.json"
    versions.write_text('{"main": {"git_tag": "2.4.1", "git_hash": "abc"}}')

    def told():
        set_up()
        return resource(), os.getpid()

    attributes, pid = in_child(told, OTEL_SERVICE_NAME="mine", C2C_VERSIONS_FILE=str(versions))
    assert attributes["service.name"] == "mine"
    assert attributes["service.version"] == "2.4.1"
    assert attributes["process.pid"] == pid
    assert attributes["telemetry.distro.name"] == "c2cotel"
    attributes, _ = in_child(told, GIT_HASH="def", OTEL_RESOURCE_ATTRIBUTES="service.version=7,a=b")
    assert attributes["service.version"] == "7"
    assert attributes["a"] == "b"


def forked(function):
    """What *function* gives in a child of this process."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writing, repr(function()).encode())
        os._exit(0)
    os.close(writing)
    told = os.read(reading, 100_000)
    os.waitpid(pid, 0)
    return eval(told)  # noqa: S307 - our own child's


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_is_another_instance(in_child):
    def told():
        set_up()
        return resource(), forked(lambda: (resource(), os.getpid()))

    parent, (child, pid) = in_child(told)
    different = {key for key in parent if parent[key] != child[key]}
    assert different == {"process.pid", "service.instance.id"}
    assert child["process.pid"] == pid


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_the_users_instance_id_is_kept_in_a_fork(in_child):
    def told():
        set_up()
        return resource()["service.instance.id"], forked(
            lambda: (resource()["service.instance.id"], resource()["process.pid"] == os.getpid())
        )

    attributes = "service.instance.id=mine"
    assert in_child(told, OTEL_RESOURCE_ATTRIBUTES=attributes) == ("mine", ("mine", True))


def test_the_text_of_an_exception_has_no_secret_in_a_log_record(in_child):
    def fail():
        raise RuntimeError("no answer from http://host/x?secret=SEKRET")

    def log(_):
        try:
            fail()
        except RuntimeError:
            logging.getLogger("t").exception("failed")

    ((_, attributes),) = in_child(lambda: logged(log))
    assert attributes["exception.message"] == "no answer from http://host/x?secret=REDACTED"
    assert attributes["exception.stacktrace"].endswith("?secret=REDACTED\n")
