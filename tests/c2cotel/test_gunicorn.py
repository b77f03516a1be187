import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from c2cotel_acceptance.utils import retry_timeout

APPLICATION = """
import logging

from opentelemetry import metrics
from pyramid.config import Configurator
from pyramid.response import Response

logging.getLogger("app").warning("telemetry: %s", type(metrics.get_meter_provider()).__module__)

def hello(request):
    logging.getLogger("app").info("hello")
    return Response("ok")

def main(global_config=None, **settings):
    config = Configurator(settings=settings)
    config.add_route("hello", "/hello")
    config.add_view(hello, route_name="hello")
    config.add_route("fails", "/fails")
    config.add_view(lambda request: 1 / 0, route_name="fails")
    return config.make_wsgi_app()

application = main()
"""
PASTE = """
[app:main]
paste.app_factory = app:main
[loggers]
keys = root, access
[handlers]
keys = out
[formatters]
keys = mine
[logger_root]
level = WARNING
handlers = out
[logger_access]
qualname = gunicorn.access
level = INFO
handlers = out
propagate = 0
[handler_out]
class = StreamHandler
args = (sys.stdout,)
formatter = mine
[formatter_mine]
format = mine: %(request_id)s %(message)s
"""
IN_TEXT = re.compile(r"Listening at: (http://[0-9.:]+)")


@dataclass
class Server:
    folder: Path
    url: str = ""

    @property
    def out(self) -> list[str]:
        return (self.folder / "out").read_text().splitlines()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    def listening(self) -> str | None:
        found = IN_TEXT.search((self.folder / "out").read_text() + self.err)
        return found and found[1]

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, headers={"X-Request-ID": "abc"}, timeout=20)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "app.py").write_text(APPLICATION)
    (tmp_path / "app.ini").write_text(PASTE)
    return tmp_path


def command(*args):
    return [sys.executable, "-m", "gunicorn", "-c", "python:c2cotel.gunicorn", *args]


def environment(folder, **more):
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    # Pyramid's own: it still imports pkg_resources.
    kept["PYTHONWARNINGS"] = "ignore::UserWarning"
    return {**kept, "C2C_RUN_DIR": str(folder / "run"), **more}


@contextlib.contextmanager
def gunicorn(folder, *args, **environ):
    """A server that answers, stopped by TERM in the end: then its logs are complete."""
    args = ("-b", "127.0.0.1:0", "--no-control-socket", *args)
    server = Server(folder)
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            command(*args), cwd=folder, stdout=out, stderr=err, env=environment(folder, **environ)
        )
    try:
        server.url = retry_timeout(
            lambda: server.listening() or process.poll() is not None, timeout=30, interval=0.05
        )
        assert process.poll() is None, server.err
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()


def test_each_line_is_json_once_and_that_of_a_request_has_its_ids(folder):
    with gunicorn(folder, "app", LOG_TYPE="json", GUNICORN_WORKERS="1") as server:
        assert server.get("/hello?secret=x").text == "ok"
        assert server.get("/fails?secret=x").status_code == 500
    lines = [json.loads(line) for line in server.out]
    assert server.err == ""
    messages = [line["msg"] for line in lines]
    assert len(set(messages)) == len(messages)
    assert [message for message in messages if message.startswith("Listening at")]
    ours = [line for line in lines if line.get("request_id") == "abc"]
    assert [(line["logger_name"], line["level_name"]) for line in ours] == [
        ("app", "INFO"),
        ("gunicorn.access", "INFO"),
        ("gunicorn.error", "ERROR"),
        ("gunicorn.access", "INFO"),
    ]
    hello, access, failed, failed_access = ours
    assert access["msg"].startswith('127.0.0.1 "GET /hello?secret=REDACTED HTTP/1.1" 200 2 ')
    assert failed["msg"] == "Error handling request GET /fails?secret=REDACTED"
    assert "ZeroDivisionError" in failed["full_message"]
    assert "secret=x" not in "\n".join(server.out)
    for name in ("trace_id", "span_id"):
        assert hello[name] == access[name]
        assert failed[name] == failed_access[name] != access[name]


def test_telemetry_is_there_before_a_preloaded_application(folder):
    arguments = "--preload --workers 1 --access-logfile access.log"
    with gunicorn(folder, "app", GUNICORN_CMD_ARGS=arguments) as server:
        assert server.get("/hello").text == "ok"
    text = "\n".join(server.out)
    assert "WARNING  app telemetry: c2cotel.metrics.provider" in text
    assert text.count("INFO     app [abc] hello") == 1
    assert text.count("Booting worker") == 1
    assert server.err == ""
    # A file that is asked for is written, instead of our line.
    assert "GET /hello" not in text
    assert '"GET /hello HTTP/1.1" 200' in (folder / "access.log").read_text()


def test_the_logging_of_the_application_wins(folder):
    with gunicorn(folder, "--paste", "app.ini", LOG_TYPE="json", GUNICORN_WORKERS="1") as server:
        assert server.get("/hello?secret=x").text == "ok"
    told, access = server.out
    assert told == "mine:  telemetry: c2cotel.metrics.provider"
    assert access.startswith('mine: abc 127.0.0.1 "GET /hello?secret=REDACTED HTTP/1.1" 200 2 ')


def test_log_records_go_to_opentelemetry_too(folder):
    environ = {"OTEL_LOGS_EXPORTER": "console", "GUNICORN_WORKERS": "1"}
    with gunicorn(folder, "app", **environ) as server:
        assert server.get("/hello").text == "ok"
    text = "\n".join(server.out)
    assert text.count("INFO     app [abc] hello") == 1
    assert text.count('"body": "hello"') == 1
    assert len(re.findall(r'"body": ".*GET /hello HTTP/1.1', text)) == 1
    assert server.err == ""


@pytest.fixture
def run(folder):
    def run(*args, **environ):
        return subprocess.run(
            command(*args, "app"),
            cwd=folder,
            env=environment(folder, **environ),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def printed(output):
    return dict(re.findall(r"^(\w+) += (.*)$", output, re.MULTILINE))


def test_the_settings_are_gunicorns(run):
    done = run("--print-config", GUNICORN_WORKERS="3", PORT="1234", GUNICORN_LOG_LEVEL="warning")
    assert done.returncode == 0, done.stderr
    config = printed(done.stdout)
    expected = {
        "bind": "['0.0.0.0:1234']",
        "workers": "3",
        "threads": "10",
        "worker_class": "gthread",
        "loglevel": "warning",
        "accesslog": "-",
    }
    assert {name: config[name] for name in expected} == expected


def test_the_command_line_and_gunicorns_own_variable_win(run):
    done = run(
        *("--print-config", "--threads", "5"),
        GUNICORN_CMD_ARGS="--bind=127.0.0.1:1 --workers=7",
        GUNICORN_WORKERS="3",
    )
    config = printed(done.stdout)
    assert (config["bind"], config["workers"], config["threads"]) == ("['127.0.0.1:1']", "7", "5")


def test_a_wrong_setting_of_the_application_stops_the_start_with_a_sentence(run):
    done = run(GUNICORN_WORKERS="abc")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "Error: GUNICORN_WORKERS = 'abc': not a whole number from 1 to 1000. "
        "Write a whole number from 1 to 1000, for example 2."
    )


def test_a_wrong_setting_of_the_telemetry_does_not(run):
    done = run("--check-config", C2C_EXIT_TIMEOUT="soon")
    assert done.returncode == 0, done.stderr
    assert "C2C_EXIT_TIMEOUT = 'soon'" in done.stderr
