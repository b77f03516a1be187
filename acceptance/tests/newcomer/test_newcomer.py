"""A newcomer types what the README and the five-minute page say, and sees requests counted.

In an empty directory, with an empty environment but for what reaches the package index, on a wheel
built from this tree. Only the name of the package is replaced by that wheel; and ports, where
somebody else has them.
"""

import dataclasses
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest

from c2cotel_docs import ROOT, blocks, running

# What a machine needs to reach the package index, and nothing else of ours.
NETWORK = re.compile(
    r"(?i)(PIP_.*|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|(http|https|all|no)_proxy)"
)
NAME = re.compile(r"\bc2cotel(\[[\w,]+\])?(?=['\" ]|$)")
INSTALLING = 300.0
COUNTED = r"http_server_request_duration_seconds_count\{.*\} [1-9]"


@pytest.fixture(scope="module")
def uv():
    """The program; under `uv run`, UV says which."""
    local = ROOT / ".cache/uv/bin/uv"
    found = os.environ.get("UV") or shutil.which("uv") or (str(local) if local.exists() else None)
    if found is None:
        pytest.skip("No uv on this machine: pip install uv")
    return found


@pytest.fixture(scope="module")
def wheel(uv, tmp_path_factory):
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def constraints(uv, tmp_path_factory):
    """The versions of uv.lock: what others release tomorrow is not what is tested here."""
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    export = [
        uv,
        "export",
        "--frozen",
        "--quiet",
        "--no-hashes",
        "--no-emit-project",
        "--all-extras",
    ]
    subprocess.run([*export, "--output-file", path], cwd=ROOT, check=True)
    return path


@pytest.fixture
def environ(tmp_path, constraints):
    home = tmp_path / "home"
    home.mkdir()
    network = {name: value for name, value in os.environ.items() if NETWORK.fullmatch(name)}
    return {
        **network,
        # A newcomer has Python, not this virtual environment.
        "PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin",
        "HOME": str(home),
        "PIP_CONSTRAINT": str(constraints),
        "PIP_CACHE_DIR": str(ROOT / ".cache/pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def ports_of(page):
    """Those of the page, as far as they are free here."""

    def free(port):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return listener.connect_ex(("127.0.0.1", int(port))) != 0

    return {
        named: named if free(named) else other for named, other in running.ports_of(page).items()
    }


def on_the_wheel(block, wheel):
    """*block* with the wheel where `pip install` has the name of the package."""
    lines = [
        NAME.sub(lambda found: f"{wheel}{found[1] or ''}", line)
        if line.startswith("$ pip install")
        else line
        for line in block.text.splitlines()
    ]
    return dataclasses.replace(block, text="\n".join(lines) + "\n")


def shows_that_requests_are_counted(page):
    return any(
        re.match(COUNTED, line)
        for block in page.blocks
        if block.language == "console"
        for command in blocks.commands(block)
        for line in command.output
    )


def first_part(path, folder):
    """The part of the README that is for newcomers, as a page."""
    _, _, rest = path.read_text().partition("<!-- newcomer: begin -->")
    part, end, _ = rest.partition("<!-- newcomer: end -->")
    assert end, f"{path.name}: no part between <!-- newcomer: begin --> and end"
    (folder / path.name).write_text(part)
    return blocks.read(folder / path.name, folder)


@pytest.mark.timeout(2 * INSTALLING)
@pytest.mark.parametrize("name", ["docs/start.md", "README.md"])
def test_who_types_what_is_written_sees_requests_counted(name, wheel, environ, tmp_path):
    path, empty = ROOT / name, tmp_path / "empty"
    empty.mkdir()
    page = first_part(path, tmp_path) if name == "README.md" else blocks.read(path, ROOT)
    assert shows_that_requests_are_counted(page)
    typed = [on_the_wheel(block, wheel) for block in page.blocks]
    assert any(str(wheel) in block.text for block in typed)
    with running.Shell(empty, environ, deadline=INSTALLING) as shell:
        running.follow(typed, shell, ports_of(page))
    assert shell.members() == []
