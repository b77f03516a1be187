import asyncio
import logging
import subprocess
import sys
import threading
import time
import types

import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracerProvider,
    SpanContext,
    SpanKind,
    StatusCode,
    get_current_span,
    use_span,
)
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, declarative_base
from sqlalchemy.pool import StaticPool

from c2cotel_instrumentation.errors import fail
from c2cotel_instrumentation.sql import HELD, RUNNING
from c2cotel_instrumentation.sql_engines import error_type, status_code
from c2cotel_instrumentation.sqlalchemy import SQLAlchemyInstrumentor

from .sqlalchemy_support import Telemetry, postgres_url, telemetry, unwrapped

__all__ = ["postgres_url", "telemetry", "unwrapped"]  # fixtures

SQLITE = {"db.system.name": "sqlite"}
SELECT = {**SQLITE, "db.operation.name": "SELECT", "db.collection.name": "users"}
INSERT = {**SQLITE, "db.operation.name": "INSERT", "db.collection.name": "users"}

metadata = sa.MetaData()
users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(50), unique=True),
)


def new_engine(url="sqlite://", **options):
    if url == "sqlite://":
        # One connection for all threads: each other one would be an empty database.
        options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}} | options
    engine = sa.create_engine(url, **options)
    metadata.create_all(engine)
    return engine


@pytest.fixture
def engine():
    """Made before anything is instrumented."""
    engine = new_engine()
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine, telemetry):
    telemetry.instrument()
    with engine.connect() as connection:
        yield connection


