"""The database is killed under load, and comes back."""

import contextlib
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from c2cotel_acceptance import scraping, servers
from c2cotel_acceptance.processes import MissingError, Process
from c2cotel_acceptance.servers.postgresql import Installation, installation, url_of, wait_for
from c2cotel_acceptance.traffic import Call
from c2cotel_acceptance.utils import retry_timeout

_APP = Path(__file__).parents[2] / "app"
_DURATION = "db_client_operation_duration_seconds_count"
_POOL = "db_client_connection"
_READ = Call("/api/hello", route="/api/hello")
_WRITE = Call("/api/hello", "POST", "/api/hello", b'{"text": "hello"}')


class Database:
    """A PostgreSQL that can be killed, and started again on what it had."""

    def __init__(self, place: Installation) -> None:
        self._place = place
        self.port = servers.free_port()
        place.initialise("data")
        self._process = self._start()
        place.make_database(self._process, self.port, "app")
        self.url = url_of("app", self.port)

    def _start(self) -> Process:
        return self._place.server("data", self.port, {}).start()

    def kill(self) -> None:
        self._process.kill()

    def start(self) -> None:
        def start() -> bool:
            # Until the sessions of the killed one have noticed, nobody gets its data.
            self._process = self._start()
            wait_for(self._process, self.port).close()
            return True

        retry_timeout(start, 20, interval=0.2)

    def stop(self) -> None:
        self._process.stop()

    def sessions(self) -> int:
        """How many the application has."""
        address = {"host": "127.0.0.1", "port": self.port, "user": "postgres"}
        asked = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"
        with psycopg.connect(**address, dbname="postgres") as connection:
            return connection.execute(asked).fetchone()[0]


@pytest.fixture
def database() -> Iterator[Database]:
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(installation())
        except MissingError as error:
            # In CI nothing may be skipped.
            (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
        database = Database(place)
        stack.callback(database.stop)
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=_APP,
            env={**os.environ, "SQLALCHEMY_URL": database.url},
            check=True,
        )
        yield database


def test_errors_are_counted_connections_recover_and_no_pool_leaks(serve, database):
    workers, size, more = 2, 2, 1
    environ = {
        "SQLALCHEMY_URL": database.url,
        "SQLALCHEMY_POOL_SIZE": str(size),
        "SQLALCHEMY_MAX_OVERFLOW": str(more),
    }
    service = serve("--threads", "4", workers=workers, ini="production-include.ini", env=environ)
    assert service.send(_WRITE, count=1).by_route() == {("/api/hello", 201): 1}

    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(service.send, _READ, _WRITE, count=1_000_000, concurrency=8, until=ended)
        try:
            _wait(service, lambda scrape: scrape.total(_DURATION) > 200)
            database.kill()
            _wait(service, lambda scrape: _refused(scrape) > 20)
            database.start()
            answered = _answers(service)
            _wait(service, lambda _: _answers(service) > answered + 50)
        finally:
            ended.set()
        traffic = load.result()

    by_status = {status: count for (_, status), count in traffic.by_route().items()}
    assert traffic.failed == 0
    assert set(by_status) <= {200, 201, 500, 503}
    failed = by_status.get(500, 0) + by_status.get(503, 0)
    assert failed > 0
    # Everybody is served again.
    after = service.send(_READ, _WRITE, count=40)
    assert after.by_route() == {("/api/hello", 200): 20, ("/api/hello", 201): 20}

    # Each of these answers is an error of a statement, of a commit or of a connection.
    scrape = _wait(service, lambda scrape: _state(scrape, "used") == 0)
    errors = _errors(scrape, _DURATION) + _errors(scrape, f"{_POOL}_wait_time_seconds_count")
    assert errors.total() >= failed
    assert all(kind == "57" or kind.startswith("psycopg.") for kind in errors), errors
    # No connection is lost: what the pools say is what the server sees.
    assert scrape.total(f"{_POOL}_pending_requests") == 0
    assert _state(scrape, "idle") <= workers * size
    _wait(service, lambda scrape: _state(scrape, "idle") == database.sessions())
    # And all that a pool may have can be had again.
    busy = service.send(_READ, count=80, concurrency=8)
    assert busy.by_route() == {("/api/hello", 200): 80}


def _wait(service: Any, condition: Any) -> scraping.Scrape:
    """Scrape until *condition* is true of it; what a worker observes is 5 s old at most."""

    def look() -> scraping.Scrape | None:
        found = service.scrape()
        return found if condition(found) else None

    return retry_timeout(look, 20, interval=0.1)


def _refused(scrape: scraping.Scrape) -> int:
    return _errors(scrape, f"{_POOL}_wait_time_seconds_count").total()


def _errors(scrape: scraping.Scrape, name: str) -> Counter[str]:
    by_type = scrape.by(name, "error_type").items()
    return Counter({kind: int(count) for (kind,), count in by_type if kind})


def _state(scrape: scraping.Scrape, state: str) -> float:
    return scrape.total(f"{_POOL}_count", db_client_connection_state=state)


def _answers(service: Any) -> int:
    counted = service.counted()
    return counted.get(("/api/hello", 200), 0) + counted.get(("/api/hello", 201), 0)
