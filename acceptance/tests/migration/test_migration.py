"""What the README of c2cwsgiutils promises, of an application that was only renamed."""

import json
import re
import socket
import time
from pathlib import Path

import pytest
import requests

from c2cotel_acceptance.utils import retry_timeout

APP = Path(__file__).with_name("app")
ORIGIN = {"Origin": "https://other.example"}
ID = "an-id-of-ours-0123456789"


def records(app):
    """The lines of the log, which are JSON; warnings of Python are not in it."""
    lines = app.process.output().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_it_was_written_for_the_predecessor():
    texts = [path.read_text() for path in APP.rglob("*.*") if path.suffix in (".py", ".ini")]
    assert not any("c2cotel" in text for text in texts)
    assert sum("c2cwsgiutils" in text for text in texts) >= 7


# --- databases ------------------------------------------------------------------------------------


def test_get_is_on_the_replica_and_what_is_forced_there_too(app):
    for method in ("GET", "POST"):
        assert app.ask(method, "/api/hello").json() == {"replica": True, "values": 1}


def test_writes_are_on_the_primary_and_committed_with_the_request(app):
    assert app.ask("PUT", "/api/hello?value=new").json() == {"replica": False, "values": 2}
    app.pair.wait()
    assert app.get("/api/hello").json()["values"] == 2
    assert app.ask("DELETE", "/api/hello?value=new").json() == {}
    app.pair.wait()
    assert app.get("/api/hello").json()["values"] == 1


# --- errors and CORS ------------------------------------------------------------------------------


def test_errors_are_json_and_say_nothing_internal(app):
    missing = app.get("/api/nothing")
    assert (missing.status_code, missing.json()["status"]) == (404, 404)
    answer = app.get("/api/error", headers=ORIGIN)
    assert answer.status_code == 500
    assert set(answer.json()) == {"message", "status"}
    assert "internal" not in answer.json()["message"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_an_error_that_was_raised_has_its_text(app):
    answer = app.ask("DELETE", "/api/hello?value=nobody")
    assert answer.status_code == 404
    assert answer.json() == {"message": "No such hello", "status": 404}


def test_a_value_that_is_there_already_is_a_bad_request(app):
    answer = app.ask("PUT", "/api/hello?value=master")
    assert (answer.status_code, answer.json()["status"]) == (400, 400)
    assert "duplicate key" in answer.json()["message"]
    assert "INSERT" not in answer.text


def test_who_knows_the_secret_sees_the_stack(app):
    body = app.with_secret("/api/error").json()
    assert body["message"] == "something internal"
    assert "hello_service/views.py" in body["stacktrace"]


def test_a_preflight_may_be_kept_and_credentials_echo_the_origin(app):
    headers = {**ORIGIN, "Access-Control-Request-Method": "PUT"}
    answer = app.ask("OPTIONS", "/api/hello", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
    assert answer.headers["Access-Control-Max-Age"] == "86400"
    assert "max-age=86400" in answer.headers["Cache-Control"]
    assert "Origin" in answer.headers["Vary"]
    answer = app.get("/api/hello", headers=ORIGIN)
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
    assert "no-cache" in answer.headers["Cache-Control"]


def test_a_wrong_verb_is_refused_with_those_that_would_do(app):
    answer = app.ask("PATCH", "/api/hello")
    assert answer.status_code == 405
    assert set(re.split(", *", answer.headers["Allow"])) >= {"GET", "POST", "PUT", "DELETE"}


# --- operations -----------------------------------------------------------------------------------


def test_the_console_is_for_who_knows_the_secret(app):
    assert app.with_secret("/api/c2c").status_code == 200
    assert app.get("/api/c2c/logging/level?name=root").status_code == 403
    assert app.get("/api/c2c/logging/level?name=root&secret=wrong").status_code == 403


def test_the_health_in_the_seeds_shape(app):
    answer = app.get("/api/c2c/health_check?max_level=3")
    body = answer.json()
    assert answer.status_code == 200, body
    alembic = "alembic" + re.sub(r"[/]", "_", f"{app.folder}/alembic.ini") + "_alembic"
    assert set(body["successes"]) >= {
        "db_engine_sqlalchemy",
        "db_engine_sqlalchemy_slave",
        "ping",
        "custom",
        alembic,
        "version",
    }
    assert body["successes"][alembic]["result"] == "4a8c1bb4e775"
    assert body["successes"]["custom"]["result"] == "happy"
    assert isinstance(body["successes"]["db_engine_sqlalchemy"]["timing"], float)


def test_a_check_that_fails(app):
    (app.folder / "not_happy").touch()
    try:
        answer = app.get("/api/c2c/health_check?checks=custom&max_level=3")
    finally:
        (app.folder / "not_happy").unlink()
    assert answer.status_code == 500
    assert answer.json()["status"] == 500
    assert answer.json()["failures"]["custom"]["message"] == "I'm not happy"


def test_versions(app):
    body = app.with_secret("/api/c2c/versions.json").json()
    assert body["main"]["git_hash"] == "0123456789abcdef0123456789abcdef01234567"
    assert "pyramid" in body["packages"]


def test_the_level_of_a_logger_in_all_workers(app):
    name = "hello_service"
    assert app.with_secret("/api/c2c/logging/level", name=name).json()["level"] == "INFO"
    body = app.with_secret("/api/c2c/logging/level", name=name, level="ERROR").json()
    assert body["level"] == "ERROR"
    before = len(records(app))
    for _ in range(10):
        app.get("/api/hello", headers={"Connection": "close"})
    app.with_secret("/api/c2c/logging/level", name=name, level="INFO")
    quiet = [record for record in records(app)[before:] if record["logger_name"] == name]
    assert quiet == []


def test_all_workers_answer_a_broadcast(app):
    assert set(app.get("/api/pids").json()) == set(app.process.children())
    assert len(app.process.children()) == 2


# --- one request ----------------------------------------------------------------------------------


def test_the_id_of_a_request_goes_with_it(app):
    answer = app.get(
        "/api/ask", params={"url": f"{app.url}/api/client"}, headers={"X-Request-ID": ID}
    )
    assert answer.json()["id"] == answer.json()["seen"]["id"] == ID
    assert answer.headers["X-Request-ID"] == ID


def test_the_id_is_in_the_log(app):
    app.get("/api/hello", headers={"X-Request-ID": ID})

    def logged():
        mine = [record for record in records(app) if record.get("request_id") == ID]
        found = [record for record in mine if record["msg"] == "Hello is asked for"]
        return found and found[-1]

    record = retry_timeout(logged, 5, 0.05)
    expected = {
        "level_name": "INFO",
        "logger_name": "hello_service.views",
        "method": "GET",
        "path": "/api/hello",
        "matched_route": "hello",
        "client_addr": "127.0.0.1",
        "request_id": ID,
    }
    assert {key: record.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"Forwarded": 'for="[2001:db8::17]:4711";proto=https;host=example.com'},
        {
            "X-Forwarded-For": "2001:db8::17",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "example.com",
        },
    ],
)
def test_the_headers_of_proxies(app, headers):
    body = app.get("/api/client", headers=headers).json()
    del body["id"]
    assert body == {"address": "2001:db8::17", "host": "example.com", "scheme": "https"}


