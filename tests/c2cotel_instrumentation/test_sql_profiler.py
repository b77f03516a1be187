"""The profiler on a real PostgreSQL: of one database the server tells plans, of one not."""

import asyncio
import contextlib
import gc
import logging
import random
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy as sa
from opentelemetry.context import attach, detach
from pyramid.threadlocal import manager
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers import postgres
from c2cotel_instrumentation.context import with_request_id
from c2cotel_instrumentation.sql_profiler import Rules, SqlProfilerInstrumentor
from c2cotel_instrumentation.sql_tag import SqlTagInstrumentor
from c2cotel_instrumentation.sqlalchemy import SQLAlchemyInstrumentor

from .conftest import Telemetry as Base

EVENT = "c2c.sql.plan"
LOGGER = "c2cotel.sql_profiler"
RECIPE = """
GRANT SET ON PARAMETER auto_explain.log_min_duration, auto_explain.log_analyze,
    auto_explain.log_format, auto_explain.log_level, auto_explain.sample_rate,
    auto_explain.log_buffers, auto_explain.log_timing, auto_explain.log_parameter_max_length
    TO app"""
PRELOAD = "ALTER DATABASE {} SET session_preload_libraries = 'auto_explain'"

metadata = sa.MetaData()
users = sa.Table(
    "users", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String)
)


@dataclass(frozen=True)
class Server:
    """*told* is the URL of the database that tells plans, *plain* of the one that does not."""

    told: str
    plain: str
    superuser: str
    log: object


@pytest.fixture(scope="module")
def server():
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(postgres())
        except MissingError as error:
            pytest.skip(str(error))
        if running.log is None:
            pytest.skip("The rights of a PostgreSQL of somebody else are not ours to change")
        superuser = f"host=127.0.0.1 port={running.port} user=postgres dbname=app"
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute("CREATE DATABASE told OWNER app")
            connection.execute(PRELOAD.format("told"))
            connection.execute(RECIPE)
        told = running.url.removesuffix("/app") + "/told"
        for url in (running.url, told):
            engine = sa.create_engine(url)
            metadata.create_all(engine)
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE SEQUENCE s")
            engine.dispose()
        yield Server(told, running.url, superuser, running.log)


@dataclass
class Heard:
    """An audience that keeps what it is told."""

    executions: list = field(default_factory=list)
    plans: list = field(default_factory=list)

    def executed(self, execution):
        self.executions.append(execution)

    def planned(self, execution, plan):
        self.plans.append((execution, plan))

    @property
    def texts(self):
        return [execution.fingerprint.text for execution in self.executions]

    @property
    def sources(self):
        return [plan.source for _, plan in self.plans]


