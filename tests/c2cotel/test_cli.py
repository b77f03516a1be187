"""The command line: how commands are found, what they print where, and how they end."""

import json
import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from c2cotel.cli import CommandError, _demo_check, command_names, main
from c2cotel.cli import settings as settings_command
from c2cotel_acceptance.traffic import Traffic


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch):
    for variable in ("C2C_BASE_PATH", "C2C_PROMETHEUS_PORT", "OTEL_EXPORTER_OTLP_HEADERS"):
        monkeypatch.delenv(variable, raising=False)


def test_each_module_is_a_command_with_help(capsys):
    assert "settings" in command_names()
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert [name for name in command_names() if not re.search(rf"\n  {name}\s", out)] == []


def test_each_command_explains_itself(capsys):
    with pytest.raises(SystemExit) as end:
        main(["settings", "--help"])
    assert end.value.code == 0
    assert "List all settings, their values and where these come from." in (
        " ".join(capsys.readouterr().out.split())
    )


@pytest.mark.parametrize(
    "arguments", [[], ["--debug"], ["no-such-command"], ["settings", "--no-such-option"]]
)
def test_wrong_usage_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().out == ""


def test_the_version_is_that_of_the_distribution(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"c2cotel {version('c2cotel')}\n"


def test_what_the_user_can_mend_is_one_line_on_stderr(monkeypatch, capsys):
    def fail(_):
        raise CommandError("the disk is full: delete something.")

    monkeypatch.setattr(settings_command, "run", fail)
    assert main(["settings"]) == 2
    assert capsys.readouterr() == ("", "c2cotel settings: the disk is full: delete something.\n")


def test_an_interrupt_ends_without_a_traceback(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(settings_command, "run", interrupt)
    assert main(["settings"]) == 130
    assert capsys.readouterr() == ("", "")


def test_settings_shows_value_and_origin(monkeypatch, capsys):
    monkeypatch.setenv("C2C_BASE_PATH", "/tools")
    assert main(["settings"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["C2C_BASE_PATH", "/tools", "environment", "C2C_BASE_PATH"] in lines
    assert ["C2C_EXIT_TIMEOUT", "5.0", "default"] in lines


def test_settings_shows_no_secret_in_any_form(monkeypatch, capsys):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2")
    for form in ([], ["--json"]):
        main(["settings", *form])
    captured = capsys.readouterr()
    assert "OTEL_EXPORTER_OTLP_HEADERS" in captured.out
    assert "hunter2" not in captured.out + captured.err


def test_settings_as_json(monkeypatch, capsys):
    monkeypatch.setenv("C2C_PROMETHEUS_PORT", "9090")
    assert main(["settings", "--json"]) == 0
    (row,) = [
        row for row in json.loads(capsys.readouterr().out) if row["name"] == "prometheus.port"
    ]
    assert row.pop("description").startswith("Port on which")
    assert row == {
        "name": "prometheus.port",
        "value": 9090,
        "origin": "environment C2C_PROMETHEUS_PORT",
        "environment": ["C2C_PROMETHEUS_PORT"],
        "ini": None,
        "default": None,
    }


def test_settings_says_what_is_wrong_on_stderr_and_ends_with_1(monkeypatch, capsys):
    monkeypatch.setenv("C2C_PROMETHEUS_PORT", "high")
    monkeypatch.setenv("C2C_BASE_PAHT", "/tools")
    assert main(["settings"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        (
            "error: C2C_PROMETHEUS_PORT = 'high': not a whole number from 0 to 65535. "
            "Write a whole number from 0 to 65535, for example 9090, or leave it empty."
        ),
        "warning: C2C_BASE_PAHT is not a setting of c2cotel. Is C2C_BASE_PATH meant?",
    ]


def test_settings_warns_of_what_an_ini_may_mean(monkeypatch, capsys):
    monkeypatch.setenv("LOG_TYPE", "cee")
    assert main(["settings"]) == 0
    assert capsys.readouterr().err == (
        "warning: LOG_TYPE = 'cee': not one of those known. Write one of console, json.\n"
    )


def test_settings_writes_nothing_that_a_terminal_would_obey(monkeypatch, capsys):
    monkeypatch.setenv("C2C_RUN_DIR", "/tmp/\x1b[31m\nx\udcff")  # noqa: S108 - nothing is written
    for form in ([], ["--json"]):
        assert main(["settings", *form]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_settings_reads_an_ini_file_with_the_environment_in_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WHERE", "100%")
    ini = tmp_path / "production.ini"
    ini.write_text("[app:main]\nuse = egg:nowhere\nc2c.git_hash = %(WHERE)s\nc2c.basepath = 1\n")
    assert main(["settings", str(ini)]) == 0
    captured = capsys.readouterr()
    assert ["GIT_HASH", "100%", "ini", "c2c.git_hash"] in (
        [line.split() for line in captured.out.splitlines()]
    )
    assert captured.err == (
        "warning: c2c.basepath is not a setting of c2cotel. Is c2c.base_path meant?\n"
    )


@pytest.mark.parametrize(
    "content",
    ["[app:main\n", "c2c.base_path = 1\n", "[app:main]\nc2c.base_path = %(MISSING)s\n", None],
)
def test_an_ini_file_that_cannot_be_read_is_one_line(tmp_path, content, capsys):
    ini = tmp_path / "production.ini"
    if content is not None:
        ini.write_text(content)
    assert main(["settings", str(ini)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"c2cotel settings: {ini} cannot be read as an ini file: ")
    assert captured.err.count("\n") == 1


def test_settings_starts_without_the_telemetry():
    code = (
        "import sys; from c2cotel.cli import main; main(['settings']);"
        "print([n for n in ('opentelemetry', 'pyramid', 'plaster') if n in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.splitlines()[-1] == "[]"


def test_what_the_demo_finds_as_json(capsys):
    findings = [
        _demo_check._Finding("/api/hello 200", 3, {"/metrics": 3, "spans": 3}),
        _demo_check._Finding("request ids", 3, {"answers": 3, "log": 2}),
    ]
    _demo_check._print_json(findings, Traffic(seconds=1.5))
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "requests": 0,
        "seconds": 1.5,
        "findings": [
            {
                "what": "/api/hello 200",
                "expected": 3,
                "found": {"/metrics": 3, "spans": 3},
                "ok": True,
            },
            {"what": "request ids", "expected": 3, "found": {"answers": 3, "log": 2}, "ok": False},
        ],
    }


def test_a_reader_that_has_seen_enough_is_no_error():
    # Unbuffered, and far more than a pipe takes in: the write fails while the command runs.
    command = f"{sys.executable} -u -m c2cotel settings --json | head -1; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60
    )
    assert (run.stdout.splitlines(), run.stderr) == (["[", "0"], "")
