"""A PostgreSQL and its hot standby, which follows it by streaming."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from c2cotel_acceptance.processes import Process
from c2cotel_acceptance.servers.places import LOCALHOST, free_port, library
from c2cotel_acceptance.servers.postgresql import (
    Installation,
    Postgres,
    installation,
    url_of,
    wait_for,
)
from c2cotel_acceptance.utils import retry_timeout

_CAUGHT_UP_WITHIN = 15.0


@dataclass
class Replicated:
    """The two; ``primary.url`` and ``standby.url`` are SQLAlchemy's."""

    primary: Postgres
    standby: Postgres
    _place: Installation = field(repr=False)
    _options: dict[str, str] = field(repr=False)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile the standby stays as it is, whatever is written on the primary."""
        self._on_standby("SELECT pg_wal_replay_pause()")
        retry_timeout(
            lambda: self._on_standby("SELECT pg_get_wal_replay_pause_state()") == "paused", 5, 0.01
        )
        try:
            yield
        finally:
            self._on_standby("SELECT pg_wal_replay_resume()")

    def wait(self) -> None:
        """Until the standby has all that has been written on the primary so far."""
        position = _scalar(self.primary.port, "SELECT pg_current_wal_lsn()::text")
        behind = f"SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '{position}') >= 0"
        retry_timeout(lambda: self._on_standby(behind), _CAUGHT_UP_WITHIN, 0.01)

    @contextlib.contextmanager
    def without_standby(self, *, killed: bool = False) -> Iterator[None]:
        """Meanwhile it is down: ended in good order, or killed."""
        old = self.standby.process
        assert old is not None  # noqa: S101 - so that mypy knows
        old.kill() if killed else old.stop()
        try:
            yield
        finally:
            process = self._place.server("standby", self.standby.port, self._options).start()
            self.standby = Postgres(self.standby.url, process.log, process)
            wait_for(process, self.standby.port).close()

    @contextlib.contextmanager
    def without_primary(self) -> Iterator[None]:
        """Meanwhile it is down, ended in good order; the standby follows it again afterwards."""
        old = self.primary.process
        assert old is not None  # noqa: S101 - so that mypy knows
        old.stop()
        try:
            yield
        finally:
            process = self._place.server("primary", self.primary.port, self._options).start()
            self.primary = Postgres(self.primary.url, process.log, process)
            wait_for(process, self.primary.port).close()

    def _on_standby(self, statement: str) -> Any:
        return _scalar(self.standby.port, statement)

    def stop_standby(self) -> None:
        if self.standby.process is not None:
            self.standby.process.stop()

    def stop_primary(self) -> None:
        if self.primary.process is not None:
            self.primary.process.stop()


def _scalar(port: int, statement: str) -> Any:
    connection = library("psycopg").connect(
        host=LOCALHOST, port=port, user="postgres", dbname="postgres", autocommit=True
    )
    with contextlib.closing(connection):
        return connection.execute(statement).fetchone()[0]


@contextlib.contextmanager
def replicated(
    database: str = "app", options: Mapping[str, str] | None = None
) -> Iterator[Replicated]:
    """A primary as :func:`postgres` makes it, and a hot standby of it.

    Both are ours in any case: an address in the environment is not looked at, since what these
    are for is to be stopped. *options* are settings of both.

    Raises:
        MissingError: there is no PostgreSQL.
    """
    with installation() as place, contextlib.ExitStack() as stack:
        ports = free_port(), free_port()
        settings = dict(options or {})
        place.initialise("primary")
        primary = stack.enter_context(place.server("primary", ports[0], settings))
        place.make_database(primary, ports[0], database)
        place.run(
            "pg_basebackup",
            f"--host={LOCALHOST}",
            f"--port={ports[0]}",
            "--username=postgres",
            f"--pgdata={place.folder / 'standby'}",
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
        )
        pair = Replicated(
            _postgres(primary, ports[0], database),
            _postgres(place.server("standby", ports[1], settings).start(), ports[1], database),
            place,
            settings,
        )
        # What runs in the end: each may have been started anew.
        stack.callback(pair.stop_primary)
        stack.callback(pair.stop_standby)
        assert pair.standby.process is not None  # noqa: S101 - so that mypy knows
        wait_for(pair.standby.process, ports[1]).close()
        pair.wait()
        yield pair


def _postgres(process: Process, port: int, database: str) -> Postgres:
    return Postgres(url_of(database, port), process.log, process)
