import logging

import pytest
import sqlalchemy as sa
from opentelemetry.trace import StatusCode

from c2cotel_instrumentation.errors import Complaint, fail, type_name

SECRET = "s3cret"
INSERT = sa.text("INSERT INTO nowhere\n\nVALUES ('s3cret', :value)")
URL = "https://shop.example/pay?secret=s3cret&a=1"
SHOWN = "https://shop.example/pay?secret=REDACTED&a=1"


def insert(value):
    """An INSERT that fails, with *value* among its parameters."""
    with sa.create_engine("sqlite://", poolclass=sa.NullPool).connect() as connection:
        connection.execute(INSERT, {"value": value})


def insert_what_is_no_value():
    """A StatementError without the driver's one, and so without a link below it."""
    table = sa.table("t", sa.column("a", sa.DateTime()))
    with sa.create_engine("sqlite://", poolclass=sa.NullPool).connect() as connection:
        connection.execute(table.insert(), {"a": f"{SECRET}\nvalue"})


def insert_what_has_lines():
    class Lines:
        def __repr__(self):
            return f"first\n{SECRET}"

    insert(Lines())


def answer():
    try:
        insert(SECRET)
    except sa.exc.SQLAlchemyError as error:
        raise RuntimeError("no answer") from error


def quote():
    try:
        insert(SECRET)
    except sa.exc.SQLAlchemyError as error:
        raise RuntimeError(f"no answer: {error}") from None


def quote_on_one_line():
    sql, parameters = "SQL", "parameters"
    raise RuntimeError(f"no answer: [{sql}: SELECT '{SECRET}'] [{parameters}: ('{SECRET}',)]")


def several():
    try:
        insert(SECRET)
    except sa.exc.SQLAlchemyError as error:
        raise ExceptionGroup("some", [error, ValueError("the other one")]) from error


def failed(telemetry, failing):
    """The span of what *failing* raises: its description and the event's three texts."""
    span = telemetry.tracer_provider.get_tracer("test").start_span("failing")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is
        failing()
    fail(span, raised.value)
    span.end()
    (event,) = telemetry.span.events
    texts = [event.attributes[f"exception.{name}"] for name in ("type", "message", "stacktrace")]
    assert telemetry.span.status.status_code is StatusCode.ERROR
    return telemetry.span.status.description, *texts


@pytest.mark.parametrize(
    "failing",
    [
        lambda: insert(SECRET),
        insert_what_has_lines,
        insert_what_is_no_value,
        answer,
        quote,
        quote_on_one_line,
        several,
    ],
    ids=["plain", "lines", "no-driver", "cause", "quoted", "one-line", "group"],
)
def test_neither_statement_nor_parameters_are_shown(telemetry, failing):
    description, _, message, stack = failed(telemetry, failing)
    for text in (description, message, stack):
        assert SECRET not in text
        assert "[parameters:" not in text


def test_what_the_driver_said_is_shown_with_the_application_s_type(telemetry):
    description, kind, message, stack = failed(telemetry, lambda: insert(SECRET))
    said = (
        "(sqlite3.OperationalError) no such table: nowhere\n[statement REDACTED]\n"
        f"(Background on this error at: https://sqlalche.me/e/{sa.__version__[:3:2]}/e3q8)"
    )
    assert (description, kind, message) == (
        f"OperationalError: {said}",
        "sqlalchemy.exc.OperationalError",
        said,
    )
    assert stack.endswith(f"sqlalchemy.exc.OperationalError: {said}\n")
    assert "direct cause of the following exception" in stack


def test_the_others_of_a_chain_and_of_a_group_stay(telemetry):
    *_, stack = failed(telemetry, several)
    assert "ValueError: the other one" in stack
    assert stack.count("[statement REDACTED]") == 2


def test_secrets_in_urls_are_not_shown(telemetry):
    def ask():
        raise LookupError(f"nothing at {URL}")

    description, kind, message, stack = failed(telemetry, ask)
    said = f"nothing at {SHOWN}"
    assert (description, kind, message) == (f"LookupError: {said}", "LookupError", said)
    assert stack.endswith(f"LookupError: {said}\n")


def test_a_description_is_cut_and_a_message_is_not(telemetry):
    def shout():
        raise LookupError("x" * 10_000)

    description, _, message, _ = failed(telemetry, shout)
    assert (len(description), len(message)) == (2048, 10_000)


def test_what_was_returned_and_not_raised_has_no_event(telemetry):
    span = telemetry.tracer_provider.get_tracer("test").start_span("failing")
    fail(span, LookupError("x"))
    span.end()
    assert telemetry.span.status.description == "LookupError: x"
    assert telemetry.span.events == ()


@pytest.mark.parametrize(
    ("error", "name"),
    [(KeyError(), "KeyError"), (sa.exc.ArgumentError(), "sqlalchemy.exc.ArgumentError")],
)
def test_a_type_has_its_module_unless_it_is_python_s_own(error, name):
    assert type_name(error) == name


def test_a_complaint_is_made_once(caplog):
    complain = Complaint(logging.getLogger("ours"), "It failed.")
    for number in range(2):
        complain(ValueError(number))
    (record,) = caplog.records
    assert (record.getMessage(), record.levelno) == ("It failed.", logging.ERROR)
    assert record.exc_info[1].args == (0,)
