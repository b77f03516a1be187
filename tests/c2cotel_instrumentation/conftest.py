import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context.context import Context
from opentelemetry.instrumentation.propagators import (
    get_global_response_propagator,
    set_global_response_propagator,
)
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPBadRequest, HTTPFound, HTTPServiceUnavailable
from pyramid.request import Request
from pyramid.response import Response
from pyramid.router import Router

from c2cotel_instrumentation.logging import LoggingInstrumentor
from c2cotel_instrumentation.pyramid import PyramidInstrumentor
from c2cotel_instrumentation.request_id import RequestIdPropagator, RequestIdResponsePropagator


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """No instrumentor, propagator or context of a test reaches the next one."""
    textmap, response = propagate.get_global_textmap(), get_global_response_propagator()
    methods = Router.__call__, Router.invoke_request, logging.Logger.makeRecord
    token = otel_context.attach(Context())
    propagate.set_global_textmap(
        CompositePropagator(
            [TraceContextTextMapPropagator(), W3CBaggagePropagator(), RequestIdPropagator()]
        )
    )
    set_global_response_propagator(RequestIdResponsePropagator())
    yield
    leaked = otel_context.get_current()
    otel_context.detach(token)
    propagate.set_global_textmap(textmap)
    set_global_response_propagator(response)
    for instrumentor in (PyramidInstrumentor(), LoggingInstrumentor(), RequestsInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
    assert (Router.__call__, Router.invoke_request, logging.Logger.makeRecord) == methods
    assert leaked == {}


@dataclass
class Telemetry:
    """Real providers that keep what they get in memory."""

    sampler: Sampler = DEFAULT_ON
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        self.tracer_provider = TracerProvider(sampler=self.sampler, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def instrument(self, **options: Any) -> None:
        PyramidInstrumentor().instrument(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options
        )

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Attributes and value (of a histogram: count) of each series of this metric."""
        data = self.reader.get_metrics_data()
        return [
            (dict(point.attributes), getattr(point, "count", getattr(point, "value", None)))
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    @property
    def counted(self) -> list[tuple[dict[str, Any], int]]:
        return self.points("http.server.request.duration")


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


class AnsweredError(Exception):
    """What the application's own exception view answers with a 500."""


class GoneError(Exception):
    """What its exception view answers with a 400."""


def hello(request: Request) -> Response:
    return Response(f"hello {request.matchdict['name']}")


def boom(_: Request) -> Response:
    raise ZeroDivisionError("nobody answers this one")


def failure(_: Request) -> Response:
    raise AnsweredError("secret of the house")


def gone(_: Request) -> Response:
    raise GoneError


def raises_503(_: Request) -> Response:
    raise HTTPServiceUnavailable("later")


def returns_503(_: Request) -> Response:
    return HTTPServiceUnavailable("later")


def raises_400(_: Request) -> Response:
    raise HTTPBadRequest("no")


def found(_: Request) -> Response:
    raise HTTPFound("/hello/you")


def plain_500(_: Request) -> Response:
    return Response(status=500)


def conditional(_: Request) -> Response:
    return Response("x", etag="same", conditional_response=True)


def subrequest(request: Request) -> Response:
    copied = request.copy()
    copied.path_info = "/hello/sub"
    request.invoke_subrequest(copied, use_tweens=True)
    return request.invoke_subrequest(Request.blank("/hello/sub"))


VIEWS = {
    "boom": boom,
    "failure": failure,
    "gone": gone,
    "raises_503": raises_503,
    "returns_503": returns_503,
    "raises_400": raises_400,
    "found": found,
    "plain_500": plain_500,
    "conditional": conditional,
    "subrequest": subrequest,
}


def add_views(config: Configurator) -> None:
    config.add_route("hello", "/hello/{name}")
    config.add_view(hello, route_name="hello")
    for name, view in VIEWS.items():
        config.add_route(name, name)
        config.add_view(view, route_name=name)
    config.add_exception_view(lambda _: Response(status=500), context=AnsweredError)
    config.add_exception_view(lambda _: Response(status=400), context=GoneError)


def application(view: Any = None, **settings: Any) -> Router:
    """The views above, and *view* at ``/view``."""
    config = Configurator(settings=settings)
    add_views(config)
    if view is not None:
        config.add_route("view", "/view")
        config.add_view(view, route_name="view")
    return config.make_wsgi_app()


def get(app: Router, path: str, **environ: Any) -> Response:
    """The answer of *app*, with more or other keys in the environ."""
    return Request.blank(path, environ=environ).get_response(app)
