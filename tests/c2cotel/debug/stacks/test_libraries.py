"""The calls of libraries that a thread is seen in: databases, Redis, other services."""

import socket
import threading
import urllib.request

import psycopg
import pytest
import redis
import requests
import sqlalchemy as sa

from c2cotel.debug.stacks import libraries


class Silent:
    """A server that takes connections, and answers nothing until it ends them."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.taken = []
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                self.taken.append(self.listening.accept()[0])
            except OSError:
                return

    def close(self):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join()
        for each in self.taken:
            each.close()


@pytest.fixture
def silent(threads):
    server = Silent()
    threads.end.callback(server.close)
    return server


def failing(kind, call):
    """*call*, which fails when the server goes away."""

    def run():
        with pytest.raises(kind):
            call()

    return run


@pytest.fixture
def engine(threads, tmp_path):
    """One of SQLite, with a function that waits; and no more than one connection."""
    made = sa.create_engine(
        f"sqlite:///{tmp_path / 'pets.db'}",
        poolclass=sa.QueuePool,
        pool_size=1,
        max_overflow=0,
        connect_args={"check_same_thread": False},
    )
    event = threading.Event()

    @sa.event.listens_for(made, "connect")
    def connect(connection, _):
        connection.create_function("wait", 0, lambda: event.wait() and 1)

    with made.connect():  # connecting is another wait
        pass
    threads.after.callback(made.dispose)
    threads.end.callback(event.set)
    return made


def slow(engine):
    with engine.connect() as connection:
        connection.execute(
            sa.text("SELECT wait()\n WHERE 'hunter2' = 'hunter2' AND :a = 1"), {"a": 1}
        )


def test_a_statement_is_shown_without_its_values(threads, engine):
    found = threads.waits(threads.start(slow, engine), "SQL")
    assert found.detail == "SELECT wait() WHERE ? = ? AND ? = ? (engine pets.db)"


def test_an_engine_is_called_as_in_telemetry(threads, engine):
    engine.c2c_name = "sqlalchemy_replica"
    found = threads.waits(
        threads.start(slow, engine.execution_options(isolation_level="AUTOCOMMIT")), "SQL"
    )
    assert found.detail.endswith(" (engine sqlalchemy_replica)")


def test_a_long_statement_is_cut(threads, engine):
    def execute():
        with engine.connect() as connection:
            connection.execute(
                sa.text("SELECT wait()" + ", a.b" * 500 + " FROM (SELECT 1 AS b) AS a")
            )

    detail = threads.waits(threads.start(execute), "SQL").detail
    assert len(detail) <= libraries._LONGEST_STATEMENT
    assert detail.endswith("… (engine pets.db)")


def test_a_statement_of_a_thread_that_computes_in_it_is_found(threads, engine):
    """Python's part of it, too: a call back from the database is on the stack."""
    assert threads.waits(threads.start(slow, engine), "SQL").lock is None


def test_the_end_of_a_transaction_has_a_name(threads, engine):
    event = threading.Event()
    threads.end.callback(event.set)

    class Connection:
        """A driver's, whose commit takes long."""

        def commit(self):
            event.wait()

    dialect = engine.dialect
    found = threads.waits(threads.start(dialect.do_commit, Connection()), "SQL")
    assert found.detail == "COMMIT"


def test_a_thread_without_a_connection_waits_for_the_pool(threads, engine):
    held = engine.connect()
    threads.end.callback(held.close)

    def connect():
        engine.connect().close()

    found = threads.waits(threads.start(connect), "connection pool")
    assert found.detail == "a free connection (engine pets.db)"


def test_connecting_to_a_database_is_sql(threads, silent):
    engine = sa.create_engine(f"postgresql+psycopg://me:hunter2@127.0.0.1:{silent.port}/pets")
    call = failing(sa.exc.OperationalError, engine.connect)
    assert threads.waits(threads.start(call), "SQL", "connecting (engine 127.0.0.1/pets)")


def test_psycopg_alone_is_sql(threads, silent):
    address = f"host=127.0.0.1 port={silent.port} user=me password=hunter2"
    call = failing(psycopg.OperationalError, lambda: psycopg.connect(address))
    assert threads.waits(threads.start(call), "SQL").detail == ""


CALLS = {
    "requests": lambda url: requests.get(url, timeout=60),
    "urllib": urllib.request.urlopen,
}


@pytest.mark.parametrize("library", CALLS)
def test_a_call_of_another_service_names_its_host(threads, silent, library):
    url = f"http://127.0.0.1:{silent.port}/secret?token=hunter2"
    call = failing((OSError, requests.RequestException), lambda: CALLS[library](url))
    assert threads.waits(threads.start(call), "HTTP", f"GET 127.0.0.1:{silent.port}")


REDIS = {
    "GET": lambda client: client.get("a secret key"),
    "pipeline": lambda client: client.pipeline().get("a secret key").execute(),
    "CONFIG GET": lambda client: client.execute_command("CONFIG GET", "requirepass"),
}


@pytest.mark.parametrize("command", REDIS)
def test_a_command_of_redis_has_its_name_alone(threads, silent, command):
    client = redis.Redis(
        port=silent.port, host="127.0.0.1", protocol=2, driver_info=None, retry=None
    )
    threads.after.callback(client.close)
    call = failing(redis.RedisError, lambda: REDIS[command](client))
    detail = f"{command} at 127.0.0.1:{silent.port}"
    assert threads.waits(threads.start(call), "Redis", detail)


def test_what_is_called_like_a_library_may_be_anything(threads):
    """An application may call itself and its variables as it likes; nothing of it is executed."""
    touched = []

    class Trap:
        def __getattribute__(self, name):
            touched.append(name)
            raise SystemExit

        def __hash__(self):
            touched.append("hash")
            raise SystemExit

        def __eq__(self, _):
            touched.append("eq")
            raise SystemExit

        __class__ = property(lambda _: touched.append("class"))

    source = """
def do_execute(self, statement, context, event, request, args, query, host, method, command_name):
    event.wait()
"""
    for name in (
        "sqlalchemy.engine.default",
        "psycopg",
        "psycopg_pool.pool",
        "redis.client",
        "urllib3",
        "http.client",
    ):
        event = threading.Event()
        threads.end.callback(event.set)
        scope = {"__name__": name, Trap: Trap}
        exec(source, scope)  # noqa: S102 - our own
        trap = Trap()
        ident = threads.start(
            scope["do_execute"], trap, trap, trap, event, *(trap for _ in range(6))
        )
        while threads.seen(ident) is None:
            pass
        threads.seen(ident)
    assert touched == []
