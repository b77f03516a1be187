"""The measuring of one request after another: what :mod:`c2cotel_instrumentation.pyramid` does."""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from random import getrandbits
from time import perf_counter
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context.context import Context
from opentelemetry.instrumentation.propagators import get_global_response_propagator
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.semconv.attributes import error_attributes, http_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from c2cotel_instrumentation import wsgi
from c2cotel_instrumentation.context import (
    CONTEXT_KEY,
    ENVIRON_GETTER,
    REQUEST_ID_KEY,
    ROUTE_KEY,
    ensure_request_id,
    new_trace_id,
    without_tracing,
)
from c2cotel_instrumentation.errors import Complaint, fail, type_name
from c2cotel_instrumentation.pyramid_rendering import Rendering
from c2cotel_instrumentation.redaction import HeaderCapture
from c2cotel_instrumentation.routes import route_of
from c2cotel_instrumentation.running import PROFILE_ID, Answering, Running

CALL_KEY: Final = "c2cotel_instrumentation.pyramid"
"""Where the request being measured lies in its environ, while it is."""

# The scope of the telemetry is the instrumentor, which people know.
_SCOPE: Final = "c2cotel_instrumentation.pyramid"
# The advice of the conventions for http.server.request.duration.
_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_SERVER_ERROR: Final = 500

_logger = logging.getLogger(_SCOPE)


class Requests:
    """What all requests share: made once per ``instrument()``."""

    def __init__(  # noqa: PLR0913 - the options of instrument()
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        excluded_urls: Sequence[str] = (),
        captured_request_headers: Sequence[str] = (),
        captured_response_headers: Sequence[str] = (),
        sanitized_headers: Sequence[str] = (),
    ) -> None:
        scope = _SCOPE, version("c2cotel")
        schema = Schemas.V1_44_0.value
        self.tracer = trace.get_tracer(*scope, tracer_provider, schema_url=schema)
        meter = get_meter(*scope, meter_provider, schema_url=schema)
        self.duration = meter.create_histogram(
            "http.server.request.duration",
            unit="s",
            description="Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self.active = meter.create_up_down_counter(
            "http.server.active_requests",
            unit="{request}",
            description="Number of active HTTP server requests.",
        )
        self.excluded = [_excluding(pattern) for pattern in excluded_urls]
        self.request_headers = HeaderCapture(
            "http.request.header.", captured_request_headers, sanitized_headers
        )
        self.response_headers = HeaderCapture(
            "http.response.header.", captured_response_headers, sanitized_headers
        )
        self.running = Running()
        self.complain = Complaint(
            _logger, "A request could not be measured; it goes on. Further ones are not logged."
        )
        self.rendering = Rendering(meter, self.complain)

    def prepare(self, router: Any, environ: wsgi.Environ) -> None:
        """Have the application set *environ* right by what proxies say, if it knows how to."""
        try:
            prepare = getattr(router.registry, "c2c_prepare_environ", None)
            if prepare is not None:
                prepare(environ)
        except Exception as error:  # noqa: BLE001 - the application's; it meets that itself
            self.complain(error)

    def begin(self, environ: wsgi.Environ, start_response: Callable[..., Any]) -> "Request | None":
        """Start to measure, or say why it cannot be done and return None."""
        try:
            return Request(self, environ, start_response)
        except Exception as error:  # noqa: BLE001 - the request goes on without us
            self.complain(error)
            return None

    def invoking(self, request: Any) -> "Request | None":
        """Remember what Pyramid made of the environ, unless it is a subrequest's."""
        try:
            environ = request.environ
            measured: Request | None = environ.get(CALL_KEY)
            # A copied request brings the key along, in an environ of its own.
            if measured is None or measured.environ is not environ:
                return None
            measured.request = request
            measured.response = None
        except Exception as error:  # noqa: BLE001 - a request class of the application: its route is missing
            self.complain(error)
            return None
        return measured

    def excludes(self, environ: wsgi.Environ) -> bool:
        path = wsgi.path(environ)
        if any(pattern.search(path) for pattern in self.excluded):
            return True
        url = wsgi.url(environ)
        return any(pattern.search(url) for pattern in self.excluded)


