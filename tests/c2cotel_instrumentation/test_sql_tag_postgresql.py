"""Comments and names of transactions, as PostgreSQL sees them."""

import asyncio
import contextlib

import psycopg
import pytest
import sqlalchemy as sa
from opentelemetry import context as otel_context
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers import postgres
from c2cotel_instrumentation.context import with_request_id
from c2cotel_instrumentation.sql_tag import SqlTagInstrumentor
from c2cotel_instrumentation.sqlalchemy import SQLAlchemyInstrumentor

from .conftest import Telemetry

NAME = sa.text("SELECT current_setting('application_name')")
# The text that this very statement has come with.
ITSELF = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
STATE = "SELECT application_name, state FROM pg_stat_activity WHERE pid = :pid"
# For the driver: percent signs in the statement are what they are.
PLAIN = {"no_parameters": True}
APPLICATION = "100% of 'shop' */"
COMMENT = "/*application='100%25%20of%20%27shop%27%20%2A/'*/"


@pytest.fixture(scope="module")
def server():
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(postgres(options={"max_prepared_transactions": "5"}))
        except MissingError as error:
            pytest.skip(str(error))


@pytest.fixture(params=["psycopg", "psycopg2"])
def url(server, request):
    return sa.make_url(server.url).set(drivername=f"postgresql+{request.param}")


@pytest.fixture
def make_engine(url):
    """``make_engine(**options)``: an engine whose connections are called ``own``."""
    with contextlib.ExitStack() as stack:

        def make(**options):
            engine = sa.create_engine(url, connect_args={"application_name": "own"}, **options)
            stack.callback(engine.dispose)
            return engine

        yield make


@pytest.fixture
def engine(make_engine):
    return make_engine()


