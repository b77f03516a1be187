"""What an exception says in telemetry, and what is said when an instrumentor fails itself."""

import traceback
from logging import Logger
from typing import Final

from opentelemetry.semconv.attributes import exception_attributes
from opentelemetry.trace import Span, StatusCode

from c2cotel_instrumentation.once import Once
from c2cotel_instrumentation.redaction import redacted_text, without_quoted

_LONGEST_DESCRIPTION: Final = 2048
_SQLSTATE: Final = 5
_MOST_CAUSES: Final = 100
# https://www.postgresql.org/docs/current/errcodes-appendix.html: what is wrong is a value.
_DATA: Final = "22"
# read_only_sql_transaction.
_READ_ONLY_TRANSACTION: Final = "25006"
# https://sqlite.org/rescode.html#readonly
_SQLITE_READONLY: Final = 8


def type_name(error: BaseException) -> str:
    """The qualified name of its class, as ``error.type`` and ``exception.type`` have it."""
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of an error of psycopg, psycopg2 or asyncpg, if it has one."""
    for attribute in ("sqlstate", "pgcode"):
        code = getattr(error, attribute, None)
        if isinstance(code, str) and len(code) == _SQLSTATE:
            return code
    return None


def refused_write(error: BaseException) -> bool:
    """Whether a database's driver says by *error* that one can only read there."""
    code = getattr(error, "sqlite_errorcode", None)
    # The lower byte: what is above it says why.
    if isinstance(code, int) and code & 0xFF == _SQLITE_READONLY:
        return True
    return sqlstate(error) == _READ_ONLY_TRANSACTION


def fail(span: Span, error: BaseException) -> None:
    """Give *span* the status ERROR and, if *error* was raised, the event of the exception.

    None of their texts shows what :func:`redacted_text` takes out, nor what PostgreSQL quotes in an
    error of class 22, which is about a value.
    """
    name = type(error).__name__
    try:
        messages = _messages_with_values(error)
        text = _shown(str(error), messages)
    except Exception:  # noqa: BLE001 - its __str__ is somebody else's
        span.set_status(StatusCode.ERROR, name)
        return
    span.set_status(StatusCode.ERROR, f"{name}: {text}"[:_LONGEST_DESCRIPTION])
    # Without a traceback it was returned, not raised: there is no stack to record.
    if error.__traceback__ is not None:
        stack = _shown("".join(traceback.format_exception(error)), messages)
        span.record_exception(
            error,
            {
                exception_attributes.EXCEPTION_MESSAGE: text,
                exception_attributes.EXCEPTION_STACKTRACE: stack,
            },
        )


def _shown(text: str, messages: list[str]) -> str:
    for message in messages:
        text = text.replace(message, without_quoted(message))
    return redacted_text(text)


def _messages_with_values(error: BaseException) -> list[str]:
    """What the database said of a value, in *error* or in what it comes from."""
    messages: list[str] = []
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting and len(seen) < _MOST_CAUSES:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if (sqlstate(each) or "").startswith(_DATA):
            said = getattr(getattr(each, "diag", None), "message_primary", None)
            said = said or getattr(each, "message", None)  # asyncpg's
            if isinstance(said, str) and said:
                messages.append(said)
        others = each.__cause__, each.__context__, getattr(each, "orig", None)
        waiting += [other for other in others if isinstance(other, BaseException)]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
    return messages


class Complaint:
    """Logs at ERROR, with *text*, what went wrong in here; only the first time in a process."""

    def __init__(self, logger: Logger, text: str) -> None:
        self._logger = logger
        self._text = text
        self._new = Once()

    def __call__(self, error: Exception) -> None:
        if self._new(self._text):
            self._logger.error(self._text, exc_info=error)
