"""The same with PostgreSQL, by both drivers: what is sent, and what stays on a connection."""

import contextlib
import logging
import uuid

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.exc import InternalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from c2cotel.db.read_only import read_only
from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers import postgres
from c2cotel_acceptance.utils import retry_timeout

HANDLED = {"c2c.enable_exception_handling": "1"}
_KINDS = ("BEGIN", "COMMIT", "ROLLBACK", "SET", "SHOW")
EXPLAINED = ["The application is read-only for maintenance of its database."]
INSERT = text("INSERT INTO message (text) VALUES ('x')")


@pytest.fixture(scope="module")
def server():
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(
                postgres(options={"log_statement": "all", "log_line_prefix": ""})
            )
        except MissingError as error:
            pytest.skip(str(error))


@pytest.fixture(params=["psycopg", "psycopg2"])
def url(request, server, make_tables):
    return make_tables(server.url.replace("+psycopg", f"+{request.param}"))


@pytest.fixture
def sent(server):
    """``sent()``: the statements that PostgreSQL has got since the last time."""
    if server.log is None:
        pytest.skip("The log of a PostgreSQL that runs elsewhere is not to be had")
    marker = sqlalchemy.create_engine(server.url, poolclass=NullPool)
    offset = 0

    def read():
        nonlocal offset
        end = f"mark {uuid.uuid4()}"
        with marker.connect() as connection:
            connection.execute(text(f"SELECT '{end}'"))
        log = retry_timeout(lambda: end in (log := server.log.read_text()) and log, 5, 0.01)
        begun, offset = offset, len(log)
        # Without those of the marker.
        lines = log[begun:].partition(end)[0].splitlines()
        said = [line.partition("statement: ")[2] or line.partition(">: ")[2] for line in lines]
        return [each for each in said if each.startswith(_KINDS) or "message" in each]

    read()
    return read


@pytest.mark.parametrize("line", ["POST /add", "POST /add_late", "GET /add"])
def test_with_one_engine_nothing_can_be_written(start, url, line):
    app = start(url, **HANDLED)
    app.switch(readonly="true")
    answer = app(line)
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "60")
    assert answer.json["message"].startswith("Read-only for maintenance")
    assert app("GET /count").json == 0
    assert app.factory.rw_engine.pool.checkedout() == 0
    app.switch(readonly="false")
    assert app("POST /add").json == "added"
    assert app("GET /count").json == 1


def test_it_costs_no_statement(start, url, sent):
    app = start(url)
    app("GET /count")
    app("GET /count")
    sent()
    app("GET /count")
    before = sent()
    app.switch(readonly="true")
    app("GET /count")
    during = sent()
    assert [each.replace(" READ ONLY", "") for each in during] == before
    assert [each for each in during if "READ ONLY" in each] == ["BEGIN READ ONLY"]
    assert len([each for each in during if each.startswith("SELECT message")]) == 1
    app.switch(readonly="false")
    app("GET /count")
    app("GET /count")
    # Nor READ WRITE: no standby would begin that.
    assert not [each for each in sent() if "READ" in each]


def test_without_transactions_there_are_some_that_read_only(url):
    engine = sqlalchemy.create_engine(
        url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=0
    )
    view = read_only(engine)
    for _ in range(2):
        with view.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM message")).scalar() == 0
            with pytest.raises(InternalError, match="read-only transaction"):
                connection.execute(INSERT)
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection.autocommit
        connection.execute(INSERT)
    with view.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM message")).scalar() == 1
    engine.dispose()


def test_a_connection_goes_back_as_it_was(url):
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0)
    for _ in range(2):
        with read_only(engine).connect() as connection, pytest.raises(InternalError):
            connection.execute(INSERT)
        with engine.begin() as connection:
            connection.execute(INSERT)
            shown = connection.execute(text("SHOW default_transaction_read_only")).scalar()
            assert shown == "off"
    engine.dispose()


def test_what_a_connection_had_before_it_has_again(url):
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0)
    attribute = "readonly" if engine.driver == "psycopg2" else "read_only"

    @sqlalchemy.event.listens_for(engine, "connect")
    def connect(driver, _):
        setattr(driver, attribute, False)

    with read_only(engine).connect() as connection:
        assert getattr(connection.connection.dbapi_connection, attribute) is True
    with engine.connect() as connection:
        assert getattr(connection.connection.dbapi_connection, attribute) is False
    engine.dispose()


