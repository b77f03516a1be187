"""What a tag costs the database, counted by the database and on the wire; and behind a pooler."""

import contextlib
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError
from c2cotel_instrumentation.context import with_request_id
from c2cotel_instrumentation.sql_tag import SqlTagInstrumentor

_OPTIONS = {"shared_preload_libraries": "pg_stat_statements"}
_TAGS = ("off", "static", "traceparent", "application_name")
NAME = sa.text("SELECT current_setting('application_name')")
SET_CONFIG = "SELECT pg_catalog.set_config($1, $2, $3)"


@pytest.fixture(scope="module")
def database():
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(servers.postgres(options=_OPTIONS))
        except MissingError as error:
            pytest.skip(str(error))
        with psycopg.connect(as_superuser(server)) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        engine = sa.create_engine(server.url)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE thing (id serial, name text)")
        engine.dispose()
        yield server


def as_superuser(server):
    return server.url.replace("+psycopg", "").replace("app@", "postgres@")


@pytest.fixture(params=_TAGS)
def tag(request):
    SqlTagInstrumentor().instrument(tag=request.param, application="shop 100%")
    yield request.param
    SqlTagInstrumentor().uninstrument()


@contextlib.contextmanager
def request(request_id="abc-1"):
    """In one that is sampled."""
    provider = TracerProvider(shutdown_on_exit=False)
    with provider.get_tracer("test").start_as_current_span("request"):
        token = otel_context.attach(with_request_id(request_id))
        try:
            yield
        finally:
            otel_context.detach(token)


class Wire:
    """Between a client and a server: how often the client sends and waits for the answer."""

    def __init__(self, port):
        self.turns = 0
        self._asking = False
        self._lock = threading.Lock()
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._threads = []
        self._run(self._accept)

    @property
    def port(self):
        return self._listener.getsockname()[1]

    def close(self):
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _run(self, target, *args):
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [client, server]
                self._run(self._copy, client, server, 1)
                self._run(self._copy, server, client, 0)

    def _copy(self, source, target, asking):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    self.turns += asking and not self._asking
                    self._asking = asking
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def wire(database):
    wire = Wire(database.port)
    yield wire
    wire.close()


def by_wire(database, wire, driver):
    url = sa.make_url(database.url).set(port=wire.port, drivername=f"postgresql+{driver}")
    return sa.create_engine(url)


def one(connection):
    assert connection.execute(sa.text("SELECT :one"), {"one": "1"}).scalar() == "1"


def several(connection):
    connection.execute(sa.text("SELECT 1"))
    with connection.begin_nested():
        connection.execute(sa.text("INSERT INTO thing (name) VALUES (:name)"), {"name": "a"})
    with connection.begin_nested() as savepoint:
        connection.execute(sa.text("SELECT 1"))
        savepoint.rollback()


def script(connection):
    connection.exec_driver_sql("SELECT 1; SELECT 2")


def many(connection):
    insert = sa.text("INSERT INTO thing (name) VALUES (:name)")
    connection.execute(insert, [{"name": "a"}, {"name": "b"}])


def streamed(connection):
    numbers = sa.text("SELECT generate_series(1, 10)")
    assert len(connection.execute(numbers, execution_options={"stream_results": True}).all()) == 10


_WAYS = (one, several, script, many, streamed)


def turns(engine, wire, way):
    """Round trips of one transaction, on a connection that is there."""
    with request(), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        connection.rollback()
        before = wire.turns
        way(connection)
        connection.commit()
        return wire.turns - before


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_no_tag_costs_a_round_trip_with_psycopg_and_a_name_one_with_psycopg2(
    database, wire, driver
):
    engine = by_wire(database, wire, driver)
    found = {}
    for tag in _TAGS:
        SqlTagInstrumentor().instrument(tag=tag, application="shop 100%")
        try:
            found[tag] = [turns(engine, wire, way) for way in _WAYS]
        finally:
            SqlTagInstrumentor().uninstrument()
    engine.dispose()
    off = found["off"]
    # BEGIN, the statement, COMMIT.
    assert off[0] == 3
    named = off if driver == "psycopg" else [count + 1 for count in off]
    assert found == {"off": off, "static": off, "traceparent": off, "application_name": named}


