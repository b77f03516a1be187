"""The example application during maintenance of its primary, with a hot standby."""

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.utils import retry_timeout

SECRET = "correct-horse-battery-staple"
REFUSED = {
    "message": "Read-only for maintenance: nothing can be written now, try again later",
    "status": 503,
}
_APP = Path(__file__).parents[2] / "app"
_TIMES = 12


@dataclass
class Service:
    """The example, and somebody who knows its secret; each request may be any worker's."""

    service: Any

    def ask(self, verb: str, path: str, **how: Any) -> requests.Response:
        return requests.request(verb, f"{self.service.url}{path}", timeout=30, **how)

    def operate(self, **params: str) -> dict[str, Any]:
        answer = self.ask(
            "GET", "/c2c/db/maintenance", params=params, headers={"X-API-Key": SECRET}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def statuses(self, verb: str, path: str = "/api/hello") -> Counter[int]:
        """Of some requests, so that every worker has answered one of them."""
        how = {"json": {"text": "hello"}} if verb == "POST" else {}
        return Counter(self.ask(verb, path, **how).status_code for _ in range(_TIMES))

    def stop(self) -> None:
        self.service.process.stop()

    def write(self) -> requests.Response:
        return self.ask("POST", "/api/hello", json={"text": "hello"})


@pytest.fixture(scope="module")
def pair() -> Iterator[servers.Replicated]:
    """With the example's table in both, and a row in it."""
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(servers.replicated())
        except MissingError as error:
            pytest.skip(str(error))
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=_APP,
            env={**os.environ, "SQLALCHEMY_URL": running.primary.url},
            check=True,
        )
        running.wait()
        yield running


@pytest.fixture(scope="module")
def start(serve_long, pair, tmp_path_factory) -> Callable[..., Service]:
    """``start(*options, workers=2, **env)``: the example on the pair, with the view.

    Who starts one for a single test stops it, or it is there until the last test has ended.
    """

    def start(*options: str, workers: int = 2, **env: str) -> Service:
        environ = {
            "SQLALCHEMY_URL": pair.primary.url,
            "SQLALCHEMY_SLAVE_URL": pair.standby.url,
            "C2C_SECRET": SECRET,
            "C2C_DB_MAINTENANCE_VIEW_ENABLED": "1",
            "C2C_RUN_DIR": str(tmp_path_factory.mktemp("host")),
            **env,
        }
        how = {"ini": "production-include.ini", "instrument": False, "workers": workers}
        return Service(serve_long(*options, env=environ, **how))

    return start


@pytest.fixture(scope="module")
def services(start) -> dict[str, Service]:
    """By what they answer meanwhile; shared by the tests, which leave them writing."""
    how = {"C2C_DB_READONLY_RETRY_AFTER": "7"}
    return {each: start(C2C_DB_READONLY_ANSWER=each, **how) for each in ("error", "503")}


@pytest.fixture
def messages(pair) -> Callable[[], int]:
    """``messages()``: how many there are on the primary."""
    engine = sqlalchemy.create_engine(pair.primary.url, poolclass=sqlalchemy.NullPool)

    def count() -> int:
        with engine.connect() as connection:
            return connection.execute(sqlalchemy.text("SELECT count(*) FROM message")).scalar()

    return count