@pytest.fixture
def telemetry():
    return Base()


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture(autouse=True)
def unwrapped():
    """Nothing of the instrumentors is left after a test."""
    names = "_exec_single_context", "_exec_insertmany_context"
    before = [getattr(sa.Connection, name) for name in names]
    yield
    for instrumentor in (SqlProfilerInstrumentor(), SQLAlchemyInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
    assert [getattr(sa.Connection, name) for name in names] == before
    assert logging.getLogger("sqlalchemy.dialects.postgresql").filters == []


@pytest.fixture
def profile(telemetry, heard):
    """``profile(**rules)``, with the spans of the statements in *telemetry*."""
    SQLAlchemyInstrumentor().instrument(
        tracer_provider=telemetry.tracer_provider, meter_provider=telemetry.meter_provider
    )
    profiler = SqlProfilerInstrumentor()
    profiler.instrument()

    def start(**rules):
        profiler.profile(Rules(**rules), heard)
        return profiler

    return start


WAYS = [(way, driver) for way in ("auto_explain", "explain") for driver in ("psycopg", "psycopg2")]


@pytest.fixture(params=WAYS, ids=":".join)
def way(request):
    return request.param[0]


@pytest.fixture
def engine(server, way, request):
    """One for each way of getting plans and each driver, with its tables empty."""
    driver = request.node.callspec.params["way"][1]
    url = server.told if way == "auto_explain" else server.plain
    engine = sa.create_engine(url.replace("+psycopg", f"+{driver}"))
    with engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE users RESTART IDENTITY")
        connection.exec_driver_sql("ALTER SEQUENCE s RESTART")
    yield engine
    engine.dispose()


def plans_of(span):
    return [dict(event.attributes) for event in span.events if event.name == EVENT]


# --- plans ----------------------------------------------------------------------------------------


def test_nextval_is_executed_once(engine, profile, heard, way):
    profile()
    with engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT nextval('s')")) == 1
        assert connection.scalar(sa.select(sa.func.nextval("s"))) == 2
    assert heard.sources == [way] * 2


def test_a_plan_is_an_event_on_the_span_of_its_statement(engine, profile, heard, telemetry, way):
    profile()
    with engine.connect() as connection:
        found = connection.execute(sa.select(users.c.id).where(users.c.name == "top secret"))
        assert found.all() == []
    span = next(span for span in telemetry.spans if span.name == "SELECT users")
    ((execution, plan),) = heard.plans
    assert plans_of(span) == [
        {
            EVENT: plan.json(),
            "c2c.sql.plan.source": way,
            "c2c.sql.fingerprint": execution.fingerprint.digest,
        }
    ]
    assert execution.span_id == span.context.span_id
    assert "  Filter: ((name)::text = ?::text)" in plan.text()
    assert ("(actual time=" in plan.text()) == (way == "auto_explain")


def test_the_time_of_the_profiler_is_not_that_of_the_statement(engine, profile, telemetry):
    profile()
    with engine.connect() as connection:
        connection.execute(sa.select(users).where(users.c.id == 1))
    span = next(span for span in telemetry.spans if span.name == "SELECT users")
    (event,) = span.events
    assert span.end_time <= event.timestamp
    # What it asks itself is no statement of the application.
    assert [span.name for span in telemetry.spans] == ["SELECT users", "ROLLBACK"]
    assert [count for _, count in telemetry.points("db.client.operation.duration")] == [1, 1]


def test_so_it_is_where_others_know_the_span_earlier(engine, profile, heard, telemetry):
    profile()
    measuring = SQLAlchemyInstrumentor()
    measuring.uninstrument()
    measuring.instrument(
        tracer_provider=telemetry.tracer_provider,
        meter_provider=telemetry.meter_provider,
        early=True,
    )
    with engine.connect() as connection:
        connection.execute(sa.select(users).where(users.c.id == 1))
    span = next(span for span in telemetry.spans if span.name == "SELECT users")
    (event,) = span.events
    assert span.end_time <= event.timestamp
    assert heard.executions[0].span_id == span.context.span_id


@pytest.mark.parametrize("tag", ["static", "traceparent", "application_name"])
def test_tags_stay_with_their_statements(engine, profile, heard, way, tag):
    profile()
    tagging = SqlTagInstrumentor()
    tagging.instrument(tag=tag, application="shop")
    token = attach(with_request_id("the-request"))
    try:
        with engine.connect() as connection:
            for number in range(8):
                connection.execute(sa.select(users).where(users.c.id == number))
                name = connection.scalar(sa.text("SHOW application_name"))
                assert (name == "the-request") == (tag == "application_name")
                connection.rollback()
    finally:
        detach(token)
        tagging.uninstrument()
    assert heard.sources == [way] * 8


def test_ctes_have_plans(engine, profile, heard, way):
    profile()
    found = sa.select(users).where(users.c.id > 0).cte("found")
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.count()).select_from(found)).one()
        added = users.insert().values(name="x").returning(users.c.id).cte("added")
        assert connection.execute(sa.select(added)).all() == [(1,)]
        assert connection.scalar(sa.select(sa.func.count()).select_from(users)) == 1
    assert heard.sources == [way] * 3
    assert "CTE added" in heard.plans[1][1].text()


def test_so_do_many_rows_at_once_and_each_is_written_once(engine, profile, heard, telemetry, way):
    profile()
    with engine.begin() as connection:
        connection.execute(users.insert(), [{"name": f"n{n}"} for n in range(2500)])
        returning = users.insert().returning(users.c.id)
        connection.execute(returning, [{"name": f"r{n}"} for n in range(2500)])
        update = users.update().where(users.c.id == sa.bindparam("i")).values(name="new")
        connection.execute(update, [{"i": 1}, {"i": 2}])
        assert connection.scalar(sa.select(sa.func.count()).select_from(users)) == 5000
    assert heard.sources == [way] * 4
    assert [plan.text().partition(" ")[0] for _, plan in heard.plans[:3]] == [
        "Insert",
        "Insert",
        "Update",
    ]
    # A statement that SQLAlchemy sends in pieces has several spans, and all have ended.
    assert sum(len(plans_of(span)) for span in telemetry.spans) == 4


