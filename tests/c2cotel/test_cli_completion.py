"""``c2cotel completion``: what a real shell makes of the script."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest

from c2cotel.cli import command_names, main

SCRIPTS = {}


def script(shell):
    """What the command prints, made once."""
    if shell not in SCRIPTS:
        SCRIPTS[shell] = subprocess.run(
            [sys.executable, "-m", "c2cotel", "completion", shell],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
    return SCRIPTS[shell]


@pytest.fixture
def bash(tmp_path):
    """``bash("settings --j")``: what bash offers after that, in a folder with two files."""
    (tmp_path / "here").mkdir()
    (tmp_path / "production.ini").touch()
    (tmp_path / "script").write_text(script("bash"))

    def offers(line):
        words = ["c2cotel", *line.split(" ")]
        # As readline does it: the function that `complete` has been given, and its variables.
        code = (
            f"source ./script; [[ $(complete -p c2cotel) == *'-F '* ]] || exit 3\n"
            f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}\n"
            f"COMP_LINE={shlex.quote(' '.join(words))}; COMP_POINT=${{#COMP_LINE}}\n"
            "function=$(complete -p c2cotel | sed 's/.*-F \\([^ ]*\\) .*/\\1/')\n"
            '$function c2cotel "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"\n'
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ["bash", "--norc", "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stderr == ""
        return set(filter(None, done.stdout.splitlines()))

    return offers


def test_bash_offers_all_commands(bash):
    assert set(command_names()) <= bash("")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("set", {"settings"}),
        ("--v", {"--version"}),
        ("settings --j", {"--json"}),
        ("settings --d", {"--debug"}),
        ("--debug settings --js", {"--json"}),
        ("dashboards ex", {"export"}),
        ("dashboards push --to", {"--token", "--token-file"}),
        ("models-graph --format ", {"dot", "svg", "png"}),
        ("completion z", {"zsh"}),
    ],
)
def test_bash_completes(typed, offered, bash):
    assert bash(typed) == offered


@pytest.mark.parametrize(
    "typed",
    [
        "settings pro",
        "doctor pro",
        "stats-db pro",
        "genversion --output pro",
        "models-graph --output pro",
        "dashboards push --token-file pro",
    ],
)
def test_bash_completes_files(typed, bash):
    assert bash(typed) == {"production.ini"}


@pytest.mark.parametrize("typed", ["dashboards export h", "test-print --output h"])
def test_bash_completes_folders(typed, bash):
    assert {it.rstrip("/") for it in bash(typed)} == {"here"}
    assert bash(typed.removesuffix("h") + "pro") == set()


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_takes_the_script(tmp_path):
    (tmp_path / "_c2cotel").write_text(script("zsh"))
    done = subprocess.run(
        [
            "zsh",
            "-f",
            "-c",
            (
                "fpath=($PWD $fpath); autoload -U compinit; compinit -u -D; "
                "echo $_comps[c2cotel]; autoload +X _c2cotel"
            ),
        ],
        cwd=tmp_path,
        env={**os.environ, "ZDOTDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("_c2cotel\n", "")


@pytest.mark.skipif(not shutil.which("tcsh"), reason="needs tcsh")
def test_tcsh_takes_the_script(tmp_path):
    (tmp_path / "script").write_text(script("tcsh"))
    done = subprocess.run(
        ["tcsh", "-f", "-c", "source script; complete c2cotel"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "stats-db" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_each_script_knows_all_commands_and_files(shell):
    text = script(shell)
    assert [name for name in command_names() if name not in text] == []
    assert "dashboard-url" in text
    assert {"bash": "compgen", "zsh": "_files", "tcsh": "/f/"}[shell] in text


def test_without_shtab_it_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert capsys.readouterr() == (
        "",
        "c2cotel completion: needs shtab, not installed here\n",
    )
