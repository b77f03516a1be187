"""What an exception means for the client and for the log, told by the names of its classes.

By name: an exception of a library that is not loaded cannot have been raised, and loading one
only to ask would be the wrong time for it.
"""

import logging
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from c2cotel_instrumentation.errors import refused_write, type_name
from c2cotel_instrumentation.redaction import redacted_text

UNEXPECTED: Final = "Internal server error: the log of the service has the details"

_LONGEST: Final = 500
_LONGEST_DETAILS: Final = 100_000
_UNAUTHORIZED: Final = HTTPStatus.UNAUTHORIZED.value
_SERVER_ERROR: Final = HTTPStatus.INTERNAL_SERVER_ERROR.value
_BAD_REQUEST: Final = HTTPStatus.BAD_REQUEST.value
_UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE.value
_ERRORS: Final = range(400, 600)
_CODE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Of one that Python does not know, and webob's of a form that is in another than UTF-8.
_OF_A_CHARSET: Final = (LookupError, DeprecationWarning)
# What SQLAlchemy adds: on show to whom may see it, so not redacted with the rest.
_STATEMENT: Final = re.compile(r"\[(?:SQL|parameters): ")
# Their subclasses are upstream's: http.client.RemoteDisconnected is a ConnectionResetError.
_GONE: Final = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)


@dataclass(frozen=True)
class Verdict:
    """What is answered and logged.

    Attributes:
        status: Of the answer.
        message: For everybody.
        level: Of the log line.
        traced: Whether the traceback is logged.
    """

    status: int
    message: str
    level: int
    traced: bool = True


def level_of(status: int) -> int:
    """The level at which an answer with this *status* is logged."""
    if status == _UNAUTHORIZED:
        return logging.DEBUG
    return logging.ERROR if status == _SERVER_ERROR else logging.WARNING


def judge(error: BaseException) -> Verdict:
    """What to make of *error*, which is no HTTP exception."""
    if type(error) in _GONE:
        return _gone(error)
    for kind in type(error).__mro__:
        rule = _RULES.get(f"{kind.__module__}.{kind.__qualname__}")
        if rule is not None and (verdict := rule(error)) is not None:
            return verdict
    return Verdict(_SERVER_ERROR, UNEXPECTED, logging.ERROR)


def may_be_unreadable(error: Exception) -> bool:
    """Whether *error* is of a kind that what a client has sent can cause."""
    return isinstance(error, ValueError | RecursionError) or type(error) in _OF_A_CHARSET


def unreadable(error: Exception) -> Verdict:
    """What to make of *error*, which was raised while the request was read."""
    reason = getattr(error, "msg", None)  # of a JSONDecodeError
    if isinstance(error, UnicodeDecodeError):
        message = "The request is not encoded as UTF-8"
    elif isinstance(error, RecursionError):
        message = "The body is nested too deeply"
    elif type(error) in _OF_A_CHARSET:
        message = "The charset of the request cannot be read: send UTF-8"
    elif isinstance(reason, str):
        where = f"line {getattr(error, 'lineno', 0)} column {getattr(error, 'colno', 0)}"
        message = f"The body is not JSON: {reason}, {where}"
    else:
        message = "The request cannot be read"
    return Verdict(_BAD_REQUEST, message, logging.WARNING, traced=False)


def is_for_maintenance(error: BaseException) -> bool:
    """Whether it is maintenance of the database that *error* tells of."""
    # Set by c2cotel.db.read_only and c2cotel.db_maintenance.
    return bool(getattr(error, "c2c_maintenance", False))