def test_and_server_side_cursors(engine, profile, heard, telemetry, way):
    profile()
    with engine.begin() as connection:
        connection.execute(users.insert(), [{"name": "n"}] * 10)
    heard.plans.clear()
    tracer = telemetry.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("request"), engine.connect() as connection:
        streaming = connection.execution_options(stream_results=True, max_row_buffer=2)
        with streaming.execute(sa.select(users).order_by(users.c.id)) as result:
            assert result.fetchone() == (1, "n")
            other = connection.execution_options(stream_results=False)
            assert other.scalar(sa.select(sa.func.count()).select_from(users)) == 10
            assert len(result.fetchall()) == 9
    by_text = {execution.fingerprint.text: plan for execution, plan in heard.plans}
    assert len(by_text) == len(heard.plans) == 2
    assert by_text["SELECT users.id, users.name FROM users ORDER BY users.id"].source == way
    # The server tells of the cursor when it is closed: the statement's span has ended by then.
    request = next(span for span in telemetry.spans if span.name == "request")
    assert len(plans_of(request)) == (1 if way == "auto_explain" else 0)


def test_an_asynchronous_engine_has_plans_too(server, profile, heard):
    async def run(url):
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.execute(sa.select(users).where(users.c.id == 1))
            await connection.execute(sa.text("SELECT 1"))
        await engine.dispose()

    profile()
    asyncio.run(run(server.told))
    asyncio.run(run(server.plain))
    assert heard.sources == ["auto_explain"] * 2 + ["explain"] * 2


def test_in_autocommit_the_plan_is_that_of_explain(engine, profile, heard):
    profile()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(users.insert().values(name="a"))
        assert connection.scalar(sa.select(sa.func.count()).select_from(users)) == 1
        connection.exec_driver_sql("VACUUM users")
    assert heard.sources == ["explain"] * 2


def test_a_superuser_needs_no_grant(server, profile, heard):
    profile()
    engine = sa.create_engine(server.told.replace("//app@", "//postgres@"))
    with engine.connect() as connection:
        connection.scalar(sa.text("SELECT 1"))
    engine.dispose()
    assert heard.sources == ["auto_explain"]


def test_without_a_needed_right_the_plan_is_that_of_explain(server, profile, heard):
    def change(statement):
        with psycopg.connect(server.superuser, autocommit=True) as connection:
            connection.execute(statement)

    profile()
    engine = sa.create_engine(server.told, poolclass=NullPool)
    with contextlib.ExitStack() as stack:
        stack.callback(change, RECIPE)
        change("REVOKE SET ON PARAMETER auto_explain.log_level FROM app")
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT 7")) == 7
    assert heard.sources == ["explain"]


def test_a_right_taken_back_meanwhile_harms_no_transaction(server, profile, heard):
    profile()
    engine = sa.create_engine(server.told, pool_size=1)
    with engine.connect() as connection:
        connection.scalar(sa.text("SELECT 1"))
    with contextlib.ExitStack() as stack:
        superuser = stack.enter_context(psycopg.connect(server.superuser, autocommit=True))
        stack.callback(superuser.execute, RECIPE)
        for name in ("log_min_duration", "log_analyze", "log_format", "log_level", "sample_rate"):
            superuser.execute(f"REVOKE SET ON PARAMETER auto_explain.{name} FROM app")
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT 2")) == 2
    engine.dispose()
    assert heard.sources == ["auto_explain", "explain"]


# --- the transactions of the application stay what they are ---------------------------------------


def state(connection):
    return int(connection.connection.driver_connection.info.transaction_status)


def test_a_failed_transaction_is_left_as_it_was(engine, profile, heard):
    profile()
    with engine.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError, match="no_such_table"):
            connection.execute(sa.text("SELECT * FROM no_such_table"))
        assert state(connection) == 3
        with pytest.raises(sa.exc.InternalError, match="transaction is aborted"):
            connection.execute(sa.text("SELECT 1"))
        assert state(connection) == 3
        connection.rollback()
        assert connection.scalar(sa.text("SELECT 1")) == 1
    assert [execution.error is None for execution in heard.executions] == [False, False, True]
    assert heard.executions[0].error.endswith("UndefinedTable")
    assert len(heard.plans) == 1


