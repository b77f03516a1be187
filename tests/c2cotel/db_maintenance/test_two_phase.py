"""Transactions of two phases during maintenance, on a PostgreSQL that prepares some."""

import contextlib

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InternalError
from sqlalchemy.orm import Session

from c2cotel.db.read_only import read_only
from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers import postgres

INSERT = text("INSERT INTO message (text) VALUES ('x')")
COUNT = text("SELECT count(*) FROM message")
PREPARED = text("SELECT count(*) FROM pg_prepared_xacts")


@pytest.fixture(scope="module")
def server():
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(postgres(options={"max_prepared_transactions": "10"}))
        except MissingError as error:
            pytest.skip(str(error))


@pytest.fixture(params=["psycopg", "psycopg2"])
def engine(request, server, make_tables):
    """With one connection, so that what stays on it is seen."""
    url = make_tables(server.url).replace("+psycopg", f"+{request.param}")
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=1)
    yield engine
    assert engine.pool.checkedout() == 0
    with engine.connect() as connection:
        assert connection.scalar(PREPARED) == 0
    engine.dispose()


def assert_it_writes(engine):
    """As if there had been no maintenance, in one phase and in two."""
    with engine.begin() as connection:
        before = connection.scalar(COUNT)
        connection.execute(INSERT)
        assert connection.scalar(text("SHOW default_transaction_read_only")) == "off"
    with Session(engine, twophase=True) as session:
        session.execute(INSERT)
        session.commit()
    with engine.connect() as connection:
        assert connection.scalar(COUNT) == before + 2


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_what_reads_is_prepared_and_ends(engine, end):
    view = read_only(engine)
    with view.connect() as connection:
        for _ in range(2):
            transaction = connection.begin_twophase()
            assert connection.scalar(COUNT) == 0
            assert connection.scalar(text("SHOW transaction_read_only")) == "on"
            transaction.prepare()
            getattr(transaction, end)()
    assert_it_writes(engine)


def test_nothing_is_written_in_the_first_phase(engine):
    view = read_only(engine)
    for _ in range(2):
        with view.connect() as connection:
            transaction = connection.begin_twophase()
            with pytest.raises(InternalError, match="read-only transaction") as raised:
                connection.execute(INSERT)
            transaction.rollback()
        assert raised.value.c2c_maintenance is True
    assert_it_writes(engine)


def test_nor_by_the_transaction_after_one_of_two_phases(engine):
    with read_only(engine).connect() as connection:
        transaction = connection.begin_twophase()
        connection.scalar(COUNT)
        transaction.prepare()
        transaction.commit()
        with pytest.raises(InternalError, match="read-only transaction"):
            connection.execute(INSERT)
        connection.rollback()
    assert_it_writes(engine)


def test_a_session_of_two_phases_reads_only(engine):
    view = read_only(engine)
    with Session(view, twophase=True) as session:
        assert session.scalar(COUNT) == 0
        session.commit()
        with pytest.raises(InternalError, match="read-only transaction"):
            session.execute(INSERT)
    assert_it_writes(engine)


@pytest.mark.parametrize(
    "options", [{"isolation_level": "AUTOCOMMIT"}, {"postgresql_readonly": False}]
)
def test_the_options_of_a_connection_do_not_let_it_write(engine, options):
    with read_only(engine).connect().execution_options(**options) as connection:
        connection.begin_twophase()
        with pytest.raises(InternalError, match="read-only transaction"):
            connection.execute(INSERT)
    assert_it_writes(engine)


def write_in_two_phases(connection):
    """SQLAlchemy 2.1 does not even begin, if something else has."""
    connection.begin_twophase()
    connection.execute(INSERT)


@pytest.mark.parametrize("when", ["connect", "checkout"])
def test_nothing_is_written_after_a_listener_of_the_pool_has_run_sql(engine, when):
    @sqlalchemy.event.listens_for(engine, when)
    def set_timeout(driver, *_):
        driver.cursor().execute("SET statement_timeout TO '17s'")

    view = read_only(engine)
    for _ in range(2):
        with view.connect() as connection, pytest.raises(DBAPIError):
            write_in_two_phases(connection)
    sqlalchemy.event.remove(engine, when, set_timeout)
    with engine.connect() as connection:
        assert connection.scalar(COUNT) == 0


def test_what_was_prepared_before_ends_during_maintenance(engine):
    """Otherwise it would hold its locks for as long as that takes."""
    with engine.connect() as connection:
        transaction = connection.begin_twophase(xid="before")
        connection.execute(INSERT)
        transaction.prepare()
        # As if its process ended here.
        connection.invalidate()
    with read_only(engine).connect() as connection:
        assert connection.recover_twophase() == ["before"]
        connection.rollback()
        connection.commit_prepared("before", recover=True)
        connection.rollback()
        assert connection.scalar(COUNT) == 1
    assert_it_writes(engine)
