"""A thousand tables with three thousand indexes, scraped once by a real Prometheus.

On two slow cores that have other work, too, the command takes 2 s and 100 MB until 16 010 series
can be scraped or are pushed; PostgreSQL needs 0.6 s of that. What it took is printed each time.
"""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.utils import retry_timeout
from c2cotel_boards import catalogue

from .conftest import SCHEMAS, TABLES, missing

INDEXES = 3 * TABLES
EXTRA = "SELECT 'schemas', count(*) FROM pg_namespace"


@pytest.fixture
def port():
    return servers.free_port()


def test_prometheus_scrapes_them_once(thousand, run, port, capsys):
    environ = {"C2C_PROMETHEUS_PORT": str(port), "C2C_PROMETHEUS_HOST": "127.0.0.1"}
    try:
        starting = servers.prometheus({"stats-db": [f"127.0.0.1:{port}"]}, scrape_interval="2s")
        with starting as prometheus:
            ended = run("--db", thousand, "--schema", "archive", **environ)
            assert (ended.status, ended.said.count("\n")) == (0, 1), ended.said
            last = "count(last_over_time({}[5m]))"
            prometheus.wait_value(last.format("c2c_database_table_rows"), TABLES)

            def series(name):
                return prometheus.value(last.format(name))

            assert series("c2c_database_table_size_bytes") == TABLES
            assert series("c2c_database_table_dead_rows") == TABLES
            assert series("c2c_database_table_scans") == TABLES
            assert series('c2c_database_index_size_bytes{fork="main"}') == INDEXES
            for name in ("scans", "entries_read", "rows_fetched"):
                assert series(f"c2c_database_index_{name}") == INDEXES
            assert series('c2c_database_size_bytes{db_namespace="app", job="stats-db"}') == 1
            rows = prometheus.value("sum(last_over_time(c2c_database_table_rows[5m]))")
            per_schema = sum(number % 20 for number in range(1, TABLES // len(SCHEMAS) + 1))
            assert rows == len(SCHEMAS) * per_schema
            taken = prometheus.value("last_over_time(c2c_database_statistics_duration_seconds[5m])")
            total = prometheus.value('count(last_over_time({job="stats-db"}[5m]))')
    except MissingError as error:
        missing(error)
    with capsys.disabled():
        print(  # noqa: T201 - that is to be seen
            f"\nstats-db, {TABLES} tables, {INDEXES} indexes: {total:.0f} series; "
            f"{ended.seconds:.1f} s with the wait for a scrape each 2 s, {taken:.2f} s of it in "
            f"the database; {ended.memory:.0f} MB"
        )
    assert taken < 10
    assert ended.memory < 300


def test_what_is_served_is_the_catalogue_and_pleases_promtool(thousand, run, port):
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(run, "--db", thousand, "--extra", EXTRA, C2C_PROMETHEUS_PORT=str(port))
        url = f"http://127.0.0.1:{port}/metrics"
        text = retry_timeout(lambda: requests.get(url, timeout=10).text, 30, 0.1)
        assert ended.result(10).status == 0
    assert catalogue.differences(text, of=catalogue.STATISTICS) == []
    try:
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text.encode(),
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        missing(MissingError("No promtool on this machine: apt-get install prometheus"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(text) > 1e6


def test_a_pushgateway_takes_them(thousand, run, pushgateway, capsys):
    ended = run("--db", thousand, "--schema", "archive", "--prometheus-url", pushgateway.url)
    assert ended.status == 0, ended.said
    text = requests.get(f"{pushgateway.url}/metrics", timeout=30).text
    for name, count in (("table_rows", TABLES), ("index_scans", INDEXES)):
        labels = r'db_namespace="app",.*instance="",job="db_counts",.*'
        assert len(re.findall(rf"^c2c_database_{name}\{{{labels}\}}", text, re.MULTILINE)) == count
    with capsys.disabled():
        print(  # noqa: T201 - that is to be seen
            f"\nstats-db to a Pushgateway: {ended.seconds:.1f} s, {ended.memory:.0f} MB"
        )
