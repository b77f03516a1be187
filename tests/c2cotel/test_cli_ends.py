"""How ``c2cotel`` ends: the exit status, and the one line that says why."""

import errno
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import distribution

import pytest

from c2cotel.cli import CommandError, FailedError, main
from c2cotel.cli import dashboards as dashboards_command
from c2cotel.cli import settings as settings_command
from c2cotel.settings import SettingsError
from c2cotel_acceptance import servers


@pytest.fixture
def fails(monkeypatch):
    """``fails(error)`` has the command settings raise it."""

    def arrange(error):
        def fail(_):
            raise error

        monkeypatch.setattr(settings_command, "run", fail)

    return arrange


@pytest.fixture
def ends(capsys):
    """``ends("settings")``: the status and what is on stderr; nothing is on stdout."""

    def run(*arguments):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        assert out == ""
        return status, err

    return run


# What is typed


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("setings", "c2cotel: unknown command 'setings': did you mean settings? (see "),
        ("stats_db", "c2cotel: unknown command 'stats_db': did you mean stats-db? (see "),
        ("--debug doktor", "c2cotel: unknown command 'doktor': did you mean doctor? (see "),
        ("xyz", "c2cotel: unknown command 'xyz': there are completion, dashboards, demo, "),
        ("--versoin", "c2cotel: unrecognized arguments: --versoin: did you mean --version?"),
        ("dashboards lst", "c2cotel dashboards: unknown action 'lst': did you mean list? (see "),
        ("dashboards", "c2cotel dashboards: the following arguments are required: action (see "),
        (
            "dashboards list --jsno",
            "c2cotel dashboards list: unrecognized arguments: --jsno: did you mean --json? (see ",
        ),
        (
            "dashboards export a --treshold=b=1",
            (
                "c2cotel dashboards export: unrecognized arguments: --treshold=b=1: "
                "did you mean --threshold? (see "
            ),
        ),
        ("settings --jsn x y", "c2cotel settings: unrecognized arguments: --jsn y: did you mean "),
        ("stats-db --json --prometheus-url http://x", "c2cotel stats-db: --prometheus-url: not "),
        ("models-graph x --format pnj", "c2cotel models-graph: --format: cannot be 'pnj': did "),
        ("completion cmd", "c2cotel completion: SHELL: cannot be 'cmd': there are bash, zsh, "),
        ("demo --workers two", "c2cotel demo: --workers: 'two' is no whole number from 1 upwards"),
        ("demo --workers 0", "c2cotel demo: --workers: '0' is no whole number from 1 upwards (see"),
        ("demo --port 80000", "c2cotel demo: --port: '80000' is no whole number from 1 to 65535 "),
        ("test-print --url x --timeout 0", "c2cotel test-print: --timeout: '0' is no number of "),
        ("test-print --url x --timeout nan", "c2cotel test-print: --timeout: 'nan' is no number"),
        ("test-print --url x --timeout 1s", "c2cotel test-print: --timeout: '1s' is no number of"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_ends_with_2(typed, told, ends):
    status, err = ends(*typed.split())
    assert status == 2
    assert err.startswith(told)
    assert err.count("\n") == 1
    assert re.search(r"\(see c2cotel[\w -]* --help\)\n$", err)


@pytest.mark.parametrize(
    "script", [it for it in distribution("c2cotel").entry_points if it.group == "console_scripts"]
)
def test_each_script_ends_like_the_command(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script.name, "--no-such-option"])
    with pytest.raises(SystemExit) as end:
        script.load()()
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(script.name.replace("c2cotel-", "c2cotel "))
    assert err.count("\n") == 1


