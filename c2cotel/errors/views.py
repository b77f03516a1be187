"""The answer to an exception."""

import logging
import sys
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span
from pyramid.exceptions import PredicateMismatch
from pyramid.httpexceptions import HTTPForbidden, HTTPNotFound
from pyramid.request import Request
from pyramid.response import Response
from webob import Response as AnyResponse

from c2cotel.errors import core
from c2cotel.errors.core import Verdict
from c2cotel.pyramid.answers import error_body, keep_out_of_caches
from c2cotel.pyramid.visitors import may_look
from c2cotel_instrumentation import wsgi
from c2cotel_instrumentation.redaction import redacted_url
from c2cotel_instrumentation.request_id import RESPONSE_HEADER

LOGGER = logging.getLogger(__name__)

# https://www.w3.org/TR/trace-context-2/#traceresponse-header
_TRACE_HEADER: Final = "traceresponse"
_FIRST_ERROR: Final = 400
_FIRST_SERVER_ERROR: Final = 500
_NOT_MODIFIED: Final = 304
_LONGEST: Final = 2048
# Those of the body that ours takes the place of.
_ABOUT_BODY: Final = frozenset({"content-type", "content-length", "content-encoding"})
# What webob does with a request besides reading it.
_SENDS: Final = ("call_application", "send")


@dataclass(frozen=True)
class Errors:
    """How an application answers exceptions; ``registry.c2c_errors``."""

    development: bool
    request_id: bool
    exposed: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        sent = (RESPONSE_HEADER,) if self.request_id else ()
        object.__setattr__(self, "exposed", (*sent, _TRACE_HEADER))


def answer(error: Any, request: Request) -> Any:
    """An exception view for everything."""
    http = isinstance(error, AnyResponse)
    if http and error.status_int < _FIRST_ERROR:
        response = error
        if error.status_int != _NOT_MODIFIED:  # whose headers become those of what is kept
            keep_out_of_caches(response)
    elif http and _is_preflight(error, request):
        response = Response(content_type="text/html")
        keep_out_of_caches(response)
    else:
        response = _error(error, request)
    _let_pages_read(request, response)
    return response


def _error(error: Any, request: Request) -> Response:
    verdict = _verdict(error, request)
    _log(error, verdict, request)
    if _is_collected_by_cornice(error):
        response = error
    else:
        response = Response(
            _body(error, verdict, request),
            status=error.status if isinstance(error, AnyResponse) else verdict.status,
            content_type="application/json",
        )
        if isinstance(error, AnyResponse):
            for name, value in error.headerlist:
                if name.lower() not in _ABOUT_BODY:
                    response.headers.add(name, value)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    keep_out_of_caches(response)
    span = get_current_span().get_span_context()
    if span.is_valid:
        response.headers[_TRACE_HEADER] = (
            f"00-{format_trace_id(span.trace_id)}-{format_span_id(span.span_id)}"
            f"-{span.trace_flags:02x}"
        )
    return response


def _verdict(error: Exception, request: Request) -> Verdict:
    if isinstance(error, AnyResponse):
        status = error.status_int
        # What is refused during maintenance has no place in the code to be told.
        traced = status >= _FIRST_SERVER_ERROR and not core.is_for_maintenance(error)
        return Verdict(status, _public(error, request), core.level_of(status), traced)
    if core.may_be_unreadable(error) and _was_reading(error, request):
        return core.unreadable(error)
    return core.judge(error)


def _public(error: Any, request: Request) -> str:
    """What an HTTP exception says, unless it is Pyramid that says it, of the code behind."""
    if isinstance(error, PredicateMismatch):
        return wsgi.path(request.environ)
    # Of a permission that lacks.
    if isinstance(error, HTTPForbidden) and error.result is not None:
        return str(error.explanation)
    return core.said(error)


def _was_reading(error: Exception, request: Request) -> bool:
    """Whether webob has raised *error*, about what the client has sent."""
    trace, reading, depth = error.__traceback__, False, 0
    while trace is not None:
        depth += 1
        frame = trace.tb_frame
        # Compared with what is in the frame: an application may decode other requests.
        if frame.f_globals.get("__name__") == "webob.request":
            if frame.f_code.co_name in _SENDS:
                return False
            # Far down, it is the application that has called itself too often.
            shallow = depth < sys.getrecursionlimit() // 2
            reading = reading or (shallow and frame.f_locals.get("self") is request)
        trace = trace.tb_next
    return reading