def test_a_statement_has_a_span_and_a_duration(connection, telemetry):
    connection.execute(sa.select(users.c.name).where(users.c.id == 1))

    span = telemetry.span
    assert (span.name, span.kind, span.status.status_code) == (
        "SELECT users",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert dict(span.attributes) == SELECT | {
        "db.query.summary": "SELECT users",
        "db.query.text": "SELECT users.name \nFROM users \nWHERE users.id = ?",
    }
    assert telemetry.durations == [(SELECT, 1)]


def test_the_span_lies_below_the_current_one_and_is_not_made_current(connection, telemetry):
    seen = []
    connection.connection.driver_connection.create_function(
        "seen", 0, lambda: seen.append(get_current_span()) or 1
    )
    with telemetry.tracer_provider.get_tracer("test").start_as_current_span("request") as request:
        connection.exec_driver_sql("SELECT seen()")
    assert telemetry.spans[0].parent == request.get_span_context()
    assert seen == [request]


def test_the_values_of_raw_statements_stay_out(connection, telemetry):
    connection.exec_driver_sql("SELECT name FROM users WHERE name = 'top secret' AND id = 4711")
    assert telemetry.span.attributes["db.query.text"] == (
        "SELECT name FROM users WHERE name = ? AND id = ?"
    )


def test_what_cannot_be_read_counts_without_operation(connection, telemetry):
    with pytest.raises(sa.exc.OperationalError):
        connection.exec_driver_sql("frobnicate 1")
    assert telemetry.span.name == "sqlite"
    assert telemetry.durations == [(SQLITE | {"error.type": "sqlite3.OperationalError"}, 1)]


def test_an_error_is_the_driver_s_without_the_values_of_the_statement(connection, telemetry):
    connection.execute(users.insert().values(id=1, name="a"))
    with pytest.raises(sa.exc.IntegrityError) as raised:
        connection.execute(users.insert().values(id=2, name="a"))
    assert isinstance(raised.value.orig, Exception)

    failed = telemetry.spans[1]
    assert failed.status.status_code == StatusCode.ERROR
    assert failed.status.description == "IntegrityError: UNIQUE constraint failed: users.name"
    assert dict(failed.attributes) == INSERT | {
        "db.query.summary": "INSERT users",
        "db.query.text": "INSERT INTO users (id, name) VALUES (?, ?)",
        "db.response.status_code": "SQLITE_CONSTRAINT_UNIQUE",
        "error.type": "sqlite3.IntegrityError",
    }
    (event,) = failed.events
    assert event.attributes["exception.type"] == "sqlite3.IntegrityError"
    assert telemetry.durations == [
        (INSERT, 1),
        (INSERT | {"error.type": "sqlite3.IntegrityError"}, 1),
    ]


def test_an_exception_that_is_no_error_ends_the_span(connection, telemetry):
    """Such as a greenlet or a task that is cancelled."""
    dialect = connection.engine.dialect
    measured = dialect.do_execute

    def interrupted(_cursor, *others):
        def execute(*_):
            raise KeyboardInterrupt

        measured(types.SimpleNamespace(execute=execute), *others)

    dialect.do_execute = interrupted
    with pytest.raises(KeyboardInterrupt):
        connection.execute(sa.select(users))
    dialect.do_execute = measured
    assert telemetry.durations == [(SELECT | {"error.type": "KeyboardInterrupt"}, 1)]
    assert telemetry.span.attributes["error.type"] == "KeyboardInterrupt"


def test_a_connection_that_cannot_be_made_is_no_statement(telemetry, tmp_path):
    telemetry.instrument()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/no/such/folder")
    with pytest.raises(sa.exc.OperationalError):
        engine.connect()
    assert (telemetry.spans, telemetry.durations) == ((), [])


def test_executemany_is_one_batch_with_its_size(connection, telemetry):
    connection.execute(users.insert(), [{"id": i, "name": str(i)} for i in range(3)])
    batch = INSERT | {"db.operation.name": "BATCH INSERT"}
    assert telemetry.span.name == "BATCH INSERT users"
    assert telemetry.span.attributes["db.operation.batch.size"] == 3
    assert telemetry.span.attributes["db.query.summary"] == "BATCH INSERT users"
    assert telemetry.durations == [(batch, 1)]


def test_a_batch_of_one_is_none(connection, telemetry):
    connection.execute(users.insert(), [{"id": 1, "name": "a"}])
    assert "db.operation.batch.size" not in telemetry.span.attributes
    assert telemetry.durations == [(INSERT, 1)]


def test_rows_in_one_insert_are_one_operation(telemetry):
    """Insertmanyvalues: one text with many rows, as often as it takes."""
    telemetry.instrument()
    engine = new_engine(insertmanyvalues_page_size=2)
    with engine.begin() as connection:
        statement = users.insert().returning(users.c.id)
        connection.execute(statement, [{"name": str(i)} for i in range(3)])
    assert telemetry.names[-3:] == ["INSERT users", "INSERT users", "COMMIT"]
    engine.dispose()


def test_the_end_of_a_transaction_has_a_span_and_a_duration(engine, telemetry):
    telemetry.instrument()
    tracer = telemetry.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("request") as request:
        with engine.begin() as connection:
            connection.execute(sa.select(users))
        with engine.connect() as connection:
            connection.execute(sa.select(users))
    assert telemetry.names == ["SELECT users", "COMMIT", "SELECT users", "ROLLBACK", "request"]
    commit = telemetry.spans[1]
    assert (commit.parent, commit.kind) == (request.get_span_context(), SpanKind.CLIENT)
    assert dict(commit.attributes) == {
        **SQLITE,
        "db.operation.name": "COMMIT",
        "db.query.summary": "COMMIT",
    }
    assert telemetry.durations == [
        (SELECT, 2),
        ({**SQLITE, "db.operation.name": "COMMIT"}, 1),
        ({**SQLITE, "db.operation.name": "ROLLBACK"}, 1),
    ]


def test_a_transaction_in_which_nothing_was_asked_has_no_end(engine, telemetry):
    telemetry.instrument()
    with engine.begin():
        pass
    with engine.connect() as connection:
        connection.begin()
        connection.rollback()
    assert (telemetry.spans, telemetry.durations) == ((), [])


def test_what_an_application_asks_the_driver_itself_is_committed_with_a_span(engine, telemetry):
    telemetry.instrument()
    with engine.begin() as connection:
        connection.connection.driver_connection.execute("INSERT INTO users VALUES (1, 'a')")
    assert telemetry.names == ["COMMIT"]


def test_who_commits_each_statement_has_no_transaction_to_end(engine, telemetry):
    telemetry.instrument()
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.select(users))
        connection.commit()
    assert telemetry.names == ["SELECT users"]


