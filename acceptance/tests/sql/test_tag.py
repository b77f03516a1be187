"""The example application, tagging: one request's ids from its header to PostgreSQL's own log."""

import contextlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import requests

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.telemetry import OtlpReceiver
from c2cotel_acceptance.utils import retry_timeout

_APP = Path(__file__).parents[2] / "app"
_OPTIONS = {"log_statement": "all", "log_line_prefix": "%p|%a|"}
_REQUESTS = 24


@pytest.fixture(scope="module")
def database():
    """With the example's table in it, and a log of all statements."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(servers.postgres(options=_OPTIONS))
        except MissingError as error:
            pytest.skip(str(error))
        if server.log is None:
            pytest.skip("The log of a PostgreSQL elsewhere cannot be read")
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=_APP,
            env={**os.environ, "SQLALCHEMY_URL": server.url},
            check=True,
        )
        yield server


@pytest.fixture(scope="module")
def receiver():
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def url(serve_long, database, receiver):
    """Of the application, with the comment that says most and the name as well."""
    environ = {
        "SQLALCHEMY_URL": f"{database.url}?application_name=own",
        "C2C_SQL_TAG": "traceparent",
        "C2C_SQL_REQUEST_ID": "1",
        "OTEL_TRACES_SAMPLER": "parentbased_always_on",
    }
    service = serve_long("--threads", "4", workers=2, otlp=receiver, env=environ)
    assert requests.post(f"{service.url}/api/hello", json={"text": "a"}, timeout=30).ok
    return f"{service.url}/api/hello"


def as_superuser(database):
    return database.url.replace("+psycopg", "").replace("app@", "postgres@")


def logged(database, text):
    """The lines of PostgreSQL's log with this *text*: name and statement."""
    text_of_all = database.log.read_text().replace("\n\t", " ")
    lines = [line.split("|", 2) for line in text_of_all.splitlines() if "|" in line]
    return [(name, rest) for _, name, rest in lines if text in rest]


def ask(url, number, *, sampled=True):
    trace_id = f"{number + 1:032x}"
    headers = {
        "X-Request-ID": f"test:{number}",
        "traceparent": f"00-{trace_id}-{'1' * 16}-0{int(sampled)}",
    }
    assert requests.get(url, headers=headers, timeout=30).ok
    return trace_id


def test_a_statement_has_its_request_in_the_trace_and_in_the_log_of_the_database(
    url, database, receiver
):
    with ThreadPoolExecutor(8) as pool:
        traces = list(pool.map(lambda number: ask(url, number), range(_REQUESTS)))
    for number, trace_id in enumerate(traces):

        def spans(receiver, trace_id=trace_id):
            found = {span.name: span for span in receiver.spans if span.trace_id == trace_id}
            return found if {"GET /api/hello", "SELECT message"} <= found.keys() else None

        found = receiver.wait(spans)
        request, statement = found["GET /api/hello"], found["SELECT message"]
        assert statement.parent == request.span_id
        assert request.attributes["c2c.request.id"] == f"test:{number}"
        assert "/*" not in statement.attributes["db.query.text"]

        ((name, line),) = logged(database, f"00-{trace_id}-{statement.span_id}-")
        assert name == f"test:{number}"
        comment = re.search(r"/\*(.*)\*/", line)[1].rpartition(",")
        assert comment[0] == (
            "application='example',framework='pyramid',"
            f"request_id='test%3A{number}',route='/api/hello'"
        )


def test_a_request_that_is_not_sampled_has_the_constant_comment(url, database):
    ask(url, 1000, sampled=False)
    (line,) = [line for name, line in logged(database, "FROM message") if name == "test:1000"]
    assert line.endswith("/*application='example',framework='pyramid',route='/api/hello'*/")


def test_what_waits_in_the_database_is_found_by_its_request(url, database):
    waiting = "SELECT application_name, query FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    admin = as_superuser(database)
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(admin) as blocking,
        psycopg.connect(admin, autocommit=True) as looking,
    ):
        blocking.execute("LOCK TABLE message IN ACCESS EXCLUSIVE MODE")
        answered = pool.submit(ask, url, 2000)
        name, query = retry_timeout(lambda: looking.execute(waiting).fetchone(), 15, 0.05)
        blocking.rollback()
        answered.result()
    assert name == "test:2000"
    assert "request_id='test%3A2000'" in query


def test_outside_of_transactions_the_application_has_its_own_name(url, database):
    ask(url, 3000)
    names = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename = 'app'"
    with psycopg.connect(
        database.url.replace("+psycopg", "").replace("app@", "postgres@")
    ) as admin:
        assert admin.execute(names).fetchall() == [("own",)]
