"""What errors do together with telemetry, transactions and the debug toolbar."""

import re

import pytest
import sqlalchemy
import transaction
import zope.sqlalchemy
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.context.context import Context
from opentelemetry.instrumentation.propagators import (
    get_global_response_propagator,
    set_global_response_propagator,
)
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pyramid.config import Configurator
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from c2cotel_instrumentation.pyramid import PyramidInstrumentor
from c2cotel_instrumentation.request_id import RequestIdPropagator, RequestIdResponsePropagator

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def spans():
    """The spans of the requests from here on."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    textmap, response = propagate.get_global_textmap(), get_global_response_propagator()
    propagate.set_global_textmap(
        CompositePropagator([TraceContextTextMapPropagator(), RequestIdPropagator()])
    )
    set_global_response_propagator(RequestIdResponsePropagator())
    token = otel_context.attach(Context())
    PyramidInstrumentor().instrument(tracer_provider=provider)
    yield exporter.get_finished_spans
    PyramidInstrumentor().uninstrument()
    otel_context.detach(token)
    propagate.set_global_textmap(textmap)
    set_global_response_propagator(response)
    provider.shutdown()


def test_an_error_carries_the_ids_of_request_and_trace(app, ask, spans):
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "X-Request-ID": "mine"}
    response = ask(app, "/bad", headers=headers)
    (span,) = spans()
    assert response.headers["X-Request-ID"] == "mine"
    assert response.headers["traceresponse"] == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert response.headers["Access-Control-Expose-Headers"] == "X-Request-ID, traceresponse"


def test_without_a_trace_it_carries_the_id_of_the_request(app, ask):
    response = ask(app, "/hidden")
    assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["X-Request-ID"])
    assert "traceresponse" not in response.headers


def test_the_span_of_an_error_that_is_answered_has_the_exception(app, ask, spans):
    ask(app, "/hidden")
    (span,) = spans()
    assert (span.name, span.status.status_code) == ("GET /hidden", StatusCode.ERROR)
    assert span.attributes["http.response.status_code"] == 500
    assert span.attributes["error.type"].endswith(".HiddenError")
    (event,) = span.events
    assert event.attributes["exception.type"].endswith(".HiddenError")
    assert "pwd@" not in event.attributes["exception.stacktrace"]


@pytest.mark.parametrize("path", ["/bad", "/duplicate", "/nowhere"])
def test_the_span_of_what_the_client_did_wrong_is_no_error(app, ask, spans, path):
    ask(app, path)
    (span,) = spans()
    assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())


class Base(DeclarativeBase):
    pass


class Pet(Base):
    __tablename__ = "pet"
    id: Mapped[int] = mapped_column(primary_key=True)


def test_what_a_transaction_is_refused_at_its_end_is_answered_too(configure, ask, logged):
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
    Base.metadata.create_all(engine)

    def twice(request):
        session = Session(engine)
        zope.sqlalchemy.register(session, transaction_manager=request.tm)
        session.add(Pet(id=1))
        return request.response

    config = configure({"tm.manager_hook": "pyramid_tm.explicit_manager"})
    config.include("pyramid_tm")
    config.add_route("twice", "/twice")
    config.add_view(twice, route_name="twice")
    app = config.make_wsgi_app()
    assert ask(app, "/twice").status_int == 200
    response = ask(app, "/twice")
    assert response.json == {"message": "UNIQUE constraint failed: pet.id", "status": 400}
    assert [record.levelname for record in logged()] == ["WARNING"]
    transaction.abort()
    engine.dispose()


@pytest.fixture
def _toolbar():
    """The toolbar listens to all engines of the process as soon as it is imported: not for long."""
    yield
    from pyramid_debugtoolbar.panels import sqla

    engine = sqlalchemy.Engine
    kinds = (kind for kind in dir(engine.dispatch) if hasattr(sqla, f"_{kind}"))
    for kind in kinds:
        sqlalchemy.event.remove(engine, kind, getattr(sqla, f"_{kind}"))


@pytest.mark.usefixtures("_toolbar")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the toolbar's own
def test_the_debug_toolbar_catches_what_is_not_answered(ask):
    settings = {
        "pyramid.includes": "pyramid_debugtoolbar",
        "debugtoolbar.enabled": "true",
        "debugtoolbar.hosts": "0.0.0.0/0",
        "debugtoolbar.intercept_exc": "debug",
        "debugtoolbar.show_on_exc_only": "true",
        "c2c.enable_exception_handling": "0",
    }
    config = Configurator(settings=settings)
    for name in ("c2cotel.pyramid.renderers", "c2cotel.request_tracking", "c2cotel.errors"):
        config.include(name)
    config.add_route("boom", "/boom")
    config.add_view(lambda _: 1 / 0, route_name="boom")
    response = ask(config.make_wsgi_app(), "/boom", REMOTE_ADDR="192.0.2.7")
    assert (response.status_int, response.content_type) == (500, "text/html")
    assert "ZeroDivisionError" in response.text
    assert "toolbar" in response.text


def test_what_is_tried_again_is_no_error_but_the_last_try_is(configure, ask, logged):
    from pyramid_retry import RetryableException

    def view(request):
        if request.environ["retry.attempt"] < int(request.params["wrong"]):
            raise RetryableException("try again")
        return request.response

    config = configure({"retry.attempts": "3"})
    config.include("pyramid_retry")
    config.add_route("view", "/view")
    config.add_view(view, route_name="view")
    app = config.make_wsgi_app()
    assert ask(app, "/view?wrong=2").status_int == 200
    said = "GET http://localhost:80/view?wrong=2 is tried again: "
    for record in logged():
        assert (record.levelname, record.exc_info) == ("INFO", None)
        assert record.getMessage() == f"{said}pyramid_retry.RetryableException: try again"
    assert len(logged()) == 2
    assert ask(app, "/view?wrong=3").status_int == 500
    assert [record.levelname for record in logged()[2:]] == ["INFO", "INFO", "ERROR"]


def test_without_a_next_try_a_retryable_error_is_an_error(configure, ask, logged):
    from pyramid_retry import RetryableException

    def view(_):
        raise RetryableException("try again")

    config = configure()
    config.add_route("view", "/view")
    config.add_view(view, route_name="view")
    environ = {"retry.attempts": 3}
    assert ask(config.make_wsgi_app(), "/view", **environ).status_int == 500
    assert [record.levelname for record in logged()] == ["ERROR"]