def test_in_a_savepoint_only_that_is_lost(engine, profile, heard, way):
    profile()
    with engine.begin() as connection:
        connection.execute(users.insert().values(name="outer"))
        inner = connection.begin_nested()
        connection.execute(users.insert().values(name="inner"))
        with pytest.raises(sa.exc.ProgrammingError):
            connection.execute(sa.text("SELECT * FROM no_such_table"))
        inner.rollback()
        connection.execute(users.insert().values(name="after"))
    with engine.connect() as connection:
        assert connection.scalars(sa.select(users.c.name)).all() == ["outer", "after"]
    assert heard.sources == [way] * 4


def test_where_explain_fails_the_transaction_goes_on(engine, profile, heard, caplog, way):
    caplog.set_level(logging.INFO, LOGGER)
    profile()
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1 AS a INTO TEMPORARY made")
        assert connection.scalar(sa.text("SELECT a FROM made")) == 1
    if way == "explain":
        assert heard.sources == ["explain"]
        assert "none: EXPLAIN failed with psycopg" in caplog.text


def test_several_statements_in_one_text_are_executed_once(engine, profile, heard, caplog, way):
    caplog.set_level(logging.INFO, LOGGER)
    profile()
    with engine.begin() as connection:
        twice = "INSERT INTO users (name) VALUES ('a'); INSERT INTO users (name) VALUES ('b')"
        connection.exec_driver_sql(twice)
        assert connection.scalar(sa.text("SELECT count(*) FROM users;")) == 2
    assert heard.sources == [way] * (2 if way == "auto_explain" else 1)
    if way == "explain":
        assert "may be several statements" in caplog.text


def test_what_has_to_come_first_in_a_transaction_still_may(engine, profile):
    profile()
    with engine.connect() as connection:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        assert connection.scalar(sa.text("SHOW transaction_isolation")) == "serializable"
        connection.rollback()
        serializable = connection.execution_options(isolation_level="SERIALIZABLE")
        serializable.execute(sa.select(users))
        assert serializable.scalar(sa.text("SHOW transaction_isolation")) == "serializable"


def test_nothing_that_was_set_outlives_the_transaction(server, profile):
    profile()
    engine = sa.create_engine(server.told, pool_size=1, max_overflow=0)
    asked = sa.text("SHOW auto_explain.log_min_duration")
    for end in ("commit", "rollback"):
        with engine.connect() as connection:
            connection.execute(sa.select(users))
            assert connection.scalar(asked) == "0"
            getattr(connection, end)()
            assert connection.scalar(asked) == "-1"
    engine.dispose()


def test_a_rollback_to_a_savepoint_does_not_end_it(server, profile, heard):
    profile()
    engine = sa.create_engine(server.told)
    with engine.begin() as connection:
        with connection.begin_nested() as inner:
            connection.execute(sa.select(users))
            inner.rollback()
        connection.execute(sa.select(users))
        connection.exec_driver_sql("SAVEPOINT mine")
        connection.execute(sa.select(users))
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT mine")
        connection.execute(sa.select(users))
    engine.dispose()
    assert heard.sources == ["auto_explain"] * 4


def test_a_pipeline_is_left_alone(server, profile, heard):
    profile()
    for url in (server.told, server.plain):
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            with connection.connection.driver_connection.pipeline():
                connection.exec_driver_sql("INSERT INTO users (name) VALUES ('in a pipeline')")
            assert connection.scalar(sa.text("SELECT 1")) == 1
        engine.dispose()
    assert heard.sources == ["auto_explain", "explain"]


def test_a_connection_that_is_lost_fails_as_it_does_without(engine, profile, server):
    profile()
    with engine.connect() as connection:
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        with psycopg.connect(server.superuser, autocommit=True) as superuser:
            superuser.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        with pytest.raises(sa.exc.OperationalError) as raised:
            connection.execute(sa.select(users))
        assert raised.value.connection_invalidated
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