@pytest.fixture(autouse=True)
def untagged():
    yield
    for instrumentor in (SqlTagInstrumentor(), SQLAlchemyInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


@pytest.fixture
def named():
    SqlTagInstrumentor().instrument(tag="application_name")


@pytest.fixture
def commented():
    SqlTagInstrumentor().instrument(tag="static", application=APPLICATION)


@contextlib.contextmanager
def request(request_id="abc-1"):
    token = otel_context.attach(with_request_id(request_id))
    try:
        yield
    finally:
        otel_context.detach(token)


def name(connection):
    return connection.execute(NAME).scalar()


def terminate(engine, pid):
    """End the session of this process, and wait until it has gone."""
    url = engine.url.set(drivername="postgresql", username="postgres")
    with psycopg.connect(url.render_as_string()) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


# Names.


@pytest.mark.usefixtures("named")
def test_a_transaction_within_a_request_has_its_name_and_no_other_one_has(engine):
    with engine.connect() as connection:
        assert name(connection) == "own"
        connection.commit()
        with request("abc-1"):
            assert [name(connection), name(connection)] == ["abc-1", "abc-1"]
            connection.commit()
        with request("abc-2"):
            assert name(connection) == "abc-2"
            connection.rollback()
        assert name(connection) == "own"


@pytest.mark.usefixtures("named")
def test_a_transaction_that_begins_before_its_request_has_the_name_from_then_on(engine):
    with engine.connect() as connection:
        assert name(connection) == "own"
        with request():
            assert name(connection) == "abc-1"


@pytest.mark.usefixtures("named")
def test_savepoints_keep_the_name_however_they_end(engine):
    with request(), engine.connect() as connection:
        with connection.begin_nested():
            assert name(connection) == "abc-1"
        with connection.begin_nested() as savepoint:
            savepoint.rollback()
        assert name(connection) == "abc-1"
        connection.rollback()
        # The first thing in a transaction, too.
        with connection.begin_nested() as savepoint:
            savepoint.rollback()
        assert name(connection) == "abc-1"


@pytest.mark.usefixtures("named")
def test_the_name_is_set_once_in_a_transaction(engine, monkeypatch):
    sent = []
    monkeypatch.setattr(
        "c2cotel_instrumentation.sql_names._send", lambda _, name: sent.append(name)
    )
    with request(), Session(engine) as session:
        for _ in range(3):
            with session.begin_nested():
                session.execute(NAME)
        session.commit()
        session.execute(NAME)
    assert sent == ["abc-1", "abc-1"]


@pytest.mark.usefixtures("named")
def test_an_idle_transaction_shows_its_name_and_an_idle_connection_does_not(engine):
    with request(), engine.connect() as connection, engine.connect() as other:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()

        def state():
            return tuple(other.execute(sa.text(STATE), {"pid": pid}).one())

        assert state() == ("abc-1", "idle in transaction")
        connection.commit()
        other.commit()
        assert state() == ("own", "idle")


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize(
    ("request_id", "expected"),
    [
        ("a" * 128, "a" * 63),
        ("'; DROP TABLE x; --", "???DROP?TABLE?x??--"),
        ("%s %(a)s \\ $1 é", "?s???a?s????1??"),
        ("A1._:+/=@-", "A1._:+/=@-"),
    ],
)
def test_a_name_is_harmless_whatever_the_request_id_is(engine, request_id, expected):
    with request(request_id), engine.connect() as connection:
        assert name(connection) == expected


@pytest.mark.usefixtures("named")
def test_what_has_to_come_before_all_queries_may(engine):
    with request(), engine.connect() as connection:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "serializable"
        assert name(connection) == "abc-1"


@pytest.mark.usefixtures("named")
def test_a_lock_still_comes_before_the_snapshot_of_its_transaction(make_engine):
    engine = make_engine(isolation_level="REPEATABLE READ")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS locked")
        connection.exec_driver_sql("CREATE TABLE locked (id integer)")
    with request(), engine.connect() as connection, engine.connect() as other:
        connection.exec_driver_sql("LOCK TABLE locked IN SHARE MODE")
        # Of the first query, which is not the lock: what is committed meanwhile is seen.
        other.exec_driver_sql("CREATE TABLE IF NOT EXISTS after_lock (id integer)")
        other.exec_driver_sql("TRUNCATE after_lock")
        other.exec_driver_sql("INSERT INTO after_lock VALUES (1)")
        other.commit()
        assert connection.exec_driver_sql("SELECT count(*) FROM after_lock").scalar() == 1
        assert name(connection) == "abc-1"


@pytest.mark.usefixtures("named")
def test_a_transaction_begins_as_its_engine_says(make_engine):
    engine = make_engine(isolation_level="SERIALIZABLE")
    with request(), engine.connect().execution_options(postgresql_readonly=True) as connection:
        assert name(connection) == "abc-1"
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "serializable"
        assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"


@pytest.mark.usefixtures("named")
def test_without_transactions_the_name_stays(make_engine):
    engine = make_engine(isolation_level="AUTOCOMMIT")
    with request(), engine.connect() as connection:
        assert [name(connection), name(connection)] == ["own", "own"]
        # Not possible in a transaction, nor beside another statement.
        connection.exec_driver_sql("VACUUM pg_class")


@pytest.mark.usefixtures("named")
def test_every_way_of_executing_comes_after_the_name(engine):
    numbers = sa.table("numbers", sa.column("id", sa.Integer), sa.column("by"))
    by = sa.text("INSERT INTO numbers (id, by) VALUES (:id, current_setting('application_name'))")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS numbers")
        connection.exec_driver_sql("CREATE TABLE numbers (id serial, by text)")
    with request(), engine.connect() as connection:
        connection.execute(by, [{"id": 1}, {"id": 2}])
        connection.commit()
        connection.exec_driver_sql("SELECT 1; INSERT INTO numbers VALUES (3, 'x'); SELECT 2")
        assert name(connection) == "abc-1"
        connection.commit()
        setting = sa.func.current_setting("application_name")
        rows = [{"id": 4, "by": setting}, {"id": 5, "by": setting}]
        returned = connection.execute(numbers.insert().values(rows).returning(numbers.c.by))
        assert returned.scalars().all() == ["abc-1"] * 2
        connection.commit()
        streamed = connection.execution_options(stream_results=True).execute(
            sa.text("SELECT id, current_setting('application_name') FROM numbers ORDER BY id")
        )
        assert streamed.fetchmany(2) == [(1, "abc-1"), (2, "abc-1")]
        assert len(streamed.all()) == 3
        connection.commit()
        written = connection.execute(sa.select(numbers.c.by).order_by(numbers.c.id))
        assert written.scalars().all() == ["abc-1", "abc-1", "x", "abc-1", "abc-1"]


@pytest.mark.usefixtures("named")
def test_a_transaction_in_two_phases_has_the_name_too(engine):
    with request(), engine.connect() as connection:
        transaction = connection.begin_twophase()
        assert name(connection) == "abc-1"
        transaction.prepare()
        transaction.commit()
        assert name(connection) == "abc-1"
    with engine.connect() as connection:
        assert name(connection) == "own"


@pytest.mark.usefixtures("named")
def test_what_an_event_of_the_pool_has_begun_gets_the_name(engine):
    @sa.event.listens_for(engine, "checkout")
    def ask(dbapi_connection, *_):
        with dbapi_connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    with request(), engine.connect() as connection:
        assert name(connection) == "abc-1"
    with engine.connect() as connection:
        assert name(connection) == "own"


@pytest.mark.usefixtures("named")
def test_a_statement_that_fails_fails_as_it_does_without_us(engine):
    with request(), engine.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError, match="nothing_here"):
            connection.exec_driver_sql("SELECT * FROM nothing_here")
        with pytest.raises(sa.exc.InternalError, match="transaction is aborted"):
            connection.exec_driver_sql("SELECT 1")
        connection.rollback()
        assert name(connection) == "abc-1"