def test_savepoints_are_statements(connection, telemetry):
    with connection.begin_nested():
        connection.execute(sa.select(users))
    assert telemetry.names == ["SAVEPOINT", "SELECT users", "RELEASE"]


def test_a_statement_within_another_one_has_its_own_time(connection, telemetry):
    """As a function of SQLite that looks something up."""
    driver, lock = connection.connection.driver_connection, []

    def look_up():
        lock.append(connection.execute(sa.select(users)).all())
        return 1

    driver.create_function("look_up", 0, look_up)
    connection.exec_driver_sql("SELECT look_up()").all()
    inner, outer = sorted(telemetry.spans, key=lambda span: span.name, reverse=True)
    assert (inner.name, outer.name) == ("SELECT users", "SELECT")
    assert outer.start_time <= inner.start_time
    assert inner.end_time <= outer.end_time


def test_a_default_that_asks_the_database_is_a_statement(telemetry):
    telemetry.instrument()
    with_default = sa.Table(
        "with_default",
        sa.MetaData(),
        sa.Column("id", sa.Integer, default=sa.select(sa.literal(7).label("x")).scalar_subquery()),
    )
    engine = sa.create_engine("sqlite://", poolclass=sa.NullPool)
    with engine.connect() as connection:
        with_default.create(connection)
        connection.execute(with_default.insert())
    # SQLite's compiler puts it in the statement or asks for it first; either way it pairs.
    assert telemetry.statements[-1] == "INSERT with_default"
    assert all(span.end_time for span in telemetry.spans)
    engine.dispose()


def test_the_duration_is_the_time_on_the_wall(connection, telemetry):
    waited = threading.Event()
    connection.connection.driver_connection.create_function("wait", 0, lambda: waited.wait(0.02))
    connection.exec_driver_sql("SELECT wait()")
    (point,) = [
        point
        for metric in telemetry.reader.get_metrics_data()
        .resource_metrics[0]
        .scope_metrics[0]
        .metrics
        if metric.name == "db.client.operation.duration"
        for point in metric.data.data_points
    ]
    assert 0.02 <= point.sum < 5
    assert point.explicit_bounds == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)


def test_engines_are_told_apart_by_name_also_through_execution_options(engine, telemetry):
    telemetry.instrument()
    with engine.connect() as connection:
        connection.execute(sa.select(users))
    engine.c2c_name = "master"
    for named in (engine, engine.execution_options(isolation_level="AUTOCOMMIT")):
        with named.connect() as connection:
            connection.execute(sa.select(users))
    selects = [point for point in telemetry.durations if "db.collection.name" in point[0]]
    assert selects == [(SELECT, 1), (SELECT | {"c2c.engine": "master"}, 2)]


def test_an_engine_made_afterwards_is_seen_with_its_database(telemetry, tmp_path):
    telemetry.instrument()
    path = f"{tmp_path}/app.db"
    engine = new_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.execute(sa.select(users))
    assert telemetry.spans[-1].attributes["db.namespace"] == path
    assert (SELECT | {"db.namespace": path}, 1) in telemetry.durations
    engine.dispose()


def test_the_orm_is_seen(engine, telemetry):
    class User(declarative_base()):
        __table__ = users

    telemetry.instrument()
    with Session(engine) as session:
        session.add(User(id=1, name="a"))
        session.commit()
        assert session.get(User, 1).name == "a"
    assert telemetry.names == ["INSERT users", "COMMIT", "SELECT users", "ROLLBACK"]


def test_where_no_span_records_the_statement_counts(engine):
    for blind, options in (
        (Telemetry(sampler=ALWAYS_OFF), {}),
        (Telemetry(), {"tracer_provider": NoOpTracerProvider()}),
    ):
        blind.instrument(**options)
        with engine.connect() as connection:
            connection.execute(sa.select(users))
        SQLAlchemyInstrumentor().uninstrument()
        assert blind.spans == ()
        assert (SELECT, 1) in blind.durations


