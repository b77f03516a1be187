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

from c2cotel_acceptance.servers import free_port
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
    if "included" in settings:
        Configurator(settings=settings).include("c2cotel.pyramid")
    if "told" in settings:
        logging.getLogger("app").info("settings: %s", settings["told"])
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
kwargs = {'stream': sys.stdout}
formatter = mine
[formatter_mine]
format = mine: %(request_id)s %(message)s
"""
IN_TEXT = re.compile(r"Listening at: (http://[0-9.:]+)")
# What the predecessor's manual has an application do.
SEED = """
[app:main]
paste.app_factory = app:main
told = %(TOLD)s
[loggers]
keys = root, app
[handlers]
keys = console, json
[formatters]
keys = generic
[logger_root]
level = %(OTHER_LOG_LEVEL)s
handlers = %(LOG_TYPE)s
[logger_app]
level = %(LOG_LEVEL)s
handlers =
qualname = app
[handler_console]
class = logging.StreamHandler
kwargs = {'stream': 'ext://sys.stdout'}
formatter = generic
[handler_json]
class = c2cotel.pyramid_logging.JsonLogHandler
kwargs = {'stream': 'ext://sys.stdout'}
[formatter_generic]
format = seed: %(message)s
"""
SEED_CONFIG = """
from c2cotel import get_config_defaults, get_logconfig_dict, get_paste_config

paste = get_paste_config()
wsgi_app = paste
accesslog = "-"
logconfig_dict = get_logconfig_dict(paste)
raw_paste_global_conf = ["=".join(e) for e in get_config_defaults().items()]
"""
TOLD = "100%(x)s%%/#;=\\\\="


@dataclass
class Server:
    folder: Path
    url: str = ""
    process: subprocess.Popen[bytes] | None = None

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


OURS = ("-c", "python:c2cotel.gunicorn")


def command(*args, with_ours=True, instrument=False):
    started = (
        [str(Path(sys.executable).with_name("opentelemetry-instrument"))] if instrument else []
    )
    return [*started, sys.executable, "-m", "gunicorn", *(OURS if with_ours else ()), *args]


def environment(folder, **more):
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    # Pyramid's own: it still imports pkg_resources.
    kept["PYTHONWARNINGS"] = "ignore::UserWarning"
    return {**kept, "C2C_RUN_DIR": str(folder / "run"), **more}


@contextlib.contextmanager
def gunicorn(folder, *args, with_ours=True, instrument=False, url="", **environ):
    """A server that answers, stopped by TERM in the end: then its logs are complete."""
    args = ("-b", "127.0.0.1:0", "--no-control-socket", *args)
    server = Server(folder)
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            command(*args, with_ours=with_ours, instrument=instrument),
            cwd=folder,
            stdout=out,
            stderr=err,
            env=environment(folder, **environ),
        )
    try:
        server.process = process
        server.url = url or retry_timeout(
            lambda: server.listening() or process.poll() is not None, timeout=30, interval=0.05
        )
        if url:
            retry_timeout(lambda: server.get("/hello"), timeout=30, interval=0.05)
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
    took = access.pop("duration")
    assert 0 < took < 20
    fields = ("method", "path", "route", "status", "bytes", "client_addr", "user_agent")
    assert [access[name] for name in fields] == [
        *("GET", "/hello", "/hello", 200, 2, "127.0.0.1", requests.utils.default_user_agent()),
    ]
    assert [failed_access[name] for name in ("route", "status")] == ["/fails", 500]
    assert [hello[name] for name in ("client_addr", "method", "path", "matched_route")] == [
        *("127.0.0.1", "GET", "/hello", "hello"),
    ]
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
    assert server.err == ""
    # gunicorn's own lines, which the ini does not name, are in its form too.
    assert all(line.startswith("mine: ") for line in server.out)
    assert "mine:  telemetry: c2cotel.metrics.provider" in server.out
    (access,) = (line for line in server.out if "/hello" in line)
    assert access.startswith('mine: abc 127.0.0.1 "GET /hello?secret=REDACTED HTTP/1.1" 200 2 ')


@pytest.fixture
def seed(folder):
    (folder / "seed.ini").write_text(SEED)
    (folder / "seed.conf.py").write_text(SEED_CONFIG)
    return folder


def as_json(server):
    """Its lines by logger; those before logging is set up are gunicorn's own."""
    return [json.loads(line) for line in server.out if line.startswith("{")]


