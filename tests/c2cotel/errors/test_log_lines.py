"""The traceback under the log line of an error has no more secrets than the line."""

import json
import logging

import pytest
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from c2cotel.otel.log_records import RequestIdLogProcessor
from c2cotel.pyramid_logging import ConsoleFormatter, JsonFormatter, PyramidCeeSysLogHandler
from c2cotel.sqlalchemylogger.handlers import SQLAlchemyHandler

from .conftest import LOGGER

PASSWORD = "hunter2"


def connect(_):
    raise OSError(f"no route to postgresql://me:{PASSWORD}@dbhost/x") from ValueError(
        f"https://other.example/?token={PASSWORD}"
    )


@pytest.fixture
def failed(configure, ask, logged):
    """The record of a request that has failed."""
    config = configure()
    config.add_route("connect", "/connect")
    config.add_view(connect, route_name="connect")
    ask(config.make_wsgi_app(), "/connect")
    (record,) = logged()
    record.exc_text_at_first = record.exc_text
    return record


def as_text(record):
    return logging.Formatter().format(record)


def on_the_console(record):
    return ConsoleFormatter().format(record)


def as_json(record):
    return json.loads(JsonFormatter().format(record))["full_message"]


def salvaged(record):
    record.args = ("too", "few")
    return json.loads(JsonFormatter().format(record))["full_message"]


def as_packet(record):
    handler = PyramidCeeSysLogHandler(("127.0.0.1", 9))
    try:
        return json.loads(handler.packet(record).partition(b"@cee: ")[2])["full_message"]
    finally:
        handler.close()


def as_otlp(record):
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(RequestIdLogProcessor())
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    LoggingHandler(logger_provider=provider).handle(record)
    (exported,) = exporter.get_finished_logs()
    provider.shutdown()
    return exported.log_record.attributes["exception.stacktrace"]


WAYS = [as_text, on_the_console, as_json, salvaged, as_packet, as_otlp]


@pytest.mark.parametrize("written", WAYS)
def test_the_traceback_of_an_error_is_written_without_secrets(failed, written):
    text = written(failed)
    assert "postgresql://me:REDACTED@dbhost/x" in text
    assert "?token=REDACTED" in text
    assert "in connect" in text
    assert PASSWORD not in text.replace("{PASSWORD}", "")


def test_the_exception_on_the_record_is_the_one_that_was_raised(failed):
    kind, error, trace = failed.exc_info
    assert (kind, error.__traceback__) == (OSError, trace)
    assert PASSWORD in str(error)
    assert failed.funcName == "_log"
    assert failed.pathname.endswith("/c2cotel/errors/views.py")


def test_a_row_has_no_secrets_either(failed, tmp_path):
    handler = SQLAlchemyHandler({"url": f"sqlite:///{tmp_path}/logs.db"})
    try:
        assert PASSWORD not in handler._row(failed)["trace"]
    finally:
        handler.close()


def test_a_statement_and_its_values_are_not_in_the_log(app, ask, logged):
    ask(app, "/duplicate")
    (record,) = logged()
    text = as_text(record)
    assert "[statement REDACTED]" in text
    assert "[parameters: " not in text


def test_where_there_is_no_referrer_none_is_logged(app, ask, logged):
    ask(app, "/hidden")
    (record,) = logged()
    assert "referrer" not in json.loads(JsonFormatter().format(record))
    assert record.name == LOGGER


def test_nothing_is_made_for_a_level_that_nobody_hears(app, ask, caplog):
    caplog.set_level(logging.CRITICAL, LOGGER)
    assert ask(app, "/hidden").status_int == 500
    assert [record for record in caplog.records if record.name == LOGGER] == []
