"""Log records in a real PostgreSQL."""

import logging
import uuid
from contextlib import closing

import psycopg
import pytest
import sqlalchemy

from c2cotel.sqlalchemylogger.handlers import SQLAlchemyHandler


@pytest.fixture
def fresh(postgres):
    """The URL of a database that there is not."""
    name = f"log-{uuid.uuid4().hex[:8]}"
    url = maintenance(postgres)
    yield url.set(database=name)
    with closing(psycopg.connect(libpq(url), autocommit=True)) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def maintenance(postgres):
    """Somebody who may make databases; one of the environment has to be so itself."""
    url = sqlalchemy.make_url(postgres.url)
    return url.set(username="postgres") if postgres.process else url


def libpq(url):
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def handler_of(url, **tableargs):
    text = url.render_as_string(hide_password=False)
    return SQLAlchemyHandler({"url": text, "tablename": "lines", "tableargs": tableargs})


def log(handler, *messages):
    logger = logging.getLogger("table")
    for message in messages:
        record = logger.makeRecord("table", logging.ERROR, "/a.py", 7, message, (), None)
        handler.handle(record)


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+psycopg2"])
def test_database_schema_and_table_are_made(fresh, driver):
    url = fresh.set(drivername=driver)
    first, second = handler_of(url, schema="of mine"), handler_of(url, schema="of mine")
    log(first, "one")
    first.flush()
    log(second, "two")
    second.close()
    log(first, "three")
    first.close()
    with closing(psycopg.connect(libpq(fresh))) as connection:
        found = connection.execute('SELECT level, msg FROM "of mine".lines ORDER BY id').fetchall()
    assert found == [("ERROR", "one"), ("ERROR", "two"), ("ERROR", "three")]


def test_a_connection_that_was_lost_costs_no_line(fresh, postgres):
    handler = handler_of(fresh)
    log(handler, "one")
    handler.flush()
    with closing(psycopg.connect(libpq(maintenance(postgres)), autocommit=True)) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (fresh.database,),
        )
    log(handler, "two")
    handler.close()
    with closing(psycopg.connect(libpq(fresh))) as connection:
        found = connection.execute("SELECT msg FROM lines ORDER BY id").fetchall()
    assert found == [("one",), ("two",)]