@pytest.mark.parametrize(
    ("args", "environ"),
    [
        (("--paste", "seed.ini"), {}),
        ((), {"C2COTEL_CONFIG": "seed.ini"}),
        ((), {"GUNICORN_CMD_ARGS": "--paste seed.ini"}),
    ],
    ids=["--paste", "C2COTEL_CONFIG", "GUNICORN_CMD_ARGS"],
)
def test_the_environment_is_in_the_ini_of_the_application_and_of_its_logging(seed, args, environ):
    environ |= {"TOLD": TOLD, "LOG_TYPE": "json", "LOG_LEVEL": "info", "GUNICORN_WORKERS": "1"}
    with gunicorn(seed, *args, **environ) as server:
        assert server.get("/hello").text == "ok"
    assert server.err == ""
    lines = as_json(server)
    assert len(lines) == len(server.out)
    messages = [line["msg"] for line in lines if line["logger_name"] == "app"]
    # The root is at WARNING, which is its documented default.
    assert [f"settings: {TOLD}", "hello"] == [m for m in messages if "telemetry" not in m]
    (access,) = (line for line in lines if line["logger_name"] == "gunicorn.access")
    assert (access["route"], access["status"], access["request_id"]) == ("/hello", 200, "abc")


def test_that_is_so_too_where_the_instrumentor_is_off(seed):
    environ = {"TOLD": TOLD, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "gunicorn"}
    with gunicorn(seed, "--paste", "seed.ini", **environ) as server:
        assert server.get("/hello").text == "ok"
    assert f"seed: settings: {TOLD}" in server.out


@pytest.mark.parametrize("instrument", [False, True])
def test_the_gunicorn_conf_of_the_predecessor_works(seed, instrument):
    environ = {"TOLD": "100%", "C2CWSGIUTILS_CONFIG": "seed.ini", "LOG_TYPE": "console"}
    args = ("-c", "seed.conf.py")
    with gunicorn(seed, *args, with_ours=False, instrument=instrument, **environ) as server:
        assert server.get("/hello").text == "ok"
    assert "seed: settings: 100%" in server.out
    assert "seed: hello" in server.out


@pytest.mark.parametrize("written", ["kwargs = {'stream': sys.stdout}", "args = (sys.stdout,)"])
def test_gunicorn_alone_under_opentelemetry_reads_the_ini_likewise(seed, written):
    text = SEED.replace("kwargs = {'stream': 'ext://sys.stdout'}", written)
    (seed / "seed.ini").write_text(text.replace("format = seed", "format = %(request_id)s seed"))
    environ = {"TOLD": TOLD, "LEVEL": "banana", "level": "banana", "LOG_TYPE": "console"}
    args = ("--paste", "seed.ini", "--access-logfile", "-")
    with gunicorn(seed, *args, with_ours=False, instrument=True, **environ) as server:
        assert server.get("/hello").text == "ok"
    assert f" seed: settings: {TOLD}" in server.out
    assert "abc seed: hello" in server.out


WAYS = {
    "ours": (("--paste", "seed.ini"), {}),
    "ours, preloaded": (("--paste", "seed.ini", "--preload"), {}),
    "instrument": (("--paste", "seed.ini"), {"with_ours": False, "instrument": True}),
    "the predecessor's": (
        ("-c", "seed.conf.py"),
        {"with_ours": False, "C2COTEL_CONFIG": "seed.ini"},
    ),
}


