"""The composition of the example. There is no Docker where these tests run."""

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from c2cotel_acceptance.processes import MissingError, script

ACCEPTANCE = Path(__file__).parents[2]
APP = ACCEPTANCE / "app"
FILE = ACCEPTANCE / "compose.yaml"
SECRETS = {
    name: f"hush-{name}"
    for name in ("C2C_SECRET", "DB_PASSWORD", "POSTGRES_PASSWORD", "REPLICATION_PASSWORD")
}


def tool(name):
    """The program *name*, or the test is skipped for want of it; in CI nothing may be skipped."""
    try:
        return script(name)
    except MissingError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))


@pytest.fixture(scope="session")
def compose():
    """``compose("config", **env)`` runs docker compose on the file, without any other variable."""

    def run(*arguments, **env):
        return subprocess.run(
            [tool("docker-compose"), f"--file={FILE}", "--env-file=/dev/null", *arguments],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def composition(compose) -> dict[str, Any]:
    """The file as docker compose understands it, with all profiles."""
    done = compose("--profile=*", "config", "--format=json", **SECRETS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture
def services(composition) -> dict[str, dict[str, Any]]:
    return composition["services"]


@dataclass(frozen=True)
class Instruction:
    """A line of a Dockerfile: ``RUN``, its ``--options``, and the rest."""

    name: str
    options: tuple[str, ...]
    rest: str


def instructions(dockerfile: Path) -> list[Instruction]:
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    found = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, *words = line.split(" ")
            options = [word for word in words if word]
            count = next((i for i, word in enumerate(options) if word[:2] != "--"), len(options))
            rest = line.partition(" ")[2]
            for option in options[:count]:
                rest = rest.partition(option)[2]
            found.append(Instruction(name, tuple(options[:count]), rest.strip()))
    return found


@pytest.fixture(scope="session")
def dockerfile() -> list[list[Instruction]]:
    """The stages of the example's Dockerfile."""
    stages: list[list[Instruction]] = []
    for one in instructions(APP / "Dockerfile"):
        if one.name == "FROM":
            stages.append([])
        stages[-1].append(one)
    return stages


@pytest.fixture(scope="session")
def image_environ(dockerfile) -> dict[str, str]:
    """The variables that the image sets."""
    words = [word for one in dockerfile[-1] if one.name == "ENV" for word in shlex.split(one.rest)]
    return dict(word.split("=", 1) for word in words)
