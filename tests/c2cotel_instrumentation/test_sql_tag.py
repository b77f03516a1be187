"""What statements get as a comment; see test_sql_tag_postgresql.py for real databases."""

import logging
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, get_current_span
from pyramid import testing
from pyramid.config import Configurator
from pyramid.response import Response
from sqlalchemy.orm import Session, declarative_base
from sqlalchemy.pool import StaticPool

from c2cotel_instrumentation.context import with_request_id
from c2cotel_instrumentation.routes import current_route
from c2cotel_instrumentation.sql_tag import SqlTagInstrumentor
from c2cotel_instrumentation.sqlalchemy import SQLAlchemyInstrumentor

from .conftest import Telemetry, application, get

SHOP = "/*application='shop'*/"


@pytest.fixture(autouse=True)
def untagged():
    """No instrumentor of a test reaches the next one."""
    yield
    for instrumentor in (SqlTagInstrumentor(), SQLAlchemyInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
    fresh = sa.create_engine("sqlite://")
    for event in ("before_cursor_execute", "begin", "begin_twophase"):
        assert not list(getattr(fresh.dispatch, event))
    for event in ("do_execute", "do_executemany", "do_execute_no_params"):
        assert not list(getattr(fresh.dialect.dispatch, event))


@pytest.fixture
def engine():
    """Made before anything is instrumented; one connection for all threads."""
    engine = sa.create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    yield engine
    engine.dispose()


@pytest.fixture
def sent(engine):
    """The statements that SQLite executes."""
    found = []
    with engine.connect() as connection:
        connection.connection.driver_connection.set_trace_callback(found.append)
    return found


def tag(**options):
    SqlTagInstrumentor().instrument(**{"tag": "static", "application": "shop"} | options)


def ask(engine, statement="SELECT 1", **options):
    with engine.connect() as connection:
        return connection.execute(sa.text(statement), execution_options=options).scalar()


def asking(engine, statement="SELECT 1"):
    """An application whose /view asks that."""

    def view(_):
        ask(engine, statement)
        return Response("ok")

    return application(view)


def test_outside_of_a_request_the_application_is_told(engine, sent):
    tag()
    assert ask(engine) == 1
    assert sent == [f"SELECT 1 {SHOP}"]


def test_within_a_request_its_route_is_told_too(engine, sent):
    tag()
    get(asking(engine), "/view")
    assert sent == ["SELECT 1 /*application='shop',framework='pyramid',route='/view'*/"]


def test_the_route_is_there_without_the_instrumentor_of_pyramid(engine, sent):
    tag(application=None)
    with Configurator() as config:
        config.add_route("things", "things/{id:\\d+}/*rest")
        config.add_view(lambda _: Response(str(ask(engine))), route_name="things")
        app = config.make_wsgi_app()
    get(app, "/things/1/2")
    assert sent == [
        "SELECT 1 /*framework='pyramid',route='/things/%7Bid%3A%5Cd%2B%7D/%2Arest'*/",
    ]


def test_before_the_route_is_known_there_is_none(engine, sent):
    tag()

    config = Configurator()
    config.add_tween(f"{__name__}.{asks_first.__name__}")
    config.registry.engine = engine
    config.add_route("view", "/view")
    config.add_view(lambda _: Response(str(current_route())), route_name="view")
    assert get(config.make_wsgi_app(), "/view").text == "/view"
    assert sent == ["SELECT 1 /*application='shop',framework='pyramid'*/"]


def asks_first(handler, registry):
    def tween(request):
        ask(registry.engine)
        return handler(request)

    return tween


def test_a_thread_of_the_application_has_no_route(engine, sent):
    tag()
    with testing.testConfig(request=testing.DummyRequest()):
        thread = threading.Thread(target=ask, args=(engine,))
        thread.start()
        thread.join()
    assert sent == [f"SELECT 1 {SHOP}"]


def test_a_statement_is_left_alone_if_there_is_nothing_to_say(engine, sent):
    tag(application=None)
    ask(engine)
    assert sent == ["SELECT 1"]


def test_the_tag_may_be_off(engine, sent):
    SqlTagInstrumentor().instrument()
    assert not list(engine.dispatch.before_cursor_execute)
    ask(engine)
    assert sent == ["SELECT 1"]


def test_another_tag_is_an_error_that_names_those_there_are():
    with pytest.raises(ValueError, match="tag='dynamic': not one of off, static, traceparent, app"):
        tag(tag="dynamic")


def test_all_statements_of_the_orm_are_tagged(engine, sent):
    tag()
    base = declarative_base()

    class Thing(base):
        __tablename__ = "things"
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.String)

    base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Thing(name="a%"), Thing(name="b")])
        session.commit()
        session.execute(sa.update(Thing), [{"id": 1, "name": "c"}, {"id": 2, "name": "d"}])
        assert session.scalars(sa.select(Thing.name).order_by(Thing.id)).all() == ["c", "d"]
        session.rollback()
    statements = [text for text in sent if text not in ("BEGIN", "BEGIN ", "COMMIT", "ROLLBACK")]
    assert len(statements) >= 6
    assert [text for text in statements if not text.endswith(SHOP)] == []