TEXTS = [
    ("SELECT 100 % 7", None, 2),
    ("SELECT 'a%%b' || %(x)s", {"x": "%"}, "a%b%"),
    ("SELECT $$it's; $1 %$$", None, "it's; $1 %"),
    ("/* SELECT 1; */ SELECT 2 -- 3", None, 2),
    ("(SELECT 1) UNION (SELECT 1)", None, 1),
    ("SELECT E'\\'; DROP TABLE users --'", None, "'; DROP TABLE users --"),
    (f"SELECT length('{'x' * 1_000_000}')", None, 1_000_000),
    ("  \n SELECT 3  ", None, 3),
]


@pytest.mark.parametrize(("text", "parameters", "value"), TEXTS, ids=lambda each: str(each)[:20])
def test_strange_statements_say_what_they_said(engine, profile, text, parameters, value):
    profile()
    with engine.begin() as connection:
        options = {} if parameters else {"no_parameters": True}
        found = connection.exec_driver_sql(text, parameters, execution_options=options)
        assert found.scalar() == value
        assert connection.scalar(sa.text("SELECT count(*) FROM users")) == 0


# --- executing again, only if asked for -----------------------------------------------------------


@pytest.fixture(params=["psycopg", "psycopg2"])
def plain(request, server):
    engine = sa.create_engine(server.plain.replace("+psycopg", f"+{request.param}"))
    with engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE users RESTART IDENTITY")
        connection.exec_driver_sql("ALTER SEQUENCE s RESTART")
    yield engine
    engine.dispose()


def test_analyze_executes_a_select_again(plain, profile, heard):
    profile(analyze=True)
    with plain.begin() as connection:
        connection.execute(sa.select(users).where(users.c.id == 1))
        # What was read-only is over.
        connection.execute(users.insert().values(name="a"))
    assert heard.sources == ["explain_analyze", "explain"]
    assert "Execution Time: " in heard.plans[0][1].text()
    with plain.connect() as connection:
        assert connection.scalars(sa.select(users.c.name)).all() == ["a"]


@pytest.mark.parametrize("isolation_level", ["READ COMMITTED", "AUTOCOMMIT"])
def test_but_never_one_that_writes(plain, profile, heard, isolation_level):
    profile(analyze=True)
    with plain.connect().execution_options(isolation_level=isolation_level) as connection:
        assert connection.scalar(sa.text("SELECT nextval('s')")) == 1
        assert connection.scalar(sa.text("SELECT nextval('s')")) == 2
        added = users.insert().values(name="x").returning(users.c.id).cte("added")
        connection.execute(sa.select(added)).all()
        connection.execute(sa.select(users).with_for_update()).all()
        assert connection.scalar(sa.select(sa.func.count()).select_from(users)) == 1
        connection.commit()
    assert heard.sources == ["explain"] * 4 + ["explain_analyze"]


# --- what is wanted -------------------------------------------------------------------------------


def test_only_slow_executions_have_plans_and_all_are_counted(engine, profile, heard, way):
    profile(min_duration=0.1)
    with engine.connect() as connection:
        connection.execute(sa.select(users))
        connection.execute(sa.text("SELECT pg_sleep(0.15)"))
    assert heard.texts == ["SELECT users.id, users.name FROM users", "SELECT pg_sleep(?)"]
    ((execution, plan),) = heard.plans
    assert (execution.fingerprint.text, plan.source) == ("SELECT pg_sleep(?)", way)


def test_a_sample_has_whole_transactions(engine, profile, heard, monkeypatch):
    monkeypatch.setattr(random, "random", random.Random(4711).random)  # noqa: S311 - a sample
    profile(sample_rate=0.5)
    with engine.connect() as connection:
        for _ in range(20):
            connection.execute(sa.select(users.c.id))
            connection.execute(sa.select(users.c.name))
            connection.commit()
    assert len(heard.executions) == 40
    sampled = [execution.fingerprint.text for execution, _ in heard.plans]
    assert sampled == ["SELECT users.id FROM users", "SELECT users.name FROM users"] * (
        len(sampled) // 2
    )
    assert 0 < len(sampled) < 40


@contextlib.contextmanager
def request_of(pattern):
    route = None if pattern is None else SimpleNamespace(pattern=pattern)
    manager.push({"request": SimpleNamespace(matched_route=route), "registry": None})
    try:
        yield
    finally:
        manager.pop()


