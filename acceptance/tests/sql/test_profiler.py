"""The SQL profiler in an application of four workers, which any of them may switch."""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from c2cotel_acceptance import servers, telemetry
from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.utils import retry_timeout

SECRET = "correct-horse-battery-staple"
NEXT = "SELECT nextval(?)"
COUNT = "SELECT count(*) FROM things WHERE kind = %(kind)s AND id > %(id)s"
RECIPE = """
ALTER DATABASE app SET session_preload_libraries = 'auto_explain';
GRANT SET ON PARAMETER auto_explain.log_min_duration, auto_explain.log_analyze,
    auto_explain.log_format, auto_explain.log_level, auto_explain.sample_rate,
    auto_explain.log_buffers, auto_explain.log_timing, auto_explain.log_parameter_max_length
    TO app"""
UNDO = "ALTER DATABASE app RESET session_preload_libraries"
_HERE = Path(__file__).parent
_OURS = ("C2C_", "OTEL_", "GUNICORN_", "LOG_", "GIT_HASH")


@dataclass
class Database:
    """A server that counts what it executes."""

    url: str
    superuser: str

    def run(self, statement: str) -> list[Any]:
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def calls(self) -> dict[str, int]:
        """How often the statements of the application have been executed."""
        found = self.run("SELECT query, calls FROM pg_stat_statements WHERE query ~* '^select'")
        return {
            name: sum(int(calls) for query, calls in found if word in query)
            for name, word in {"nextval": "nextval(", "count": "kind = "}.items()
        }


@dataclass
class Service:
    """The application, and somebody who knows its secret; each request may be any worker's."""

    gunicorn: servers.Gunicorn
    log: Path
    otlp: telemetry.OtlpReceiver

    @property
    def url(self) -> str:
        return self.gunicorn.url

    def get(self, path: str, **params: Any) -> requests.Response:
        headers = {"X-API-Key": SECRET}
        return requests.get(f"{self.url}{path}", params=params, headers=headers, timeout=30)

    def switch(self, **params: Any) -> dict[str, Any]:
        answer = self.get("/c2c/sql_profiler", **params)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def work(self, count: int, path: str = "/api/ticket") -> list[dict[str, Any]]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda _: self.get(path).json(), range(count)))

    def found(self) -> dict[str, dict[str, Any]]:
        return {each["text"]: each for each in self.switch(details="1")["statements"]}


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with contextlib.ExitStack() as stack:
        options = {"shared_preload_libraries": "pg_stat_statements"}
        try:
            running = stack.enter_context(servers.postgres(options=options))
        except MissingError as error:
            pytest.skip(str(error))
        if running.process is None:
            pytest.skip("The rights of a PostgreSQL of somebody else are not ours to change")
        superuser = f"host=127.0.0.1 port={running.port} user=postgres dbname=app"
        made = Database(running.url, superuser)
        made.run("CREATE EXTENSION pg_stat_statements")
        made.run("""
            SET ROLE app; CREATE SEQUENCE tickets;
            CREATE TABLE things (id serial PRIMARY KEY, kind text);
            INSERT INTO things (kind) SELECT 'very secret' FROM generate_series(1, 50)""")
        yield made


Start = Callable[..., Service]


@pytest.fixture(scope="module")
def start(database, tmp_path_factory) -> Iterator[Start]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Service:
            folder = tmp_path_factory.mktemp(name)
            otlp = stack.enter_context(telemetry.OtlpReceiver())
            environ = {
                **kept,
                "PYTHONPATH": str(_HERE),
                "SQLALCHEMY_URL": database.url,
                "C2C_SECRET": SECRET,
                "C2C_SQL_PROFILER_ENABLED": "1",
                "C2C_LOG_VIEW_ENABLED": "1",
                "C2C_RUN_DIR": str(folder),
                "LOG_TYPE": "json",
                "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint,
                "OTEL_BSP_SCHEDULE_DELAY": "200",
            }
            options = ["-c", "python:c2cotel.gunicorn", "-w", "4", "--threads", "4"]
            log = folder / "gunicorn.log"
            gunicorn = servers.Gunicorn(
                [*options, "profiler_app:application()"], log=log, env=environ, cwd=folder
            )
            stack.enter_context(gunicorn)
            gunicorn.wait_url(f"{gunicorn.url}/ping")
            return Service(gunicorn, log, otlp)

        yield start


@pytest.fixture(scope="module")
def running(start) -> Service:
    """With a logger that writes the plans."""
    service = start("service")
    level = service.get("/c2c/logging/level", name="c2cotel.sql_profiler", level="INFO")
    assert level.status_code == 200, level.text
    return service


@pytest.fixture(params=["auto_explain", "explain"])
def way(request, database, running) -> Iterator[str]:
    """How plans are got; the connections that there are meanwhile have seen nothing else."""
    told = request.param == "auto_explain"
    for statement in (RECIPE if told else UNDO).split(";"):
        database.run(statement)
    database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    # Each worker's pool has lost its connections: whoever meets one gets an error.
    retry_timeout(lambda: all("number" in each for each in running.work(32)), 20, interval=0)
    database.run("SELECT pg_stat_statements_reset()")
    yield request.param
    running.switch(enable="0")