def test_a_statement_that_is_no_text_is_left_alone(engine):
    tag()
    (listener,) = engine.dispatch.before_cursor_execute
    executemany = False
    with engine.connect() as connection:
        for statement in (b"SELECT 1", None, object()):
            assert listener(connection, None, statement, (), None, executemany) == (statement, ())


# Who has a say.


def test_an_engine_can_be_left_alone(engine, sent):
    tag(request_id=True)
    ask(engine.execution_options(c2c_sql_tag=False))
    ask(engine)
    assert sent == ["SELECT 1", f"SELECT 1 {SHOP}"]


def test_a_statement_can_be_left_alone(engine, sent):
    tag()
    ask(engine, c2c_sql_tag=False)
    assert sent == ["SELECT 1"]


def test_an_engine_can_have_another_application(engine, sent):
    tag()
    ask(engine.execution_options(c2c_sql_tag="shop archive"))
    assert sent == ["SELECT 1 /*application='shop%20archive'*/"]


# Traces.


@pytest.fixture
def traced():
    """SQLAlchemy and Pyramid instrumented, with a tag of the trace."""
    telemetry = Telemetry()
    telemetry.instrument(excluded_urls=["^/view$"])
    SQLAlchemyInstrumentor().instrument(
        tracer_provider=telemetry.tracer_provider,
        meter_provider=telemetry.meter_provider,
        early=True,
    )
    tag(tag="traceparent")
    return telemetry


def traceparent(span):
    known = span.context
    return f"00-{known.trace_id:032x}-{known.span_id:016x}-{known.trace_flags:02x}"


def test_the_span_of_the_statement_is_told_and_the_request(engine, sent, traced):
    config = Configurator()
    config.add_route("ask", "/ask")
    config.add_view(lambda _: Response(str(ask(engine))), route_name="ask")
    get(config.make_wsgi_app(), "/ask", HTTP_X_REQUEST_ID="me:1*/")
    get(config.make_wsgi_app(), "/ask", HTTP_X_REQUEST_ID="me:1")
    statements = [span for span in traced.spans if span.name == "SELECT"]
    assert len(statements) == 2
    assert sent[1] == (
        "SELECT 1 /*application='shop',framework='pyramid',request_id='me%3A1',route='/ask',"
        f"traceparent='{traceparent(statements[1])}'*/"
    )
    # What the client sent was no request id.
    assert f"request_id='{statements[0].context.trace_id:032x}'" in sent[0].replace("-", "", 4)
    assert statements[1].attributes["db.query.text"] == "SELECT ?"


def test_an_untraced_request_has_the_constant_comment(engine, sent, traced):
    get(asking(engine), "/view")
    assert sent == ["SELECT 1 /*application='shop',framework='pyramid',route='/view'*/"]
    assert traced.spans == ()


def test_an_unsampled_request_has_the_constant_comment(engine, sent):
    telemetry = Telemetry(sampler=ALWAYS_OFF)
    telemetry.instrument()
    tag(tag="traceparent")
    get(asking(engine), "/view", HTTP_X_REQUEST_ID="me")
    assert sent == ["SELECT 1 /*application='shop',framework='pyramid',route='/view'*/"]