def test_below_a_span_that_is_not_sampled_nobody_asks_the_sampler(engine):
    asked = []

    class Asked(Sampler):
        def should_sample(self, _context, _trace_id, name, *_, **__):
            asked.append(name)
            return SamplingResult(Decision.DROP)

        def get_description(self):
            return "Asked"

    counting = Telemetry(sampler=Asked())
    counting.instrument()
    with (
        counting.tracer_provider.get_tracer("test").start_as_current_span("request"),
        engine.connect() as connection,
    ):
        connection.execute(sa.select(users))
    assert asked == ["request"]
    assert (SELECT, 1) in counting.durations


def test_below_the_span_of_a_caller_that_does_not_sample_the_sampler_is_asked(engine):
    """It may not care for what its parent wants."""
    caller = NonRecordingSpan(SpanContext(1, 2, is_remote=True))
    stubborn = Telemetry(sampler=ALWAYS_ON)
    stubborn.instrument()
    with use_span(caller), engine.connect() as connection:
        connection.execute(sa.select(users))
    assert stubborn.statements == ["SELECT users"]


def test_below_a_span_that_has_ended_statements_have_spans(engine, telemetry):
    """As when the body of a response is streamed."""
    telemetry.instrument()
    request = telemetry.tracer_provider.get_tracer("test").start_span("request")
    with use_span(request, end_on_exit=False), engine.connect() as connection:
        request.end()
        connection.execute(sa.select(users))
    assert telemetry.spans[1].parent == request.get_span_context()


def test_the_next_request_in_a_transaction_is_another_parent(engine, telemetry):
    telemetry.instrument()
    tracer = telemetry.tracer_provider.get_tracer("test")
    unsampled = NonRecordingSpan(SpanContext(1, 2, is_remote=False))
    with engine.connect() as connection:
        with use_span(unsampled):
            connection.execute(sa.select(users))
        with tracer.start_as_current_span("request"):
            connection.execute(sa.select(users))
        connection.execute(sa.select(users))
    found = [span for span in telemetry.spans if span.name == "SELECT users"]
    assert [span.parent is None for span in found] == [False, True]


def test_others_may_know_the_span_before_the_statement_is_sent(engine, telemetry):
    known = []

    def tag(_connection, _cursor, statement, parameters, context, _executemany):
        span = vars(context)[RUNNING][-1]
        known.append(span.get_span_context())
        return f"{statement} /* {span.name} */", parameters

    def refuse(*_):
        raise PermissionError

    telemetry.instrument(early=True)
    sa.event.listen(engine, "before_cursor_execute", tag, retval=True)
    with engine.connect() as connection:
        connection.execute(sa.select(users.c.id))
    assert [telemetry.spans[0].context] == known
    assert telemetry.spans[0].attributes["db.query.text"] == "SELECT users.id \nFROM users"
    # One that another listener refuses has ended, too.
    sa.event.listen(engine, "before_cursor_execute", refuse)
    with engine.connect() as connection, pytest.raises(PermissionError):
        connection.execute(sa.select(users.c.id))
    assert len([span for span in telemetry.spans if span.name == "SELECT users"]) <= len(known)


def test_who_holds_the_span_of_a_statement_ends_it(engine, telemetry):
    held = []

    def hold(_connection, _cursor, _statement, _parameters, context, _executemany):
        vars(context)[HELD] = held

    telemetry.instrument()
    sa.event.listen(engine, "before_cursor_execute", hold)
    with engine.connect() as connection:
        connection.execute(sa.select(users))
        assert telemetry.spans == ()
        ((span, ended),) = held
        span.set_attribute("more", 1)
        span.end(ended)
    assert telemetry.spans[0].attributes["more"] == 1
    assert telemetry.spans[0].end_time == ended


def test_a_statement_costs_the_same_after_ten_thousand_of_them(engine, telemetry):
    telemetry.instrument(tracer_provider=NoOpTracerProvider())
    statement = sa.select(users.c.id)
    taken = []
    with engine.connect() as connection:
        for _ in range(100):
            began = time.thread_time_ns()
            for _ in range(100):
                connection.execute(statement)
            taken.append(time.thread_time_ns() - began)
    # The fastest hundred of a thousand: what else the machine did is not in it.
    assert min(taken[-10:]) < 1.5 * min(taken[:10])
    assert dict(telemetry.durations[0][0])["db.collection.name"] == "users"


