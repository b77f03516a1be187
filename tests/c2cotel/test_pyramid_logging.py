import io
import json
import logging
import logging.config
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyramid.request import Request
from pyramid.threadlocal import manager

from c2cotel import settings
from c2cotel.pyramid_logging import (
    ConsoleFormatter,
    ConsoleLogHandler,
    JsonFormatter,
    JsonLogHandler,
    dict_config,
)

STARTS_A_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", re.MULTILINE)


def record(message="hello %s", *args, level=logging.WARNING, exc_info=None, sinfo=None, **extra):
    logger = logging.getLogger("app.views")
    return logger.makeRecord(
        "app.views", level, "/app/views.py", 7, message, args, exc_info, "view", extra, sinfo
    )


def as_json(*args, **kwargs):
    line = JsonFormatter().format(record(*args, **kwargs))
    assert len(line.splitlines()) == 1
    return json.loads(line, parse_constant=pytest.fail)


def on_console(*args, **kwargs):
    return ConsoleFormatter().format(record(*args, **kwargs))


def fail():
    raise ValueError("a\nb")


def failure():
    try:
        fail()
    except ValueError:
        return sys.exc_info()


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def test_a_json_line_has_the_fields_of_the_seed():
    made = record("hello %s", "you", table="roads")
    line = json.loads(JsonFormatter().format(made))
    assert line.pop("host")
    assert line == {
        "timestamp": made.created,
        "level_name": "WARNING",
        "level": 4,
        "logger_name": "app.views",
        "msg": "hello you",
        "file": "/app/views.py",
        "line": 7,
        "function": "view",
        "pid": made.process,
        "process_name": "MainProcess",
        "thread_name": "MainThread",
        "table": "roads",
    }


@pytest.mark.parametrize(
    ("level", "syslog"), [(5, 7), (10, 7), (20, 6), (25, 6), (30, 4), (40, 3), (50, 2), (60, 2)]
)
def test_levels_are_those_of_syslog(level, syslog):
    assert as_json("m", level=level)["level"] == syslog


def test_the_ids_of_a_request_are_there_only_in_a_request():
    ids = {"request_id": "abc", "trace_id": "t", "span_id": "s"}
    assert as_json("m", **ids).items() >= ids.items()
    assert not ids.keys() & as_json("m", request_id="", trace_id="", span_id=None).keys()


def test_a_trace_is_the_full_message():
    line = as_json("m", exc_info=failure(), sinfo="Stack: x")
    assert line["msg"] == "m"
    assert line["full_message"].startswith("Traceback")
    assert line["full_message"].endswith("ValueError: a\nb\nStack: x")
    assert line["full_msg"] == "true"


def test_extras_lose_their_underscore_and_hide_nothing():
    line = as_json("m", _table="roads", host="db1", level=logging.INFO, line="mine")
    assert (line["table"], line["extra_host"], line["line"], line["extra_line"]) == (
        "roads",
        "db1",
        7,
        "mine",
    )


def test_a_dictionary_as_the_message_gives_fields():
    line = as_json({"table": "roads", "level": "mine"})
    assert (line["msg"], line["table"], line["level"], line["extra_level"]) == (
        "{'table': 'roads', 'level': 'mine'}",
        "roads",
        4,
        "mine",
    )


def test_usual_objects_are_written_as_usual():
    line = as_json("m", when=datetime(2026, 11, 22, tzinfo=UTC), error=KeyError("k"))
    assert (line["when"], line["error"]) == ("2026-11-22T00:00:00+00:00", "KeyError: 'k'")


def test_arguments_that_do_not_fit_are_kept_beside_the_message():
    line = as_json("hello %d", "you", table="roads")
    assert line["msg"] == "hello %d"
    assert line["unformatted_args"] == "('you',)"
    assert line["format_error"].startswith("TypeError: %d format")
    assert line["table"] == "roads"
    assert on_console("hello %d", "you").endswith(
        "app.views hello %d (arguments ('you',), %d format: a real number is required, not str)"
    )


def test_values_that_no_json_can_hold_are_written_as_their_repr():
    cycle = []
    cycle.append(cycle)
    line = as_json("m", cycle=cycle, nan=float("nan"), keys={(1, 2): 3}, fine=[1])
    assert (line["cycle"], line["nan"], line["keys"], line["fine"]) == (
        "[[...]]",
        "nan",
        "{(1, 2): 3}",
        [1],
    )
    assert line["format_error"]


def test_an_object_without_text_loses_only_itself():
    shown = "<Unprintable, whose repr fails with RuntimeError>"
    line = as_json("m %s", Unprintable(), table="roads", exc_info=failure())
    assert (line["msg"], line["table"]) == ("m %s", "roads")
    assert line["unformatted_args"] == "<tuple, whose repr fails with RuntimeError>"
    assert "ValueError: a\nb" in line["full_message"]
    assert as_json(Unprintable())["msg"] == shown
    assert shown in on_console(Unprintable())


