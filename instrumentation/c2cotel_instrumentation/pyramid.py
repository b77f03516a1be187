"""Spans and metrics of the requests that a Pyramid application answers.

=============================  ===============  =========  ====================================
name                           kind             unit       attributes
=============================  ===============  =========  ====================================
GET /hello/{name}              span (server)               see README.md beside this package
http.server.request.duration   histogram        s          http.request.method, http.route,
                                                           http.response.status_code,
                                                           url.scheme, error.type
http.server.active_requests    up-down counter  {request}  http.request.method, url.scheme
=============================  ===============  =========  ====================================

``Router.__call__`` is wrapped, which is outside of every tween and of the execution policy: one
HTTP request is one measurement, also when pyramid_retry tries it three times, when the list of
tweens is explicit or when the Configurator is not Pyramid's; and the status is the one that the
server got. ``Router.invoke_request`` is wrapped to see the request object: its route, and the
exception that an exception view has answered. Subrequests belong to the request that makes them.

The duration is wall-clock time until the body is handed to the server; what the application logs
or traces while the server takes a streamed body still belongs to the request. A 5xx is an error,
with the exception and its stack if there is one; an exception that leaves the application counts
as the 500 that the server makes of it. A 4xx is the client's affair.

Each request gets a request id: the one that the global propagator found in its headers, else its
trace id as a UUID, else a new one. ``registry.c2c_prepare_environ``, if an application has it, is
called with the environ first: it knows the proxies, so that spans say who asks. Nothing that goes
wrong in here reaches the application.

Source: https://opentelemetry.io/docs/specs/semconv/http/.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib.metadata import version
from random import getrandbits
from time import perf_counter
from types import ModuleType
from typing import Any, Final

import wrapt
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context.context import Context
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # no __all__
    BaseInstrumentor,
)
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
from c2cotel_instrumentation.redaction import HeaderCapture
from c2cotel_instrumentation.routes import route_of
from c2cotel_instrumentation.wrapping import Wrappings

# The advice of the conventions for http.server.request.duration.
_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_SERVER_ERROR: Final = 500

# Where the request being measured lies in its environ, while it is.
_CALL_KEY: Final = "c2cotel_instrumentation.pyramid"

_logger = logging.getLogger(__name__)


class PyramidInstrumentor(BaseInstrumentor):  # type: ignore[misc] # the base is untyped
    """Measure the requests of all Pyramid applications of this process.

    Options of ``instrument()``:

    * ``tracer_provider``, ``meter_provider``: instead of the global ones;
    * ``excluded_urls``: regular expressions, searched in the path and in the URL. These requests
      have no span and nothing below them has one, but they are counted and have a request id;
    * ``captured_request_headers``, ``captured_response_headers``: names or regular expressions of
      headers that become span attributes; ``sanitized_headers``: those whose values do not.

    Applications made before ``instrument()`` are measured too; after ``uninstrument()`` none is.
    """

    _requests: "_Requests | None" = None
    # OpenTelemetry keeps one instance of each instrumentor.
    _wrappings = Wrappings()

    def instrumentation_dependencies(self) -> Collection[str]:
        return ("pyramid >= 2.0",)

    def _instrument(self, **options: Any) -> None:
        options.pop("auto_instrumentation", None)
        self._requests = _Requests(**options)
        # Every Python process of the application comes by here: Pyramid is not imported for it.
        wrapt.register_post_import_hook(self._wrap, "pyramid.router")

    def _uninstrument(self, **_: Any) -> None:
        self._requests = None
        self._wrappings.undo()

    def _wrap(self, module: ModuleType) -> None:
        if self._requests is None:
            return
        self._wrappings.wrap(module.Router, "__call__", self._calling)
        self._wrappings.wrap(module.Router, "invoke_request", self._invoking)

    def _calling(self, call: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        def __call__(  # noqa: N807 - it takes the place of that method
            router: Any, environ: wsgi.Environ, start_response: Callable[..., Any]
        ) -> Iterable[bytes]:
            requests = self._requests
            # An application mounted in another one passes its environ on: that is one request.
            if requests is None or _CALL_KEY in environ:
                return call(router, environ, start_response)
            requests.prepare(router, environ)
            measured = requests.begin(environ, start_response)
            if measured is None:
                return call(router, environ, start_response)
            try:
                body = call(router, environ, measured.start_response)
            except BaseException as error:
                measured.end(error)
                raise
            measured.end(None)
            # In a list, everything is made already.
            return body if type(body) is list else measured.streamed(body)

        return __call__

    def _invoking(self, invoke: Callable[..., Any]) -> Callable[..., Any]:
        def invoke_request(router: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            response = None
            try:
                response = invoke(router, request, *args, **kwargs)
            finally:
                if self._requests is not None:
                    self._requests.saw(request, response)
            return response

        return invoke_request


class _Requests:
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
        scope = __name__, version("c2cotel")
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
        self.complain = Complaint(
            _logger, "A request could not be measured; it goes on. Further ones are not logged."
        )

    def prepare(self, router: Any, environ: wsgi.Environ) -> None:
        """Have the application set *environ* right by what proxies say, if it knows how to."""
        try:
            prepare = getattr(router.registry, "c2c_prepare_environ", None)
            if prepare is not None:
                prepare(environ)
        except Exception as error:  # noqa: BLE001 - the application's; it meets that itself
            self.complain(error)

    def begin(self, environ: wsgi.Environ, start_response: Callable[..., Any]) -> "_Request | None":
        """Start to measure, or say why it cannot be done and return None."""
        try:
            return _Request(self, environ, start_response)
        except Exception as error:  # noqa: BLE001 - the request goes on without us
            self.complain(error)
            return None

    def saw(self, request: Any, response: Any) -> None:
        """Remember what Pyramid made of the environ, unless it is a subrequest's."""
        try:
            environ = request.environ
            measured: _Request | None = environ.get(_CALL_KEY)
            # A copied request brings the key along, in an environ of its own.
            if measured is not None and measured.environ is environ:
                measured.request = request
                measured.response = response
        except Exception as error:  # noqa: BLE001 - a request class of the application: its route is missing
            self.complain(error)

    def excludes(self, environ: wsgi.Environ) -> bool:
        path = wsgi.path(environ)
        if any(pattern.search(path) for pattern in self.excluded):
            return True
        url = wsgi.url(environ)
        return any(pattern.search(url) for pattern in self.excluded)


class _Request:
    """One request being measured, from its construction to ``end``."""

    __slots__ = (
        "_active",
        "_context",
        "_first_name",
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
        self, requests: _Requests, environ: wsgi.Environ, start_response: Callable[..., Any]
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
        environ[REQUEST_ID_KEY] = request_id
        # Stays there: gunicorn logs the request when it is over.
        environ[CONTEXT_KEY] = self._context
        requests.active.add(1, self._active)
        # Nothing may fail from here on: nobody would detach.
        environ[_CALL_KEY] = self
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
            otel_context.detach(self._token)
            self.environ.pop(_CALL_KEY, None)

    def streamed(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """*body*, which the application goes on to make after ``end``, within the request."""
        if isinstance(body, tuple) or wsgi.is_file(body, self.environ):
            return body
        return wsgi.Streamed(body, self._context)

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