def test_ten_thousand_texts_are_counted_and_not_kept(engine, telemetry):
    telemetry.instrument(tracer_provider=NoOpTracerProvider())
    with engine.connect() as connection:
        for number in range(10_000):
            connection.exec_driver_sql(f"SELECT {number} FROM users")  # noqa: S608 - a number
        database = SQLAlchemyInstrumentor()._listening.statements._engines.of(engine)
        assert len({**database.known, **database._before}) <= 512
    assert telemetry.durations[0] == (SELECT, 10_000)


def test_tables_beyond_the_first_three_hundred_are_not_named(engine, telemetry):
    telemetry.instrument(tracer_provider=NoOpTracerProvider())
    second = new_engine("sqlite://")
    with engine.connect() as connection, second.connect() as other:
        for number in range(400):
            asker = connection if number % 2 else other
            asker.exec_driver_sql(f"CREATE TEMPORARY TABLE t{number} (id integer)")
            asker.exec_driver_sql(f"INSERT INTO t{number} VALUES (1)")  # noqa: S608 - a number
        connection.exec_driver_sql("INSERT INTO t1 VALUES (1)")
    second.dispose()
    tables = [
        (attributes.get("db.collection.name"), count)
        for attributes, count in telemetry.durations
        if attributes["db.operation.name"] == "INSERT"
    ]
    assert len(tables) == 301
    assert {("t1", 2), ("t2", 1), (None, 100)} < set(tables)


def test_suppressed_instrumentation_is_obeyed(engine, telemetry):
    telemetry.instrument()
    with suppress_instrumentation(), engine.begin() as connection:
        connection.execute(sa.select(users))
    assert (telemetry.spans, telemetry.durations) == ((), [])


def test_threads_do_not_mix(engine, telemetry):
    telemetry.instrument()
    lock = threading.Lock()  # SQLite: one connection, one statement at a time

    def work():
        for _ in range(50):
            with lock, engine.connect() as connection:
                connection.execute(sa.select(users))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (SELECT, 200) in telemetry.durations
    assert telemetry.statements == ["SELECT users"] * 200


