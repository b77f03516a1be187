"""Spans, durations, headers and timeouts of what the application asks with ``requests``.

==============================  =============  ====  ========================================
name                            kind           unit  attributes
==============================  =============  ====  ========================================
GET                             span (client)        see README.md beside this package
http.client.request.duration    histogram      s     http.request.method, server.address,
                                                     server.port, url.scheme,
                                                     http.response.status_code, error.type
==============================  =============  ====  ========================================

``HTTPAdapter.send`` is wrapped: one HTTP exchange is one measurement, so each redirect and each
second attempt of an authentication has its own. The duration is wall-clock time until the body
has been read; with ``stream=True``, when the application reads it later or never, until the headers
are there. What fails is measured too: a connection, a timeout, a body that breaks off.

What the global propagator has to send (the trace, the request id) goes into a copy of the request,
beside what the caller has set there, which stays.

A request without a timeout gets ``default_timeout``; without that it is warned of, once for each
line of the application. ``timeout=(None, None)`` says that it may wait for ever.

Source: https://opentelemetry.io/docs/specs/semconv/http/.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import wrapt
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # no __all__
    BaseInstrumentor,
)
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled

from c2cotel_instrumentation.call_sites import CallSites
from c2cotel_instrumentation.exchanges import (
    EXCHANGE,
    INJECTED,
    RESENDS,
    RESENDS_OF_COPY,
    UNREAD,
    Client,
    Exchange,
)
from c2cotel_instrumentation.wrapping import Wrappings

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

_logger = logging.getLogger(__name__)


class RequestsInstrumentor(BaseInstrumentor):  # type: ignore[misc] # the base is untyped
    """Measure the outgoing requests of this process, and give them headers and a timeout.

    Options of ``instrument()``:

    * ``tracer_provider``, ``meter_provider``: instead of the global ones;
    * ``default_timeout``: seconds, for a request without a timeout of its own; the attribute of
      that name may be set later;
    * ``excluded_urls``: regular expressions, searched in the URL. These requests have no span, but
      are counted and get their headers;
    * ``captured_request_headers``, ``captured_response_headers``: names or regular expressions of
      headers that become span attributes; ``sanitized_headers``: those whose values do not.

    Sessions made before ``instrument()`` are measured too; after ``uninstrument()`` none is.
    """

    default_timeout: float | None = None
    _client: Client | None = None
    # OpenTelemetry keeps one instance of each instrumentor.
    _wrappings = Wrappings()
    _call_sites: CallSites

    def instrumentation_dependencies(self) -> Collection[str]:
        # Written so that release candidates of a next version are welcome.
        return ("requests >= 2.0rc1",)

    def _instrument(self, *, default_timeout: float | None = None, **options: Any) -> None:
        options.pop("auto_instrumentation", None)
        self._client = Client(**options)
        self._call_sites = CallSites("requests", "urllib3")
        self.default_timeout = default_timeout
        # Every Python process of the application comes by here: requests is not imported for it.
        wrapt.register_post_import_hook(self._wrap, "requests")

    def _uninstrument(self, **_: Any) -> None:
        self._client = None
        self.default_timeout = None
        self._wrappings.undo()

    def _wrap(self, module: ModuleType) -> None:
        if self._client is None:
            return
        self._wrappings.wrap(module.adapters.HTTPAdapter, "send", self._exchanging)
        self._wrappings.wrap(module.Session, "send", self._calling)
        self._wrappings.wrap(module.Response, "iter_content", self._reading)
        self._wrappings.wrap(module.PreparedRequest, "copy", self._copying)

    def _exchanging(self, send: Callable[..., "Response"]) -> Callable[..., "Response"]:
        @wraps(send)
        def wrapper(adapter: Any, request: Any, *args: Any, **kwargs: Any) -> "Response":
            client = self._client
            if client is None:
                return send(adapter, request, *args, **kwargs)
            args, kwargs = self._limited(client, request, args, kwargs)
            exchange = client.begin(request)
            if exchange is None:
                return send(adapter, request, *args, **kwargs)
            try:
                response = send(adapter, exchange.sent, *args, **kwargs)
            except BaseException as error:
                exchange.failed(error)
                raise
            exchange.answered(response, streamed=bool(args[0] if args else kwargs.get("stream")))
            return response

        return wrapper

    def _limited(
        self, client: Client, request: "PreparedRequest", args: Any, kwargs: Any
    ) -> tuple[Any, Any]:
        """The arguments of ``HTTPAdapter.send``, with a timeout if there can be one."""
        timeout = args[1] if len(args) > 1 else kwargs.get("timeout")
        if timeout is not None:
            return args, kwargs
        if self.default_timeout is None:
            self._warn(client, request)
            return args, kwargs
        if len(args) > 1:
            return (args[0], self.default_timeout, *args[2:]), kwargs
        return args, {**kwargs, "timeout": self.default_timeout}

    def _warn(self, client: Client, request: "PreparedRequest") -> None:
        try:
            if not is_http_instrumentation_enabled():
                return
            # Between a session and here may be an adapter of the application.
            past = None if UNREAD.get() is None else "requests.sessions"
            if place := self._call_sites.new(past):
                host = urlsplit(request.url or "").hostname
                _logger.warning(
                    "%s: %s to %s is sent without a timeout: it waits for as long as the other "
                    "side keeps it waiting. Give it timeout=…, or all of them a default with "
                    "C2C_REQUESTS_DEFAULT_TIMEOUT. Said once for this line.",
                    place,
                    request.method,
                    host,
                )
        except Exception as error:  # noqa: BLE001 - the request goes on without a warning
            client.complain(error)

    def _calling(self, send: Callable[..., "Response"]) -> Callable[..., "Response"]:
        @wraps(send)
        def wrapper(session: Any, request: Any, **kwargs: Any) -> "Response":
            if self._client is None:
                return send(session, request, **kwargs)
            unread: list[Exchange] = []
            token = UNREAD.set(unread)
            try:
                return send(session, request, **kwargs)
            finally:
                UNREAD.reset(token)
                for exchange in unread:
                    exchange.abandon()

        return wrapper

    def _reading(self, iter_content: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        @wraps(iter_content)
        def wrapper(response: "Response", *args: Any, **kwargs: Any) -> Iterator[Any]:
            chunks = iter_content(response, *args, **kwargs)
            exchange: Exchange | None = response.__dict__.pop(EXCHANGE, None)
            return chunks if exchange is None else exchange.reading(chunks)

        return wrapper

    def _copying(self, copy: Callable[..., "PreparedRequest"]) -> Callable[..., "PreparedRequest"]:
        @wraps(copy)
        def wrapper(request: "PreparedRequest") -> "PreparedRequest":
            copied = copy(request)
            if (resends := request.__dict__.get(RESENDS_OF_COPY)) is not None:
                copied.__dict__[RESENDS] = resends
            for name in request.__dict__.get(INJECTED, ()):
                copied.headers.pop(name, None)
            return copied

        return wrapper
