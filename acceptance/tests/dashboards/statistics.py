"""The real ``c2cotel stats-db``, run for one scrape at a time, on two databases.

Both are called ``app``: that of the example, and one of a thousand tables on another server, in
which something happens before each run.
"""

import contextlib
import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psycopg
import requests

from c2cotel_acceptance import servers
from c2cotel_acceptance.utils import retry_timeout

TABLES: Final = 1000
_SCHEMAS: Final = ("sales", "archive")
_EXTRA: Final = (
    "SELECT 'backends', count(*) FROM pg_stat_activity "
    "UNION ALL SELECT 'locks', count(*) FROM pg_locks"
)
_OURS: Final = ("C2C", "OTEL_", "SQLALCHEMY_")
# Each table is five relations that one transaction locks.
_BATCH: Final = 200
_NAMED: Final = """
    what text[] := ARRAY['account', 'order', 'invoice', 'item', 'session',
                         'event', 'login', 'version', 'document', 'address'];
    place text[] := ARRAY['sales', 'archive'];
    name text;
"""
_NAME: Final = """
    name := format('%I.%I', place[1 + number % 2],
                   what[1 + number / 2 % 10] || '_' || lpad((number / 20)::text, 2, '0'));
"""
_MAKE: Final = f"""
DO $$
DECLARE {_NAMED}
BEGIN
    FOR number IN {{begin}} .. {{begin}} + {_BATCH - 1} LOOP
        {_NAME}
        EXECUTE format('CREATE TABLE %s (id serial PRIMARY KEY, said text)', name);
        EXECUTE format('CREATE INDEX ON %s (said)', name);
        EXECUTE format('INSERT INTO %s (said) SELECT md5(i::text) FROM generate_series(1, %s) i',
                       name, number % 20);
    END LOOP;
END $$
"""  # noqa: S608 - of these texts alone
# Some grow, and lose what is not vacuumed; all of a table is read, or what an index finds.
_HAPPEN: Final = f"""
DO $$
DECLARE {_NAMED}
BEGIN
    FOR number IN 0 .. 15 LOOP
        {_NAME}
        EXECUTE format('INSERT INTO %s (said) SELECT md5(i::text) FROM generate_series(1, %s) i',
                       name, {{rows}} * (1 + number));
        EXECUTE format('DELETE FROM %s WHERE id %% %s = 0', name, 2 + number % 5);
        SET LOCAL enable_seqscan = off;
        EXECUTE format('SELECT count(*) FROM %s WHERE id < 100', name);
        IF number < 8 THEN
            EXECUTE format('SELECT count(*) FROM %s WHERE said > %L', name, 'f');
        END IF;
        SET LOCAL enable_seqscan = on;
    END LOOP;
END $$
"""  # noqa: S608 - of these texts alone
_MANY, _FEW = 600, 20


@dataclass(frozen=True)
class _Database:
    """A database, whose *schemas* are told on *port*."""

    url: str
    port: int
    schemas: Sequence[str] = ()

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True)

    @property
    def tables(self) -> int:
        with self.connect() as connection:
            found = connection.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname = ANY (%s)",
                [["public", *self.schemas]],
            ).fetchone()
        assert found is not None
        return int(found[0])

    @contextlib.contextmanager
    def told(self, port: int) -> Iterator[None]:
        """The command, in a process of its own, until somebody has scraped *port*."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        environ |= {
            "SQLALCHEMY_URL": self.url,
            "C2C_PROMETHEUS_PORT": str(port),
            "C2C_PROMETHEUS_HOST": "127.0.0.1",
        }
        options = [text for schema in self.schemas for text in ("--schema", schema)]
        command = [str(Path(sys.executable).with_name("c2cotel")), "stats-db", "--extra", _EXTRA]
        with subprocess.Popen(
            [*command, *options], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            try:
                yield
                said, _ = process.communicate(timeout=60)
            finally:
                process.kill()
        assert process.returncode == 0, said.decode()

    def run(self) -> None:
        with self.told(self.port):
            pass

    def text(self) -> str:
        """What a run tells whoever scrapes it."""
        port = servers.free_port()

        def scraped() -> str:
            return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text

        with self.told(port):
            return retry_timeout(scraped, 30, 0.1)


class Runs:
    """Runs of the command; *addresses* are where each is scraped once, and nobody answers between.

    *example* is the URL of the example's database. The other one is made when it is needed first.
    """

    def __init__(self, example: str) -> None:
        self._stack = contextlib.ExitStack()
        self._example = _Database(example, servers.free_port())
        self._port = servers.free_port()
        self._running = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in (self._example.port, self._port)]

    @property
    def tables(self) -> int:
        """How many there are, of both."""
        return self._example.tables + self._large.tables

    def run(self) -> None:
        """Run the command once for each, and wait until they have been scraped."""
        with self._running, ThreadPoolExecutor(2) as pool:
            _happen(self._large, _FEW)
            for done in [pool.submit(one.run) for one in (self._example, self._large)]:
                done.result()

    def text(self) -> str:
        """What the last run has told, or would have."""
        return self._large.text()

    @functools.cached_property
    def _large(self) -> _Database:
        # What is dead stays dead.
        server = self._stack.enter_context(servers.postgres(options={"autovacuum": "off"}))
        made = _Database(server.url, self._port, _SCHEMAS)
        with made.connect() as connection:
            for schema in _SCHEMAS:
                connection.execute(f"CREATE SCHEMA {schema}".encode())
            for begin in range(0, TABLES, _BATCH):
                connection.execute(_MAKE.format(begin=begin).encode())
        _happen(made, _MANY)
        return made


def _happen(database: _Database, rows: int) -> None:
    with database.connect() as connection:
        connection.execute(_HAPPEN.format(rows=rows).encode())