@pytest.mark.parametrize("answer", ["error", "503"])
def test_every_worker_reads_only_until_it_ends(services, messages, answer):
    service = services[answer]
    assert service.operate() == {"status": 200, "current_readonly": None}
    assert service.operate(readonly="true") == {"status": 200, "readonly": True}
    before = messages()
    assert service.statuses("POST") == {503: _TIMES}
    assert service.statuses("GET") == {200: _TIMES}
    refused = service.write()
    assert (refused.json(), refused.headers["Retry-After"]) == (REFUSED, "7")
    assert messages() == before

    told = service.operate(details="1")
    assert (told["primary"], told["replica"]) == ("sqlalchemy", "sqlalchemy_slave")
    assert [(each["readonly"], each["in_use"]) for each in told["processes"]] == [(True, 0)] * 2
    scraped = service.service.scrape()
    assert scraped.total("c2c_db_maintenance_readonly") == 1
    refusals = 0 if answer == "error" else _TIMES + 1
    assert scraped.total("c2c_db_maintenance_refusals_total") == refusals
    console = service.ask("GET", "/c2c", headers={"X-API-Key": SECRET, "Accept": "text/html"})
    assert "The database is read-only for maintenance" in console.text

    service.operate(readonly="false")
    assert service.statuses("POST") == {201: _TIMES}
    assert service.statuses("GET") == {200: _TIMES}
    assert messages() == before + _TIMES
    assert service.service.scrape().total("c2c_db_maintenance_readonly") == 0


@pytest.mark.parametrize("preloaded", [False, True])
def test_workers_that_start_later_read_only_too(services, start, preloaded):
    service = services["503"]
    if preloaded:
        service = start("--preload", C2C_DB_READONLY_ANSWER="503")
    service.operate(readonly="true")
    before = set(service.service.workers())
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    retry_timeout(lambda: not before & set(service.service.workers()), 10, 0.02)
    service.service.process.wait_url(f"{service.service.url}/api/ping")
    assert service.statuses("POST") == {503: _TIMES}
    service.operate(readonly="false")
    assert service.statuses("POST") == {201: _TIMES}
    if preloaded:
        service.stop()


def test_the_primary_may_be_down_meanwhile(services, pair):
    service = services["error"]
    assert service.statuses("POST") == {201: _TIMES}
    pair.wait()
    service.operate(readonly="true")
    assert {each["in_use"] for each in service.operate(details="1")["processes"]} == {0}
    with pair.without_primary():
        assert service.statuses("GET") == {200: _TIMES}
        assert service.statuses("POST") == {503: _TIMES}
        health = service.ask("GET", "/c2c/health_check", params={"max_level": "1"})
        assert health.status_code == 200, health.text
    service.operate(readonly="false")
    # Not one of the connections that have been broken is used again.
    assert service.statuses("POST") == {201: _TIMES}


def test_without_a_replica_nothing_is_written_either(start, messages):
    service = start(SQLALCHEMY_SLAVE_URL="", workers=1)
    service.operate(readonly="true")
    before = messages()
    assert service.statuses("POST") == {503: _TIMES}
    assert service.statuses("GET") == {200: _TIMES}
    assert messages() == before
    assert service.write().json() == REFUSED
    service.operate(readonly="false")
    assert service.statuses("POST") == {201: _TIMES}
    service.stop()


def test_hosts_agree_by_redis_and_it_survives_them(start, valkey, tmp_path):
    def host(name: str) -> Service:
        return start(
            workers=1,
            C2C_RUN_DIR=str(tmp_path / name),
            C2C_REDIS_URL=valkey.url,
            C2C_BROADCAST_PREFIX=f"{tmp_path}_",
        )

    first = host("first")
    first.operate(readonly="true")
    second = host("second")
    # The first request already: it was asked for before the first one.
    assert second.statuses("POST") == {503: _TIMES}
    assert second.operate() == {"status": 200, "current_readonly": True}
    for service in (first, second):
        service.stop()
    third = host("third")
    assert third.statuses("POST") == {503: _TIMES}
    third.stop()


def test_a_write_on_the_replica_without_maintenance_is_503_and_said(services):
    service = services["error"]
    answer = service.ask("GET", "/api/error", params={"kind": "constraint"})
    assert (answer.status_code, answer.json()) == (
        503,
        {"message": "The database can only be read for this request, not written", "status": 503},
    )
    assert "Retry-After" not in answer.headers
    assert "belongs into force_master of c2cotel.db.init()" in service.service.output()
