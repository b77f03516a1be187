"""An application whose lines go everywhere, and a syslog that reads them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers.syslog import Syslog, rsyslog
from c2cotel_acceptance.utils import retry_timeout

_HERE = Path(__file__).parent
_OURS = ("C2C", "OTEL_", "GUNICORN_", "LOG_", "SQL", "OTHER_LOG")


@dataclass
class Application:
    """It is served at *url*; what it writes comes through pipes, as in a container."""

    url: str
    popen: subprocess.Popen[bytes] = field(repr=False)
    out: list[bytes] = field(default_factory=list, repr=False)
    err: list[bytes] = field(default_factory=list, repr=False)
    threads: list[threading.Thread] = field(default_factory=list, repr=False)

    def get(self, path: str, **headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.get(self.url + path, headers=named, timeout=60)

    def stop(self) -> None:
        """End it; everything that it has written is there then."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(30)
            finally:
                self.popen.kill()
        for thread in self.threads:
            thread.join(30)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out]

    @property
    def console(self) -> list[str]:
        return [line.decode().rstrip("\n") for line in self.err]


Start = Callable[..., Application]
COMMANDS = {
    "gunicorn": "gunicorn -c python:c2cotel.gunicorn --no-control-socket "
    "-b {bind} --paste logs.ini",
    "pserve": "pyramid.scripts.pserve c2c://logs.ini",
}


def _environ(folder: Path, port: int, more: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {
        **kept,
        "PYTHONPATH": str(_HERE),
        "PYTHONWARNINGS": "ignore",
        "C2C_RUN_DIR": str(folder / "run"),
        "C2C_HEALTH_CHECK_GRACE": "0",
        "WEB_PORT": str(port),
        "LOG_HANDLERS": "json",
        "SYSLOG_HOST": "127.0.0.1",
        "SYSLOG_PORT": "514",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_BLRP_SCHEDULE_DELAY": "200",
        **more,
    }


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Iterator[Start]:
    """``start(server, **environment)``: serves the application, which has answered by then.

    Where it ends instead, the last line that it has written is a RuntimeError.
    """
    with contextlib.ExitStack() as stack:

        def start(server: str = "gunicorn", **environ: str) -> Application:
            folder = tmp_path_factory.mktemp("logs")
            port = servers.free_port()
            command = COMMANDS[server].format(bind=f"127.0.0.1:{port}")
            popen = subprocess.Popen(
                [sys.executable, "-m", *command.split()],
                cwd=_HERE,
                env=_environ(folder, port, environ),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            served = Application(f"http://127.0.0.1:{port}", popen)
            for stream, lines in ((popen.stdout, served.out), (popen.stderr, served.err)):
                stack.enter_context(stream)
                thread = threading.Thread(target=lines.extend, args=(stream,))
                thread.start()
                served.threads.append(thread)
            stack.callback(served.stop)

            def answers() -> bool:
                return popen.poll() is not None or served.get("/c2c/health/live").status_code > 0

            retry_timeout(answers, 40, interval=0.1)
            if popen.poll() is not None:
                served.stop()
                raise RuntimeError(served.console[-1] or served.console[-2])
            return served

        yield start


@pytest.fixture(scope="module")
def syslog() -> Iterator[Syslog]:
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(rsyslog())
        except MissingError as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield server