def test_one_answer_and_all_workers_profile_and_no_statement_is_executed_twice(
    running, database, way
):
    assert running.switch(enable="1") == {"status": 200, "enabled": True}
    answers = running.work(200)
    numbers = [each["number"] for each in answers]
    assert sorted(numbers) == list(range(min(numbers), min(numbers) + 200))
    assert {each["count"] for each in answers} == {50}
    assert database.calls() == {"nextval": 200, "count": 200}

    told = running.switch(details="1")
    assert (told["processes"], told["silent"]) == (4, [])
    found = {each["text"]: each for each in told["statements"]}
    for text in (NEXT, COUNT):
        statement = found[text]
        assert (statement["calls"], statement["errors"]) == (200, 0)
        assert statement["plan_source"] == way
        assert statement["engines"] == ["tickets"]
        assert statement["max"] <= statement["total"]
    assert found[COUNT]["plan"].startswith("Aggregate  (cost=")
    assert ("(actual time=" in found[COUNT]["plan"]) == (way == "auto_explain")

    running.switch(enable="0")
    running.work(20)
    assert running.found()[NEXT]["calls"] == 200


def test_plans_are_on_the_spans_and_in_the_log_without_values(running, way):
    running.switch(enable="1")
    running.work(8)

    def spans() -> list[telemetry.Span]:
        named = [span for span in running.otlp.spans if span.name == "SELECT things"]
        return [span for span in named if _source(span) == way]

    (span, *_) = retry_timeout(spans, 10, interval=0.05)
    (event,) = span.events
    assert json.loads(event.attributes["c2c.sql.plan"])["Plan"]["Node Type"] == "Aggregate"

    def records() -> list[dict[str, Any]]:
        lines = running.log.read_text().splitlines()
        found = [json.loads(line) for line in lines if '"c2cotel.sql_profiler"' in line]
        return [each for each in found if each.get("trace_id") == span.trace_id]

    (record,) = [each for each in retry_timeout(records, 10, interval=0.05) if COUNT in str(each)]
    assert record["fingerprint"] == event.attributes["c2c.sql.fingerprint"]
    assert "very secret" not in running.log.read_text()
    assert "very secret" not in str(event)


def _source(span: telemetry.Span) -> str | None:
    return next((event.attributes.get("c2c.sql.plan.source") for event in span.events), None)


def test_a_route_has_only_its_own_statements(running):
    running.switch(enable="1", route="/api/*")
    running.work(10)
    running.work(10, "/other")
    assert set(running.found()) == {NEXT, COUNT}
    running.switch(enable="0")


def test_a_worker_that_starts_later_profiles_too(running):
    running.switch(enable="1")
    killed = running.gunicorn.children()[0]
    os.kill(killed, signal.SIGKILL)

    def replaced() -> bool:
        workers = running.gunicorn.children()
        return len(workers) == 4 and killed not in workers

    retry_timeout(replaced, 20, interval=0.05)
    retry_timeout(lambda: running.switch(details="1")["processes"] == 4, 20, interval=0.05)
    before = running.found().get(NEXT, {"calls": 0})["calls"]
    pids = {each["pid"] for each in running.work(200)}
    assert len(pids) >= 2
    assert running.found()[NEXT]["calls"] == before + 200
    running.switch(enable="0")


def test_it_ends_by_itself(running):
    assert running.switch(enable="1", ttl="1")["enabled"]
    retry_timeout(lambda: not running.switch()["enabled"], 10, interval=0.1)
    before = running.found()
    running.work(20)
    assert running.found() == before


def test_the_page_switches_it_and_shows_what_all_have_found(running, chromium):
    with chromium.visit() as visit:
        page = visit.page
        page.goto(f"{running.url}/c2c")
        page.get_by_label("Secret").fill(SECRET)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("link", name="SQL profiler").click()
        page.get_by_label("Route").fill("/api/*")
        page.get_by_role("button", name="Switch on").click()
        page.get_by_role("button", name="Switch off").wait_for()
        running.work(40)
        page.reload()
        text = " ".join(page.locator("main").inner_text().split())
        assert "Of 4 processes, those that took the most time first." in text
        page.locator("tr", has_text=COUNT).locator("summary").click()
        assert "Aggregate" in page.locator("tr", has_text=COUNT).locator("pre").inner_text()
        visit.screenshot("sql-profiler")
        assert visit.violations() == []
        page.get_by_role("button", name="Switch off").click()
        page.get_by_text("It costs nothing.").wait_for()
        assert visit.errors == []
    with chromium.visit(viewport={"width": 375, "height": 667}, is_mobile=True) as visit:
        visit.page.goto(f"{running.url}/c2c/sql_profiler/statements?secret={SECRET}")
        visit.screenshot("sql-profiler-phone")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 375
