"""A log record as one line of JSON, or as lines for people."""

import json
import logging
import re
import socket
from collections.abc import Iterable
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter as _JsonFormatter

from c2cotel.pyramid_logging.request import request_fields

SYSLOG: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
SYSLOG_DEBUG: Final = 7
_IDS: Final = frozenset(("request_id", "trace_id", "span_id"))
_PLAIN: Final = (str, int, float, type(None))

# Everything that a terminal or a log collector may take for more than a character, but tab and \n.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_INDENT: Final = "\n    "
_COLOURS: Final = (
    (logging.ERROR, "\x1b[31m"),
    (logging.WARNING, "\x1b[33m"),
    (logging.INFO, "\x1b[32m"),
)
_DIM: Final = "\x1b[2m"
_NORMAL: Final = "\x1b[0m"


class JsonFormatter(_JsonFormatter):
    """One record as one line of JSON, with the fields that the package's manual lists.

    Takes the options of :class:`pythonjsonlogger.json.JsonFormatter`. The list of fields is fixed:
    a format, such as logging's ini file may give, changes nothing.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("json_serializer", strict_json)
        super().__init__(*args, **kwargs)
        self._host = socket.gethostname()

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as error:  # noqa: BLE001 - any object may be in a record: no line is lost
            return super().format(_salvaged(record, error, self))

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        log_data["timestamp"] = record.created
        log_data["level_name"] = record.levelname
        log_data["level"] = first_below(record.levelno, SYSLOG, SYSLOG_DEBUG)
        log_data["logger_name"] = record.name
        log_data["msg"] = str(record.msg) if isinstance(record.msg, dict) else record.message
        traces = [message_dict.pop(name, None) for name in ("exc_info", "stack_info")]
        # As logging's own formatters: what the record brings along, without secrets maybe, counts.
        traces[0] = record.exc_text or traces[0]
        if any(traces):
            log_data["full_message"] = "\n".join(str(trace) for trace in traces if trace)
            log_data["full_msg"] = "true"
        log_data["file"] = record.pathname
        log_data["line"] = record.lineno
        log_data["function"] = record.funcName
        log_data["pid"] = record.process
        log_data["process_name"] = record.processName
        log_data["thread_name"] = record.threadName
        log_data["host"] = self._host
        for key, value in self._extras(record, message_dict):
            name = str(key)
            name = name.lstrip("_") or name
            if name in _IDS and not value:
                continue
            while name in log_data:
                name = f"extra_{name}"
            log_data[name] = value
        for name, value in request_fields():
            log_data.setdefault(name, value)

    def _extras(
        self, record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> Iterable[tuple[Any, Any]]:
        yield from self.static_fields.items()
        # A dictionary as the message is python-json-logger's way to give fields.
        yield from message_dict.items()
        for key, value in record.__dict__.items():
            if key not in self.reserved_attrs:
                yield key, value


class ConsoleFormatter(logging.Formatter):
    """One record as people read it: time, level, logger, request id if any, message, trace.

    ``2026-11-22 08:17:03.123 WARNING  app.views [4bf92f35-…] No such layer``. The format is fixed;
    *datefmt* changes the time. *colour* is for terminals.
    """

    default_msec_format = "%s.%03d"

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        *_: Any,
        colour: bool = False,
        **__: Any,
    ) -> None:
        # What logging's ini file hands over besides is of no use here.
        del fmt
        super().__init__(None, datefmt)
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        try:
            return self._format(record)
        except Exception as error:  # noqa: BLE001 - as in JsonFormatter
            salvaged = _salvaged(record, error, self)
            arguments = getattr(salvaged, "unformatted_args", None)
            shown = "" if arguments is None else f"arguments {arguments}, "
            salvaged.msg = f"{salvaged.msg} ({shown}{_text(error)})"
            return self._format(salvaged)

    def _format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        request_id = getattr(record, "request_id", None)
        time = _line(self.formatTime(record, self.datefmt))
        level = _line(record.levelname).ljust(8)
        if self._colour:
            time = f"{_DIM}{time}{_NORMAL}"
            level = f"{first_below(record.levelno, _COLOURS, _DIM)}{level}{_NORMAL}"
        shown_id = f" [{_line(str(request_id))}]" if request_id else ""
        text = _lines(record.message)
        for trace in (
            record.exc_text or (record.exc_info and self.formatException(record.exc_info)),
            self.formatStack(record.stack_info) if record.stack_info else None,
        ):
            if trace:
                text += _INDENT + _lines(trace)
        return f"{time} {level} {_line(record.name)}{shown_id} {text}"


def strict_json(value: Any, **options: Any) -> str:
    """*value* as JSON; what is no JSON is a ValueError or a TypeError."""
    # NaN is no JSON: one of them, and the collector drops the line.
    return json.dumps(value, allow_nan=False, **options)


def _salvaged(
    record: logging.LogRecord, error: Exception, formatter: logging.Formatter
) -> logging.LogRecord:
    """A record that can be written, with what can be had of *record*."""
    salvaged = logging.LogRecord("", logging.NOTSET, "", 0, "", None, None)
    for key, value in tuple(record.__dict__.items()):
        name = _text(key)
        if name in salvaged.__dict__:
            salvaged.__dict__[name] = value if isinstance(value, _PLAIN) else _text(value)
        else:
            salvaged.__dict__[name] = _writable(value)
    salvaged.args = salvaged.exc_info = None
    try:
        salvaged.msg = record.getMessage()
    except Exception:  # noqa: BLE001 - the arguments do not fit, or one of them fails
        salvaged.msg = _text(record.msg)
        salvaged.__dict__["unformatted_args"] = _text(record.args)
    if record.exc_info and not record.exc_text:
        try:
            salvaged.exc_text = str(formatter.formatException(record.exc_info))
        except Exception:  # noqa: BLE001 - such as an exception whose parts fail
            salvaged.exc_text = _text(record.exc_info)
    salvaged.__dict__["format_error"] = f"{type(error).__name__}: {_text(error)}"
    return salvaged


def _writable(value: Any) -> Any:
    try:
        strict_json(value)
    except Exception:  # noqa: BLE001 - any object may be here
        return _text(value)
    return value


def _text(value: Any) -> str:
    try:
        return str(value) if isinstance(value, str | Exception) else repr(value)
    except Exception as error:  # noqa: BLE001 - its __repr__ is the application's
        return f"<{type(value).__name__}, whose repr fails with {type(error).__name__}>"


def first_below(level: int, steps: Iterable[tuple[int, Any]], lowest: Any) -> Any:
    """What belongs to the highest of *steps* that *level* reaches, else *lowest*."""
    return next((value for step, value in steps if level >= step), lowest)


def _lines(text: str) -> str:
    return _CONTROL.sub(_escaped, text.replace("\r\n", "\n")).replace("\n", _INDENT)


def _line(text: str) -> str:
    return _CONTROL.sub(_escaped, text).replace("\n", "\\n")


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