def test_a_connection_that_cannot_go_back_as_it_was_is_closed(url):
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0, pool_reset_on_return=None)
    connection = read_only(engine).connect()
    kept = connection.connection.dbapi_connection
    # Behind SQLAlchemy's back: nobody ends this transaction.
    kept.cursor().execute("SELECT 1")
    connection.close()
    assert kept.closed
    with engine.begin() as again:
        again.execute(INSERT)
    engine.dispose()


@pytest.mark.parametrize(
    "refused", ["SELECT nextval('message_id_seq')", "CREATE TABLE x (i int)", "TRUNCATE message"]
)
def test_whatever_writes_is_refused(url, refused):
    engine = sqlalchemy.create_engine(url)
    with read_only(engine).connect() as connection, pytest.raises(InternalError) as raised:
        connection.execute(text(refused))
    assert raised.value.c2c_maintenance is True
    engine.dispose()


def test_another_failure_is_told_nothing_of_maintenance(url):
    engine = sqlalchemy.create_engine(url)
    read_only(engine)
    for each in (engine, read_only(engine)):
        with each.connect() as connection, pytest.raises(sqlalchemy.exc.ProgrammingError) as raised:
            connection.execute(text("SELECT nothing"))
        assert not hasattr(raised.value, "__notes__")
        assert not hasattr(raised.value, "c2c_maintenance")
    engine.dispose()


def test_however_many_factories_there_are_it_is_said_once(start, url):
    first, second = start(url), start(url)
    assert first.factory.rw_engine is not second.factory.rw_engine
    engine = sqlalchemy.create_engine(url)
    views = [read_only(engine) for _ in range(3)]
    with views[1].connect() as connection, pytest.raises(InternalError) as raised:
        connection.execute(INSERT)
    assert raised.value.__notes__ == [
        "The application is read-only for maintenance of its database."
    ]
    engine.dispose()


# --- SQL of the application's own before the transaction begins -----------------------------------


@pytest.fixture(params=["connect", "checkout"])
def set_by_listener(request):
    """``set_by_listener(engine)``: each connection is in a transaction when it comes."""

    def listen(engine):
        @sqlalchemy.event.listens_for(engine, request.param)
        def set_timeout(driver, *_):
            driver.cursor().execute("SET statement_timeout TO '17s'")

    return listen


def test_a_listener_of_the_pool_may_run_sql_and_nothing_is_written(start, url, set_by_listener):
    settings = {"sqlalchemy.pool_size": "1", "sqlalchemy.max_overflow": "0"}
    app = start(url, **HANDLED, **settings, **{"sqlalchemy.pool_timeout": "1"})
    engine = app.factory.rw_engine
    set_by_listener(engine)
    app.switch(readonly="true")
    for _ in range(3):
        assert app("GET /count").json == 0
        assert app("POST /add").status_int == 503
        with app.factory() as session:
            assert session.scalar(text("SHOW transaction_read_only")) == "on"
    assert engine.pool.checkedout() == 0
    app.switch(readonly="false")
    assert app("POST /add").json == "added"


def test_what_a_listener_has_set_stays(url):
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0)

    @sqlalchemy.event.listens_for(engine, "checkout")
    def set_timeout(driver, *_):
        driver.cursor().execute("SET statement_timeout TO '17s'")

    for _ in range(2):
        with read_only(engine).connect() as connection:
            assert connection.scalar(text("SHOW statement_timeout")) == "17s"
            assert connection.scalar(text("SHOW transaction_read_only")) == "on"
    engine.dispose()


def test_the_transactions_after_that_of_a_listener_read_only_too(url, set_by_listener):
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0)
    set_by_listener(engine)
    with read_only(engine).connect() as connection:
        for _ in range(3):
            with pytest.raises(InternalError, match="read-only transaction"):
                connection.execute(INSERT)
            connection.rollback()
    with engine.begin() as connection:
        connection.execute(INSERT)
    engine.dispose()


def test_a_connection_whose_transaction_has_failed_goes_back(start, url):
    app = start(url, **{"sqlalchemy.pool_size": "1", "sqlalchemy.max_overflow": "0"})

    @sqlalchemy.event.listens_for(app.factory.rw_engine, "checkout")
    def fail(driver, *_):
        with contextlib.suppress(Exception):
            driver.cursor().execute("SELECT nothing")

    app.switch(readonly="true")
    for _ in range(2):
        with pytest.raises(sqlalchemy.exc.DBAPIError, match="transaction is aborted"):
            app("GET /count")
        assert app.factory.rw_engine.pool.checkedout() == 0


