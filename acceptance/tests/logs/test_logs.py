"""The lines of a request, wherever they go; and many of them."""

import socket
import threading
import time
from collections import Counter

import pytest

from c2cotel_acceptance import telemetry

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
# BEGIN, the statement, its values, ROLLBACK.
SQL = ["sqlalchemy.engine.Engine"] * 4
LOGGERS = ["gunicorn.access", "logs_app", *SQL]


@pytest.fixture(scope="module")
def otlp():
    with telemetry.OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def served(start, syslog, otlp):
    """The application after one request, and its end."""
    application = start(
        LOG_HANDLERS="console, json, cee",
        SQL_LOG_LEVEL="INFO",
        GUNICORN_WORKERS="2",
        SYSLOG_HOST=syslog.host,
        SYSLOG_PORT=str(syslog.port),
        OTEL_EXPORTER_OTLP_ENDPOINT=otlp.endpoint,
    )
    answer = application.get("/hello/you?secret=xyz", X_Request_ID="abc", traceparent=PARENT)
    assert answer.status_code == 200
    assert application.get("/burst?name=long&lines=1&size=50000").status_code == 200
    application.stop()
    return application


def test_in_json_each_line_of_a_request_is_there_once_with_its_ids(served):
    lines = [line for line in served.lines if line.get("request_id") == "abc"]
    assert sorted(line["logger_name"] for line in lines) == LOGGERS
    assert {line["trace_id"] for line in lines} == {TRACE}
    by = {line["logger_name"]: line for line in lines}
    own, access = by["logs_app"], by["gunicorn.access"]
    fields = ("msg", "who", "method", "path", "matched_route", "client_addr")
    assert [own[name] for name in fields] == [
        *("hello you", "you", "GET", "/hello/you", "hello", "127.0.0.1"),
    ]
    fields = ("method", "path", "route", "status", "bytes", "client_addr")
    assert [access[name] for name in fields] == [
        *("GET", "/hello/you", "/hello/{name}", 200, 2, "127.0.0.1"),
    ]
    assert 0 < access["duration"] < 60
    assert "xyz" not in str(served.lines)


def test_on_the_console_likewise(served):
    found = [line for line in served.console if line.startswith(f"abc {TRACE} ")]
    assert sorted(line.split()[2] for line in found) == LOGGERS
    assert "xyz" not in "\n".join(served.console)


def test_in_syslog_likewise(served, syslog):
    assert served
    messages = syslog.wait(lambda found: len(found) >= len(served.lines))
    assert all(message.parsed for message in messages)
    ours = [message for message in messages if message.fields.get("request_id") == "abc"]
    assert sorted(message.fields["logger_name"] for message in ours) == LOGGERS
    assert {message.fields["trace_id"] for message in ours} == {TRACE}
    assert {(m.program, m.facility) for m in messages} == {("gunicorn", "user")}
    assert all(message.severity == message.fields["level"] for message in messages)
    (access,) = (m.fields for m in ours if m.fields["logger_name"] == "gunicorn.access")
    assert (access["route"], access["status"]) == ("/hello/{name}", 200)


def test_in_opentelemetry_likewise(served, otlp):
    assert served
    ours = [log for log in otlp.logs if log.attributes.get("c2c.request.id") == "abc"]
    assert sorted(log.scope for log in ours) == LOGGERS
    assert {log.trace_id for log in ours} == {TRACE}
    (access,) = (log for log in ours if log.scope == "gunicorn.access")
    assert access.attributes["route"] == "/hello/{name}"
    assert access.attributes["status"] == 200


def test_what_is_too_long_for_a_packet_says_so_and_is_whole_elsewhere(served, syslog):
    (line,) = (line for line in served.lines if line["msg"].startswith("long 0 "))
    assert len(line["msg"]) == 50_007
    messages = syslog.wait(lambda found: [m for m in found if "truncated" in m.fields])
    (packet,) = (m.fields for m in messages if "truncated" in m.fields)
    assert packet["truncated"] == {"msg": 50_007}
    assert packet["msg"].startswith("long 0 xxx")
    assert packet["msg"].endswith("x…")
    assert packet["request_id"] == line["request_id"]