@pytest.mark.parametrize(("args", "how"), WAYS.values(), ids=WAYS)
def test_the_ini_may_have_other_handlers_and_levels_than_the_settings(seed, args, how):
    text = SEED.replace("told = ", "included = 1\ntold = ").replace(
        "keys = console, json", "keys = cee"
    )
    text = text.replace("[handler_json]", "[handler_cee]")
    (seed / "seed.ini").write_text(text)
    environ = {"TOLD": "1", "LOG_TYPE": "cee", "LOG_LEVEL": "15", "OTHER_LOG_LEVEL": "warn"}
    with gunicorn(seed, *args, **how, **environ) as server:
        assert server.get("/hello").text == "ok"
    assert "settings: 1" in [line["msg"] for line in as_json(server)]


@pytest.mark.parametrize("variable", ["LOG_TYPE", "LOG_LEVEL", "GUNICORN_LOG_LEVEL"])
def test_without_loggers_a_wrong_setting_of_logging_stops_the_start(run, variable):
    done = run("-b", "127.0.0.1:0", **{variable: "loud"})
    assert done.returncode == 1
    assert f"{variable} = 'loud': no" in done.stderr


def test_a_level_may_be_one_that_gunicorn_has_no_word_for(run):
    for level, word in (
        ("15", "debug"),
        ("warn", "warning"),
        ("45", "error"),
        ("FATAL", "critical"),
    ):
        assert printed(run("--print-config", GUNICORN_LOG_LEVEL=level).stdout)["loglevel"] == word


def test_the_level_of_gunicorn_is_that_of_the_ini_unless_the_command_line_says_another(seed):
    section = "[logger_gunicorn]\nqualname = gunicorn.error\nlevel = WARNING\nhandlers =\n"
    text = SEED.replace("keys = root, app", "keys = root, app, gunicorn") + section
    (seed / "seed.ini").write_text(text)
    port = str(free_port())
    args = ("--paste", "seed.ini", "-b", f"127.0.0.1:{port}")
    for more, listening in (((), False), (("--log-level", "debug"), True)):
        with gunicorn(seed, *args, *more, url=f"http://127.0.0.1:{port}", TOLD="1") as server:
            assert server.get("/hello").text == "ok"
        assert any("Listening at" in line for line in server.out) == listening


def test_under_opentelemetry_alone_what_ours_refuses_is_warned_of(seed):
    text = SEED.replace("kwargs = {'stream': 'ext://sys.stdout'}", "args = (sys.stdout,)")
    args, how = WAYS["instrument"]
    (seed / "seed.ini").write_text(text)
    with gunicorn(seed, *args, **how, TOLD="1") as server:
        assert server.get("/hello").text == "ok"
    remedy = "c2c:// and gunicorn -c python:c2cotel.gunicorn refuse it. Write kwargs = "
    for name in ("console", "json"):
        where = f"c2cotel: {seed / 'seed.ini'} [handler_{name}] args: "
        assert server.err.count(f"{where}{remedy}{{'stream': sys.stdout}}, with their names.") == 1
    (seed / "seed.ini").write_text(text.replace("[loggers]", "[lggers]"))
    with gunicorn(seed, *args, **how, TOLD="1") as server:
        assert server.get("/hello").text == "ok"
    said = f"c2cotel: {seed / 'seed.ini'} [handlers]: is not looked at without [loggers]. Write it."
    assert server.err.count(said) == 1