def test_numbers_beyond_python_own_limit_and_deep_lists_are_survived():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    line = as_json("m", big=10**5000, deep=deep)
    assert "whose repr fails" in line["big"]
    assert "whose repr fails" in line["deep"]


def test_lone_surrogates_survive_as_ascii():
    assert as_json("caf\udce9 é")["msg"] == "caf\udce9 é"
    assert JsonFormatter().format(record("é\udce9")).isascii()
    assert on_console("caf\udce9 é").endswith("caf\\udce9 é")


@given(st.text(st.characters()), st.text(st.characters()), st.text(st.characters()))
def test_whatever_comes_is_one_json_line(message, argument, request_id):
    line = as_json("%s: %s", message, argument, request_id=request_id)
    assert line["msg"] == f"{message}: {argument}"
    assert line.get("request_id", "") == request_id


def test_a_console_line_is_for_people():
    made = record("hello %s", "you", request_id="abc")
    time = logging.Formatter().formatTime(made, "%Y-%m-%d %H:%M:%S")
    assert ConsoleFormatter().format(made) == (
        f"{time}.{int(made.msecs):03d} WARNING  app.views [abc] hello you"
    )
    assert on_console("hello").endswith("WARNING  app.views hello")


def test_a_trace_on_the_console_is_indented():
    lines = on_console("m", exc_info=failure(), sinfo="Stack:\n  x").split("\n")
    assert lines[0].endswith("app.views m")
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[-4:] == ["    ValueError: a", "    b", "    Stack:", "      x"]