def statements(admin):
    """What PostgreSQL has counted more than once: calls by text, without comments."""
    counted = admin.execute(
        "SELECT query, calls FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid"
        " WHERE rolname = 'app' AND calls > 1"
    )
    return [(re.sub(r"\s*/\*.*\*/", "", query), calls) for query, calls in counted]


def test_the_database_executes_what_was_asked_for_and_counts_it_together(database, tag):
    engine = sa.create_engine(database.url)
    with engine.connect() as connection, psycopg.connect(as_superuser(database)) as admin:
        connection.rollback()
        admin.execute("SELECT pg_stat_statements_reset()")
        admin.commit()
        for number in range(10):
            with request(f"abc-{number}"):
                connection.execute(sa.text("SELECT count(*) FROM thing WHERE id = 1"))
                with connection.begin_nested():
                    connection.execute(
                        sa.text("INSERT INTO thing (name) VALUES (:name)"), {"name": f"n{number}"}
                    )
                connection.commit()
        found = statements(admin)
    engine.dispose()
    transactions = [("BEGIN", 10), ("COMMIT", 10)]
    asked = [
        ("INSERT INTO thing (name) VALUES ($1)", 10),
        ("SELECT count(*) FROM thing WHERE id = $1", 10),
    ]
    names = [(SET_CONFIG, 10)] if tag == "application_name" else []
    # Savepoints have numbers in their names, and are counted one by one.
    assert sorted(found) == sorted([*transactions, *asked, *names])


def test_a_constant_comment_leaves_prepared_statements_and_a_changing_one_does_not(database, tag):
    engine = sa.create_engine(database.url)
    with engine.connect() as connection:
        for _ in range(8):
            with request():
                connection.execute(sa.text("SELECT name FROM thing WHERE id = :id"), {"id": 1})
                connection.commit()
        count = "SELECT count(*) FROM pg_prepared_statements WHERE strpos(statement, 'thing') > 0"
        prepared = connection.exec_driver_sql(count).scalar()
    engine.dispose()
    assert prepared == (0 if tag == "traceparent" else 1)


# Behind a pooler, where a connection of the server is everybody's in turn.


@pytest.fixture(scope="module")
def pooler(database):
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(servers.pgbouncer(database, connections=2))
        except MissingError as error:
            pytest.skip(str(error))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_behind_a_pooler_nobody_gets_the_name_of_another_one(database, pooler, driver):
    SqlTagInstrumentor().instrument(tag="application_name")
    url = sa.make_url(pooler.url).set(drivername=f"postgresql+{driver}")
    options = {"prepare_threshold": None} if driver == "psycopg" else {}

    def client(number):
        """One that has a name of its own, and requests every other time."""
        own, wrong = f"own-{number}", []
        engine = sa.create_engine(url, connect_args={"application_name": own, **options})
        with engine.connect() as connection:
            for step in range(30):
                with request(f"abc-{number}-{step}"):
                    names = [connection.execute(NAME).scalar() for _ in range(2)]
                    connection.commit() if step % 2 else connection.rollback()
                wrong += [name for name in names if name != f"abc-{number}-{step}"]
                if (name := connection.execute(NAME).scalar()) != own:
                    wrong.append(name)
                connection.rollback()
        engine.dispose()
        return wrong

    try:
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(client, range(6))) == [[]] * 6
    finally:
        SqlTagInstrumentor().uninstrument()
    plain = str(sa.make_url(pooler.url).set(drivername="postgresql"))
    with psycopg.connect(plain) as other, psycopg.connect(as_superuser(database)) as admin:
        (name,) = other.execute("SELECT current_setting('application_name')").fetchone()
        seen = admin.execute(
            "SELECT application_name FROM pg_stat_activity WHERE usename = 'app'"
        ).fetchall()
    assert 0 < len(seen) <= 2
    assert [name for name in (name, *(name for (name,) in seen)) if name.startswith("abc")] == []