def test_nothing_is_logged_about_the_sending_of_logs(start, otlp):
    before = len(otlp.logs)
    application = start(
        OTHER_LOG_LEVEL="DEBUG",
        GUNICORN_WORKERS="1",
        OTEL_EXPORTER_OTLP_ENDPOINT=otlp.endpoint,
    )
    assert application.get("/hello/loop", X_Request_ID="loop").status_code == 200
    application.stop()
    of = Counter(log.scope.partition(".")[0] for log in otlp.logs[before:])
    assert of["logs_app"] == 1
    assert not {"urllib3", "requests", "opentelemetry"} & of.keys()


def test_under_waitress_lines_are_the_same(start):
    application = start("pserve", SQL_LOG_LEVEL="INFO", LOG_HANDLERS="json, console")
    assert application.get("/hello/you?secret=xyz", X_Request_ID="abc").status_code == 200
    application.stop()
    lines = [line for line in application.lines if line.get("request_id") == "abc"]
    assert sorted(line["logger_name"] for line in lines) == LOGGERS[1:]
    assert {line["path"] for line in lines} == {"/hello/you"}
    assert len({line["trace_id"] for line in lines}) == 1
    assert len([line for line in application.console if line.startswith("abc ")]) == 5


LINES = 10_000
WORKERS = 4


def test_ten_thousand_lines_of_each_of_four_workers_lose_none(start):
    application = start(GUNICORN_WORKERS=str(WORKERS), GUNICORN_THREADS="2")
    seconds = []

    def log(name):
        # Some long ones: those are what a pipe takes in pieces.
        for part, (lines, size) in enumerate(((LINES - 100, 60), (100, 9000))):
            path = f"/burst?name={name}.{part}&lines={lines}&size={size}"
            seconds.append(application.get(path).json()["seconds"])

    threads = [threading.Thread(target=log, args=(f"w{n}",)) for n in range(WORKERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    application.stop()
    print(f"{LINES * WORKERS / took:.0f} lines a second")  # noqa: T201 - for whoever asks by -s
    seen = Counter(
        " ".join(line["msg"].split()[:2])
        for line in application.lines
        if line["logger_name"] == "logs_app"
    )
    expected = {
        f"w{n}.{part} {number}"
        for n in range(WORKERS)
        for part, lines in enumerate((LINES - 100, 100))
        for number in range(lines)
    }
    assert seen.keys() == expected
    assert set(seen.values()) == {1}


def test_a_syslog_that_is_down_costs_nothing(start, syslog):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()[1]
    took = {}
    for name, host, port in (
        ("there", syslog.host, syslog.port),
        ("nobody", "127.0.0.1", nobody),
        ("unknown", "syslog.invalid", 514),
    ):
        application = start(
            LOG_HANDLERS="cee", GUNICORN_WORKERS="1", SYSLOG_HOST=host, SYSLOG_PORT=str(port)
        )
        took[name] = min(
            application.get("/burst?name=a&lines=2000").json()["seconds"] for _ in range(3)
        )
        application.stop()
        lost = [line for line in application.console if "Log lines are lost" in line]
        # The master and its worker say it once each.
        assert len(lost) <= (2 if name == "unknown" else 0)
    assert took["nobody"] < 2 * took["there"] + 0.1
    assert took["unknown"] < 2 * took["there"] + 0.1


@pytest.mark.parametrize("server", ["gunicorn", "pserve"])
def test_a_wrong_ini_names_file_section_and_key(start, server):
    said = r"logs\.ini \[logger_root\] handlers: 'jsn' is no handler\. Write some of console, json"
    with pytest.raises(RuntimeError, match=said):
        start(server, LOG_HANDLERS="jsn")
