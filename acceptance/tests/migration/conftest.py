"""The application for c2cwsgiutils in ``app``, with that name replaced and nothing else.

It is started as its Dockerfile says: that command, in that environment.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError, Process, script
from c2cotel_acceptance.sentry import SentryReceiver

APP = Path(__file__).with_name("app")
OLD, NEW = "c2cwsgiutils", "c2cotel"
SECRET = "correct-horse-battery-staple"
GIT_HASH = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Migrated:
    """The application, being served."""

    folder: Path
    process: Process
    pair: servers.Replicated
    url: str
    metrics_url: str
    env: dict[str, str] = field(repr=False)

    def ask(self, method: str, path: str, **how: Any) -> requests.Response:
        return requests.request(method, f"{self.url}{path}", timeout=30, **how)

    def get(self, path: str, **how: Any) -> requests.Response:
        return self.ask("GET", path, **how)

    def with_secret(self, path: str, **params: Any) -> requests.Response:
        return self.get(path, params=params, headers={"X-API-Key": SECRET})

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the same environment, in the application's folder."""
        return subprocess.run(
            [script(command[0]), *command[1:]],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def copy(folder: Path) -> Path:
    """The application in *folder*, migrated as a user would do it."""
    shutil.copytree(APP, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_text(path.read_text().replace(OLD, NEW))
    return folder


def dockerfile(folder: Path, instruction: str) -> str:
    """The arguments of all *instruction* of its Dockerfile, ``/app`` being *folder*."""
    text = re.sub(r"\\\n", " ", (folder / "Dockerfile").read_text())
    found = re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)
    return " ".join(found).replace("/app/", f"{folder}/")


def environment(folder: Path) -> dict[str, str]:
    metrics = folder / "prometheus-metrics"
    metrics.mkdir()
    text = dockerfile(folder, "ENV").replace("/prometheus-metrics", str(metrics))
    return dict(pair.split("=", 1) for pair in shlex.split(text))


@pytest.fixture(scope="module")
def pair() -> Iterator[servers.Replicated]:
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(servers.replicated())
        except MissingError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="module")
def start(pair, valkey, tmp_path_factory) -> Iterator[Callable[..., Migrated]]:
    """``start(**env)``: the application with *env* besides that of its image."""
    with contextlib.ExitStack() as stack:

        def begin(**env: str) -> Migrated:
            folder = copy(tmp_path_factory.mktemp("migrated") / "app")
            port, metrics_port = servers.free_port(), servers.free_port()
            environ = {
                key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")
            }
            environ |= environment(folder)
            environ |= {
                # Where the image has it installed.
                "PYTHONPATH": str(folder),
                "BIND": f"127.0.0.1:{port}",
                "SQLALCHEMY_URL": pair.primary.url,
                "SQLALCHEMY_SLAVE_URL": pair.standby.url,
                "C2C_SECRET": SECRET,
                "C2C_REDIS_URL": valkey.url,
                "C2C_BROADCAST_PREFIX": f"{folder}_",
                "C2C_LOG_VIEW_ENABLED": "1",
                "C2C_PROMETHEUS_PORT": str(metrics_port),
                # Where it is in the image.
                "C2C_VERSIONS_FILE": str(folder / "versions.json"),
            }
            environ |= env
            served = Migrated(
                folder,
                Process(
                    command(folder), log=folder.parent / "log", env=environ, cwd=folder, grace=30
                ),
                pair,
                f"http://127.0.0.1:{port}",
                f"http://127.0.0.1:{metrics_port}/metrics",
                environ,
            )
            for program in (("c2cotel-genversion", GIT_HASH), ("alembic", "upgrade", "head")):
                done = served.run(*program)
                assert done.returncode == 0, done.stderr
            pair.wait()
            stack.enter_context(served.process)
            served.process.wait_url(f"{served.url}/api/ping", 60)
            return served

        yield begin


def command(folder: Path) -> list[str]:
    program, *arguments = re.findall(r'"([^"]*)"', dockerfile(folder, "CMD"))
    return [script(program), *arguments]


@pytest.fixture(scope="module")
def sentry() -> Iterator[SentryReceiver]:
    with SentryReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def app(start, sentry) -> Migrated:
    """Shared by all tests of a module; it logs JSON."""
    return start(
        LOG_TYPE="json",
        C2C_REQUESTS_DEFAULT_TIMEOUT="1",
        SENTRY_URL=sentry.url,
        GIT_HASH=GIT_HASH,
    )
