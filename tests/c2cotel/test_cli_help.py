"""The help of ``c2cotel``: what it looks like, and that its examples are command lines."""

import re
import shlex
import subprocess
import sys

import pytest

from c2cotel.cli import _parser, command_names, load_command, main, reference_markdown

# Of a command line in an example, what is for the shell alone.
SHELL_ONLY = {"|", ">", "#"}


def parsers(parser):
    """*parser*, and all that can be chosen below it."""
    yield parser
    for child, _ in _parser.actions(parser):
        yield from parsers(child)


ALL = {parser.prog: parser for parser in parsers(_parser.build(command_names()))}


def examples(help_):
    """The command lines that a help shows, without what follows a pipe."""
    text = re.search(r"^examples?:\n((?:  .*\n)+)", help_, re.MULTILINE)[1].replace("\\\n", " ")
    for line in text.splitlines():
        # What the shell puts there is a word.
        words = shlex.split(re.sub(r"\$\(.*?\)", "abc", line), comments=True)
        yield words[: next((at for at, it in enumerate(words) if it in SHELL_ONLY), None)]


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def help_of(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--help"])
    out, err = capsys.readouterr()
    assert (end.value.code, err) == (0, "")
    return out


def test_there_are_actions_below_commands():
    assert {"c2cotel", "c2cotel settings", "c2cotel dashboards export"} <= set(ALL)


@pytest.mark.parametrize("prog", ALL)
@pytest.mark.usefixtures("narrow")
def test_each_help_fits_a_terminal_and_has_what_one_looks_for(prog, capsys):
    help_ = help_of(prog.split()[1:], capsys)
    assert [line for line in help_.splitlines() if len(line) > 80] == []
    assert help_.startswith(f"usage: {prog} ")
    statuses = help_.partition("exit status:\n")[2]
    assert re.findall(r"^  (\d+) ", statuses, re.MULTILINE) == ["0", "1", "2", "130"]
    assert "--debug" in help_
    description = help_.split("\n\n")[1]
    assert description.endswith(".")


@pytest.mark.parametrize("prog", ALL)
def test_each_example_is_a_command_line(prog):
    shown = list(examples(ALL[prog].format_help()))
    assert shown
    for words in shown:
        assert words[: len(prog.split())] == prog.split()
        args = _parser.parse(words[1:])
        assert callable(args.run)


@pytest.mark.parametrize("prog", [it for it in ALL if "--json" in ALL[it].format_usage()])
def test_what_is_in_the_json_is_told(prog):
    assert re.search(r"[Ww]ith\s[-\w\s]*--json|an object of", ALL[prog].format_help())


def test_the_actions_of_a_command_share_its_examples():
    of_actions = [
        words
        for action in ("list", "export", "push")
        for words in examples(ALL[f"c2cotel dashboards {action}"].format_help())
    ]
    assert sorted(of_actions) == sorted(examples(ALL["c2cotel dashboards"].format_help()))


@pytest.mark.usefixtures("narrow")
def test_the_list_has_one_line_a_command(capsys):
    help_ = help_of([], capsys)
    (listed,) = re.findall(r"\ncommands:\n((?:  .*\n)+)", help_)
    assert [line.split()[0] for line in listed.splitlines()] == command_names()
    for line in listed.splitlines():
        name, about = line.split(maxsplit=1)
        assert about == load_command(name).HELP
    assert _parser.DOCUMENTATION in help_


def test_without_a_command_the_help_is_an_error(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert err.startswith("usage: c2cotel ")
    assert "\ncommands:\n" in err


# Where something is missing


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# As if they were not installed: find_spec and import say so.
WITHOUT = """
import sys
from c2cotel.cli import main
sys.modules.update(dict.fromkeys(("rich", "zope.sqlalchemy")))
sys.exit(main(sys.argv[1:]))
"""
# As an installation that was interrupted.
BROKEN = """
import sys
from c2cotel.cli import doctor, main
class Broken:
    def __getattr__(self, name):
        raise RuntimeError("100 % broken\\nby an upgrade")
sys.modules["c2cotel.cli.doctor"] = Broken()
sys.exit(main(sys.argv[1:]))
"""


def test_a_command_without_its_extra_is_in_the_list_with_what_installs_it():
    done = python(WITHOUT, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\n  demo +not installed: pip install 'c2cotel\[demo\]'\n", done.stdout)
    assert re.search(r"\n  settings +list all", done.stdout)


def test_a_command_without_its_extra_says_what_installs_it():
    done = python(WITHOUT, "demo")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "c2cotel demo: needs rich, zope.sqlalchemy, not installed here: "
        "pip install 'c2cotel[demo]'\n"
    )
    assert python(WITHOUT, "demo", "--help").returncode == 0


def test_a_command_that_cannot_be_loaded_does_not_spoil_the_list():
    done = python(BROKEN, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\n  doctor +not available: 100 % broken", done.stdout)
    done = python(BROKEN, "doctor")
    assert done.returncode == 1
    assert done.stderr.startswith("c2cotel: unexpectedly failed: RuntimeError: 100 % broken by an")
    assert done.stderr.count("\n") == 1


# What it costs


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["no-such-command"],
        *([name, "--help"] for name in command_names()),
        ["genversion", "abc", "--output", "/dev/null"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported_for(arguments):
    done = python(
        "import sys\nfrom c2cotel.cli import main\ntry:\n main(sys.argv[1:])\n"
        "except SystemExit: pass\nprint(*sorted(sys.modules), file=sys.stderr)",
        *arguments,
    )
    imported = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert "c2cotel" in imported
    heavy = {
        *("opentelemetry", "pyramid", "sqlalchemy", "requests", "jinja2", "msgspec", "plaster"),
        *("c2cotel_acceptance", "c2cotel_instrumentation", "shtab", "rich", "yaml", "google"),
    }
    assert imported & heavy == set()


# The page of the documentation


def test_the_reference_has_each_help():
    page = reference_markdown()
    assert page.startswith("# Commands\n")
    assert re.findall("^##+ (.*)$", page, re.MULTILINE) == list(ALL)
    assert "### c2cotel dashboards push\n\n```text\nusage: c2cotel dashboards push " in page
    assert page.count("```text\n") == len(ALL)
    assert page.count("```") == 2 * len(ALL)


def test_the_reference_is_the_same_wherever_it_is_made(monkeypatch):
    page = reference_markdown()
    monkeypatch.setenv("COLUMNS", "33")
    monkeypatch.setitem(sys.modules, "rich", None)
    assert reference_markdown() == page
    assert max(map(len, page.splitlines())) <= 100