@pytest.fixture
def hasty_threads():
    """They take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_that_come_first_at_once_are_counted_once(tmp_path, telemetry):
    telemetry.instrument()
    for number in range(20):
        engine = sa.create_engine(f"sqlite:///{tmp_path}/{number}.db")
        together = threading.Barrier(4)

        def ask(engine=engine, together=together):
            together.wait()
            with engine.connect() as connection:
                connection.execute(sa.text("SELECT 1"))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        engine.dispose()
    assert telemetry.statements == ["SELECT"] * 80


def test_texts_that_others_add_are_not_on_the_span(engine, telemetry):
    """A tag with the id of the request would make each text a new one."""

    def tag(_connection, _cursor, statement, parameters, *_):
        return f"/* tagged */ {statement}", parameters

    sa.event.listen(engine, "before_cursor_execute", tag, retval=True)
    telemetry.instrument()
    with engine.connect() as connection:
        connection.execute(sa.select(users.c.id))
    assert telemetry.spans[0].attributes["db.query.text"] == "SELECT users.id \nFROM users"


def test_nothing_is_left_after_uninstrument(engine, telemetry):
    telemetry.instrument()
    SQLAlchemyInstrumentor().uninstrument()
    with engine.begin() as connection:
        connection.execute(sa.select(users))
    assert (telemetry.spans, telemetry.durations) == ((), [])


def test_it_can_be_instrumented_again(engine, telemetry):
    for _ in range(2):
        telemetry.instrument()
        with engine.begin() as connection:
            connection.execute(sa.select(users))
        SQLAlchemyInstrumentor().uninstrument()
    assert telemetry.statements == ["SELECT users"] * 2
    assert ({**SQLITE, "db.operation.name": "COMMIT"}, 2) in telemetry.durations


def test_who_wrapped_our_wrapper_of_commit_keeps_working(engine, telemetry, monkeypatch):
    original = sa.Connection._commit_impl
    telemetry.instrument()
    ours = sa.Connection._commit_impl
    calls = []

    def theirs(connection):
        calls.append(connection)
        ours(connection)

    monkeypatch.setattr(sa.Connection, "_commit_impl", theirs)
    SQLAlchemyInstrumentor().uninstrument()
    with engine.begin() as connection:
        connection.execute(sa.select(users))
    assert len(calls) == 1
    assert telemetry.durations == []
    # For the next test: what only such a guest leaves behind.
    SQLAlchemyInstrumentor()._wrappings._made.clear()
    monkeypatch.undo()
    sa.Connection._commit_impl = original


def test_what_goes_wrong_in_here_is_logged_once_and_the_statement_goes_on(
    engine, telemetry, caplog
):
    class Broken(NoOpTracerProvider):
        def get_tracer(self, *_, **__):
            return types.SimpleNamespace()  # no start_span

    telemetry.instrument(tracer_provider=Broken())
    with engine.begin() as connection:
        for _ in range(2):
            assert connection.execute(sa.select(users)).all() == []
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.name == "c2cotel_instrumentation.sql_statements"
    assert isinstance(record.exc_info[1], AttributeError)


def test_an_event_of_the_application_that_raises_gets_through(connection, telemetry):
    def refuse(*_):
        raise PermissionError("read only")

    sa.event.listen(connection.engine, "before_cursor_execute", refuse)
    with pytest.raises(PermissionError):
        connection.execute(sa.select(users))
    # SQLAlchemy 2.1 tells handle_error of it, 2.0 tells nobody.
    assert [p for p in telemetry.durations if p[0].get("error.type") != "PermissionError"] == []


def test_a_status_code_is_what_the_driver_of_each_database_calls_it():
    class ProgrammingError(Exception):
        """As a driver's."""

    mysql = ProgrammingError(1146, "Table 'app.users' doesn't exist")
    asyncpg, psycopg2 = ProgrammingError("a"), ProgrammingError(7)
    asyncpg.sqlstate, psycopg2.pgcode = "42P01", "42P01"
    assert status_code(mysql, "mysql") == "1146"
    assert status_code(mysql, "microsoft.sql_server") is None
    assert status_code(ProgrammingError(), "mariadb") is None
    assert status_code(asyncpg, "postgresql") == "42P01"
    assert status_code(psycopg2, "postgresql") == "42P01"


def test_the_type_of_an_error_is_the_class_of_its_sqlstate_or_its_own():
    class OperationalError(Exception):
        """As a driver's."""

    shut_down, gone, odd = OperationalError(), OperationalError(), OperationalError()
    shut_down.sqlstate, gone.sqlstate, odd.pgcode = "57P01", None, "whatever else"
    assert error_type(shut_down) == "57"
    assert {error_type(gone), error_type(odd)} == {f"{__name__}.{OperationalError.__qualname__}"}


