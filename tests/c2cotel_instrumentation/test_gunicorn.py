import io
import logging
import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace

import pytest
import requests
from gunicorn import glogging
from gunicorn.config import Config
from opentelemetry.context.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

from c2cotel_acceptance.utils import retry_timeout
from c2cotel_instrumentation.context import CONTEXT_KEY, with_request_id
from c2cotel_instrumentation.gunicorn import GunicornInstrumentor
from c2cotel_instrumentation.logging import LoggingInstrumentor

SPAN = SpanContext(trace_id=0xAB, span_id=0xCD, is_remote=False)
CONTEXT = with_request_id("abc", set_span_in_context(NonRecordingSpan(SPAN), Context()))
IDS = "[abc 000000000000000000000000000000ab 00000000000000cd]"
METHODS = ("access", "atoms", "exception")


@pytest.fixture(autouse=True)
def _gunicorn_restored():
    methods = [getattr(glogging.Logger, name) for name in METHODS]
    loggers = [logging.getLogger(name) for name in ("gunicorn.error", "gunicorn.access")]
    before = [(log, log.level, log.handlers[:], log.propagate) for log in loggers]
    yield
    if GunicornInstrumentor().is_instrumented_by_opentelemetry:
        GunicornInstrumentor().uninstrument()
    assert [getattr(glogging.Logger, name) for name in METHODS] == methods
    for log, level, handlers, propagate in before:
        log.setLevel(level)
        log.handlers[:] = handlers
        log.propagate = propagate


