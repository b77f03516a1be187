"""What the example does with a primary and its hot standby, as its two ini files say."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from c2cotel_acceptance import scraping, servers
from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.utils import retry_timeout

SECRET = "correct-horse-battery-staple"
PRIMARY, REPLICA = "sqlalchemy", "sqlalchemy_slave"
COMMENT = "/*application='example',framework='pyramid',route='/api/{}'*/"
STATEMENTS = "db_client_operation_duration_seconds_count"
_APP = Path(__file__).parents[2] / "app"
_OURS = ("C2C_", "OTEL_", "GUNICORN_", "LOG_", "SQLALCHEMY_", "GIT_HASH")
_LOG = {"log_statement": "all", "log_line_prefix": "%p|%a|"}
_WORKERS = 3
_TIMES = 12


@dataclass
class Service:
    """The example, and somebody who knows its secret; each request may be any worker's."""

    gunicorn: servers.Gunicorn
    metrics_port: int

    def ask(self, verb: str, path: str, client: Any = requests, **how: Any) -> requests.Response:
        answer: requests.Response = client.request(
            verb, f"{self.gunicorn.url}{path}", timeout=30, **how
        )
        return answer

    def read(self, **how: Any) -> requests.Response:
        return self.ask("GET", "/api/hello", **how)

    def write(self, text: str = "hello", **how: Any) -> requests.Response:
        return self.ask("POST", "/api/hello", json={"text": text}, **how)

    def operate(self, view: str, **params: str) -> dict[str, Any]:
        answer = self.ask("GET", f"/c2c/{view}", params=params, headers={"X-API-Key": SECRET})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def page(self, view: str) -> str:
        headers = {"X-API-Key": SECRET, "Accept": "text/html"}
        return self.ask("GET", f"/c2c/{view}", headers=headers).text

    def scrape(self) -> scraping.Scrape:
        return scraping.scrape(f"http://127.0.0.1:{self.metrics_port}/metrics")


