"""The fixtures, in the project of somebody who has installed c2cotel."""

import json
import os
import re
import socket
from importlib import metadata

import pytest

from c2cotel_acceptance import browser
from c2cotel_acceptance.processes import MissingError

CONNECTION = """
def test_hello(app_connection):
    assert app_connection.get_json("hello", cors=False) == {"hello": True}
"""
APPLICATION = '''
"""An application that tells one span, one log line and one number, and ends."""

import logging
import sys

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry._logs import LogRecord

spans, logs = TracerProvider(), LoggerProvider()
spans.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
logs.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter()))
meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
with spans.get_tracer("it").start_as_current_span("GET /hello") as span:
    logs.get_logger("it").emit(LogRecord(body="said hello", severity_text="INFO"))
    meters.get_meter("it").create_counter("hello.said").add(1, {"language": "en"})
    print(f"{span.get_span_context().trace_id:032x}")
for provider in (spans, logs, meters):
    provider.shutdown()
'''
TELEMETRY = """
import os, subprocess, sys

import pytest

@pytest.fixture
def ask(telemetry):
    env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry.endpoint}
    return lambda: subprocess.run(
        [sys.executable, "application.py"], env=env, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()

def test_it_tells(ask, telemetry):
    answer = ask()
    assert telemetry.span(answer, "GET /hello").parent is None
    telemetry.log(answer, "said hello", severity="INFO")
    assert telemetry.metric("hello.said", {"language": "en"}).value == 1

def test_it_tells_again(ask, telemetry):
    telemetry.timeout = 1
    answer = ask()
    assert telemetry.metric("hello.said").value == 1
    telemetry.span(answer, "GET /goodbye")
"""


@pytest.fixture
def api(httpserver):
    httpserver.expect_request("/hello").respond_with_json(
        {"hello": True}, headers={"Cache-Control": "no-cache"}
    )
    return httpserver.url_for("/")


def test_a_request_is_followed_into_what_it_made(project):
    (project.folder / "application.py").write_text(APPLICATION)
    done = project(test=TELEMETRY)
    assert "1 failed, 1 passed" in done.stdout
    assert "TelemetryError: No span with name='GET /goodbye' of trace " in done.stdout
    assert "INTERNAL 'GET /hello', UNSET" in done.stdout
    # The line of the test is shown, not those of the toolkit.
    line = TELEMETRY[: TELEMETRY.index('telemetry.span(answer, "GET /goodbye")')].count("\n") + 1
    assert f"test_it.py:{line}: TelemetryError" in done.stdout


def test_the_connection_is_configured_by_file_or_environment(project, api):
    ini = f"c2c_acceptance_url = {api}\nc2c_acceptance_trace_url = https://t.example/{{trace_id}}"
    assert "1 passed" in project(test=CONNECTION, ini=ini).stdout
    ini = ini.replace(api, "http://127.0.0.1:9/")
    assert "1 passed" in project(test=CONNECTION, ini=ini, C2C_ACCEPTANCE_URL=api).stdout


def test_a_check_that_fails_points_at_the_test(project, api):
    test = CONNECTION.replace(", cors=False", "")
    done = project(test=test, C2C_ACCEPTANCE_URL=api, C2C_ACCEPTANCE_ORIGIN="https://a.example")
    assert f"CheckError: GET {api}hello answered 200 OK: it has no Access-Con" in done.stdout
    assert "so a page of https://a.example cannot read it" in done.stdout
    assert "test_it.py:3: CheckError" in done.stdout


def test_without_an_url_it_says_how_to_tell_it(project):
    done = project(test=CONNECTION)
    assert "app_connection: where is the API? Set c2c_acceptance_url in" in done.stdout


@pytest.mark.parametrize("port", ["http", "-1", "¹"])
def test_a_port_that_is_none_is_told(project, port):
    done = project(test="def test(telemetry): pass", C2C_ACCEPTANCE_OTLP_PORT=port)
    assert f"c2c_acceptance_otlp_port = {port!r}: not a port. Write 4318" in done.stdout