def said(error: BaseException) -> str:
    """Its text; the name of its class where that fails."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - its __str__ is somebody else's
        return type_name(error)


def details(error: BaseException) -> tuple[str, str]:
    """Text and stack trace for who may see everything but passwords, of which neither has any."""
    return _shown(said(error)), _shown("".join(traceback.format_exception(error)))


def one_line(error: BaseException) -> str:
    """*error* for the log, which has the traceback besides where that matters."""
    text = " ".join(redacted_text(said(error)[:_LONGEST_DETAILS]).split())
    return f"{type_name(error)}: {text}"[:_LONGEST]


def trace(error: BaseException) -> str:
    """The traceback of *error* for the log, as redacted as its message."""
    return redacted_text("".join(traceback.format_exception(error))).rstrip("\n")


def _shown(text: str) -> str:
    lines = text[:_LONGEST_DETAILS].split("\n")
    return "\n".join(_without_passwords(line) for line in lines)


def _without_passwords(line: str) -> str:
    found = _STATEMENT.search(line)
    end = found.start() if found else len(line)
    return redacted_text(line[:end], values=True) + line[end:]


def _first_line(error: BaseException) -> str:
    """What the driver says first; what follows has the values of the row, and the statement."""
    text = said(getattr(error, "orig", None) or error).strip()
    # A value in that line is the client's own, who is told what is wrong with it.
    return redacted_text(text.partition("\n")[0].strip()[:_LONGEST], values=True)


def _refused_by_database(error: BaseException) -> Verdict:
    return Verdict(_BAD_REQUEST, _first_line(error), logging.WARNING)


def _only_readable(error: BaseException) -> Verdict | None:
    """Of a write where one can only read: on a replica, or during maintenance."""
    if not refused_write(getattr(error, "orig", None) or error):
        return None
    if is_for_maintenance(error):
        message = "Read-only for maintenance: nothing can be written now, try again later"
        return Verdict(_UNAVAILABLE, message, logging.WARNING, traced=False)
    message = "The database can only be read for this request, not written"
    return Verdict(_UNAVAILABLE, message, logging.ERROR)


def _gone(_: BaseException) -> Verdict:
    return Verdict(_SERVER_ERROR, "The client has gone away", logging.INFO, traced=False)


def _badly_sent(_: BaseException) -> Verdict:
    message = "The request is not well-formed HTTP"
    return Verdict(_BAD_REQUEST, message, logging.WARNING, traced=False)


def _bad_path(_: BaseException) -> Verdict:
    message = "The path is not encoded as UTF-8"
    return Verdict(_BAD_REQUEST, message, logging.WARNING, traced=False)


def _of_amazon(error: BaseException) -> Verdict | None:
    response = getattr(error, "response", None)
    code = _at(response, "Error", "Code")
    for status in (_at(response, "ResponseMetadata", "HTTPStatusCode"), code):
        if (number := _number(status)) in _ERRORS:
            told = code if isinstance(code, str) and _CODE.fullmatch(code) else number
            message = f"A service behind this one answered: {told}"
            return Verdict(number, message, level_of(number))
    return None


def _at(response: Any, *path: str) -> Any:
    for name in path:
        response = response.get(name) if isinstance(response, dict) else None
    return response


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _of_beaker(error: BaseException) -> Verdict | None:
    if said(error) != "Invalid signature":
        return None
    return Verdict(_UNAUTHORIZED, "Invalid signature", logging.DEBUG, traced=False)


_RULES: Final[dict[str, Callable[[BaseException], Verdict | None]]] = {
    "sqlalchemy.exc.IntegrityError": _refused_by_database,
    "sqlalchemy.exc.DataError": _refused_by_database,
    "sqlalchemy.exc.DBAPIError": _only_readable,
    "psycopg.errors.ReadOnlySqlTransaction": _only_readable,
    "psycopg2.errors.ReadOnlySqlTransaction": _only_readable,
    "webob.request.DisconnectionError": _gone,
    "gunicorn.http.errors.NoMoreData": _gone,
    "waitress.channel.ClientDisconnected": _gone,
    "gunicorn.http.errors.ParseException": _badly_sent,
    "pyramid.exceptions.URLDecodeError": _bad_path,
    "botocore.exceptions.ClientError": _of_amazon,
    "beaker.exceptions.BeakerException": _of_beaker,
}
