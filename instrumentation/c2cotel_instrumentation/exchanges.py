"""One exchange with an HTTP server, from the headers that are sent to the end of what comes back.

What is emitted, and when an exchange ends, is said in :mod:`c2cotel_instrumentation.requests`.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from importlib.metadata import version
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY
from opentelemetry.context.context import Context
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.semconv.attributes import (
    error_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
)
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider, set_span_in_context
from opentelemetry.util.types import AttributeValue

from c2cotel_instrumentation import wsgi
from c2cotel_instrumentation.errors import Complaint, fail, type_name
from c2cotel_instrumentation.redaction import REDACTED, HeaderCapture, redacted_url

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

# The advice of the conventions for http.client.request.duration.
_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_LEAST_ERROR: Final = 400
_PORTS: Final = {"http": 80, "https": 443}
_VERSIONS: Final = {9: "0.9", 10: "1.0", 11: "1.1", 20: "2", 30: "3"}
_USER: Final = re.compile(r"(?<=://)[^/?#]*@")
# A service that calls what its clients name would have a time series for each of them.
_MOST_SERVERS: Final = 100
_OTHER: Final = "_OTHER"

# In the __dict__ of a request: how often it has been sent before, the same of its copies, and which
# of its headers are ours. In that of a response: the exchange that ends when its body is read.
RESENDS: Final = "_c2cotel_resends"
RESENDS_OF_COPY: Final = "_c2cotel_resends_of_copy"
INJECTED: Final = "_c2cotel_injected"
EXCHANGE: Final = "_c2cotel_exchange"

_logger = logging.getLogger(__name__)

UNREAD: ContextVar["list[Exchange] | None"] = ContextVar("c2cotel_unread", default=None)
"""The exchanges of the innermost ``Session.send`` whose bodies are still to be read."""


class Client:
    """What all exchanges share: made once per ``instrument()``."""

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
        scope = "c2cotel_instrumentation.requests", version("c2cotel")
        schema = Schemas.V1_44_0.value
        self.tracer = trace.get_tracer(*scope, tracer_provider, schema_url=schema)
        self.duration = get_meter(*scope, meter_provider, schema_url=schema).create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self.excluded = [_excluding(pattern) for pattern in excluded_urls]
        self.request_headers = HeaderCapture(
            "http.request.header.", captured_request_headers, sanitized_headers
        )
        self.response_headers = HeaderCapture(
            "http.response.header.", captured_response_headers, sanitized_headers
        )
        self.complain = Complaint(
            _logger,
            "An outgoing request could not be measured; it goes on. Further ones are not logged.",
        )
        self._servers: set[tuple[str, int | None]] = set()

    def begin(self, request: "PreparedRequest") -> "Exchange | None":
        """Start to measure; None if that is not wanted here, or cannot be done."""
        try:
            return Exchange(self, request) if is_http_instrumentation_enabled() else None
        except Exception as error:  # noqa: BLE001 - the request goes on without us
            self.complain(error)
            return None

    def server(self, address: str, port: int | None) -> dict[str, AttributeValue]:
        """How metrics name a server; there is a limit to their number in a process."""
        if (address, port) not in self._servers:
            if len(self._servers) >= _MOST_SERVERS:
                return {server_attributes.SERVER_ADDRESS: _OTHER}
            self._servers.add((address, port))
        attributes: dict[str, AttributeValue] = {server_attributes.SERVER_ADDRESS: address}
        if port is not None:
            attributes[server_attributes.SERVER_PORT] = port
        return attributes


class Exchange:
    """One request and its answer being measured, from its construction to the body's end."""

    __slots__ = (
        "_attributes",
        "_client",
        "_ended",
        "_headers_at",
        "_span",
        "_start",
        "_token",
        "sent",
    )

    def __init__(self, client: Client, request: "PreparedRequest") -> None:
        self._client = client
        self._ended = False
        # Seconds after the start and, as spans have it, nanoseconds since 1970.
        self._headers_at = 0.0, 0
        url, method = request.url or "", request.method or ""
        parts = urlsplit(url)
        address, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
        self._attributes: dict[str, AttributeValue] = {
            http_attributes.HTTP_REQUEST_METHOD: method if method in wsgi.METHODS else _OTHER,
            **client.server(address, port),
        }
        if parts.scheme in _PORTS:
            self._attributes[url_attributes.URL_SCHEME] = parts.scheme
        resends = request.__dict__.get(RESENDS, 0)
        self.sent = _copied(request, resends)
        context = otel_context.get_current()
        if any(pattern.search(url) for pattern in client.excluded):
            self._span: Span = trace.INVALID_SPAN
        else:
            self._span = client.tracer.start_span(
                method if method in wsgi.METHODS else "HTTP",
                context,
                SpanKind.CLIENT,
                _span_attributes(method, url, address, port, resends),
            )
            context = set_span_in_context(self._span, context)
        self._add_headers(context)
        # Below requests is urllib3, whose own instrumentor would measure the same once more.
        context = otel_context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, context)  # noqa: FBT003 - the API takes it positionally
        # Nothing may fail from here on: nobody would detach.
        self._token = otel_context.attach(context)
        self._start = perf_counter()

    def _add_headers(self, context: Context) -> None:
        """Give the request what the propagators send, beside what the caller has set."""
        sent = self.sent
        try:
            fields: dict[str, str] = {}
            propagate.inject(fields, context)
            if "traceparent" in sent.headers:
                # The caller's trace goes on: the state of ours is none of its own.
                fields.pop("tracestate", None)
            new = [name for name in fields if name not in sent.headers]
            sent.headers.update((name, fields[name]) for name in new)
            sent.__dict__[INJECTED] = new
            if (captured := self._client.request_headers) and self._span.is_recording():
                headers = ((name, _text(value)) for name, value in sent.headers.items())
                self._span.set_attributes(captured.attributes(headers, wsgi.LONGEST))
        except Exception as error:  # noqa: BLE001 - any propagator may be configured
            self._client.complain(error)

    def failed(self, error: BaseException) -> None:
        """There is no answer."""
        elapsed = perf_counter() - self._start
        otel_context.detach(self._token)
        self._end(elapsed, error)

    def answered(self, response: "Response", *, streamed: bool) -> None:
        """The headers are there; the body will be read by ``Session.send`` unless *streamed*."""
        elapsed = perf_counter() - self._start
        otel_context.detach(self._token)
        try:
            self._note(response)
            unread = UNREAD.get()
            if not streamed and unread is not None:
                self._headers_at = elapsed, time_ns()
                response.__dict__[EXCHANGE] = self
                unread.append(self)
                return
        except Exception as error:  # noqa: BLE001 - the answer goes to the application all the same
            self._client.complain(error)
        self._end(elapsed, None)

    def reading(self, chunks: Iterator[Any]) -> Iterator[Any]:
        """*chunks* of the body, the last of which is the end of the exchange."""
        try:
            yield from chunks
        except GeneratorExit:
            self.abandon()
            raise
        except BaseException as error:
            self._end(perf_counter() - self._start, error)
            raise
        self._end(perf_counter() - self._start, None)

    def abandon(self) -> None:
        """Nobody has read the body to its end: the headers were the last that was heard."""
        elapsed, stop = self._headers_at
        self._end(elapsed, None, stop)

    def _note(self, response: "Response") -> None:
        status = response.status_code
        self._attributes[http_attributes.HTTP_RESPONSE_STATUS_CODE] = status
        if status >= _LEAST_ERROR:
            self._attributes[error_attributes.ERROR_TYPE] = str(status)
        if not self._span.is_recording():
            return
        raw = response.raw
        if protocol := _VERSIONS.get(getattr(raw, "version", 0)):
            self._span.set_attribute(network_attributes.NETWORK_PROTOCOL_VERSION, protocol)
        if retries := len(getattr(getattr(raw, "retries", None), "history", ())):
            resends = retries + self.sent.__dict__[RESENDS] - 1
            self._span.set_attribute(http_attributes.HTTP_REQUEST_RESEND_COUNT, resends)
        if captured := self._client.response_headers:
            headers = response.headers.items()
            self._span.set_attributes(captured.attributes(headers, wsgi.LONGEST))

    def _end(self, elapsed: float, error: BaseException | None, stop: int | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            attributes, span = self._attributes, self._span
            if error is not None:
                attributes[error_attributes.ERROR_TYPE] = type_name(error)
            self._client.duration.record(elapsed, attributes)
            try:
                if span.is_recording():
                    self._conclude(error)
            finally:
                span.end(stop)
        except Exception as problem:  # noqa: BLE001 - the exchange is over, whatever happens here
            self._client.complain(problem)

    def _conclude(self, error: BaseException | None) -> None:
        for name in (http_attributes.HTTP_RESPONSE_STATUS_CODE, error_attributes.ERROR_TYPE):
            if (value := self._attributes.get(name)) is not None:
                self._span.set_attribute(name, value)
        if error is not None:
            fail(self._span, error)
        elif error_attributes.ERROR_TYPE in self._attributes:
            self._span.set_status(StatusCode.ERROR)


def _copied(request: "PreparedRequest", resends: int) -> "PreparedRequest":
    """*request* with headers of its own; the application may send one in several threads."""
    sent = object.__new__(type(request))
    sent.__dict__.update(request.__dict__)
    sent.headers = sent.headers.copy()
    for name in request.__dict__.get(INJECTED, ()):
        sent.headers.pop(name, None)
    # It is the request of the response, and what is sent again is one of its copies or itself.
    request.__dict__[RESENDS_OF_COPY] = resends + 1
    sent.__dict__[RESENDS] = sent.__dict__[RESENDS_OF_COPY] = resends + 1
    return sent


def _span_attributes(
    method: str, url: str, address: str, port: int | None, resends: int
) -> dict[str, AttributeValue]:
    known = method in wsgi.METHODS
    shown = _USER.sub(f"{REDACTED}:{REDACTED}@", redacted_url(url))
    attributes: dict[str, AttributeValue] = {
        http_attributes.HTTP_REQUEST_METHOD: method if known else _OTHER,
        url_attributes.URL_FULL: shown[: wsgi.LONGEST],
        server_attributes.SERVER_ADDRESS: address[: wsgi.LONGEST],
    }
    if port is not None:
        attributes[server_attributes.SERVER_PORT] = port
    if not known:
        attributes[http_attributes.HTTP_REQUEST_METHOD_ORIGINAL] = method[: wsgi.LONGEST]
    if resends:
        attributes[http_attributes.HTTP_REQUEST_RESEND_COUNT] = resends
    return attributes


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _excluding(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"excluded_urls: {pattern!r} is no regular expression ({error}). "
            "Write for example ^https://maps[.]example[.]com/"
        ) from error