class Gunicorn:
    """gunicorn's logger, and what it writes."""

    def __init__(self, access_log_format=None, logger_class=glogging.Logger):
        cfg = Config()
        cfg.set("accesslog", "-")
        if access_log_format:
            cfg.set("access_log_format", access_log_format)
        self.logger = logger_class(cfg)
        self.written = io.StringIO()
        handler = logging.StreamHandler(self.written)
        formatter = logging.Formatter("%(message)s [%(request_id)s %(trace_id)s %(span_id)s]")
        handler.setFormatter(formatter)
        for log in (self.logger.access_log, self.logger.error_log):
            log.handlers[:] = [handler]

    def access(self, query="", **environ):
        environ = {
            "REQUEST_METHOD": "GET",
            "RAW_URI": f"/x?{query}" if query else "/x",
            "PATH_INFO": "/x",
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": "HTTP/1.1",
            **environ,
        }
        headers = [
            (name[5:].replace("_", "-"), value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ]
        response = SimpleNamespace(
            status="200 OK", sent=2, headers=[("Location", "/y?token=t&a=1"), ("Set-Cookie", "c=1")]
        )
        request = SimpleNamespace(headers=headers)
        self.logger.access(response, request, environ, timedelta(milliseconds=5))
        return self.lines[-1]

    @property
    def lines(self):
        return self.written.getvalue().splitlines()


@pytest.fixture
def _instrumented():
    LoggingInstrumentor().instrument()
    GunicornInstrumentor().instrument()


@pytest.mark.usefixtures("_instrumented")
def test_an_access_line_has_the_ids_of_its_request():
    gunicorn = Gunicorn("%(r)s %(s)s")
    assert gunicorn.access(**{CONTEXT_KEY: CONTEXT}) == f"GET /x HTTP/1.1 200 {IDS}"
    assert gunicorn.access() == "GET /x HTTP/1.1 200 [  ]"


@pytest.mark.usefixtures("_instrumented")
def test_without_a_context_the_request_id_of_the_environ_does():
    gunicorn = Gunicorn("%(s)s")
    assert gunicorn.access(**{"c2c.request_id": "abc"}) == "200 [abc  ]"
    assert gunicorn.access(**{"c2c.request_id": 7, CONTEXT_KEY: "x"}) == "200 [  ]"


@pytest.mark.usefixtures("_instrumented")
def test_secrets_are_not_in_an_access_line():
    line = Gunicorn("%(r)s | %(U)s | %(q)s | %(f)s").access(
        "a=1&secret=xyz", HTTP_REFERER="http://h/p?password=xyz&b=2"
    )
    assert line == (
        "GET /x?a=1&secret=REDACTED HTTP/1.1 | /x | a=1&secret=REDACTED | "
        "http://h/p?password=REDACTED&b=2 [  ]"
    )


@pytest.mark.usefixtures("_instrumented")
def test_nor_are_those_among_the_parameters_of_the_path():
    line = Gunicorn("%(r)s | %(U)s").access(RAW_URI="/x;secret=xyz", PATH_INFO="/x;secret=xyz")
    assert line == "GET /x;secret=REDACTED HTTP/1.1 | /x;secret=REDACTED [  ]"


@pytest.mark.usefixtures("_instrumented")
def test_nor_in_the_headers_and_the_environ_that_a_format_asks_for():
    names = (
        *("{QUERY_STRING}e", "{RAW_URI}e", "{HTTP_X_API_KEY}e", "{x-api-key}i", "{referer}i"),
        *("{authorization}i", "{cookie}i", "{location}o", "{set-cookie}o", "{accept}i"),
        "{missing}i",
    )
    line = Gunicorn(" ".join(f"%({name})s" for name in names)).access(
        "secret=xyz",
        HTTP_X_API_KEY="xyz",
        HTTP_AUTHORIZATION="xyz",
        HTTP_COOKIE="xyz",
        HTTP_REFERER="/?secret=xyz",
        HTTP_ACCEPT="text/plain",
    )
    assert dict(zip(names, line.split(" "), strict=False)) == {
        "{QUERY_STRING}e": "secret=REDACTED",
        "{RAW_URI}e": "/x?secret=REDACTED",
        "{HTTP_X_API_KEY}e": "[REDACTED]",
        "{x-api-key}i": "[REDACTED]",
        "{authorization}i": "[REDACTED]",
        "{cookie}i": "[REDACTED]",
        "{location}o": "/y?token=REDACTED&a=1",
        "{set-cookie}o": "[REDACTED]",
        "{referer}i": "/?secret=REDACTED",
        "{accept}i": "text/plain",
        "{missing}i": "-",
    }


def handle_request(application, environ):
    application(environ)


def failing(environ):
    raise ZeroDivisionError(environ["PATH_INFO"])


@pytest.mark.usefixtures("_instrumented")
def test_an_exception_that_leaves_the_application_is_logged_in_its_request():
    gunicorn = Gunicorn("%(s)s")
    try:
        handle_request(failing, {"PATH_INFO": "/x", CONTEXT_KEY: CONTEXT})
    except ZeroDivisionError:
        # As gunicorn's workers do: without the environ, then with one made anew.
        gunicorn.logger.exception("Error handling request %s %s", "GET", "/x?secret=xyz&a=1")
        gunicorn.access()
    assert gunicorn.lines[0] == f"Error handling request GET /x?secret=REDACTED&a=1 {IDS}"
    assert gunicorn.lines[-2].startswith("ZeroDivisionError")
    assert gunicorn.lines[-1] == f"200 {IDS}"


@pytest.mark.usefixtures("_instrumented")
def test_an_exception_of_gunicorn_itself_is_logged_as_ever():
    gunicorn = Gunicorn()
    try:
        failing({"PATH_INFO": "x"})
    except ZeroDivisionError:
        gunicorn.logger.exception("%s failed", 7)
    assert gunicorn.lines[0] == "7 failed [  ]"


@pytest.mark.usefixtures("_instrumented")
def test_a_logger_class_of_the_application_is_covered():
    class Mine(glogging.Logger):
        def atoms(self, *args):
            return {**super().atoms(*args), "mine": "!"}

    gunicorn = Gunicorn("%(mine)s %(q)s", Mine)
    assert gunicorn.access("secret=x", **{CONTEXT_KEY: CONTEXT}) == f"! secret=REDACTED {IDS}"


def test_uninstrument_restores_what_was_there():
    LoggingInstrumentor().instrument()
    methods = [getattr(glogging.Logger, name) for name in METHODS]
    for _ in range(2):
        GunicornInstrumentor().instrument()
        assert [getattr(glogging.Logger, name) for name in METHODS] != methods
        GunicornInstrumentor().uninstrument()
        assert [getattr(glogging.Logger, name) for name in METHODS] == methods
    assert Gunicorn("%(q)s").access("secret=x", **{CONTEXT_KEY: CONTEXT}) == "secret=x [  ]"


def test_somebody_who_wrapped_later_is_left_in_place(monkeypatch):
    LoggingInstrumentor().instrument()
    GunicornInstrumentor().instrument()
    ours = glogging.Logger.access

    def theirs(*args):
        ours(*args)

    gunicorn = Gunicorn("%(s)s")
    with monkeypatch.context() as patch:
        patch.setattr(glogging.Logger, "access", theirs)
        GunicornInstrumentor().uninstrument()
        assert gunicorn.access(**{CONTEXT_KEY: CONTEXT}) == "200 [  ]"
        GunicornInstrumentor().instrument()
        assert gunicorn.access(**{CONTEXT_KEY: CONTEXT}) == f"200 {IDS}"


def test_gunicorn_is_not_imported_for_it():
    program = (
        "import sys\n"
        "from c2cotel_instrumentation.gunicorn import GunicornInstrumentor\n"
        "sys.modules['gunicorn'] = None\n"
        "GunicornInstrumentor().instrument()\n"
        "GunicornInstrumentor().uninstrument()\n"
        "assert not [name for name in sys.modules if name.startswith('gunicorn.')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


APPLICATION = """
from opentelemetry import context
from c2cotel_instrumentation.context import with_request_id

def application(environ, start_response):
    environ["c2c.context"] = with_request_id(f"id-of-{environ['PATH_INFO']}", context.Context())
    if environ["PATH_INFO"] == "/fails":
        raise ZeroDivisionError
    start_response("200 OK", [("Content-Length", "2")])
    if environ["PATH_INFO"] == "/streams":
        return half()
    return [b"ok"]

def half():
    yield b"o"
    raise ZeroDivisionError
"""
# As opentelemetry-instrument does: before gunicorn is imported, in what becomes its master.
START = """
import sys
from c2cotel_instrumentation.gunicorn import GunicornInstrumentor
from c2cotel_instrumentation.logging import LoggingInstrumentor
GunicornInstrumentor().instrument()
LoggingInstrumentor().instrument()
assert "gunicorn" not in sys.modules
from gunicorn.app.wsgiapp import run
run()
"""
CONFIGURATION = """
def line(format):
    return {"format": format, "class": "logging.Formatter"}

# Without root's handlers gunicorn's own logging writes each line once.
logconfig_dict = {
    "root": {"handlers": []},
    "formatters": {"generic": line("%(name)s [%(request_id)s] %(message)s")},
}
"""


def _address(log):
    found = re.search(r"Listening at: (http://\S+)", log.read_text())
    return found and found[1]


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_a_real_gunicorn_logs_its_requests_with_their_ids(tmp_path, worker):
    (tmp_path / "app.py").write_text(APPLICATION)
    (tmp_path / "gunicorn.conf.py").write_text(CONFIGURATION)
    log = tmp_path / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [
                *(sys.executable, "-c", START, "-k", worker, "-b", "127.0.0.1:0"),
                *("--access-logformat", "%(r)s %(s)s", "--no-control-socket"),
                "app:application",
            ],
            cwd=tmp_path,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        url = retry_timeout(lambda: _address(log), timeout=30, interval=0.05)
        assert requests.get(f"{url}/hello?secret=x", timeout=20).text == "ok"
        assert requests.get(f"{url}/fails?secret=x", timeout=20).status_code == 500
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.get(f"{url}/streams?secret=x", timeout=20)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)
    text = log.read_text()
    lines = text.splitlines()
    assert [line for line in lines if "[id-of-" in line] == [
        "gunicorn.access [id-of-/hello] GET /hello?secret=REDACTED HTTP/1.1 200",
        "gunicorn.error [id-of-/fails] Error handling request GET /fails?secret=REDACTED",
        "gunicorn.access [id-of-/fails] GET /fails?secret=REDACTED HTTP/1.1 500",
        "gunicorn.access [id-of-/streams] GET /streams?secret=REDACTED HTTP/1.1 200",
        "gunicorn.error [id-of-/streams] Error handling request",
    ]
    assert "secret=x" not in text


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


FIELDS = ("method", "path", "route", "status", "duration", "bytes", "client_addr", "user_agent")


def fields_of(gunicorn, query="", **environ):
    kept = Kept()
    gunicorn.logger.access_log.handlers[:] = [kept, *gunicorn.logger.access_log.handlers]
    gunicorn.access(query, **environ)
    found = kept.records[-1].__dict__
    return {name: found[name] for name in FIELDS if name in found}


@pytest.mark.usefixtures("_instrumented")
def test_the_record_of_an_access_line_has_fields_too():
    environ = {"REMOTE_ADDR": "192.0.2.7", "HTTP_USER_AGENT": 'curl "8"', "c2c.route": "/{x}"}
    assert fields_of(Gunicorn(), "secret=xyz", PATH_INFO="/x;token=t/\xc3\xa9", **environ) == {
        "method": "GET",
        "path": "/x;token=REDACTED/%C3%A9",
        "route": "/{x}",
        "status": 200,
        "duration": 0.005,
        "bytes": 2,
        "client_addr": "192.0.2.7",
        "user_agent": 'curl "8"',
    }


@pytest.mark.usefixtures("_instrumented")
def test_what_a_request_has_not_said_is_no_field():
    found = fields_of(Gunicorn())
    assert found.keys() == {"method", "path", "status", "duration", "bytes"}


@pytest.mark.usefixtures("_instrumented")
def test_the_route_of_a_request_that_failed_is_found():
    gunicorn = Gunicorn()

    def application(environ):
        raise ValueError(environ)

    try:
        application({CONTEXT_KEY: CONTEXT, "c2c.route": "/fails"})
    except ValueError:
        found = fields_of(gunicorn)
    assert found["route"] == "/fails"
    assert gunicorn.lines[-1].endswith(IDS)


@pytest.mark.usefixtures("_instrumented")
def test_a_logger_class_that_logs_something_else_has_no_fields():
    kept = Kept()
    logger = Gunicorn().logger.access_log
    logger.handlers[:] = [kept]
    logger.info("mine")
    logger.info("mine %(s)s", {"s": "two hundred", "D": None, "m": 7})
    assert [FIELDS[3] in record.__dict__ for record in kept.records] == [False, False]


def test_without_the_instrumentor_records_have_no_fields():
    GunicornInstrumentor().instrument()
    gunicorn = Gunicorn()
    GunicornInstrumentor().uninstrument()
    gunicorn.logger.access_log.handlers[:] = []
    assert fields_of_bare(gunicorn) == set()


def fields_of_bare(gunicorn):
    kept = Kept()
    gunicorn.logger.access_log.handlers[:] = [kept]
    environ = {"REQUEST_METHOD": "GET", "RAW_URI": "/x", "SERVER_PROTOCOL": "HTTP/1.1"}
    response = SimpleNamespace(status="200 OK", sent=2, headers=[])
    gunicorn.logger.access(response, [], environ, timedelta(0))
    return set(FIELDS) & kept.records[-1].__dict__.keys()


def test_an_ini_file_is_loaded_and_configured_as_the_options_say():
    calls = []

    def load_paste(uri, name, names):
        calls.append((uri, name, names))
        return "application"

    def configure_logging(file, names):
        calls.append((file, names))
        if file == "wrong.ini":
            raise ValueError("a sentence")

    from gunicorn.app import pasterapp

    originals = pasterapp.get_wsgi_app, glogging.fileConfig
    GunicornInstrumentor().instrument(load_paste=load_paste, configure_logging=configure_logging)
    assert pasterapp.get_wsgi_app("/x.ini#a", defaults={"b": "c"}) == "application"
    glogging.fileConfig("x.ini", defaults={"d": "e"}, disable_existing_loggers=False)
    assert calls == [("/x.ini#a", None, {"b": "c"}), ("x.ini", {"d": "e"})]
    with pytest.raises(RuntimeError, match="a sentence"):
        glogging.fileConfig("wrong.ini")
    GunicornInstrumentor().uninstrument()
    assert (pasterapp.get_wsgi_app, glogging.fileConfig) == originals


def test_gunicorns_own_way_gets_the_names_that_it_is_to_know(tmp_path):
    file = tmp_path / "x.ini"
    file.write_text(
        "[loggers]\nkeys = root\n[handlers]\nkeys =\n[formatters]\nkeys =\n"
        "[logger_root]\nlevel = %(LEVEL_OF_ALL)s\nhandlers =\n"
    )
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    GunicornInstrumentor().instrument(configure_logging=lambda _, names: {**names, **LEVELS})
    try:
        glogging.fileConfig(str(file), {"a": "b"}, disable_existing_loggers=False)
        assert root.level == logging.ERROR
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]


LEVELS = {"LEVEL_OF_ALL": "ERROR"}