# What fails


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (CommandError("no such file."), 2, "no such file."),
        (SettingsError("C2C_X = 'y': no number."), 2, "C2C_X = 'y': no number."),
        (FailedError("the server is away."), 1, "the server is away."),
        (FailedError("it says \x1b[2J."), 1, r"it says \x1b[2J."),
        (
            ModuleNotFoundError("No module named 'shtab'", name="shtab"),
            2,
            "needs shtab, not installed here",
        ),
        (ModuleNotFoundError("It needs x: pip install x"), 2, "It needs x: pip install x"),
        (
            ZeroDivisionError("division\nby zero"),
            1,
            (
                "unexpectedly failed: ZeroDivisionError: division by zero "
                "(`c2cotel settings --debug …` shows where)"
            ),
        ),
        (AssertionError(), 1, "unexpectedly failed: AssertionError: (`c2cotel settings --debug …`"),
        (
            OSError("cannot open postgresql://me:hunter2@db/app?password=hunter2"),
            1,
            "unexpectedly failed: OSError: cannot open postgresql://me:REDACTED@db/app?",
        ),
    ],
)
def test_an_error_is_one_line_and_its_stack_is_for_debug(error, status, told, fails, ends):
    fails(error)
    ended, err = ends("settings")
    assert ended == status
    assert err.startswith(f"c2cotel settings: {told}")
    assert err.count("\n") == 1
    assert "hunter2" not in err
    for arguments in (("--debug", "settings"), ("settings", "--debug")):
        ended, debugged = ends(*arguments)
        assert ended == status
        assert debugged.startswith("Traceback (most recent call last):\n")
        assert "in fail\n" in debugged
        assert debugged.endswith(err)
        assert "hunter2" not in debugged


def test_debug_may_follow_an_action(monkeypatch, ends):
    def fail():
        raise FailedError("no dashboards.")

    monkeypatch.setattr(dashboards_command.core, "collection", fail)
    assert ends("dashboards", "list") == (1, "c2cotel dashboards: no dashboards.\n")
    for typed in ("dashboards list --debug", "dashboards --debug list", "--debug dashboards list"):
        status, err = ends(*typed.split())
        assert status == 1
        assert "in fail\n" in err


def test_what_a_command_says_with_its_status_is_its_own(monkeypatch, ends):
    monkeypatch.setattr(settings_command, "run", lambda _: 1)
    assert ends("settings") == (1, "")


def test_a_connection_that_breaks_is_not_taken_for_a_reader_that_is_gone(fails, capfd):
    fails(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert main(["settings"]) == 1
    assert "unexpectedly failed: BrokenPipeError: " in capfd.readouterr().err


# As it is typed


def shell(line, **environ):
    """The exit status and what is on stderr, of a real command in a real shell."""
    done = subprocess.run(
        ["bash", "-c", line.replace("c2cotel", f"{sys.executable} -m c2cotel", 1)],
        # Where it says so, Python writes at once, and argparse forgives what a write says.
        env={key: it for key, it in os.environ.items() if key != "PYTHONUNBUFFERED"} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr, done.stdout


@pytest.mark.parametrize("arguments", ["settings", "settings --json", "--help", "--version"])
def test_an_output_that_cannot_be_written_is_one_line(arguments):
    assert shell(f"c2cotel {arguments} > /dev/full")[:2] == (
        1,
        "c2cotel: the output cannot be written: No space left on device\n",
    )


def test_an_output_that_is_written_at_once_is_one_line_too():
    assert shell("c2cotel settings > /dev/full", PYTHONUNBUFFERED="1")[:2] == (
        1,
        "c2cotel: the output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize("arguments", ["settings", "--help", "completion bash"])
def test_a_reader_that_is_gone_is_no_error(arguments):
    _, err, out = shell(f"c2cotel {arguments} | true; echo ${{PIPESTATUS[0]}}")
    assert (err, out) == ("", "0\n")


@pytest.mark.parametrize("arguments", ["settings", "--version"])
def test_who_closes_the_output_wants_none(arguments):
    assert shell(f"c2cotel {arguments} >&-") == (0, "", "")


def test_a_terminal_that_knows_few_characters_gets_what_it_can(tmp_path):
    status, err, out = shell(
        "c2cotel doctor",
        PYTHONIOENCODING="ascii",
        C2C_PROMETHEUS_PORT="high",
        TMPDIR=str(tmp_path),
    )
    assert (status, err) == (1, "")
    assert r"\u2192" in out  # an arrow, before what would do


def test_an_interrupt_ends_with_130_at_once_and_without_a_stack():
    with (
        servers.closed_port() as port,
        subprocess.Popen(
            [
                *(sys.executable, "-m", "c2cotel", "test-print"),
                *("--url", f"http://127.0.0.1:{port}/print"),
            ],
            stderr=subprocess.PIPE,
            text=True,
        ) as waiting,
    ):
        assert "not ready" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(30) == 130
        assert waiting.stderr.read() == ""
