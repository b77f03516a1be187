"""A PostgreSQL with tables of every kind."""

import contextlib

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from c2cotel.stats_db.database import Database, engine
from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers import postgres

TABLES = """
CREATE TABLE analysed (id serial PRIMARY KEY, name text);
INSERT INTO analysed (name) SELECT 'x' FROM generate_series(1, 1000);
DELETE FROM analysed WHERE id <= 100;
CREATE TABLE never_analysed (id int);
INSERT INTO never_analysed SELECT generate_series(1, 50);
CREATE TABLE empty ();
CREATE SCHEMA "odd "" schema";
CREATE TABLE "odd "" schema"."it's a, ""table"":x %" ("Ä" int UNIQUE);
CREATE SCHEMA other;
CREATE TABLE other.parted (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE other.part_1 PARTITION OF other.parted FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
CREATE VIEW other.view AS SELECT 1;
CREATE MATERIALIZED VIEW other.matview AS SELECT generate_series(1, 10) AS id;
CREATE INDEX matview_id ON other.matview (id);
"""
ODD = 'odd " schema'
ODD_TABLE = 'it\'s a, "table":x %'


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in (
        *("C2C_PROMETHEUS_PORT", "C2C_PROMETHEUS_HOST", "C2C_PROMETHEUS_PREFIX", "SQLALCHEMY_URL"),
        *("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME"),
        *("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED"),
        *("C2COTEL_STATS_DB_TRYNUMBER", "C2CWSGIUTILS_STATS_DB_TRYNUMBER"),
        "C2CWSGIUTILS_STATS_DB_SLEEP",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("C2COTEL_STATS_DB_SLEEP", "0")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(scope="package")
def server():
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(postgres())
        except MissingError as error:
            pytest.skip(str(error))
        with _superuser(running) as connection:
            connection.exec_driver_sql("SET ROLE app")
            for statement in TABLES.split(";\n"):
                if statement.strip():
                    connection.exec_driver_sql(statement.replace("%", "%%"))
            connection.exec_driver_sql("ANALYZE analysed")
            # So that the counts of this session are to be seen at once.
            connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        yield running


@contextlib.contextmanager
def _superuser(running):
    url = sqlalchemy.make_url(running.url).set(username="postgres")
    made = sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with made.connect() as connection:
        yield connection
    made.dispose()


@pytest.fixture
def superuser(server):
    """A connection of the superuser; each of its statements is a transaction."""
    with _superuser(server) as connection:
        yield connection


@pytest.fixture
def url(server):
    return server.url


@pytest.fixture(params=["psycopg", "psycopg2"])
def both(request, url):
    """The URL, with each driver."""
    return url.replace("+psycopg", f"+{request.param}")


@pytest.fixture
def database(url):
    with Database(engine({}, url), sleep=lambda _: None) as asked:
        yield asked
