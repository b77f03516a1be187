"""The request on Sentry's events, and the exceptions that answer it with a 5xx.

Each request has a scope of its own: breadcrumbs, tags and users of one are on no event of another.
An exception is sent once: if it is logged as an error (as :mod:`c2cotel.errors` does with what it
answers with 500), if it leaves the application, or if an exception view answers it with a 5xx. From
here, neither HTTP exceptions are sent, which are answers, nor that a client has gone away. With
pyramid_retry only the last try counts.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

import sentry_sdk
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, get_current_span

from c2cotel.sentry.events import REQUEST_ID, link, tag
from c2cotel_instrumentation import wsgi
from c2cotel_instrumentation.context import CONTEXT_KEY, REQUEST_ID_KEY
from c2cotel_instrumentation.errors import Complaint

Environ = dict[str, Any]

LOGGER = logging.getLogger(__name__)

_VISIT: Final = "c2cotel.sentry"
_SERVER_ERROR: Final = 500
_LONGEST_BODY: Final = 10_000
# By name, of any module: it may be Pyramid's, WebOb's, waitress' or gunicorn's.
_ANSWERS: Final = frozenset({"HTTPException", "WSGIHTTPException"})
_GONE: Final = frozenset(
    {"BrokenPipeError", "ClientDisconnected", "ConnectionResetError", "DisconnectionError"}
)
# What tells who somebody is, and is sent with SENTRY_CLIENT_SEND_DEFAULT_PII only.
_PERSONAL: Final = frozenset({"cookie", "forwarded", "x-forwarded-for", "x-real-ip"})

_complain = Complaint(LOGGER, "A request could not be described to Sentry; it goes on.")


class Visit:
    """One request, as far as Sentry needs to know it.

    *request* is Pyramid's, the last one of several tries; *running* is None when that is over.
    """

    def __init__(self, environ: Environ) -> None:
        self.environ = environ
        self.request: Any = None
        self.running: Any = None

    @property
    def span(self) -> SpanContext:
        """The span of the request, also when that has ended."""
        context = self.environ.get(CONTEXT_KEY)
        if context is None:
            return INVALID_SPAN_CONTEXT
        return get_current_span(context).get_span_context()

    def describe(self, event: dict[str, Any], _: Any) -> dict[str, Any]:
        """The event processor of the request's scope."""
        try:
            if event.get("type") != "transaction":
                self._describe(event)
        except Exception as error:  # noqa: BLE001 - the event is worth sending without it
            _complain(error)
        return event

    def _describe(self, event: dict[str, Any]) -> None:
        environ = self.environ
        personal = bool(sentry_sdk.get_client().options["send_default_pii"])
        described = event.setdefault("request", {})
        described.setdefault("method", environ["REQUEST_METHOD"])
        described.setdefault("url", wsgi.url(environ).partition("?")[0])
        described.setdefault("query_string", environ.get("QUERY_STRING", ""))
        described.setdefault("headers", _headers(environ, personal=personal))
        described.setdefault("env", _server(environ, personal=personal))
        if (data := _data(self.request)) is not None:
            described.setdefault("data", data)
        if name := self._name():
            event["transaction"] = name
            event["transaction_info"] = {"source": "route"}
        if personal:
            _identify(event, self.request, environ)
        link(event, self.span)
        tag(event, {REQUEST_ID: environ.get(REQUEST_ID_KEY, "")})
        _forget_the_search(event)

    def _name(self) -> str:
        route = getattr(self.request, "matched_route", None)
        if route is None:
            return ""
        return f"{self.environ['REQUEST_METHOD']} /{route.pattern.lstrip('/')}"

    def answered(self, status: int) -> None:
        """Send the exception that a view has answered, if it is a server error."""
        error = getattr(self.request, "exception", None)
        if status >= _SERVER_ERROR and isinstance(error, Exception):
            capture(error)


def capture(error: BaseException) -> None:
    """Send *error*, unless it is an answer or tells that nobody waits for one any more."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if not names & (_ANSWERS | _GONE):
        _guarded(lambda: sentry_sdk.capture_exception(error))


def attach(app: Any) -> None:
    """Give each request of the Router *app* its scope."""
    policy = app.execution_policy

    def execution_policy(environ: Environ, router: Any) -> Any:
        if not sentry_sdk.get_client().is_active():
            return policy(environ, router)
        return _within_scope(environ, lambda: policy(environ, router), _watched)

    def invoke_request(request: Any, *args: Any, **kwargs: Any) -> Any:
        visit: Visit | None = request.environ.get(_VISIT)
        # Of the class as it is now: instrumentors come and go.
        invoke = type(app).invoke_request
        if visit is None:
            return invoke(app, request, *args, **kwargs)
        # A subrequest may have brought the visit along, in a copy of the environ.
        outer, visit.running, visit.request = visit.running, request, request
        try:
            return invoke(app, request, *args, **kwargs)
        finally:
            visit.running = outer
            visit.request = outer or request

    app.execution_policy = execution_policy
    app.invoke_request = invoke_request


def wrapped(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The WSGI application *app*, of any framework, with a scope for each request."""

    def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not sentry_sdk.get_client().is_active():
            return app(environ, start_response)
        body: Iterable[bytes] = _within_scope(
            environ, lambda: app(environ, start_response), _watched_body
        )
        return body

    return application