def _is_collected_by_cornice(error: Exception) -> bool:
    """Whether it has a body of its own, with all that cornice has found wrong, but no text."""
    return any(kind.__module__ == "cornice.renderer" for kind in type(error).__mro__)


def _body(error: Exception, verdict: Verdict, request: Request) -> bytes:
    if not _may_see(request):
        return error_body(verdict.message, verdict.status)
    text, stack = core.details(error)
    return error_body(text, verdict.status, stacktrace=stack)


def _may_see(request: Request) -> bool:
    registry = request.registry
    if registry.c2c_errors.development:
        return True
    try:
        return may_look(request.environ, registry)
    except Exception:
        # Of what the client has sent; an error in here would hide the one to be answered.
        LOGGER.exception("It cannot be found out who has sent a request: no details for him")
        return False


def _log(error: Exception, verdict: Verdict, request: Request) -> None:
    again = _is_tried_again(error, request)
    level = min(verdict.level, logging.INFO) if again else verdict.level
    if not LOGGER.isEnabledFor(level):
        return
    environ = request.environ
    referrer = environ.get("HTTP_REFERER")
    traced = verdict.traced and not again
    path, line, function, _ = LOGGER.findCaller()
    record = LOGGER.makeRecord(
        LOGGER.name,
        level,
        path,
        line,
        "%s %s is tried again: %s" if again else "%s %s answered with %d: %s",
        (
            environ["REQUEST_METHOD"][:_LONGEST],
            redacted_url(wsgi.url(environ))[:_LONGEST],
            *(() if again else (verdict.status,)),
            core.one_line(error),
        ),
        (type(error), error, error.__traceback__) if traced else None,
        function,
        {"referrer": redacted_url(referrer)[:_LONGEST]} if referrer else None,
    )
    if traced:
        # What formatters write for it: they know nothing of secrets.
        record.exc_text = core.trace(error)
    LOGGER.handle(record)


def _is_tried_again(error: Exception, request: Request) -> bool:
    """Whether pyramid_retry throws this answer away, and makes the request once more."""
    if "retry.attempts" not in request.environ:
        return False
    retry = sys.modules.get("pyramid_retry")
    return retry is not None and bool(retry.is_error_retryable(request, error))


def _is_preflight(error: Any, request: Request) -> bool:
    """Whether it is an OPTIONS that no view is for, of something that is there.

    A cornice service answers its own, and those it refuses stay refused.
    """
    if request.method != "OPTIONS" or _service(request) is not None:
        return False
    there = request.matched_route is not None or isinstance(error, PredicateMismatch)
    return there or not isinstance(error, HTTPNotFound)


def _service(request: Request) -> Any:
    """The service of cornice that has been asked, if any."""
    return getattr(request, "current_service", None)


def _let_pages_read(request: Request, response: Any) -> None:
    """Say which sites' pages may read *response*, and which headers of it."""
    service = _service(request)
    if service is not None:
        # Cornice adds its headers to the response at the end, unless it has added them to another
        # one before: the one that the view would have answered with.
        request.info["cors_checked"] = False
        request.add_response_callback(_expose)
        return
    headers = response.headers
    if "Access-Control-Allow-Origin" not in headers:
        headers["Access-Control-Allow-Origin"] = "*"
        headers["Access-Control-Allow-Methods"] = ",".join(_methods(request))
        headers["Access-Control-Allow-Headers"] = "session-id"
        headers["Access-Control-Max-Age"] = "86400"
    _expose(request, response)


def _methods(request: Request) -> list[str]:
    wanted = request.headers.get("Access-Control-Request-Method", request.method)
    known = wanted if wanted in wsgi.METHODS else "GET"
    return list(dict.fromkeys((known, "OPTIONS", "HEAD")))


def _expose(request: Request, response: Any) -> None:
    headers = response.headers
    if (origin := headers.get("Access-Control-Allow-Origin")) is None:
        return
    listed = headers.get("Access-Control-Expose-Headers", "").split(",")
    names = [name.strip() for name in listed if name.strip()]
    already = {name.lower() for name in names}
    names += [n for n in request.registry.c2c_errors.exposed if n.lower() not in already]
    headers["Access-Control-Expose-Headers"] = ", ".join(names)
    if origin != "*":
        response.vary = tuple(dict.fromkeys((*(response.vary or ()), "Origin")))