@pytest.mark.usefixtures("named")
def test_a_failed_transaction_goes_back_to_its_savepoint_and_has_the_name_then(engine):
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        savepoint = connection.begin_nested()
        with pytest.raises(sa.exc.DataError):
            connection.exec_driver_sql("SELECT 1/0")
        with request():
            savepoint.rollback()
            assert name(connection) == "abc-1"
    with request(), engine.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError):
            connection.exec_driver_sql("SHOW nothing_here")
        connection.exec_driver_sql("ROLLBACK")
        # psycopg2 does not know that it has to begin again.
        assert name(connection) in ("abc-1", "own")


@pytest.mark.usefixtures("named")
def test_a_connection_that_is_gone_is_told_and_replaced(engine):
    def pid(connection):
        return connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()

    with engine.connect() as connection:
        first = pid(connection)
    with request(), engine.connect() as connection:
        terminate(engine, first)
        with pytest.raises(sa.exc.OperationalError) as raised:
            connection.exec_driver_sql("SELECT 1")
        assert raised.value.connection_invalidated
        connection.rollback()
        assert pid(connection) != first
        assert name(connection) == "abc-1"


def test_a_transaction_that_cannot_begin_counts_as_a_failed_statement(make_engine):
    telemetry = Telemetry()
    SQLAlchemyInstrumentor().instrument(
        tracer_provider=telemetry.tracer_provider,
        meter_provider=telemetry.meter_provider,
        early=True,
    )
    SqlTagInstrumentor().instrument(tag="application_name")
    engine = make_engine()
    with request(), engine.connect() as connection:
        terminate(engine, connection.exec_driver_sql("SELECT pg_backend_pid()").scalar())
        with pytest.raises(sa.exc.OperationalError):
            connection.exec_driver_sql("SELECT 1 FROM pg_class")
    failed = [
        (attributes["db.operation.name"], attributes["error.type"], count)
        for attributes, count in telemetry.points("db.client.operation.duration")
        if "error.type" in attributes and attributes["db.operation.name"] == "SELECT"
    ]
    assert failed == [("SELECT", failed[0][1], 1)]


@pytest.mark.usefixtures("named")
def test_an_engine_that_is_left_alone_keeps_its_name(engine):
    with request(), engine.execution_options(c2c_sql_tag=False).connect() as connection:
        assert name(connection) == "own"


@pytest.mark.usefixtures("named")
def test_what_goes_wrong_in_here_is_logged_once_and_the_transaction_goes_on(
    engine, monkeypatch, caplog
):
    def broken(*_):
        raise TypeError("the driver has changed")

    monkeypatch.setattr("c2cotel_instrumentation.sql_names._send", broken)
    with request(), engine.connect() as connection:
        for _ in range(2):
            assert name(connection) == "own"
            connection.commit()
    assert [record.exc_info[0] for record in caplog.records] == [TypeError]