def test_a_connection_that_cannot_be_made_read_only_goes_back(url):
    """Also one that nobody has got yet: its exception keeps it from being collected."""
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=1)
    view, kept = read_only(engine), []

    @sqlalchemy.event.listens_for(view, "set_connection_execution_options")
    def fail(*_):
        raise RuntimeError("no options here")

    @sqlalchemy.event.listens_for(engine, "checkout")
    def without_transactions(driver, *_):
        driver.autocommit = True

    for _ in range(2):
        with pytest.raises(RuntimeError, match="no options here") as raised:
            view.connect()
        kept.append(raised.value)
        assert engine.pool.checkedout() == 0
    engine.dispose()


# --- who wants to write nevertheless --------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"isolation_level": "AUTOCOMMIT"},
        {"isolation_level": "SERIALIZABLE"},
        {"postgresql_readonly": False},
        {"isolation_level": "AUTOCOMMIT", "postgresql_readonly": False},
    ],
)
def test_the_options_of_a_connection_do_not_let_write(url, options):
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0)
    view = read_only(engine)
    with Session(view) as session:
        session.connection(execution_options=options)
        with pytest.raises(InternalError, match="read-only transaction"):
            session.execute(INSERT)
    with view.connect().execution_options(**options) as connection:
        for _ in range(2):
            with pytest.raises(InternalError, match="read-only transaction"):
                connection.execute(INSERT)
            connection.rollback()
    with pytest.raises(InternalError), view.execution_options(**options).begin() as connection:
        connection.execute(INSERT)
    with engine.begin() as connection:
        assert not connection.connection.dbapi_connection.autocommit
        connection.execute(INSERT)
    engine.dispose()


def test_the_connection_in_the_place_of_a_broken_one_reads_only(url):
    engine = sqlalchemy.create_engine(url)
    with read_only(engine).connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.invalidate()
        connection.rollback()
        with pytest.raises(InternalError, match="read-only transaction"):
            connection.execute(INSERT)
    engine.dispose()


# --- a replica that a request should not write on -------------------------------------------------


@pytest.fixture
def read_only_role(server, make_tables):
    """The URL of a role that can only read: what a replica says, without the wait for one."""
    make_tables(server.url)
    port = sqlalchemy.make_url(server.url).port
    superuser = sqlalchemy.create_engine(
        f"postgresql+psycopg://postgres@127.0.0.1:{port}/app", isolation_level="AUTOCOMMIT"
    )
    with superuser.connect() as connection:
        connection.execute(text("DROP ROLE IF EXISTS reader"))
        connection.execute(text("CREATE ROLE reader LOGIN IN ROLE app"))
        connection.execute(text("ALTER ROLE reader SET default_transaction_read_only = on"))
    superuser.dispose()
    return server.url.replace("//app@", "//reader@")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize("line", ["POST /forced_to_replica", "GET /add", "GET /add_late"])
def test_a_write_on_the_replica_is_503_with_a_sentence(
    start, server, read_only_role, driver, line, caplog
):
    urls = [each.replace("psycopg", driver) for each in (server.url, read_only_role)]
    app = start(*urls, **HANDLED)
    answer = app(line)
    assert (answer.status_int, answer.json) == (
        503,
        {
            "message": "The database can only be read for this request, not written",
            "status": 503,
        },
    )
    assert "Retry-After" not in answer.headers
    (record,) = [each for each in caplog.records if each.name == "c2cotel.errors.views"]
    assert record.levelno == logging.ERROR
    assert "belongs into force_master of c2cotel.db.init()." in caplog.text
    # To who may see everything, everything.
    shown = app(line, X_API_Key="a secret of the tests").json
    assert "read-only transaction" in shown["message"]
    assert "force_master" in shown["stacktrace"]


def test_the_drivers_own_error_is_taken_for_the_same(start, url):
    app = start(url, **HANDLED)

    def raw(request):
        connection = request.dbsession.connection().connection.dbapi_connection
        connection.cursor().execute("INSERT INTO message (text) VALUES ('x')")

    from pyramid.config import Configurator

    config = Configurator(registry=app.registry)
    config.add_route("raw", "/raw")
    config.add_view(raw, route_name="raw")
    config.commit()
    app.switch(readonly="true")
    answer = app("POST /raw")
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "60")
