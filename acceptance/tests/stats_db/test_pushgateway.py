"""Runs that follow one another, to a real Pushgateway."""

import re

import pytest
import requests
import sqlalchemy
from sqlalchemy.pool import NullPool

from c2cotel_acceptance.servers import free_port


@pytest.fixture
def other(server):
    """The URL of another database of the same server."""
    url = sqlalchemy.make_url(server.url)
    made = sqlalchemy.create_engine(
        url.set(username="postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with made.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE other OWNER app")
        yield url.set(database="other").render_as_string(hide_password=False)
        connection.exec_driver_sql("DROP DATABASE other")
    made.dispose()


def execute(url, *statements):
    made = sqlalchemy.create_engine(url, poolclass=NullPool)
    with made.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    made.dispose()


def told(pushgateway):
    """Names of the tables by database."""
    text = requests.get(f"{pushgateway.url}/metrics", timeout=10).text
    found = re.findall(
        r'^c2c_database_table_rows\{db_namespace="(\w+)",instance="(\w*)",job="db_counts",.*'
        r'table="(\w+)"',
        text,
        re.MULTILINE,
    )
    return sorted(found)


def test_a_run_replaces_what_the_one_before_said_of_this_database_only(
    server, other, run, pushgateway
):
    execute(server.url, "CREATE SCHEMA shop", "CREATE TABLE shop.one (id int)")
    execute(other, "CREATE TABLE here (id int)")
    push = ("--schema", "shop", "--prometheus-url", pushgateway.url)
    assert run("--db", server.url, *push).status == 0
    assert run("--db", other, *push[2:]).status == 0
    assert told(pushgateway) == [("app", "", "one"), ("other", "", "here")]
    execute(server.url, "DROP TABLE shop.one", "CREATE TABLE shop.two (id int)")
    try:
        assert run("--db", server.url, *push).status == 0
        assert told(pushgateway) == [("app", "", "two"), ("other", "", "here")]
        assert run("--db", server.url, *push, "--prometheus-instance", "cron").status == 0
        assert ("app", "cron", "two") in told(pushgateway)
    finally:
        execute(server.url, "DROP SCHEMA shop CASCADE")


def test_a_failing_query_is_counted_and_the_others_are_there(server, run, pushgateway):
    extra = ("--extra", "SELECT 1 FROM nowhere", "--extra", "SELECT 'answer', 42")
    ended = run("--db", server.url, *extra, "--prometheus-url", pushgateway.url)
    assert ended.status == 1
    first, second = ended.said.splitlines()
    assert first.endswith("--extra 'SELECT 1 FROM nowhere': relation \"nowhere\" does not exist")
    assert "series are pushed to" in second
    text = requests.get(f"{pushgateway.url}/metrics", timeout=10).text
    assert re.search(r"^c2c_database_statistics_failures\{.*\} 1$", text, re.MULTILINE)
    assert re.search(r'^c2c_database_extra\{.*metric="answer".*\} 42$', text, re.MULTILINE)


def test_an_error_of_the_pushgateway_is_its_own_words(server, run, pushgateway):
    # A gauge of this name is there, and it is a counter.
    requests.post(
        f"{pushgateway.url}/metrics/job/x",
        "# TYPE c2c_database_jobs counter\nc2c_database_jobs 1\n",
        timeout=10,
    ).raise_for_status()
    gauge = ("--extra-gauge", "SELECT 'open', 4", "jobs", "Jobs.")
    ended = run("--db", server.url, *gauge, "--prometheus-url", pushgateway.url)
    assert (ended.status, ended.said.count("\n")) == (1, 1)
    assert f"{pushgateway.url} answers 400: " in ended.said


def test_nobody_there_is_one_line(server, run):
    gone = f"http://127.0.0.1:{free_port()}"
    ended = run("--db", server.url, "--prometheus-url", gone, C2COTEL_STATS_DB_SLEEP="0")
    expected = f"c2cotel stats-db: {gone} cannot be reached: Connection refused\n"
    assert (ended.status, ended.said) == (1, expected)