def test_sqlalchemy_is_not_imported_for_it():
    program = """
import sys
from c2cotel_instrumentation.sqlalchemy import SQLAlchemyInstrumentor
SQLAlchemyInstrumentor().instrument()
assert "sqlalchemy" not in sys.modules
SQLAlchemyInstrumentor().uninstrument()
SQLAlchemyInstrumentor().instrument()
import sqlalchemy
assert hasattr(sqlalchemy.Engine.raw_connection, "__wrapped__")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# With a real server.


def test_postgresql(postgres_url, telemetry):
    telemetry.instrument()
    url = sa.make_url(postgres_url)
    postgresql = {"db.system.name": "postgresql", "db.namespace": url.database}
    server = {"server.address": url.host, "server.port": url.port}
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE people (id integer UNIQUE)")
        people = sa.table("people", sa.column("id"), schema="pg_temp")
        connection.execute(people.insert(), [{"id": 1}, {"id": 2}])
        connection.execute(sa.select(people).where(people.c.id == 1))
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            connection.execute(people.insert().values(id=1))
    engine.dispose()

    assert telemetry.names == [
        "CREATE",
        "BATCH INSERT pg_temp.people",
        "SELECT pg_temp.people",
        "SAVEPOINT",
        "INSERT pg_temp.people",
        "ROLLBACK",
        "COMMIT",
    ]
    select, failed = telemetry.spans[2], telemetry.spans[4]
    operation = {"db.operation.name": "SELECT", "db.collection.name": "pg_temp.people"}
    assert dict(select.attributes) == postgresql | server | operation | {
        "db.query.summary": "SELECT pg_temp.people",
        "db.query.text": "SELECT pg_temp.people.id \nFROM pg_temp.people \n"
        "WHERE pg_temp.people.id = %(id_1)s::INTEGER",
    }
    assert failed.attributes["error.type"] == "23"
    assert failed.attributes["db.response.status_code"] == "23505"
    assert (postgresql | operation, 1) in telemetry.durations
    assert (postgresql | {"db.operation.name": "COMMIT"}, 1) in telemetry.durations


def test_a_failing_commit_counts_as_one(postgres_url, telemetry):
    telemetry.instrument()
    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "CREATE TEMPORARY TABLE late (id integer UNIQUE DEFERRABLE INITIALLY DEFERRED)"
        )
        connection.exec_driver_sql("INSERT INTO late VALUES (1), (1)")
        with pytest.raises(sa.exc.IntegrityError):
            connection.commit()
    engine.dispose()
    commits = [p for p in telemetry.durations if p[0]["db.operation.name"] == "COMMIT"]
    assert [(p[0]["error.type"], p[1]) for p in commits] == [("23", 1)]
    commit = telemetry.spans[-1]
    assert (commit.name, commit.status.status_code) == ("COMMIT", StatusCode.ERROR)
    assert commit.attributes["db.response.status_code"] == "23505"


def test_psycopg2(postgres_url, telemetry):
    telemetry.instrument()
    engine = sa.create_engine(sa.make_url(postgres_url).set(drivername="postgresql+psycopg2"))
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE two (id integer UNIQUE)")
        two = sa.table("two", sa.column("id"))
        connection.execute(two.insert(), [{"id": 1}, {"id": 2}])
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(two.insert().values(id=1))
        connection.rollback()
        connection.begin()
        connection.connection.cursor().execute("SELECT 1")
        connection.commit()
        connection.commit()
    engine.dispose()
    assert telemetry.names == ["CREATE", "INSERT two", "INSERT two", "ROLLBACK", "COMMIT"]
    assert telemetry.spans[2].attributes["error.type"] == "23"
    assert telemetry.spans[2].attributes["db.response.status_code"] == "23505"


# Not where it is used: the stack shows lines of this file.
BOB = {"value": "bob@example.org"}
WITH_VALUES = [
    (
        "INSERT INTO kept VALUES (2, :value, 'ok')",
        'duplicate key value violates unique constraint "kept_email_key"',
    ),
    (
        "INSERT INTO kept VALUES (NULL, :value, 'ok')",
        'null value in column "id" of relation "kept"',
    ),
    ("SELECT * FROM kept WHERE emial = :value OR email = 'hunter2'", '"emial" does not exist'),
    ("SELECT CAST(CAST(:value AS text) AS int)", 'invalid input syntax for type integer: "?"'),
    ("SELECT CAST(CAST(:value AS text) AS int[])", 'malformed array literal: "?"'),
    ("SELECT CAST(CAST(:value AS text) AS date)", 'invalid input syntax for type date: "?"'),
    ("SELECT CAST(CAST(:value AS text) AS mood)", 'invalid input value for enum mood: "?"'),
    ("SELECT to_date(:value, 'YYYY')", 'invalid value "?"'),
    ("SELECT CAST('99999999999' AS int) + 0", 'value "?" is out of range for type integer'),
    ("UPDATE kept SET mood = :value", 'invalid input value for enum mood: "?"'),
    ("SELECT 1 FROM kept WHERE 'hunter2' 'hunter2' :value", 'syntax error at or near "?"'),
    ("SELECT fail(:value)", 'invalid input syntax for type integer: "?"'),
]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize(("statement", "said"), WITH_VALUES)
def test_no_error_of_postgresql_has_values(postgres_url, telemetry, driver, statement, said):
    telemetry.instrument()
    engine = sa.create_engine(sa.make_url(postgres_url).set(drivername=f"postgresql+{driver}"))
    tracer = telemetry.tracer_provider.get_tracer("test")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "CREATE TYPE mood AS ENUM ('ok');"
            "CREATE TABLE kept (id integer NOT NULL, email text UNIQUE, mood mood);"
            "INSERT INTO kept VALUES (1, 'bob@example.org', 'ok');"
            "CREATE FUNCTION fail(v text) RETURNS int LANGUAGE plpgsql AS "
            "$$ BEGIN EXECUTE 'SELECT ' || quote_literal(v) || '::int'; RETURN 1; END $$"
        )
        with pytest.raises(sa.exc.DBAPIError) as raised:
            connection.execute(sa.text(statement), BOB)
        connection.rollback()
    engine.dispose()
    # What the span of its request gets.
    with tracer.start_as_current_span("request") as outer:
        fail(outer, raised.value)
    failed = [span for span in telemetry.spans if span.status.status_code == StatusCode.ERROR]
    assert len(failed) == 2
    for span in failed:
        (event,) = span.events
        message, stack = (
            event.attributes[f"exception.{name}"] for name in ("message", "stacktrace")
        )
        for text in (span.status.description, message, stack):
            assert said in text
            for value in ("bob", "hunter2", "99999"):
                assert value not in text


def test_what_sqlalchemy_asks_on_its_first_connection_is_not_the_application_s(
    postgres_url, telemetry
):
    telemetry.instrument()
    engine = sa.create_engine(postgres_url)
    with engine.connect():
        pass
    engine.dispose()
    assert (telemetry.spans, telemetry.durations) == ((), [])


def test_rows_that_are_fetched_by_and_by_are_one_statement(postgres_url, telemetry):
    telemetry.instrument()
    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        numbers = sa.text("SELECT * FROM generate_series(1, 50)")
        rows = connection.execution_options(yield_per=10).execute(numbers)
        assert sum(row[0] for row in rows) == 1275
    engine.dispose()
    assert telemetry.names == ["SELECT", "ROLLBACK"]


def test_an_address_that_the_url_does_not_say_is_the_driver_s(postgres_url, telemetry, monkeypatch):
    telemetry.instrument()
    url = sa.make_url(postgres_url)
    monkeypatch.setenv("PGHOST", url.host)
    monkeypatch.setenv("PGPORT", str(url.port))
    in_query = f"postgresql+psycopg://{url.username}@/{url.database}?host={url.host}:{url.port}"
    in_environment = f"postgresql+psycopg://{url.username}@"
    for text in (in_query, in_environment):
        engine = sa.create_engine(text)
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
        engine.dispose()
    for span in telemetry.spans:
        attributes = dict(span.attributes)
        assert attributes["server.address"] == url.host
        assert attributes["server.port"] == url.port
        assert attributes["db.namespace"] == url.database


def test_asyncio(postgres_url, telemetry):
    telemetry.instrument()

    async def ask(engine, number):
        async with engine.connect() as connection:
            with telemetry.tracer_provider.get_tracer("test").start_as_current_span(str(number)):
                await connection.execute(sa.text("SELECT pg_sleep(0.01)"))
            await connection.commit()

    async def main():
        engine = create_async_engine(postgres_url)
        await asyncio.gather(*(ask(engine, number) for number in range(4)))
        await engine.dispose()

    asyncio.run(main())
    requests = {span.context.span_id for span in telemetry.spans if span.name.isdigit()}
    selects = [span for span in telemetry.spans if span.name == "SELECT"]
    assert {span.parent.span_id for span in selects} == requests
    assert len(selects) == 4
    assert {p[0]["db.operation.name"]: p[1] for p in telemetry.durations}["COMMIT"] == 4
