"""``c2cotel stats-db``: what is asked, where it is told, and how it ends."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading

import pytest
import requests
from werkzeug import Response

from c2cotel.cli import main, stats_db
from c2cotel_acceptance import servers, telemetry
from c2cotel_acceptance.utils import retry_timeout


@pytest.fixture
def pushed(httpserver):
    """What has been put into a Pushgateway: the text by the path of its group."""
    groups = {}

    def take(request):
        groups[request.path] = request.get_data(as_text=True)
        return Response(status=200)

    httpserver.expect_request(re.compile("/metrics/.*"), method="PUT").respond_with_handler(take)
    return groups


@pytest.fixture
def run(httpserver, capfd):
    """``run(*arguments)`` with a Pushgateway: exit status, and the lines on stderr."""

    def start(*arguments, gateway=None):
        address = gateway or f"127.0.0.1:{httpserver.port}"
        status = main(["stats-db", "--prometheus-url", address, *arguments])
        out, err = capfd.readouterr()
        assert out == ""
        return status, [line.removeprefix("c2cotel stats-db: ") for line in err.splitlines()]

    return start


GROUP = "/metrics/job/db_counts/db_namespace/app"


def test_all_that_is_asked_for_is_pushed(url, run, pushed):
    status, lines = run(
        *("--db", url, "--schema", "other", "--extra", "SELECT 'users', 3"),
        *("--extra-gauge", "SELECT 'open', 4", "jobs", "Jobs by state."),
    )
    assert status == 0
    assert re.fullmatch(
        r"\d\d series are pushed to http://127\.0\.0\.1:\d+/metrics/.*/app\.", *lines
    )
    text = pushed[GROUP]
    assert 'c2c_database_extra{db_namespace="app",metric="users",' in text
    assert "# HELP c2c_database_jobs Jobs by state.\n" in text
    assert re.search(r'c2c_database_jobs\{.*metric="open",.*\} 4.0', text)
    assert re.search(r'c2c_database_table_rows\{.*schema="other",table="matview"\} 10.0', text)
    assert re.search(r"c2c_database_statistics_failures\{.*\} 0.0", text)


def test_programs_get_json_and_nobody_else_gets_anything(url, monkeypatch, capfd):
    with telemetry.OtlpReceiver() as otlp:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint)
        # Not served either: this port would be refused.
        monkeypatch.setenv("C2C_PROMETHEUS_PORT", otlp.endpoint.rpartition(":")[2])
        arguments = ("--db", url, "--json", "--extra", "SELECT 'a', 1.5", "--extra", "SELECT nope")
        assert main(["stats-db", *arguments]) == 1
        assert otlp.points == []
    out, err = capfd.readouterr()
    assert err.count("\n") == 1
    assert err.startswith("c2cotel stats-db: failed: --extra 'SELECT nope': ")
    told = json.loads(out)
    assert told["database"] == "app"
    assert told["failures"] == [
        {"what": "--extra 'SELECT nope'", "why": 'column "nope" does not exist'}
    ]
    (extra,) = [it for it in told["numbers"] if it["name"] == "c2c.database.extra"]
    assert extra == {
        "name": "c2c.database.extra",
        "unit": "",
        "description": "What the queries of --extra told.",
        "attributes": {"db.namespace": "app", "metric": "a"},
        "value": 1.5,
    }
    assert {"c2c.database.size", "c2c.database.statistics.failures"} < {
        it["name"] for it in told["numbers"]
    }


def test_the_instance_is_a_label_of_the_group(url, run, pushed):
    assert run("--db", url, "--prometheus-instance", "cron/1")[0] == 0
    assert list(pushed) == [f"{GROUP}/instance@base64/Y3Jvbi8x"]


def test_the_others_are_told_if_a_query_fails_and_the_end_is_1(url, run, pushed):
    status, (failed, _) = run("--db", url, "--extra", "SELECT nope", "--extra", "SELECT 'a', 1")
    assert status == 1
    assert failed == "failed: --extra 'SELECT nope': column \"nope\" does not exist"
    assert 'metric="a"' in pushed[GROUP]
    assert re.search(r"c2c_database_statistics_failures\{.*\} 1.0", pushed[GROUP])


def test_the_database_may_be_that_of_an_ini(url, run, pushed, tmp_path, monkeypatch):
    ini = tmp_path / "production.ini"
    ini.write_text("[app:main]\nuse = call:c2cotel.cli:main\nsqlalchemy.url = %(WHERE)s%(DB)s\n")
    monkeypatch.setenv("WHERE", url.removesuffix("app"))
    # In the order of the seed: the file, then its variables.
    assert run(f"c2c://{ini}", "DB=app")[0] == 0
    assert GROUP in pushed


def test_the_database_may_be_that_of_the_environment(url, run, pushed, monkeypatch):
    monkeypatch.setenv("SQLALCHEMY_URL", url)
    assert run()[0] == 0
    assert GROUP in pushed


def test_a_pushgateway_is_tried_again(url, run, httpserver):
    away = httpserver.expect_ordered_request(GROUP, method="PUT")
    away.respond_with_data("starting", status=503)
    httpserver.expect_ordered_request(GROUP, method="PUT").respond_with_data("")
    assert run("--db", url)[0] == 0


def test_a_collector_gets_them_if_there_is_one(url, monkeypatch, capfd):
    with telemetry.OtlpReceiver() as otlp:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint)
        assert main(["stats-db", "--db", url]) == 0
    assert re.fullmatch(
        r"c2cotel stats-db: \d\d series are exported by otlp\.\n", capfd.readouterr().err
    )
    (size,) = [point for point in otlp.points if point.name == "c2c.database.size"]
    assert size.value > 1e6
    assert size.attributes == {"db.namespace": "app"}
    assert re.fullmatch(r"127\.0\.0\.1:\d+/app", size.resource["service.instance.id"])


def test_else_they_are_served_for_one_scrape(url, monkeypatch, capfd):
    port = servers.free_port()
    monkeypatch.setenv("C2C_PROMETHEUS_PORT", str(port))
    monkeypatch.setenv("C2C_PROMETHEUS_HOST", "127.0.0.1")
    # A collector that is not for metrics.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
    ended = []
    thread = threading.Thread(target=lambda: ended.append(main(["stats-db", "--db", url])))
    thread.start()
    text = retry_timeout(lambda: requests.get(f"http://127.0.0.1:{port}", timeout=5).text, 20, 0.05)
    thread.join(10)
    assert ended == [0]
    assert "c2c_database_size_bytes{" in text
    assert 'service_name="db_counts"' in text
    assert f"served for one scrape, on port {port}.\n" in capfd.readouterr().err


def test_a_port_that_is_taken_is_said_before_anything_is_asked(monkeypatch, capfd):
    with servers.closed_port() as port, telemetry.HangingCollector() as taken:
        monkeypatch.setenv("C2C_PROMETHEUS_PORT", taken.endpoint.rpartition(":")[2])
        monkeypatch.setenv("C2C_PROMETHEUS_HOST", "127.0.0.1")
        assert main(["stats-db", "--db", f"postgresql+psycopg://127.0.0.1:{port}/app"]) == 1
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "Address already in use. Set C2C_PROMETHEUS_PORT to another one, or push" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--schema", "nope"], "--schema nope: there is no such schema in 127.0.0.1:"),
        (["--extra", ""], "--extra '': the query is empty."),
        (["--extra-gauge", "SELECT 'a', 1", "size", "x"], "--extra-gauge size: taken by "),
        (["--prometheus-url", "ftp://me:hunter2@x"], "--prometheus-url is not the address of a P"),
        (["--db", "sqlite://"], "This is a database of sqlite: only PostgreSQL has these stat"),
        (["--db", "postgresql+asyncpg://x/y"], "--db: postgresql+asyncpg:// needs asyncpg"),
        (["--db", "me:hunter2"], "--db: not the URL of a database. Write for example "),
        (["--db", "nosql://me:hunter2@x/y"], "--db: SQLAlchemy knows no nosql://. Write for "),
        (["no.ini"], "no.ini cannot be read as an ini file: [Errno 2] No such file or directory"),
        (["c2c://no.ini"], "c2c://no.ini cannot be read as an ini file: [Errno 2] No such file"),
        (["no.ini", "x"], "config_vars: Variable assignment 'x' invalid (no \"=\"). Write NAME="),
    ],
)
def test_bad_input_is_one_line_and_ends_with_2(url, run, monkeypatch, arguments, told):
    monkeypatch.setenv("SQLALCHEMY_URL", url)
    status, (line,) = run(*arguments)
    assert status == 2
    assert line.startswith(told)
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("name", "value"), [("C2C_PROMETHEUS_PORT", "abc"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "garbage")]
)
def test_wrong_settings_of_where_the_numbers_go_are_said_first(
    url, monkeypatch, capfd, name, value
):
    monkeypatch.setenv(name, value)
    assert main(["stats-db", "--db", "postgresql+psycopg://127.0.0.1:1/app"]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"c2cotel stats-db: {name} = ")
    assert main(["stats-db", "--db", url, "--json"]) == 0


def test_an_exporter_that_is_not_installed_is_said_first(url, monkeypatch, capfd):
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "carrier-pigeon")
    assert main(["stats-db", "--db", url]) == 2
    assert "OTEL_METRICS_EXPORTER = carrier-pigeon: no such exporter" in capfd.readouterr().err


def test_no_database_at_all_is_said_with_how_to_name_one(run):
    status, (line,) = run()
    assert status == 2
    assert line.startswith("sqlalchemy.url: missing, and there is no SQLALCHEMY_URL in the env")


def test_an_unreachable_database_is_one_line_and_ends_with_1(run, monkeypatch):
    monkeypatch.setenv("C2CWSGIUTILS_STATS_DB_TRYNUMBER", "3")
    with servers.closed_port() as port:
        status, (line,) = run("--db", f"postgresql+psycopg://me:hunter2@127.0.0.1:{port}/app")
    assert status == 1
    assert line.startswith(f"127.0.0.1:{port}/app cannot be reached after 3 tries: ")
    assert "hunter2" not in line


def test_an_unreachable_pushgateway_is_one_line_and_ends_with_1(url, run):
    with servers.closed_port() as port:
        status, (line,) = run("--db", url, gateway=f"127.0.0.1:{port}")
    assert (status, line) == (1, f"http://127.0.0.1:{port} cannot be reached: Connection refused")


def test_the_stack_is_shown_if_it_is_asked_for(run):
    with servers.closed_port() as port:
        url = f"postgresql+psycopg://me:hunter2@127.0.0.1:{port}/app"
        status, lines = run("--db", url, "--debug")
    assert status == 1
    assert "Traceback (most recent call last):" in lines
    assert "hunter2" not in "\n".join(lines)


@pytest.mark.usefixtures("pushed")
def test_a_terminal_shows_how_far_it_is(url, httpserver):
    leader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    arguments = ["--db", url, "--prometheus-url", f"127.0.0.1:{httpserver.port}"]
    done = subprocess.run(
        [sys.executable, "-m", "c2cotel", "stats-db", *arguments],
        stderr=terminal,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    os.close(terminal)
    seen = os.read(leader, 100_000).decode()
    os.close(leader)
    assert done.stdout == b""
    assert f"\r\x1b[K[{'#' * 30}] " in seen
    assert "tables and indexes" in seen
    # It is gone when it is done.
    assert re.search(r"\r\x1b\[Kc2cotel stats-db: \d\d series are pushed to", seen)


def test_the_script_of_the_seed_is_the_same(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["c2cotel-stats-db", "--help"])
    with pytest.raises(SystemExit) as end:
        stats_db.main()
    assert end.value.code == 0
    help_ = capsys.readouterr().out
    for option in ("config_uri", "NAME=VALUE", "--db", "--schema", "--extra", "--extra-gauge"):
        assert option in help_
    assert "examples:" in help_
    assert "exit status:" in help_
