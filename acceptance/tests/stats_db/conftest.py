"""The command on a database of a thousand tables, and a real Pushgateway."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError, Process

TABLES = 1000
SCHEMAS = ("public", "archive")
# Three indexes a table, each with pages of its own.
_MAKE = """
DO $$
BEGIN
    FOR number IN 1..{tables} LOOP
        EXECUTE format('CREATE TABLE %I.%I (id serial PRIMARY KEY, name text UNIQUE, at date)',
                       {schema}, 'table_' || number);
        EXECUTE format('INSERT INTO %I.%I (name) SELECT i FROM generate_series(1, %s) AS i',
                       {schema}, 'table_' || number, number % 20);
        EXECUTE format('CREATE INDEX ON %I.%I (at)', {schema}, 'table_' || number);
    END LOOP;
END $$
"""


@dataclass(frozen=True)
class Ended:
    """How a run of the command ended, and what it took: seconds, and MB at most."""

    status: int
    said: str
    seconds: float
    memory: float


@dataclass(frozen=True)
class Pushgateway:
    """A running one; *url* is where it answers."""

    url: str
    process: Process


def missing(error: MissingError) -> None:
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Postgres]:
    with contextlib.ExitStack() as stack:
        try:
            # Each table is three relations more that one transaction locks.
            options = {"max_locks_per_transaction": "1024"}
            yield stack.enter_context(servers.postgres(options=options))
        except MissingError as error:
            missing(error)


@pytest.fixture(scope="module")
def thousand(server) -> str:
    """The URL of a database of a thousand tables and three thousand indexes."""
    made = sqlalchemy.create_engine(server.url, poolclass=NullPool)
    with made.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA archive")
        for schema in SCHEMAS:
            text = _MAKE.format(tables=TABLES // len(SCHEMAS), schema=f"'{schema}'")
            connection.execution_options(no_parameters=True).exec_driver_sql(text)
    made.dispose()
    return server.url


@pytest.fixture
def pushgateway(tmp_path) -> Iterator[Pushgateway]:
    program = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway")
    if program is None:
        missing(
            MissingError(
                "No Pushgateway on this machine: "
                "apt-get install -y --no-install-recommends prometheus-pushgateway"
            )
        )
    port = servers.free_port()
    argv = [
        str(program),
        f"--web.listen-address=127.0.0.1:{port}",
        # Debian's would keep what it has got, for the next one.
        "--persistence.file=",
        "--log.level=warn",
    ]
    with Process(argv, log=tmp_path / "pushgateway.log", cwd=tmp_path) as process:
        url = f"http://127.0.0.1:{port}"
        process.wait_url(f"{url}/-/ready", 30)
        yield Pushgateway(url, process)


def _memory(pid: int) -> float:
    """The most MB that a process has had; 0 when it is over.

    Not ``ru_maxrss``: that is also what its parent had when it began.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


@pytest.fixture
def run(tmp_path) -> Iterator[Callable[..., Ended]]:
    """``run(*arguments, **environment)``: the command, in a process of its own, to its end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **environ: str) -> Ended:
        ours = re.compile("C2C|OTEL_|SQLALCHEMY_")
        kept = {name: value for name, value in os.environ.items() if not ours.match(name)}
        said = tmp_path / f"stats-db-{len(started)}"
        begun = time.monotonic()
        with said.open("wb") as output:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("c2cotel"), "stats-db", *arguments],
                env={**kept, **environ},
                stderr=output,
                stdout=output,
            )
            started.append(process)
            most = 0.0
            while process.poll() is None:
                most = max(most, _memory(process.pid))
                time.sleep(0.02)
        took = time.monotonic() - begun
        return Ended(process.returncode, said.read_text(), took, most)

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            process.wait()
