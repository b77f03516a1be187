import logging
import threading

import pytest
from opentelemetry import context as otel_context
from opentelemetry.context.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

from c2cotel_instrumentation.context import with_request_id
from c2cotel_instrumentation.logging import LoggingInstrumentor

SPAN = SpanContext(trace_id=0xAB, span_id=0xCD, is_remote=False)


@pytest.fixture
def lines():
    """What a logger writes, with a format of the application that knows nothing of us."""
    written: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record):
            written.append(self.format(record))

    handler = Lines()
    handler.setFormatter(logging.Formatter("%(message)s [%(request_id)s %(trace_id)s %(span_id)s]"))
    logger = logging.getLogger("test.lines")
    logger.addHandler(handler)
    yield written
    logger.removeHandler(handler)


@pytest.fixture
def _in_a_request():
    context = with_request_id("abc", set_span_in_context(NonRecordingSpan(SPAN), Context()))
    token = otel_context.attach(context)
    yield
    otel_context.detach(token)


def log(message="m", **kwargs):
    logging.getLogger("test.lines").warning(message, **kwargs)


IDS = "[abc 000000000000000000000000000000ab 00000000000000cd]"


@pytest.mark.usefixtures("_in_a_request")
def test_a_record_made_in_a_request_has_its_ids(lines):
    LoggingInstrumentor().instrument()
    log()
    log()
    assert lines == [f"m {IDS}"] * 2


def test_a_record_outside_of_a_request_has_empty_ones(lines):
    LoggingInstrumentor().instrument()
    log()
    assert lines == ["m [  ]"]


@pytest.mark.usefixtures("_in_a_request")
def test_the_ids_follow_the_current_span(lines):
    LoggingInstrumentor().instrument()
    log()
    other = NonRecordingSpan(SpanContext(trace_id=0xAB, span_id=0xEF, is_remote=False))
    token = otel_context.attach(set_span_in_context(other))
    log()
    otel_context.detach(token)
    log()
    assert [line[-3:] for line in lines] == ["cd]", "ef]", "cd]"]


@pytest.mark.usefixtures("_in_a_request")
def test_what_the_application_puts_in_extra_stays(lines):
    LoggingInstrumentor().instrument()
    log(extra={"request_id": "mine", "trace_id": "t", "span_id": "s"})
    assert lines == ["m [mine t s]"]


@pytest.mark.usefixtures("_in_a_request")
def test_a_record_factory_set_later_by_the_application_keeps_working(lines):
    class Record(logging.LogRecord):
        def getMessage(self):  # noqa: N802 - logging's name
            return "mine"

    LoggingInstrumentor().instrument()
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Record)
    try:
        log()
    finally:
        logging.setLogRecordFactory(factory)
    assert lines == [f"mine {IDS}"]


@pytest.mark.usefixtures("_in_a_request")
def test_a_thread_has_the_ids_of_the_context_that_it_attaches(lines):
    LoggingInstrumentor().instrument()
    context = otel_context.get_current()

    def work():
        log("before")
        token = otel_context.attach(context)
        log("in it")
        otel_context.detach(token)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert lines == ["before [  ]", f"in it {IDS}"]


def test_the_caller_of_the_log_is_still_found(caplog):
    LoggingInstrumentor().instrument()
    logging.getLogger("test.caller").warning("m")
    assert caplog.records[0].funcName == "test_the_caller_of_the_log_is_still_found"


def test_uninstrument_restores_what_was_there():
    original = logging.Logger.makeRecord
    LoggingInstrumentor().instrument()
    assert logging.Logger.makeRecord is not original
    LoggingInstrumentor().uninstrument()
    assert logging.Logger.makeRecord is original


def test_instrumenting_twice_wraps_once(caplog):
    LoggingInstrumentor().instrument()
    wrapped = logging.Logger.makeRecord
    LoggingInstrumentor().instrument()
    assert logging.Logger.makeRecord is wrapped
    assert "already instrumented" in caplog.text


def test_somebody_who_wrapped_later_is_left_in_place(caplog):
    LoggingInstrumentor().instrument()
    ours = logging.Logger.makeRecord

    def theirs(*args, **kwargs):
        record = ours(*args, **kwargs)
        record.theirs = True
        return record

    logging.Logger.makeRecord = theirs
    try:
        LoggingInstrumentor().uninstrument()
        logging.getLogger("test.later").warning("off")
        LoggingInstrumentor().instrument()
        logging.getLogger("test.later").warning("on")
    finally:
        logging.Logger.makeRecord = ours
    off, on = caplog.records
    assert (off.theirs, hasattr(off, "request_id")) == (True, False)
    assert (on.theirs, on.request_id) == (True, "")
