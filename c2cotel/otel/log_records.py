"""From Python's log records to OTLP's, with the request on each of them."""

import logging
from typing import Any

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value
from opentelemetry.instrumentation.logging import _get_log_level
from opentelemetry.instrumentation.logging.handler import (
    LoggingHandler,
    _overwrite_logging_config_fns,
)
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord

from c2cotel.otel.exit import Exit
from c2cotel.otel.processors import REQUEST_ID
from c2cotel_instrumentation.context import current_request_id
from c2cotel_instrumentation.redaction import redacted_text

_EXCEPTION_TEXTS = ("exception.message", "exception.stacktrace")


class RequestIdLogProcessor(LogRecordProcessor):
    """Sets ``c2c.request.id`` on each log record that is made within a request.

    What the logging instrumentor has put on Python's record goes: OTLP has fields of its own for
    trace and span. An exception's text loses its secrets, as it does on a span.
    """

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        attributes: Any = log_record.log_record.attributes
        request_id = attributes.pop("request_id", None) or current_request_id()
        attributes.pop("trace_id", None)
        attributes.pop("span_id", None)
        if request_id:
            attributes[REQUEST_ID] = request_id
        for name in _EXCEPTION_TEXTS:
            if name in attributes:
                attributes[name] = redacted_text(str(attributes[name]))

    def shutdown(self) -> None:
        """Nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def add_handler(provider: LoggerProvider, level: str | None, end: Exit) -> None:
    """Send what reaches the root logger, also after the application has configured logging."""
    handler = _Handler(_get_log_level(level) or logging.NOTSET, provider)
    # What exporters log while they export would feed on itself.
    handler.addFilter(lambda _: not (end.begun or get_value(_SUPPRESS_INSTRUMENTATION_KEY)))
    logging.getLogger().addHandler(handler)
    _overwrite_logging_config_fns(handler)


class _Handler(LoggingHandler):
    """Does not hide what Python shows where no logging is configured."""

    def handle(self, record: logging.LogRecord) -> bool:
        last_resort = logging.lastResort
        if last_resort and record.levelno >= last_resort.level and self._is_alone(record):
            last_resort.handle(record)
        return bool(super().handle(record))

    def _is_alone(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent
        return True

    def flush(self) -> None:
        """Nothing is held here, and no thread can be started for it at exit."""