def test_without_a_span_of_its_own_a_statement_has_the_current_one(engine, sent):
    telemetry = Telemetry()
    tag(tag="traceparent")
    with telemetry.tracer_provider.get_tracer("test").start_as_current_span("script"):
        ask(engine)
    assert sent == [f"SELECT 1 /*application='shop',traceparent='{traceparent(telemetry.span)}'*/"]


class NoStatements(Sampler):
    """Records all but statements."""

    def should_sample(self, parent_context, trace_id, name, kind=None, *_, **__):
        dropped = kind is SpanKind.CLIENT
        return SamplingResult(Decision.DROP if dropped else Decision.RECORD_AND_SAMPLE)

    def get_description(self):
        return "no statements"


def test_a_statement_whose_span_is_not_sampled_has_the_constant_comment(engine, sent):
    telemetry = Telemetry(sampler=NoStatements())
    SQLAlchemyInstrumentor().instrument(tracer_provider=telemetry.tracer_provider, early=True)
    tag(tag="traceparent")
    with telemetry.tracer_provider.get_tracer("test").start_as_current_span("script"):
        ask(engine)
    assert telemetry.span.name == "script"
    assert sent == [f"SELECT 1 {SHOP}"]


def test_outside_of_a_trace_the_comment_is_constant(engine, sent):
    tag(tag="traceparent")
    token = otel_context.attach(with_request_id("me"))
    try:
        assert not get_current_span().get_span_context().is_valid
        ask(engine)
    finally:
        otel_context.detach(token)
    assert sent == [f"SELECT 1 {SHOP}"]


# The instrumentor.


def test_nothing_is_left_after_uninstrument_and_it_can_be_instrumented_again(engine, sent):
    for _ in range(2):
        tag(request_id=True)
        ask(engine)
        SqlTagInstrumentor().uninstrument()
        ask(engine)
    assert sent == [f"SELECT 1 {SHOP}", "SELECT 1"] * 2


def test_with_sqlite_there_is_no_name_and_no_harm(engine, sent):
    tag(tag="application_name")
    token = otel_context.attach(with_request_id("me"))
    try:
        with engine.begin() as connection:
            assert connection.execute(sa.text("SELECT 1")).scalar() == 1
            with connection.begin_nested():
                connection.exec_driver_sql("SELECT 2")
    finally:
        otel_context.detach(token)
    assert [text for text in sent if "application_name" in text] == []
    assert "SELECT 1" in sent


def test_an_event_of_the_application_sees_the_comment(engine):
    tag()
    seen = []

    def listen(_connection, _cursor, statement, *_):
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", listen)
    ask(engine)
    assert seen == [f"SELECT 1 {SHOP}"]


def test_what_goes_wrong_in_here_is_logged_once_and_the_statement_goes_on(engine, sent, caplog):
    tag()

    class BrokenRequest(testing.DummyRequest):
        @property
        def matched_route(self):
            raise ZeroDivisionError

    with testing.testConfig(request=BrokenRequest()):
        for _ in range(2):
            assert ask(engine) == 1
    assert sent == ["SELECT 1"] * 2
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.name == "c2cotel_instrumentation.sql_tag"
    assert isinstance(record.exc_info[1], ZeroDivisionError)


def test_neither_sqlalchemy_nor_pyramid_is_imported_for_it():
    program = """
import sys
from c2cotel_instrumentation.sql_tag import SqlTagInstrumentor
SqlTagInstrumentor().instrument(tag="static", request_id=True, application="shop")
assert "sqlalchemy" not in sys.modules
SqlTagInstrumentor().uninstrument()
SqlTagInstrumentor().instrument(tag="static", application="shop")
import sqlalchemy
engine = sqlalchemy.create_engine("sqlite://")
assert len(list(engine.dispatch.before_cursor_execute)) == 1
with engine.connect() as connection:
    assert connection.exec_driver_sql("SELECT 1").scalar() == 1
assert "pyramid" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