def test_keys_of_json_are_sorted(app):
    assert app.get("/api/client").text.startswith('{"address":')


def test_an_outgoing_call_without_a_timeout_has_the_default_one(app):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        answer = app.get("/api/ask", params={"url": f"http://127.0.0.1:{silent.getsockname()[1]}"})
    assert answer.status_code == 500
    assert 0.9 < time.monotonic() - began < 5


def test_the_access_log_is_json_and_has_the_request(app):
    app.get("/api/hello?secret=hunter2hunter2", headers={"X-Request-ID": f"{ID}-access"})

    def logged():
        found = [record for record in records(app) if record["logger_name"] == "gunicorn.access"]
        return [record for record in found if record.get("request_id") == f"{ID}-access"]

    (record,) = retry_timeout(logged, 5, 0.05)
    assert (record["method"], record["path"], int(record["status"])) == ("GET", "/api/hello", 200)
    assert "hunter2" not in json.dumps(record)


def test_an_error_is_sent_to_sentry_with_the_id_of_its_request(app, sentry):
    app.get("/api/error", headers={"X-Request-ID": f"{ID}-sentry"})

    def sent():
        return [event for event in sentry.events if f"{ID}-sentry" in json.dumps(event)]

    (event,) = retry_timeout(sent, 10, 0.05)
    assert event["exception"]["values"][-1]["value"] == "something internal"
    assert event["release"] == "0123456789abcdef0123456789abcdef01234567"
    assert sentry.errors == []


# --- metrics --------------------------------------------------------------------------------------


def test_the_scrape_has_ours_the_applications_and_those_of_collectors(app):
    app.get("/api/hello")

    def complete():
        text = requests.get(app.metrics_url, timeout=10).text
        return text if "hello_asked_total" in text else ""

    text = retry_timeout(complete, 5, 0.1)
    assert "http_server_request_duration_seconds_count" in text
    assert re.search(r'^hello_asked_total\{.*verb="get".*\} [1-9]', text, re.MULTILINE)
    assert re.search(r"^hello_host 42", text, re.MULTILINE)
    assert len(re.findall(r"^hello_custom\{.*\} 7", text, re.MULTILINE)) == 2
    families = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(families) == len(set(families))


# --- scripts --------------------------------------------------------------------------------------


def test_a_script_with_the_application(app):
    uri = f"c2c://{app.folder}/production.ini"
    done = app.run("python", "-m", "hello_service.script", "scripted", uri)
    assert done.returncode == 0, done.stderr
    assert "hellos: 2" in done.stdout
    app.pair.wait()
    assert app.ask("DELETE", "/api/hello?value=scripted").status_code == 200
    app.pair.wait()


def test_a_script_without_it(app):
    uri = f"c2c://{app.folder}/production.ini"
    done = app.run("python", "-m", "hello_service.bare_script", uri)
    assert done.returncode == 0, done.stderr
    assert "hellos: 1" in done.stdout


def test_proutes_shows_the_routes(app):
    done = app.run("proutes", "c2c://production.ini")
    assert done.returncode == 0, done.stderr
    assert re.search(r"hello_service\.views", done.stdout)
    assert "/api/hello" in done.stdout
