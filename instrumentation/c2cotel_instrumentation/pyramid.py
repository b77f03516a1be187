"""Spans and metrics of the requests that a Pyramid application answers.

=============================  ===============  =========  ====================================
name                           kind             unit       attributes
=============================  ===============  =========  ====================================
GET /hello/{name}              span (server)               see README.md beside this package
http.server.request.duration   histogram        s          http.request.method, http.route,
                                                           http.response.status_code,
                                                           url.scheme, error.type
http.server.active_requests    up-down counter  {request}  http.request.method, url.scheme
c2c.pyramid.render.duration    histogram        s          http.route, error.type
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

from collections.abc import Callable, Collection, Iterable
from types import ModuleType
from typing import Any

import wrapt
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # no __all__
    BaseInstrumentor,
)

from c2cotel_instrumentation import pyramid_rendering, wsgi
from c2cotel_instrumentation.pyramid_rendering import Rendering
from c2cotel_instrumentation.pyramid_requests import CALL_KEY, Requests
from c2cotel_instrumentation.running import Running
from c2cotel_instrumentation.wrapping import Wrappings


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

    _requests: Requests | None = None
    # OpenTelemetry keeps one instance of each instrumentor.
    _wrappings = Wrappings()

    @property
    def running(self) -> Running:
        """Which request each thread is answering; none of them while nothing is instrumented."""
        return Running() if self._requests is None else self._requests.running

    def instrumentation_dependencies(self) -> Collection[str]:
        return ("pyramid >= 2.0",)

    def _instrument(self, **options: Any) -> None:
        options.pop("auto_instrumentation", None)
        self._requests = Requests(**options)
        # Every Python process of the application comes by here: Pyramid is not imported for it.
        wrapt.register_post_import_hook(self._wrap, "pyramid.router")
        wrapt.register_post_import_hook(self._wrap_renderers, "pyramid.renderers")

    def _uninstrument(self, **_: Any) -> None:
        self._requests = None
        self._wrappings.undo()

    def _wrap(self, module: ModuleType) -> None:
        if self._requests is None:
            return
        self._wrappings.wrap(module.Router, "__call__", self._calling)
        self._wrappings.wrap(module.Router, "invoke_request", self._invoking)

    def _wrap_renderers(self, module: ModuleType) -> None:
        if self._requests is not None:
            self._wrappings.wrap(module.RendererHelper, "render", self._rendering)

    def _rendering(self, render: Callable[..., Any]) -> Callable[..., Any]:
        def rendering() -> Rendering | None:
            return None if self._requests is None else self._requests.rendering

        return pyramid_rendering.wrapped(render, rendering)

    def _calling(self, call: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        def __call__(  # noqa: N807 - it takes the place of that method
            router: Any, environ: wsgi.Environ, start_response: Callable[..., Any]
        ) -> Iterable[bytes]:
            requests = self._requests
            # An application mounted in another one passes its environ on: that is one request.
            if requests is None or CALL_KEY in environ:
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
            requests = self._requests
            measured = None if requests is None else requests.invoking(request)
            response = invoke(router, request, *args, **kwargs)
            if measured is not None:
                measured.response = response
            return response

        return invoke_request