@pytest.mark.parametrize("way", ["ours", "ours, preloaded", "instrument"])
def test_a_wrong_setting_of_the_application_is_a_sentence(seed, way):
    wrong = "c2c.enable_exception_handling = maybe"
    (seed / "seed.ini").write_text(SEED.replace("told = ", f"included = 1\n{wrong}\ntold = "))
    args, how = WAYS[way]
    done = subprocess.run(
        command("-b", "127.0.0.1:0", *args, **how),
        cwd=seed,
        env=environment(seed, TOLD="1", GUNICORN_CMD_ARGS="--workers=1", LOG_TYPE="console"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    said = f"{seed / 'seed.ini'} [app:main] {wrong.replace('maybe', repr('maybe'))}: neither true "
    assert (done.stderr + done.stdout).count(said) == 1
    assert "Traceback" not in done.stderr + done.stdout


def test_a_file_that_is_not_utf_8_is_named(seed):
    (seed / "seed.ini").write_bytes(SEED.encode() + b"# \xff\n")
    args, how = WAYS["instrument"]
    done = subprocess.run(
        command(*args, **how),
        cwd=seed,
        env=environment(seed),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().startswith(f"Error: {seed / 'seed.ini'}: not UTF-8, from byte ")


def test_without_loggers_in_the_ini_the_levels_are_those_of_the_settings(seed):
    (seed / "seed.ini").write_text("[app:main]\npaste.app_factory = app:main\ntold = 1\n")
    environ = {"LOG_TYPE": "json", "OTHER_LOG_LEVEL": "error", "GUNICORN_LOG_LEVEL": "error"}
    # At ERROR, gunicorn does not say where it listens.
    port = str(free_port())
    args = ("--paste", "seed.ini", "-b", f"127.0.0.1:{port}")
    with gunicorn(seed, *args, url=f"http://127.0.0.1:{port}", **environ) as server:
        assert server.get("/hello").text == "ok"
    lines = as_json(server)
    assert {line["logger_name"] for line in lines} == {"app", "gunicorn.access"}
    assert {line["level_name"] for line in lines} == {"INFO", "WARNING"}


def test_a_format_of_access_lines_can_be_chosen(folder):
    environ = {"GUNICORN_ACCESS_LOG_FORMAT": "mine %(m)s %(s)s %({c2c.route}e)s"}
    with gunicorn(folder, "app", **environ) as server:
        assert server.get("/hello").text == "ok"
    assert [line for line in server.out if line.endswith("mine GET 200 /hello")]


def test_hup_reads_the_ini_again(seed):
    environ = {"TOLD": "1", "LOG_TYPE": "console", "GUNICORN_WORKERS": "1"}
    with gunicorn(seed, "--paste", "seed.ini", **environ) as server:
        (seed / "seed.ini").write_text(SEED.replace("seed: ", "again: ").replace("INFO", "WARNING"))
        server.process.send_signal(signal.SIGHUP)
        retry_timeout(lambda: "again: settings: 1" in server.out, timeout=20, interval=0.05)


BAD_INIS = {
    "a level": (
        ("level = %(LOG_LEVEL)s", "level = loud"),
        "Error: {} [logger_app] level: 'loud' is no level. There are ",
    ),
    "args": (
        ("kwargs = {'stream': 'ext://sys.stdout'}", "args = (sys.stdout,)"),
        "Error: {} [handler_console] args: is not read. Write kwargs = {{'stream': sys.stdout}}",
    ),
    "a handler": (
        ("{'stream': 'ext://sys.stdout'}", "{'colour': 1}"),
        "Error: {} [handler_console]: cannot be set up (TypeError: ",
    ),
    "no loggers": (("[loggers]", "[lggers]"), "Error: {} [handlers]: is not looked at without "),
}


@pytest.mark.parametrize(("change", "said"), BAD_INIS.values(), ids=BAD_INIS)
def test_a_wrong_ini_stops_the_start_with_a_sentence(seed, change, said):
    (seed / "seed.ini").write_text(SEED.replace(*change))
    done = subprocess.run(
        command("-b", "127.0.0.1:0", "--paste", "seed.ini"),
        cwd=seed,
        env=environment(seed, TOLD="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().startswith(said.format(seed / "seed.ini"))
    assert "Traceback" not in done.stderr


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
