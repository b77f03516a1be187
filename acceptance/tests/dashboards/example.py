"""The example application as a service, and the two databases that it needs."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

from c2cotel_acceptance import servers, traffic
from c2cotel_acceptance.traffic import Call

SECRET: Final = "correct-horse-battery-staple"
APP: Final = Path(__file__).parents[2] / "app"
_OURS: Final = ("C2C_", "OTEL_", "GUNICORN_", "LOG_", "SQLALCHEMY_", "SENTRY_", "GIT_HASH")


@dataclass
class Service:
    """The example, and its operator."""

    gunicorn: servers.Gunicorn
    metrics: str

    def send(self, *calls: Call, count: int | None = None, **how: Any) -> traffic.Traffic:
        return traffic.send(self.gunicorn.url, calls, count, **{"concurrency": 6, **how})

    def operate(self, view: str, **params: Any) -> requests.Response:
        headers = {"X-API-Key": SECRET}
        return requests.get(
            f"{self.gunicorn.url}/c2c/{view}", params=params, headers=headers, timeout=30
        )

    def scrape(self) -> str:
        return requests.get(f"http://{self.metrics}/metrics", timeout=10).text


def service(
    stack: contextlib.ExitStack, folder: Path, ini: Path, workers: int, **env: str
) -> Service:
    """Started in *folder*, which is made, but not waited for."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    port = servers.free_port()
    folder.mkdir()
    common = {
        "PYTHONPATH": str(APP),
        "C2C_RUN_DIR": str(folder),
        "C2C_PROMETHEUS_HOST": "127.0.0.1",
        "C2C_PROMETHEUS_PORT": str(port),
        "OTEL_SERVICE_NAME": "example",
    }
    gunicorn = servers.Gunicorn(
        ["--paste", str(ini), "-w", str(workers)],
        log=folder / "gunicorn.log",
        env={**kept, **common, **env},
        cwd=APP,
    )
    return Service(stack.enter_context(gunicorn), f"127.0.0.1:{port}")


@contextlib.contextmanager
def pair() -> Iterator[servers.Replicated]:
    """A primary with the example's tables, and a replica that has them too."""
    with servers.replicated() as both:
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=APP,
            env={**os.environ, "SQLALCHEMY_URL": both.primary.url},
            check=True,
        )
        both.wait()
        yield both


def including(folder: Path, changes: dict[str, str], more: str = "") -> Path:
    """The ini file with c2cotel, in which *changes* are made, and *more* is in the end."""
    text = (APP / "production-include.ini").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    ini = folder / "including.ini"
    ini.write_text(text + more)
    return ini
