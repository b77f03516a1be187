"""A project of somebody who uses the toolkit, with pytest in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ACCEPTANCE = HERE.parents[1]


class Docker:
    """What a stand-in for ``docker`` was told, and what it will answer."""

    def __init__(self, folder):
        self.folder = folder
        self.services(app=[["running", "healthy", 0]], db=[["running", "", 0]])
        self.fails()
        program = folder / "docker"
        program.write_text(
            f'#!/bin/sh\nDOCKER_STAND_IN="{folder}" exec "{sys.executable}" -S -E '
            f'"{HERE / "docker_stand_in.py"}" "$@"\n'
        )
        program.chmod(0o755)

    def services(self, port=None, logs=None, **states):
        """What each service's containers are, one look after the other."""
        told = {
            name: {"states": state}
            | ({"port": port} if port else {})
            | ({"logs": logs} if logs else {})
            for name, state in states.items()
        }
        (self.folder / "services.json").write_text(json.dumps(told))

    def fails(self, **commands):
        (self.folder / "fail.json").write_text(json.dumps(commands))

    def answers_as_before_2_21(self):
        (self.folder / "old").touch()

    def calls(self):
        """What was run, without the program, the compose file and the looks at containers."""
        calls = self.folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        said = (" ".join(json.loads(line)) for line in lines)
        return [
            call.removeprefix("compose --file=compose.yaml ")
            for call in said
            if " ps " not in call and "version" not in call
        ]


@pytest.fixture
def docker(tmp_path, monkeypatch):
    for name in ("docker_start", "docker_stop", "docker_keep"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    stand_in = Docker(folder)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return stand_in


@pytest.fixture
def project(tmp_path):
    """``project(test="…", conftest="…", **env)`` runs pytest on these files; gives its output."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "compose.yaml").write_text("services: {}\n")

    def run(*options, test, conftest="", ini="", plugin="c2cotel_acceptance.plugin", **env):
        (folder / "test_it.py").write_text(test)
        (folder / "conftest.py").write_text(conftest)
        (folder / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
        ours = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("C2C_", "OTEL_", "PYTEST", "COV_"))
        }
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", plugin, "-p", "no:cacheprovider", *options],
            cwd=folder,
            # Plugins of ours that theirs knows nothing of take seconds to load.
            env=ours | {"PYTHONPATH": str(ACCEPTANCE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    run.folder = folder
    return run