FAILING = """
import pytest
from c2cotel_acceptance import image
from c2cotel_acceptance.composition import Composition
from c2cotel_acceptance.utils import retry_timeout, wait_url

def test_json(app_connection):
    app_connection.get_json("page", cors=False)

def test_waiting():
    retry_timeout(lambda: 1 / 0, timeout=0.01, interval=0.01)

def test_url():
    wait_url("http://127.0.0.1:9/", timeout=0.01)

def test_picture(tmp_path):
    from PIL import Image
    image.check_image(tmp_path, Image.new("RGB", (9, 9)), tmp_path / "it.expected.png")

def test_composition(request, monkeypatch):
    monkeypatch.setenv("PATH", "")
    Composition(request, "compose.yaml")
"""


@pytest.fixture
def chromium_program():
    """Not the fixture ``chromium``: a browser is started by the project's own pytest."""
    try:
        return browser.program()
    except MissingError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))


def test_a_failure_shows_the_test_and_nothing_of_the_toolkit(project, httpserver):
    httpserver.expect_request("/page").respond_with_data("{", headers={"Cache-Control": "no-cache"})
    done = project(test=FAILING, C2C_ACCEPTANCE_URL=httpserver.url_for("/"))
    assert "5 failed" in done.stdout
    assert "c2cotel_acceptance/" not in done.stdout
    assert "During handling of the above exception" not in done.stdout
    failed = re.findall(r"^test_it\.py:\d+: (\w+)", done.stdout, re.MULTILINE)
    assert failed == [
        "CheckError",
        "ZeroDivisionError",
        "TimeoutError",
        "TimeoutError",
        "AssertionError",
        "MissingError",
    ]


BROWSER = """
from c2cotel_acceptance import image

def test_the_page(chromium, tmp_path):
    how = {"width": 50, "height": 50, "sleep": 0, "chromium": chromium}
    expected = tmp_path / "it.expected.png"
    for again in (True, False):
        image.check_screenshot("data:text/html,<h1>Hi", tmp_path, expected,
                               generate_expected_image=again, **how)

def test_a_visit(chromium):
    with chromium.visit() as visit:
        visit.page.set_content("<h1>Hi")
        visit.screenshot("hi")
"""


def test_one_browser_is_for_all_tests(project, chromium_program):
    ini = "c2c_acceptance_screenshots = seen"
    done = project(test=BROWSER, ini=ini, C2C_ACCEPTANCE_CHROMIUM=chromium_program)
    assert "2 passed" in done.stdout
    assert (project.folder / "seen/hi.png").stat().st_size > 100


def test_without_a_browser_it_says_what_to_install(project, tmp_path):
    done = project(test=BROWSER, PATH=str(tmp_path))
    assert "MissingError: No Chromium on this machine: apt-get install" in done.stdout


def test_a_port_that_is_taken_is_told(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = project(test="def test(telemetry): pass", C2C_ACCEPTANCE_OTLP_PORT=port)
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use. With" in done.stdout


def test_a_fixture_of_the_project_wins(project):
    conftest = "import pytest\n@pytest.fixture\ndef telemetry(): return 'mine'\n"
    done = project(test="def test(telemetry): assert telemetry == 'mine'", conftest=conftest)
    assert "1 passed" in done.stdout


def test_tests_that_ask_for_nothing_pay_for_nothing(project):
    test = """
import json, sys
def test():
    print(json.dumps(sorted(name.partition(".")[0] for name in sys.modules)))
"""
    loaded = []
    for plugin in ("c2cotel_acceptance.plugin", "no:nothing"):
        done = project("-s", test=test, plugin=plugin)
        [line] = [line for line in done.stdout.splitlines() if "[" in line and "_pytest" in line]
        loaded.append(set(json.loads(line[line.index("[") :].rstrip("."))))
    ours, plain = loaded
    assert ours - plain == {"c2cotel_acceptance"}


def test_pytest_finds_the_plugin_by_itself(project):
    [point] = metadata.entry_points(group="pytest11", name="c2cotel")
    assert point.value == "c2cotel_acceptance.plugin"
    done = project(test="def test(telemetry): assert telemetry.endpoint", plugin="c2cotel")
    assert "1 passed" in done.stdout
