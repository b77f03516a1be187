"""``c2cotel genversion``: real commands, real folders with metadata."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from c2cotel.cli.genversion import installed


@pytest.fixture
def genversion(tmp_path):
    """``genversion("1.0", "abc", path=…)``: the status, stderr and what was written."""

    def run(*arguments, path=(), script=False):
        entry = "from c2cotel.cli.genversion import main; raise SystemExit(main())"
        command = ("-c", entry) if script else ("-m", "c2cotel", "genversion")
        done = subprocess.run(
            [sys.executable, *command, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        written = tmp_path / "versions.json"
        return (
            done.returncode,
            done.stdout + done.stderr,
            json.loads(written.read_text()) if written.is_file() else None,
        )

    return run


def install(folder, place, metadata="Metadata-Version: 2.1\nName: {}\nVersion: {}\n", **files):
    """Put the metadata of a package into *folder*, as pip does."""
    name, _, number = place.partition("-")
    target = folder / f"{place}.dist-info"
    target.mkdir(parents=True)
    (target / "METADATA").write_text(metadata.format(name, number))
    for file, content in files.items():
        (target / f"{file}.json").write_text(content)


def test_it_writes_the_hash_and_what_is_installed(genversion):
    status, said, written = genversion("abc")
    assert (status, said, written["main"]) == (0, "", {"git_hash": "abc"})
    assert list(written) == ["main", "packages"]
    packages = written["packages"]
    assert packages["pyramid"] == version("pyramid")
    assert packages["SQLAlchemy"] == version("SQLAlchemy")
    assert list(packages) == sorted(packages, key=str.lower)


def test_a_tag_stands_next_to_it(genversion):
    assert genversion("1.0.0", "abc")[2]["main"] == {"git_hash": "abc", "git_tag": "1.0.0"}


def test_an_empty_tag_is_none(genversion):
    """As of ``genversion "$GIT_TAG" "$GIT_HASH"`` in a build that has no tag."""
    assert genversion("", "abc\n")[2]["main"] == {"git_hash": "abc"}


def test_the_script_does_the_same(genversion):
    assert genversion("1.0.0", "abc", script=True)[2]["main"]["git_tag"] == "1.0.0"


@pytest.mark.parametrize("script", [True, False])
def test_help_is_help(genversion, script):
    status, said, written = genversion("--help", script=script)
    assert status == 0
    assert said.startswith("usage: c2cotel genversion [-h] [--output FILE] [--debug]")
    assert "[git_tag] git_hash\n" in said
    assert written is None


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        ([], "the following arguments are required: git_hash"),
        (["a", "b", "c"], "unrecognized arguments: c"),
        ([""], "The git hash is empty: has `git rev-parse HEAD` failed?"),
        (["1.0", " "], "The git hash is empty: has `git rev-parse HEAD` failed?"),
        (["a\nb"], "The git hash is not a line of text: 'a\\nb'"),
        (["a\x1b[0m", "abc"], "The git tag is not a line of text: 'a\\x1b[0m'"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(genversion, script, arguments, end):
    status, said, written = genversion(*arguments, script=script)
    assert (status, written) == (2, None)
    assert said.removesuffix(" (see c2cotel genversion --help)\n").rstrip("\n").endswith(end)
    assert said.startswith("c2cotel genversion: ")
    assert said.count("\n") == 1


def test_it_goes_where_it_is_told_to(genversion, tmp_path):
    status, _, written = genversion("abc", "--output", "elsewhere.json")
    assert (status, written) == (0, None)
    assert json.loads((tmp_path / "elsewhere.json").read_text())["main"] == {"git_hash": "abc"}


def test_it_can_be_printed(genversion, tmp_path):
    status, said, written = genversion("1.0", "abc", "--output", "-")
    assert (status, written) == (0, None)
    told = json.loads(said)
    assert told["main"] == {"git_hash": "abc", "git_tag": "1.0"}
    assert told["packages"]["pyramid"] == version("pyramid")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("nowhere/v.json", "nowhere/v.json cannot be written: No such file or directory"),
        (".", ". cannot be written: Is a directory"),
        ("", ". cannot be written: Is a directory"),
        ("/dev/full", "/dev/full cannot be written: No space left on device"),
    ],
)
def test_a_file_that_cannot_be_written_is_said(genversion, output, reason):
    status, said, _ = genversion("abc", "--output", output)
    assert (status, said) == (1, f"c2cotel genversion: {reason}\n")


def test_packages_from_git_and_from_a_folder_have_their_version(genversion, tmp_path):
    origin = {"url": "https://example.com/a.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    editable = {"url": "file:///src", "dir_info": {"editable": True}}
    install(tmp_path / "site", "FromGit-1.2.dev3+g0123", direct_url=json.dumps(origin))
    install(tmp_path / "site", "Editable_one-0.0.0", direct_url=json.dumps(editable))
    status, said, written = genversion("abc", path=[tmp_path / "site"])
    assert (status, said) == (0, "")
    assert written["packages"]["FromGit"] == "1.2.dev3+g0123"
    assert written["packages"]["Editable_one"] == "0.0.0"


def test_of_two_the_first_one_on_the_path_counts_whatever_its_spelling(genversion, tmp_path):
    install(tmp_path / "first", "My_Package-2.0")
    install(tmp_path / "second", "my.package-1.0")
    path = [tmp_path / "first", tmp_path / "second"]
    packages = genversion("abc", path=path)[2]["packages"]
    assert packages["My_Package"] == "2.0"
    assert "my.package" not in packages
    assert genversion("abc", path=path[::-1])[2]["packages"]["my.package"] == "1.0"


def test_what_cannot_be_read_is_said_and_left_out(genversion, tmp_path):
    site = tmp_path / "site"
    install(site, "nameless-1", "Metadata-Version: 2.1\nVersion: 1\n")
    install(site, "versionless-1", "Metadata-Version: 2.1\nName: versionless\n")
    install(site, "~umpy-1.0", "Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    (site / "empty-1.dist-info").mkdir()
    install(site, "binary-1")
    (site / "binary-1.dist-info" / "METADATA").write_bytes(b"Name: b\xff\nVersion: 1\n")
    install(site, "good-1")
    status, said, written = genversion("abc", path=[site])
    assert status == 0
    assert {name.lower() for name in written["packages"]}.isdisjoint(
        {"nameless", "versionless", "numpy", "empty", "b\xff", "binary"}
    )
    assert written["packages"]["good"] == "1"
    lines = sorted(line.removeprefix(f"skipped {site}/") for line in said.splitlines())
    assert [line.partition(":")[0] for line in lines] == [
        f"{name}-1.dist-info" for name in ("binary", "empty", "nameless", "versionless")
    ] + ["~umpy-1.0.dist-info"]


def test_this_repository_is_there_as_it_is_installed_for_its_tests():
    """A real editable install, of hatchling's."""
    assert installed()["c2cotel"] == version("c2cotel")


def test_it_is_what_python_itself_finds():
    packages = installed()
    assert {name: version(name) for name in packages} == packages