def test_within_a_pipeline_of_the_application_the_name_is_set_too(server):
    SqlTagInstrumentor().instrument(tag="application_name")
    engine = sa.create_engine(server.url)
    with request(), engine.connect() as connection:
        with connection.connection.driver_connection.pipeline() as pipeline:
            connection.exec_driver_sql("CREATE TEMPORARY TABLE piped (id integer)")
            pipeline.sync()
        assert name(connection) == "abc-1"
    engine.dispose()


def test_asyncio(server):
    SqlTagInstrumentor().instrument(tag="application_name", request_id=True)

    async def ask(engine, request_id):
        with request(request_id):
            async with engine.connect() as connection:
                names = [(await connection.execute(NAME)).scalar() for _ in range(2)]
                async with connection.begin_nested():
                    names.append((await connection.execute(NAME)).scalar())
                await connection.commit()
        async with engine.connect() as connection:
            return [*names, (await connection.execute(NAME)).scalar()]

    async def main():
        engine = create_async_engine(server.url, connect_args={"application_name": "own"})
        try:
            return await asyncio.gather(*(ask(engine, f"abc-{number}") for number in range(8)))
        finally:
            await engine.dispose()

    found = asyncio.run(main())
    assert found == [[*[f"abc-{number}"] * 3, "own"] for number in range(8)]


# Comments.


@pytest.mark.usefixtures("commented")
def test_the_database_gets_the_comment_as_it_was_written(engine):
    with engine.connect() as connection:
        for asked in (
            connection.execute(sa.text(ITSELF)),
            connection.execute(sa.text(f"{ITSELF} AND :one = 1"), {"one": 1}),
            connection.exec_driver_sql(ITSELF),
            connection.exec_driver_sql(f"{ITSELF} AND %(one)s = 1", {"one": 1}),
            connection.exec_driver_sql(ITSELF, execution_options=PLAIN),
        ):
            assert asked.scalar().endswith(f" {COMMENT}")


STRANGE = [
    "SELECT 'it''s */ not -- the end'",
    "SELECT 1 -- one",
    "SELECT 1 -- one;",
    "SELECT 1 /* one /* two */ */",
    "SELECT 1;",
    "SELECT 1 ; ",
    "SELECT $$ a */ ; -- b $$",
    "SELECT $a$ $$ /* $a$",
    "SELECT E'a\\'b'",
    "SELECT '100%', 5 % 3",
    'SELECT 1 AS "a -- b"',
    "SELECT '{1,2}'::int[] @> '{1}'",
    "SELECT U&'d\\0061t'",
    "VALUES (1), (2)",
    f"SELECT length('{'x' * 1024 * 1024}')",
]
WRONG = [
    "SELECT 'abc",
    "SELECT E'abc\\",
    "SELECT $$ abc",
    "SELECT $a$ abc $$",
    'SELECT "abc',
    "SELECT 1 /* abc",
    "SELECT 1 /* abc /* */",
    "SELECT 1,",
    "",
    " ; ",
]


@pytest.mark.parametrize("statement", STRANGE, ids=lambda text: text[:30])
def test_a_strange_statement_means_the_same_with_a_comment(engine, statement):
    def answers():
        with engine.connect() as connection:
            return (
                connection.exec_driver_sql(statement, execution_options=PLAIN).all(),
                connection.execute(sa.text(statement.replace(":", "\\:"))).all(),
            )

    expected = answers()
    SqlTagInstrumentor().instrument(tag="static", application=APPLICATION)
    assert answers() == expected


@pytest.mark.parametrize("statement", WRONG)
def test_a_wrong_statement_stays_wrong(engine, statement):
    def error():
        with engine.connect() as connection:
            try:
                connection.exec_driver_sql(statement, execution_options=PLAIN)
            except sa.exc.DBAPIError as error:
                return type(error.orig)
            return None

    expected = error()
    SqlTagInstrumentor().instrument(tag="static", application=APPLICATION)
    assert error() is expected