@pytest.fixture(scope="module")
def pair() -> Iterator[servers.Replicated]:
    """With the example's table in both, and a log of the statements of each."""
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(servers.replicated(options=_LOG))
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
def services(pair, tmp_path_factory) -> Iterator[dict[str, Service]]:
    """One for each ini file, both under the launcher.

    That which includes c2cotel is told addresses and the secret, nothing else; the other one what
    the launcher is to do.
    """
    own = {
        "production-include.ini": {"SQLALCHEMY_SLAVE_URL": pair.standby.url, "C2C_SECRET": SECRET},
        "production.ini": {"C2C_SQL_TAG": "static", "C2C_SQL_REQUEST_ID": "1"},
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    with contextlib.ExitStack() as stack:
        started = {}
        for ini, environ in own.items():
            folder, metrics_port = tmp_path_factory.mktemp("host"), servers.free_port()
            environ |= {
                "SQLALCHEMY_URL": pair.primary.url,
                "C2C_RUN_DIR": str(folder),
                "C2C_PROMETHEUS_HOST": "127.0.0.1",
                "C2C_PROMETHEUS_PORT": str(metrics_port),
                "OTEL_SERVICE_NAME": "example",
            }
            gunicorn = servers.Gunicorn(
                ["--paste", ini, "-w", str(_WORKERS)],
                log=folder / "gunicorn.log",
                env={**kept, **environ},
                cwd=_APP,
            )
            started[ini] = Service(stack.enter_context(gunicorn), metrics_port)
        for each in started.values():
            each.gunicorn.wait_url(f"{each.gunicorn.url}/api/ping")
        # The first worker answers before the others are there.
        including = started["production-include.ini"]
        retry_timeout(
            lambda: including.operate("sql_profiler", details="1")["processes"] == _WORKERS, 20, 0.1
        )
        yield started


@pytest.fixture
def service(services) -> Service:
    """That whose ini file has all of it."""
    return services["production-include.ini"]


def statements(server: servers.Postgres, request_id: str) -> list[str]:
    """Those about messages that *server* has logged with this *request_id*."""
    assert server.log is not None
    text = server.log.read_text().replace("\n\t", " ")
    lines = [line.split("|", 2) for line in text.splitlines()]
    said = [line[2] for line in lines if len(line) == 3 and line[1] == request_id]
    return [text for text in said if "message" in text]


def test_an_application_that_knows_nothing_of_it_is_tagged_and_measured(services, pair):
    service = services["production.ini"]
    assert service.read(headers={"X-Request-ID": "knows-nothing"}).ok
    (said,) = statements(pair.primary, "knows-nothing")
    assert said.endswith(COMMENT.format("hello"))
    read = {"c2c_engine": PRIMARY, "db_collection_name": "message"}
    assert service.scrape().total(STATEMENTS, **read) == 1


def test_each_request_is_in_the_log_of_the_database_that_it_belongs_to(service, pair):
    for request_id, verb, name in (
        ("is-read", "GET", "hello"),
        ("is-written", "POST", "hello"),
        ("is-searched", "POST", "search"),
    ):
        headers = {"X-Request-ID": request_id}
        answer = service.ask(verb, f"/api/{name}", json={"text": "hello"}, headers=headers)
        assert answer.ok, answer.text
        here, elsewhere = pair.standby, pair.primary
        if request_id == "is-written":
            here, elsewhere = elsewhere, here
        (said,) = statements(here, request_id)
        assert said.endswith(COMMENT.format(name))
        assert statements(elsewhere, request_id) == []


def test_who_has_written_reads_it_while_the_standby_is_behind(service, pair):
    with pair.paused(), requests.Session() as writer:
        written = service.write("mine", client=writer).json()
        # By any worker: it is the client who knows.
        assert [service.read(client=writer).json() for _ in range(_TIMES)] == [written] * _TIMES
        assert service.read().json()["id"] < written["id"]


def test_the_profiler_names_the_statements_with_their_plans(service):
    service.operate("sql_profiler", enable="1", ttl="60")
    for _ in range(_TIMES):
        assert service.read().ok
    told = service.operate("sql_profiler", details="1")
    (found,) = [each for each in told["statements"] if "FROM message" in each["text"]]
    assert (told["processes"], found["calls"], found["engines"]) == (_WORKERS, _TIMES, [REPLICA])
    page = service.page("sql_profiler/statements")
    assert "FROM message ORDER BY message.id DESC" in page
    assert "Index Scan Backward using message_pkey on message" in page
    assert service.operate("sql_profiler", enable="0") == {"status": 200, "enabled": False}


def test_in_maintenance_writers_are_told_when_to_come_back(service):
    service.operate("db/maintenance", readonly="true")
    answers = [service.write() for _ in range(_TIMES)]
    assert {(each.status_code, each.headers["Retry-After"]) for each in answers} == {(503, "60")}
    assert {service.read().status_code for _ in range(_TIMES)} == {200}
    assert service.scrape().total("c2c_db_maintenance_refusals_total") == _TIMES
    service.operate("db/maintenance", readonly="false")
    assert {service.write().status_code for _ in range(_TIMES)} == {201}


def test_statements_are_in_the_scrape_by_engine(service):
    labels = ("c2c_engine", "db_operation_name", "db_collection_name")
    before = service.scrape().by(STATEMENTS, *labels)
    for _ in range(_TIMES):
        assert service.read().ok
        assert service.write().ok
    after = service.scrape().by(STATEMENTS, *labels)
    assert {key: after[key] - before[key] for key in after if key[2]} == {
        (REPLICA, "SELECT", "message"): _TIMES,
        (PRIMARY, "SELECT", "message"): 0,
        (PRIMARY, "INSERT", "message"): _TIMES,
    }


def test_pools_are_in_the_scrape_by_engine(services, service):
    def numbers(service: Service) -> dict[tuple[str, str], float]:
        scraped = service.scrape()
        found = scraped.by("db_client_connection_count", "c2c_engine", "db_client_connection_state")
        most = scraped.by("db_client_connection_max", "c2c_engine")
        return found | {(engine, "max"): number for (engine,), number in most.items()}

    def quiet() -> bool:
        found = numbers(service)
        return all(
            found.get((engine, "idle"), 0) >= 1
            and found[engine, "used"] == 0
            and found[engine, "max"] >= 30
            for engine in (PRIMARY, REPLICA)
        )

    # Each process looks at its own from time to time.
    retry_timeout(quiet, 10, 0.1)
    # Of the one worker that has had a request, as its ini says: 5, and 10 besides.
    plain = services["production.ini"]
    retry_timeout(lambda: numbers(plain).get((PRIMARY, "max")) == 15, 10, 0.1)


def test_while_the_replica_is_down_the_primary_reads_and_it_is_counted(service, pair):
    """The last one: the workers try the replica again after five seconds only."""

    def fallbacks() -> float:
        return service.scrape().total("c2c_db_fallbacks_total", c2c_engine=REPLICA)

    assert fallbacks() == 0
    with pair.without_standby(killed=True):
        headers = {"X-Request-ID": "falls-back"}
        assert {service.read(headers=headers).status_code for _ in range(_TIMES)} == {200}
        assert len(statements(pair.primary, "falls-back")) == _TIMES
        assert fallbacks() == _TIMES
    said = f"{REPLICA} cannot be connected to, its sessions use {PRIMARY} meanwhile"
    assert said in service.gunicorn.output()
