"""Bad input: a clear error or bounded behaviour, and the application serves."""

from pathlib import Path

import pytest
import requests

from c2cotel_acceptance.traffic import Call

HELLO = Call("/api/hello", route="/api/hello")
STRANGE = Path(__file__).with_name("strange")


@pytest.fixture
def serve_strange(serve, tmp_path):
    """The application in ``strange``."""
    ini = tmp_path / "strange.ini"
    ini.write_text("[app:main]\npaste.app_factory = strange_app:main\n")

    def start(**how):
        return serve(ini=str(ini), env={"PYTHONPATH": str(STRANGE)}, **how)

    return start


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("C2C_PROMETHEUS_PORT", "nine", "C2C_PROMETHEUS_PORT = 'nine'"),
        ("C2C_PROMETHEUS_PORT", "70000", "C2C_PROMETHEUS_PORT = '70000'"),
        ("OTEL_TRACES_EXPORTER", "pigeon", "OTEL_TRACES_EXPORTER = pigeon"),
        ("OTEL_METRICS_EXPORTER", "pigeon", "OTEL_METRICS_EXPORTER = pigeon"),
        ("OTEL_LOGS_EXPORTER", "pigeon", "OTEL_LOGS_EXPORTER = pigeon"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke", "OTEL_EXPORTER_OTLP_PROTOCOL = smoke"),
        ("C2C_RUN_DIR", "/proc/nowhere", "C2C_RUN_DIR"),
    ],
)
def test_a_wrong_setting_is_said_once_and_the_application_serves(serve, variable, value, said):
    env = {variable: value}
    if variable == "OTEL_EXPORTER_OTLP_PROTOCOL":
        env["OTEL_TRACES_EXPORTER"] = "otlp"
    service = serve(workers=2, env=env)
    assert service.send(HELLO, count=20).by_route() == {("/api/hello", 200): 20}
    lines = [line for line in service.output().splitlines() if said in line]
    assert len(lines) == 1
    assert lines[0].startswith("c2cotel: ")
    assert "Traceback" not in service.output()


def test_a_malformed_ini_is_an_error_that_names_it(serve, tmp_path):
    ini = tmp_path / "broken.ini"
    ini.write_text("[app:main\nuse = nothing\n")
    service = serve(ini=str(ini), wait=False)
    assert service.process.wait(30) != 0
    assert str(ini) in service.output()


def test_a_wrong_setting_of_the_application_stops_it(serve, tmp_path):
    ini = tmp_path / "wrong.ini"
    ini.write_text(
        "[app:main]\npaste.app_factory = c2cotel_app:main_with_c2cotel\nc2c.base_path = no slash\n"
    )
    service = serve(ini=str(ini), instrument=False, wait=False)
    assert service.process.wait(30) != 0
    assert "c2c.base_path" in service.output()


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "00-zz-zz-01"},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {"traceparent": "\xff" * 100},
        {"X-Request-ID": "x" * 129},
        {"X-Request-ID": "new\tline and <html>"},
        {"baggage": "=;=,,=" * 1000},
    ],
    ids="-".join,
)
def test_a_malformed_header_is_answered_with_a_fresh_id(serve_shared, headers):
    answer = requests.get(f"{serve_shared.url}/api/ping", headers=headers, timeout=10)
    assert answer.status_code == 200
    given = answer.headers["X-Request-ID"]
    assert len(given) == 36
    assert given not in headers.values()


def test_a_request_id_of_100_kb_is_replaced(serve_alone):
    # gunicorn refuses such a header itself; waitress takes it.
    service = serve_alone()
    answer = requests.get(
        f"{service.url}/api/ping", headers={"X-Request-ID": "x" * 100_000}, timeout=10
    )
    assert answer.status_code == 200
    assert len(answer.headers["X-Request-ID"]) == 36


@pytest.fixture
def serve_shared(serve):
    return serve(workers=1)


def test_10_000_attribute_values_are_2000_series_and_one_for_the_others(serve_strange):
    service = serve_strange()
    assert service.send(Call("/api/visit"), count=100).total == 100
    scrape = service.scrape()
    series = scrape.by("strange_visitors_total", "visitor")
    assert sum(series.values()) == 10_000
    assert len(series) == 2001
    assert scrape.total("strange_visitors_total", otel_metric_overflow="true") == 8000
    assert scrape.total("c2c_metrics_overflowed_total") > 0
    assert service.output().count("more than 2000 sets of attributes") <= 4


def test_a_metric_name_with_spaces_is_an_error_where_it_is_made(serve_strange):
    service = serve_strange(workers=1)
    assert service.send(Call("/api/misname")).by_route() == {("", 500): 1}
    assert "'a name with spaces' is no name for an instrument" in service.output()
    assert service.send(Call("/api/ping"), count=5).by_route() == {("", 200): 5}