def test_only_requests_of_the_route_are_profiled(engine, profile, heard):
    profile(route="/api/*")
    with engine.connect() as connection:
        for pattern in ("/api/hello", "api/{name}", "/other", None):
            with request_of(pattern):
                connection.execute(sa.select(users))
        connection.execute(sa.select(users))
    assert [execution.route for execution in heard.executions] == ["/api/hello", "/api/{name}"]
    assert len(heard.plans) == 2


def test_new_rules_take_the_place_of_others(engine, profile, heard, way):
    profile(min_duration=1000)
    with engine.connect() as connection:
        connection.execute(sa.select(users))
        assert heard.plans == []
        profile()
        connection.execute(sa.select(users))
    assert heard.sources == [way]


# --- what is told ---------------------------------------------------------------------------------


def test_the_log_has_statement_parameters_and_plan(engine, profile, caplog):
    caplog.set_level(logging.INFO, LOGGER)
    profile()
    with request_of("/hello"), engine.connect() as connection:
        connection.execute(sa.select(users.c.id).where(users.c.name == "top secret"))
    (record,) = caplog.records
    assert (record.name, record.levelname, record.route) == (LOGGER, "INFO", "/hello")
    assert record.statement.startswith("SELECT users.id FROM users WHERE users.name = %(name_1)s")
    assert record.parameters == "{'name_1': str[10]}"
    assert record.plan.startswith("Seq Scan on users")
    assert 0 < record.duration < 10
    lines = record.getMessage().splitlines()
    assert lines[0] == "statement:"
    assert lines[1] == f"  {record.statement}"
    assert lines[2] == "parameters: {'name_1': str[10]}"
    assert lines[4:6] == ["plan:", f"  {record.plan.splitlines()[0]}"]


def test_values_are_nowhere(engine, profile, telemetry, caplog):
    caplog.set_level(logging.INFO)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.WARNING)
    profile()
    with engine.connect() as connection:
        connection.execute(sa.select(users).where(users.c.name == "top secret"))
        connection.execute(sa.text("SELECT name FROM users WHERE name = 'top secret'"))
        connection.execute(sa.select(users).where(users.c.name.in_(["top secret", "x"])))
    assert len(caplog.records) == 3
    events = [dict(event.attributes) for span in telemetry.spans for event in span.events]
    assert len(events) == 3
    assert "secret" not in str(events) + caplog.text


def test_unless_they_are_asked_for(engine, profile, telemetry, caplog):
    caplog.set_level(logging.INFO, LOGGER)
    profile(values=True)
    with engine.connect() as connection:
        connection.execute(sa.select(users).where(users.c.name == "top secret"))
    (record,) = caplog.records
    assert record.parameters == "{'name_1': 'top secret'}"
    assert "Filter: ((name)::text = 'top secret'::text)" in record.plan
    span = next(span for span in telemetry.spans if span.name == "SELECT users")
    assert "top secret" in plans_of(span)[0][EVENT]


def test_without_a_recorded_span_it_works_the_same(engine, profile, heard, way):
    profile()
    SQLAlchemyInstrumentor().uninstrument()
    with engine.connect() as connection:
        connection.execute(sa.select(users))
    assert heard.sources == [way]
    assert heard.executions[0].trace_id == 0


def test_the_notices_of_the_application_still_reach_it(engine, profile, caplog):
    caplog.set_level(logging.INFO, "sqlalchemy.dialects.postgresql")
    profile()
    with engine.begin() as connection:
        connection.execute(sa.select(users))
        connection.exec_driver_sql("DO $$BEGIN RAISE NOTICE 'hello'; END$$")
        connection.execute(sa.select(users))
    assert "hello" in caplog.text
    assert "duration: " not in caplog.text


@pytest.mark.parametrize("again", [False, True])
def test_no_values_are_logged_when_it_ends_within_a_transaction(
    engine, profile, heard, way, caplog, again
):
    caplog.set_level(logging.INFO, "sqlalchemy.dialects.postgresql")
    profiler = profile()
    secret = sa.select(users).where(users.c.name == sa.literal_column("'top secret'"))
    with engine.begin() as connection:
        connection.execute(secret)
        profiler.profile(None)
        for _ in range(2):
            connection.execute(secret)
        connection.exec_driver_sql("DO $$BEGIN RAISE NOTICE 'hello'; END$$")
        driver = connection.connection.driver_connection
        assert "secret" not in str(getattr(driver, "notices", ""))
        if again:
            profile()
            connection.execute(secret)
    assert "hello" in caplog.text
    assert "secret" not in caplog.text
    assert heard.sources == [way] * (1 + again)