class Request:
    """One request being measured, from its construction to ``end``."""

    __slots__ = (
        "_active",
        "_context",
        "_first_name",
        "_outer",
        "_request_id",
        "_requests",
        "_span",
        "_start",
        "_start_response",
        "_status",
        "_token",
        "environ",
        "request",
        "response",
    )

    def __init__(
        self, requests: Requests, environ: wsgi.Environ, start_response: Callable[..., Any]
    ) -> None:
        self._start = perf_counter()
        self._requests = requests
        self._start_response = start_response
        self._status: int | None = None
        self.environ = environ
        self.request: Any = None
        self.response: Any = None
        method = environ["REQUEST_METHOD"]
        self._first_name = method if method in wsgi.METHODS else "HTTP"
        self._active = wsgi.active_attributes(method, environ["wsgi.url_scheme"])

        context, kind = self._parent()
        if requests.excluded and requests.excludes(environ):
            context = _untraced(context)
            self._span = get_current_span(context)
        else:
            self._span = requests.tracer.start_span(self._first_name, context, kind)
            context = set_span_in_context(self._span, context)
        self._context, request_id = ensure_request_id(context)
        if self._span.is_recording():
            try:
                self._span.set_attributes(self._attributes(request_id))
            except Exception as error:  # noqa: BLE001 - the span goes on with fewer attributes
                requests.complain(error)
        self._request_id = environ[REQUEST_ID_KEY] = request_id
        # Stays there: gunicorn logs the request when it is over.
        environ[CONTEXT_KEY] = self._context
        requests.active.add(1, self._active)
        # Nothing may fail from here on: nobody would detach.
        environ[CALL_KEY] = self
        self._outer = requests.running.enter(self)
        if requests.running.profile is not None:
            self.set_attribute(PROFILE_ID, requests.running.profile)
        self._token = otel_context.attach(self._context)

    def _parent(self) -> tuple[Context, SpanKind]:
        current = otel_context.get_current()
        # A middleware around the application has started the server's span: ours is a part of it.
        if current and get_current_span(current).get_span_context().is_valid:
            return current, SpanKind.INTERNAL
        try:
            context = propagate.extract(self.environ, Context(), ENVIRON_GETTER)
        except Exception as error:  # noqa: BLE001 - any propagator may be configured, any header may come
            self._requests.complain(error)
            context = Context()
        return context, SpanKind.SERVER

    def _attributes(self, request_id: str) -> dict[str, AttributeValue]:
        attributes = wsgi.span_attributes(self.environ)
        attributes["c2c.request.id"] = request_id
        if captured := self._requests.request_headers:
            attributes |= captured.attributes(wsgi.headers(self.environ), wsgi.LONGEST)
        return attributes

    @property
    def running(self) -> Running:
        return self._requests.running

    def start_response(self, status: str, headers: wsgi.Headers, *exc_info: Any) -> Any:
        """WSGI's callable for the application: sees the status, adds our headers."""
        try:
            self._status = int(status[:3])
            if self._requests.response_headers and self._span.is_recording():
                captured = self._requests.response_headers.attributes(headers, wsgi.LONGEST)
                self._span.set_attributes(captured)
            propagator = get_global_response_propagator()  # type: ignore[no-untyped-call] # theirs
            if propagator is not None:
                headers = wsgi.propagated(propagator, headers, self._context)
        except Exception as error:  # noqa: BLE001 - such as a response propagator of somebody else
            self._requests.complain(error)
        return self._start_response(status, headers, *exc_info)

    def end(self, escaped: BaseException | None) -> None:
        """Count the request and end its span; *escaped* is the exception that nobody answered."""
        elapsed = perf_counter() - self._start
        try:
            try:
                self._finish(elapsed, escaped)
            finally:
                self._span.end()
        except Exception as error:  # noqa: BLE001 - the answer goes to the client all the same
            self._requests.complain(error)
        finally:
            self._requests.running.leave(self._outer)
            otel_context.detach(self._token)
            self.environ.pop(CALL_KEY, None)

    def streamed(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """*body*, which the application goes on to make after ``end``, within the request."""
        if isinstance(body, tuple) or wsgi.is_file(body, self.environ):
            return body
        return _Streamed(body, self._context, self)

    def answering(self) -> Answering:
        trace_id = self._span.get_span_context().trace_id
        return Answering(
            method=self._first_name,
            route=route_of(self.request),
            trace_id=f"{trace_id:032x}" if trace_id else None,
            request_id=self._request_id,
            since=self._start,
        )

    def set_attribute(self, name: str, value: str) -> None:
        """Of the span; any thread may."""
        try:
            if self._span.is_recording():
                self._span.set_attribute(name, value)
        except Exception as error:  # noqa: BLE001 - the span goes on without it
            self._requests.complain(error)

    def _finish(self, elapsed: float, escaped: BaseException | None) -> None:
        self._requests.active.add(-1, self._active)
        status = self._status if escaped is None else _SERVER_ERROR
        outcome: dict[str, AttributeValue] = {}
        if (route := route_of(self.request)) is not None:
            outcome[http_attributes.HTTP_ROUTE] = self.environ[ROUTE_KEY] = route
        error = None
        if status is not None:
            outcome[http_attributes.HTTP_RESPONSE_STATUS_CODE] = status
            if status >= _SERVER_ERROR:
                error = escaped or self._answered()
                outcome[error_attributes.ERROR_TYPE] = type_name(error) if error else str(status)
        self._requests.duration.record(elapsed, self._active | outcome)
        if self._span.is_recording():
            self._describe(route, outcome, error)

    def _answered(self) -> BaseException | None:
        """The exception that an exception view has answered, or that is the response."""
        error = getattr(self.request, "exception", None)
        if error is None:
            error = self.response
        return error if isinstance(error, BaseException) else None

    def _describe(
        self,
        route: str | None,
        outcome: dict[str, AttributeValue],
        error: BaseException | None,
    ) -> None:
        span = self._span
        first_name = self._first_name
        # The application may have chosen a name of its own meanwhile: that one stays.
        if route is not None and getattr(span, "name", first_name) == first_name:
            span.update_name(f"{first_name} {route}")
        span.set_attributes(outcome)
        if error is not None:
            fail(span, error)
        elif error_attributes.ERROR_TYPE in outcome:
            span.set_status(StatusCode.ERROR)


class _Streamed(wsgi.Streamed):
    """Likewise, and the thread that makes a part is answering the request meanwhile."""

    __slots__ = ("_request",)

    def __init__(self, body: Iterable[bytes], context: Context, request: Request) -> None:
        super().__init__(body, context)
        self._request = request

    def __next__(self) -> bytes:
        running = self._request.running
        outer = running.enter(self._request)
        try:
            return super().__next__()
        finally:
            running.leave(outer)


def _untraced(context: Context) -> Context:
    """*context* with a parent that is not sampled, so that nothing below records."""
    above = get_current_span(context).get_span_context()
    parent = SpanContext(
        trace_id=above.trace_id or new_trace_id(),
        span_id=above.span_id or getrandbits(64) or 1,
        is_remote=above.is_remote,
        trace_flags=TraceFlags(TraceFlags.DEFAULT),
        trace_state=above.trace_state,
    )
    return without_tracing(set_span_in_context(NonRecordingSpan(parent), context))


def _excluding(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"excluded_urls: {pattern!r} is no regular expression ({error}). "
            "Write for example ^/c2c/health_check"
        ) from error