FORGED = "2026-11-22 08:17:03.123 ERROR    root forged"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\x1b[1G"])
def test_no_message_can_look_like_a_line(end):
    text = on_console(f"m{end}{FORGED}", request_id=f"i{end}{FORGED}", exc_info=failure())
    assert len(STARTS_A_LINE.findall(text)) == 1
    first, *more = text.splitlines()
    assert STARTS_A_LINE.match(first)
    assert all(line.startswith("    ") for line in more)


@given(st.text(st.characters()), st.text(st.characters()), st.text(st.characters()))
def test_whatever_comes_the_console_is_never_fooled(message, request_id, name):
    made = record("%s", message, request_id=request_id)
    made.name = name
    first, *more = ConsoleFormatter().format(made).splitlines()
    assert STARTS_A_LINE.match(first)
    assert all(line.startswith("    ") for line in more)


def test_colours_are_for_terminals():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, coloured in ((io.StringIO(), False), (Terminal(), True)):
        ConsoleLogHandler(stream).emit(record("m"))
        assert ("\x1b[" in stream.getvalue()) is coloured


def test_an_ascii_console_gets_the_rest_of_the_line():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    ConsoleLogHandler(stream).emit(record("café"))
    assert raw.getvalue().endswith(b"caf\\xe9\n")


def test_the_json_handler_stays_with_json():
    stream = io.StringIO()
    handler = JsonLogHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.emit(record("m"))
    assert json.loads(stream.getvalue())["msg"] == "m"
    handler.setFormatter(JsonFormatter(static_fields={"service": "roads"}))
    handler.emit(record("m"))
    assert json.loads(stream.getvalue().splitlines()[1])["service"] == "roads"


def test_the_names_work_in_an_ini_file(tmp_path):
    ini = tmp_path / "logging.ini"
    ini.write_text(
        "[loggers]\nkeys = root\n[handlers]\nkeys = json, console\n"
        "[formatters]\nkeys = json, console\n"
        "[logger_root]\nlevel = INFO\nhandlers = json, console\n"
        "[handler_json]\nclass = c2cotel.pyramid_logging.JsonLogHandler\nargs = (sys.stdout,)\n"
        "[handler_console]\nclass = StreamHandler\nargs = (sys.stdout,)\nformatter = console\n"
        "[formatter_json]\nclass = c2cotel.pyramid_logging.JsonFormatter\n"
        "[formatter_console]\nclass = c2cotel.pyramid_logging.ConsoleFormatter\n"
        "format = %(message)s\ndatefmt = %H\n"
    )
    program = (
        "import logging, logging.config, sys;"
        "logging.config.fileConfig(sys.argv[1]); logging.warning('m')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(ini)], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert json.loads(first)["msg"] == "m"
    assert re.fullmatch(r"\d\d(\.\d{3})? WARNING  root m", second)
    assert done.stderr == ""


@pytest.fixture
def _logging_restored():
    names = (*dict_config(settings.Settings())["loggers"], None)
    loggers = [logging.getLogger(name) for name in names]
    before = [(log, log.level, log.handlers[:], log.propagate) for log in loggers]
    yield
    for log, level, handlers, propagate in before:
        log.setLevel(level)
        log.handlers[:] = handlers
        log.propagate = propagate


@pytest.mark.usefixtures("_logging_restored")
@pytest.mark.parametrize("kind", ["console", "json"])
def test_every_record_is_one_line_on_stdout(kind, capsys):
    environ = {"LOG_TYPE": kind, "LOG_LEVEL": "warning", "GUNICORN_LOG_LEVEL": "error"}
    logging.config.dictConfig(dict_config(settings.load(environ).settings))
    for name in ("app", "gunicorn.error", "gunicorn.access"):
        for level in (logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger(name).log(level, "%s %s", name, logging.getLevelName(level))
    printed = capsys.readouterr()
    messages = [
        json.loads(line)["msg"] if kind == "json" else " ".join(line.split()[-2:])
        for line in printed.out.splitlines()
    ]
    assert printed.err == ""
    assert messages == [
        "app WARNING",
        "app ERROR",
        "gunicorn.error ERROR",
        "gunicorn.access INFO",
        "gunicorn.access WARNING",
        "gunicorn.access ERROR",
    ]


def test_a_stream_without_an_encoding_is_written_to():
    written = []
    stream = SimpleNamespace(write=written.append, flush=lambda: None)
    ConsoleLogHandler(stream).emit(record("é"))
    assert written[0].endswith("é\n")


def within(environ, route=None):
    """A line of JSON, written while Pyramid handles a request with *environ*."""
    request = Request(environ)
    if route is not None:
        request.matched_route = SimpleNamespace(name=route)
    manager.push({"request": request, "registry": None})
    try:
        return as_json("m")
    finally:
        manager.pop()


REQUEST_FIELDS = ("client_addr", "method", "path", "matched_route")


def request_fields(line):
    return {name: line[name] for name in REQUEST_FIELDS if name in line}


def test_a_line_within_a_request_of_pyramid_says_which():
    environ = {
        "REMOTE_ADDR": "192.0.2.7",
        # Nobody has said that this one may be believed.
        "HTTP_X_FORWARDED_FOR": "203.0.113.1",
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "/caf\xc3\xa9;token=t",
        "QUERY_STRING": "secret=xyz",
    }
    assert request_fields(within(environ, "hello")) == {
        "client_addr": "192.0.2.7",
        "method": "POST",
        "path": "/app/caf%C3%A9;token=REDACTED",
        "matched_route": "hello",
    }
    assert request_fields(as_json("m")) == {}


def test_a_request_that_a_script_has_made_up_is_none():
    assert request_fields(within(Request.blank("/").environ)) == {}


def test_what_the_application_says_itself_stays():
    request = Request({"REMOTE_ADDR": "192.0.2.7", "REQUEST_METHOD": "GET", "PATH_INFO": "/x"})
    manager.push({"request": request, "registry": None})
    try:
        line = as_json("m", path="/mine", method=None)
    finally:
        manager.pop()
    assert (line["path"], line["method"], line["client_addr"]) == ("/mine", None, "192.0.2.7")


@given(st.text(st.characters(max_codepoint=255)), st.text())
def test_a_request_of_any_kind_does_not_cost_the_line(path, method):
    line = within({"REMOTE_ADDR": "", "PATH_INFO": path, "REQUEST_METHOD": method})
    assert line["path"].isascii()


WRITER = """
import logging, sys
from c2cotel.pyramid_logging import {handler}
logging.basicConfig(handlers=[{handler}(sys.stdout)])
for number in range({lines}):
    logging.error("%s %s", number, sys.argv[1] * 30_000)
"""


@pytest.mark.parametrize("handler", ["JsonLogHandler", "ConsoleLogHandler"])
def test_long_lines_of_several_workers_do_not_mix_on_a_pipe(handler):
    code = WRITER.format(handler=handler, lines=60)
    reader, writer = os.pipe()
    workers = [
        subprocess.Popen([sys.executable, "-c", code, letter], stdout=writer) for letter in "abc"
    ]
    os.close(writer)
    with os.fdopen(reader) as lines:
        # Each has one kind of letter at its end.
        seen = [re.search(r" (\w)\1{29999}\W*", line) for line in lines]
    assert [worker.wait(30) for worker in workers] == [0, 0, 0]
    assert len(seen) == 180
    assert all(seen)
    assert {found[1] for found in seen} == set("abc")


@pytest.mark.parametrize("other", [None, "WARNING"])
def test_other_loggers_have_a_level_of_their_own(other):
    environ = {"LOG_LEVEL": "DEBUG", "SQL_LOG_LEVEL": "info", "C2COTEL_LOG_LEVEL": "error"}
    environ |= {"OTHER_LOG_LEVEL": other} if other else {}
    made = dict_config(settings.load(environ).settings, ["app"])
    levels = {name: logger["level"] for name, logger in made["loggers"].items()}
    assert made["root"]["level"] == (other or "DEBUG")
    assert levels == {
        **({"app": "DEBUG"} if other else {}),
        "c2cotel": "ERROR",
        "c2cotel_instrumentation": "ERROR",
        "sqlalchemy.engine": "INFO",
        "gunicorn.error": "INFO",
        "gunicorn.access": "INFO",
    }