def _within_scope(
    environ: Environ, answer: Callable[[], Any], watched: Callable[[Any, Any, Environ], Any]
) -> Any:
    with sentry_sdk.isolation_scope() as scope:
        visit = environ[_VISIT] = Visit(environ)
        _guarded(lambda: _begin(scope, visit))
        try:
            response = answer()
        except Exception as error:
            capture(error)
            raise
        else:
            _guarded(lambda: visit.answered(getattr(response, "status_int", 0)))
        finally:
            _guarded(scope.end_session)
            environ.pop(_VISIT, None)
        return watched(response, scope, environ)


def _begin(scope: Any, visit: Visit) -> None:
    options = sentry_sdk.get_client().options
    scope.clear_breadcrumbs()
    scope.add_event_processor(visit.describe)
    # Without a release the SDK drops sessions, one by one.
    if options["auto_session_tracking"] and options["release"]:
        scope.start_session(session_mode="request")
    if options["trace_propagation_targets"] and (span := visit.span).is_valid:
        sampled = "1" if span.trace_flags.sampled else "0"
        scope.generate_propagation_context(
            {"sentry-trace": f"{span.trace_id:032x}-{span.span_id:016x}-{sampled}"}
        )


def _watched(response: Any, scope: Any, environ: Environ) -> Any:
    """*response*, whose body may still be made; only WebOb's say how."""
    body = getattr(response, "app_iter", None)
    if body is None or isinstance(body, list | tuple):
        return response
    watched = _watched_body(body, scope, environ)
    if watched is not body:
        length = response.content_length
        response.app_iter = watched
        # Taking another body makes WebOb forget it.
        response.content_length = length
    return response


def _watched_body(body: Any, scope: Any, environ: Environ) -> Any:
    if isinstance(body, list | tuple) or wsgi.is_file(body, environ):
        return body
    return _Body(body, scope)


class _Body:
    """A body that is made while the server takes it: what goes wrong is of that request."""

    def __init__(self, body: Iterable[bytes], scope: Any) -> None:
        self._body = body
        self._scope = scope

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._body)
        while True:
            with sentry_sdk.scope.use_isolation_scope(self._scope):
                try:
                    chunk = next(chunks)
                except StopIteration:
                    return
                except Exception as error:
                    capture(error)
                    raise
            yield chunk

    def close(self) -> None:
        if (close := getattr(self._body, "close", None)) is not None:
            close()


def _forget_the_search(event: dict[str, Any]) -> None:
    """Drop the HTTPNotFound that Pyramid raises, and catches, where no view fits an exception."""
    raised = event.get("exception", {}).get("values")
    if not raised:
        return
    kept = [
        one
        for one in raised
        if one.get("type") != "HTTPNotFound"
        or one["stacktrace"]["frames"][-1].get("function") != "invoke_exception_view"
    ]
    if kept:
        event["exception"]["values"] = kept


def _guarded(action: Callable[[], Any]) -> None:
    """Do it; whatever goes wrong in there, the request goes on."""
    try:
        action()
    except Exception as error:  # noqa: BLE001 - see above
        _complain(error)


def _headers(environ: Environ, *, personal: bool) -> dict[str, str]:
    return {
        name.title(): value
        for name, value in wsgi.headers(environ)
        if personal or name.lower() not in _PERSONAL
    }


def _server(environ: Environ, *, personal: bool) -> dict[str, str]:
    names = ("SERVER_NAME", "SERVER_PORT", *(("REMOTE_ADDR",) if personal else ()))
    return {name: environ[name] for name in names if name in environ}


def _identify(event: dict[str, Any], request: Any, environ: Environ) -> None:
    user = event.setdefault("user", {})
    if address := environ.get("REMOTE_ADDR"):
        user.setdefault("ip_address", address)
    # A policy of the application, which may ask its database.
    with suppress(Exception):
        if (userid := request.authenticated_userid) is not None:
            user.setdefault("id", str(userid))


def _data(request: Any) -> Any:
    """The small body that the application has read itself: nothing is waited for here."""
    if request is None or not request.is_body_seekable:
        return None
    if not 0 < (request.content_length or 0) <= _LONGEST_BODY:
        return None
    # Whatever has been sent: no JSON, too deep, in a charset that nobody knows.
    with suppress(Exception):
        if "json" in request.content_type:
            return request.json_body
        if "form" in request.content_type:
            return {
                name: value if isinstance(value, str) else "[file]"
                for name, value in request.POST.items()
            }
    return None
