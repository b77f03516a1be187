"""``c2cotel doctor``: each line, its remedy, and that looking changes nothing."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import Distribution

import pytest

from c2cotel.metrics.server import MetricsServer
from c2cotel.otel import checks, network
from c2cotel.otel.checks import Check
from c2cotel.settings import load
from c2cotel_acceptance.servers import valkey
from c2cotel_acceptance.telemetry import HangingCollector, OtlpReceiver


def doctor(*arguments: str, **environ: str) -> tuple[int, dict[str, list[str]], str]:
    """Its exit status, the lines by name without it, and all of its output."""
    ours = ("C2C_", "OTEL_", "LOG_", "GIT_HASH")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    done = subprocess.run(
        [sys.executable, "-m", "c2cotel", "doctor", *arguments],
        env={**kept, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    lines: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        state, _, rest = line.partition("  ")
        if state.strip() in {"ok", "warn", "FAIL"}:
            name, _, text = rest.strip().partition("  ")
            lines.setdefault(name, []).append(f"{state.strip()}: {text.strip()}")
    return done.returncode, lines, done.stdout


def test_where_nothing_is_set_nothing_fails_and_nothing_is_left(tmp_path):
    status, lines, _ = doctor(TMPDIR=str(tmp_path))
    assert status == 0
    assert lines["traces"] == ["ok: ids only: no exporter and no OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert lines["metrics"] == ["ok: in the run directory, not scraped, not pushed"]
    assert lines["instrumentor pyramid"] == ["ok: c2cotel_instrumentation.pyramid"]
    assert lines["scrape port"] == ["ok: none: no C2C_PROMETHEUS_PORT"]
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_configured_is_looked_at(tmp_path):
    with OtlpReceiver() as collector, closing(socket.socket()) as reserved:
        reserved.bind(("127.0.0.1", 0))
        free = reserved.getsockname()[1]
        reserved.close()
        status, lines, output = doctor(
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_EXPORTER_OTLP_HEADERS="api-key=sesame",
            C2C_PROMETHEUS_PORT=f"{free}",
            C2C_RUN_DIR=f"{tmp_path}/run",
            OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="requests, sqlalchemy",
        )
        assert status == 0
        assert lines["metrics"] == [
            f"ok: in the run directory, scraped on port {free}, pushed to otlp"
        ]
        for signal in ("traces", "logs", "metrics"):
            assert lines[f"OTLP {signal}"] == [
                f"ok: {collector.endpoint}/v1/{signal} answers 200 OK"
            ]
        assert lines["instrumentor requests"] == ["ok: off: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"]
        assert lines[f"scrape port {free}"] == ["ok: free on all interfaces"]
        assert lines["run directory"] == [f"ok: {tmp_path}/run"]
        assert "warn" not in output
        assert "sesame" not in output
        # The empty messages only.
        assert (collector.spans, collector.logs, collector.points) == ([], [], [])
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_fails_with_a_remedy(closed_port):
    status, lines, output = doctor(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://me:sesame@127.0.0.1:{closed_port}",
        OTEL_LOGS_EXPORTER="jaeger",
        OTEL_METRICS_EXPORTER="statsd",
        OTEL_TRACES_SAMPLER="dice",
        C2C_PROMETHEUS_PORT="90x0",
        C2C_RUN_DIR="/proc/none",
    )
    assert status == 1
    assert lines["settings"] == [
        (
            "FAIL: C2C_PROMETHEUS_PORT = '90x0': not a whole number from 0 to 65535  → Write a "
            "whole number from 0 to 65535, for example 9090, or leave it empty."
        )
    ]
    assert lines["OTLP traces"] == [
        (
            f"FAIL: http://me:***@127.0.0.1:{closed_port}/v1/traces: Connection refused  → "
            "Start the collector, or correct the endpoint."
        )
    ]
    assert lines["logs"][0].startswith("FAIL: failed: OTEL_LOGS_EXPORTER = jaeger: no such")
    assert [line.partition(":")[0] for line in lines["set-up"]] == ["FAIL", "warn"]
    assert lines["run directory"] == [
        (
            "FAIL: C2C_RUN_DIR = /proc/none: No such file or directory  → Make it writable, or "
            "unset C2C_RUN_DIR: a place is found then."
        )
    ]
    assert "sesame" not in output


@pytest.fixture
def closed_port():
    with closing(socket.socket()) as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def test_what_an_ini_may_mean_is_no_failure():
    _, lines, _ = doctor(LOG_TYPE="cee", GUNICORN_LOG_LEVEL="loud")
    said = [line.partition("  →")[0] for line in lines["settings"]]
    assert said == [
        (
            "warn: LOG_TYPE = 'cee': not one of those known "
            "(counts only where no ini configures logging)"
        ),
        (
            "warn: GUNICORN_LOG_LEVEL = 'loud': no level. There are CRITICAL, ERROR, WARNING, "
            "INFO, DEBUG, NOTSET and numbers (counts only with gunicorn -c python:c2cotel.gunicorn)"
        ),
    ]


def test_a_propagator_that_keeps_all_telemetry_from_loading_is_found():
    status, lines, _ = doctor(OTEL_PROPAGATORS="tracecontext,b9")
    assert status == 1
    assert lines["set-up"] == [
        (
            "FAIL: ValueError: Propagator b9 not found. It is either misspelled or not installed.  "
            "→ Mend what this line names."
        )
    ]


def test_a_version_that_only_contribs_instrumentor_refuses_is_no_failure(tmp_path):
    info = tmp_path / "sqlalchemy-2.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: sqlalchemy\nVersion: 2.1.0\n")
    status, lines, _ = doctor(PYTHONPATH=str(tmp_path))
    assert lines["instrumentor sqlalchemy"] == ["ok: c2cotel_instrumentation.sqlalchemy"]
    assert "set-up" not in lines
    assert status == 0


def test_programs_get_json():
    status, _, output = doctor("--json", C2C_BASE_PATH="/mine", C2C_PROMETHEUS_PORT="x")
    told = json.loads(output)
    assert (status, told["ok"]) == (1, False)
    assert [(row["name"], row["value"], row["origin"]) for row in told["settings"]] == [
        ("base_path", "/mine", "environment C2C_BASE_PATH")
    ]
    assert told["checks"][0]["state"] == "FAIL"
    assert set(told["checks"][0]) == {"name", "state", "text", "remedy"}


@pytest.mark.parametrize(
    ("status", "state"), [(401, "FAIL"), (404, "FAIL"), (503, "FAIL"), (400, "warn")]
)
def test_an_answer_that_is_none_is_told(status, state, monkeypatch):
    with OtlpReceiver(status=status) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.endpoint}/v1/traces")
        (check,) = network.check_endpoints(load().settings)
    assert (check.name, check.state) == ("OTLP traces", state)
    assert f"answers {status}" in check.text
    assert check.remedy


def test_a_collector_that_hangs_is_not_waited_for(monkeypatch):
    with HangingCollector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"{collector.endpoint}/v1/logs")
        (check,) = network.check_endpoints(load().settings)
    assert check.state == "FAIL"
    assert "does not answer within 2 s" in check.text


def scraped(port: int) -> list[Check]:
    settings = load({"C2C_PROMETHEUS_PORT": f"{port}", "C2C_PROMETHEUS_HOST": "127.0.0.1"}).settings
    return list(network.check_port(settings))


def test_a_port_that_a_stranger_has_fails():
    stranger = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # 501 for everything
    threading.Thread(target=stranger.serve_forever, daemon=True).start()
    try:
        assert scraped(stranger.server_port) == [
            Check(
                f"scrape port {stranger.server_port}",
                "FAIL",
                "taken by another program",
                "Stop it, or change C2C_PROMETHEUS_PORT.",
            )
        ]
    finally:
        stranger.shutdown()
        stranger.server_close()


def test_who_does_not_answer_may_be_one_of_us_on_a_busy_machine():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (check,) = scraped(silent.getsockname()[1])
    assert (check.state, check.text) == ("warn", "taken, by what does not answer within 2 s")
    assert check.remedy.startswith("If that is another program, stop it")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            b'target_info{telemetry_distro_name="c2cotel",service_name="mine"} 1\n',
            "served by c2cotel already, for mine",
        ),
        (b"some 1\n", "served by c2cotel already"),
    ],
)
def test_a_port_that_one_of_us_has_is_fine(text, told):
    server = MetricsServer("127.0.0.1", 0, lambda _: (text, "text/plain"))
    server.start()
    try:
        assert scraped(server.port) == [Check(f"scrape port {server.port}", "ok", told)]
    finally:
        server.shutdown()
        server.server_close()


def test_a_host_that_is_not_ours_fails():
    settings = load({"C2C_PROMETHEUS_PORT": "0", "C2C_PROMETHEUS_HOST": "192.0.2.1"}).settings
    (check,) = network.check_port(settings)
    assert check.state == "FAIL"
    assert check.remedy == "Change C2C_PROMETHEUS_PORT."


class Fake(Distribution):
    """An installed package, as its metadata tells."""

    def __init__(self, name: str, version: str, *requires: str) -> None:
        self._text = "".join(
            f"{key}: {value}\n"
            for key, value in [("Name", name), ("Version", version)]
            + [("Requires-Dist", it) for it in requires]
        )

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path):
        raise NotImplementedError


def test_packages_that_do_not_fit_are_found():
    wanting = Fake(
        "opentelemetry-x", "1", "opentelemetry-api ==1.45.1", "absent >2", 'y >1; extra == "z"'
    )
    installed = {"opentelemetry-api": Fake("opentelemetry-api", "1.44")}
    assert list(checks._conflicts(wanting, installed)) == [
        "opentelemetry-x needs opentelemetry-api ==1.45.1, installed is 1.44",
        "opentelemetry-x needs absent >2, which is not installed",
    ]


def test_those_that_are_installed_fit():
    assert [check.state for check in checks.check_versions()] == ["ok"]


def test_another_distro_that_is_chosen_fails():
    (distro, configurator) = checks.check_distro({"OTEL_PYTHON_DISTRO": "other"})
    assert distro == Check(
        "distro",
        "FAIL",
        "OpenTelemetry takes none (OTEL_PYTHON_DISTRO = other)",
        "Set OTEL_PYTHON_DISTRO=c2cotel.",
    )
    assert configurator.state == "ok"


def test_another_distro_that_is_found_first_fails(tmp_path, monkeypatch):
    info = tmp_path / "other-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: other\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[opentelemetry_distro]\nother = other:Distro\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    distro = next(iter(checks.check_distro({})))
    assert (distro.state, distro.text) == ("FAIL", "OpenTelemetry takes other of other")
    chosen = next(iter(checks.check_distro({"OTEL_PYTHON_DISTRO": "c2cotel"})))
    assert chosen.state == "ok"
    # The loader takes the first of its path: at the end of it, the other is only there.
    monkeypatch.setattr(sys, "path", [*sys.path[1:], str(tmp_path)])
    last = next(iter(checks.check_distro({})))
    assert last.state == "warn"


def test_a_full_directory_is_told(tmp_path):
    assert network._refusal(tmp_path) == ""
    assert network._refusal(tmp_path / "absent") == "No such file or directory"
    settings = load({"C2C_RUN_DIR": f"{tmp_path}/a/b"}).settings
    assert [check.state for check in network.check_run_directory({}, settings)] == ["ok"]
    assert list(tmp_path.iterdir()) == []


def test_a_redis_is_asked_without_telling_its_password():
    with valkey() as server:
        where = server.url.removeprefix("redis://")
        status, lines, output = doctor(C2C_REDIS_URL=f"redis://:sesame@{where}")
        # It has no password, and refuses one.
        assert (status, "sesame" in output) == (1, False)
        assert lines["Redis"][0].startswith("FAIL: redis://")
        assert doctor(C2C_REDIS_URL=server.url)[:1] == (0,)
    _, lines, _ = doctor(C2C_REDIS_URL=server.url)
    assert lines["Redis"][0].startswith(f"FAIL: {server.url}: ")
    assert lines["Redis"][0].endswith("until then hosts do not hear of each other.")


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "ok: nobody: the protected views answer 403"),
        ({"C2C_SECRET": "open sesame"}, "ok: by C2C_SECRET"),
        (
            {"C2C_AUTH_GITHUB_REPOSITORY": "a/b"},
            "FAIL: The login by GitHub lacks C2C_AUTH_GITHUB_CLIENT_ID",
        ),
    ],
)
def test_whether_anybody_can_log_in_is_told(environ, told):
    _, lines, output = doctor(**environ)
    assert lines["access"][0].startswith(told)
    assert "sesame" not in output