def test_the_log_of_the_server_has_no_plans(server, profile):
    profile()
    engine = sa.create_engine(server.told)
    with engine.connect() as connection:
        connection.execute(sa.select(users))
    engine.dispose()
    assert "plan:" not in server.log.read_text()


def test_on_another_database_statements_are_counted(profile, heard, caplog):
    caplog.set_level(logging.INFO, LOGGER)
    profile()
    engine = sa.create_engine("sqlite://")
    engine.c2c_name = "light"
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
        connection.execute(sa.text("INSERT INTO t VALUES (:a)"), [{"a": 1}, {"a": 2}])
        assert connection.scalar(sa.text("SELECT count(*) FROM t")) == 2
    engine.dispose()
    assert heard.texts == [
        "CREATE TABLE t (a)",
        "INSERT INTO t VALUES (…)",
        "SELECT count(*) FROM t",
    ]
    assert [execution.engine for execution in heard.executions] == ["light"] * 3
    assert heard.plans == []
    assert "none: plans are read of PostgreSQL only" in caplog.text


def test_what_is_no_text_is_left_alone(server, profile, heard):
    from psycopg import sql

    profile()
    engine = sa.create_engine(server.plain)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(sql.SQL("SELECT 4")).scalar() == 4
    engine.dispose()
    assert heard.executions == []


def test_an_audience_that_fails_is_said_once_and_harms_nothing(engine, profile, caplog):
    class Broken:
        def executed(self, _):
            raise ZeroDivisionError

    profile().profile(Rules(), Broken())
    with engine.connect() as connection:
        for number in range(3):
            assert connection.scalar(sa.select(sa.literal(number))) == number
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "could not be profiled" in record.message


# --- on and off -----------------------------------------------------------------------------------


def test_off_there_is_nothing_to_pay(engine, heard):
    executing = sa.Connection._exec_single_context
    profiler = SqlProfilerInstrumentor()
    profiler.instrument()
    assert sa.Connection._exec_single_context is executing
    profiler.profile(Rules(), heard)
    assert sa.Connection._exec_single_context is not executing
    with engine.connect() as connection:
        connection.execute(sa.select(users))
        driver = connection.connection.driver_connection
        before = sa.create_engine(engine.url, poolclass=NullPool).connect()
        connection.commit()
        profiler.profile(None)
        assert sa.Connection._exec_single_context is executing
        connection.execute(sa.select(users))
        # The connection is as one that was never profiled.
        fresh = before.connection.driver_connection
        assert getattr(driver, "_notice_handlers", []) == getattr(fresh, "_notice_handlers", [])
        assert type(getattr(driver, "notices", [])) is list
        before.close()
    assert len(heard.executions) == 1
    assert list(engine.dispatch.before_cursor_execute) == []


def test_rules_without_the_instrumentor_are_refused():
    with pytest.raises(RuntimeError, match="sql_profiler is not on"):
        SqlProfilerInstrumentor().profile(Rules())
    SqlProfilerInstrumentor().profile(None)


def test_switching_under_load_harms_no_statement(engine, profile):
    profiler = profile()
    over, failures, counts = threading.Event(), [], []

    def work():
        count = 0
        try:
            while not over.is_set():
                with engine.connect() as connection:
                    assert connection.scalar(sa.select(sa.literal(count))) == count
                    connection.execute(sa.select(users).where(users.c.id == count))
                count += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the test says it
            failures.append(error)
        counts.append(count)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(60):
        profiler.profile(Rules(min_duration=number % 3 / 1000) if number % 2 else None, Heard())
        over.wait(0.01)
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert min(counts) > 0


def test_an_abandoned_connection_goes_back_to_the_pool(engine, profile):
    profile()

    def abandon():
        engine.connect().execute(sa.select(users)).close()

    abandon()
    gc.collect()
    assert engine.pool.checkedout() == 0
