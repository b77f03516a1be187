"""What the scrape says of a pool, beside what its users have measured."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from c2cotel_acceptance import scraping, servers
from c2cotel_acceptance.utils import retry_timeout

_HERE = Path(__file__).parent
_PREFIX = "db_client_connection"
_OURS = ("C2C_", "OTEL_", "GUNICORN_", "LOG_", "GIT_HASH")
_TIMEOUT = 2.5


@pytest.fixture
def url(postgres, tmp_path) -> Iterator[str]:
    """Of the application, in one worker with ten threads."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    environ = {
        **kept,
        "PYTHONPATH": str(_HERE),
        "SQLALCHEMY_URL": postgres.url,
        "POOL_TIMEOUT": str(_TIMEOUT),
        "C2C_PROMETHEUS_VIEW_ENABLED": "true",
    }
    options = ["-w", "1", "--threads", "10", "pools_app:application()"]
    log = tmp_path / "gunicorn.log"
    with servers.Gunicorn(options, log=log, env=environ, cwd=tmp_path) as gunicorn:
        gunicorn.wait_url(f"{gunicorn.url}/ping")
        yield gunicorn.url


def wait(url: str, condition: Callable[[scraping.Scrape], bool]) -> scraping.Scrape:
    """Scrape the worker until *condition* is true of it: whoever answers looks at its pools."""

    def look() -> scraping.Scrape | None:
        found = scraping.scrape(f"{url}/c2c/metrics")
        return found if condition(found) else None

    return retry_timeout(look, 12, interval=0.05)


def test_a_pool_of_two_with_six_waiting_threads(url):
    def hold(seconds: float) -> dict[str, Any]:
        return requests.get(f"{url}/hold", params={"seconds": seconds}, timeout=60).json()

    def number(scrape: scraping.Scrape, name: str, **labels: str) -> float:
        return scrape.total(f"{_PREFIX}_{name}", c2c_engine="small", **labels)

    hold(0)
    with ThreadPoolExecutor(8) as pool:
        # Two of the six get a connection before they give up, and keep it until the others have.
        first = [pool.submit(hold, 1.5) for _ in range(2)]
        wait(url, lambda scrape: _state(scrape) == (0, 2))
        waiting = [pool.submit(hold, 2.5) for _ in range(6)]
        full = wait(url, lambda scrape: number(scrape, "pending_requests") == 6)
        assert _state(full) == (0, 2)
        assert (number(full, "max"), number(full, "idle_max")) == (2, 2)
        answers = [future.result() for future in (*first, *waiting)]
    gave_up = [answer["gave_up"] for answer in answers if "gave_up" in answer]
    got = [answer for answer in answers if "waited" in answer]
    assert (len(gave_up), len(got)) == (4, 4)

    scrape = wait(url, lambda scrape: number(scrape, "pending_requests") == 0)
    assert number(scrape, "timeouts_total") == 4
    refused = {"error_type": "sqlalchemy.exc.TimeoutError"}
    assert number(scrape, "wait_time_seconds_count", **refused) == 4
    assert number(scrape, "wait_time_seconds_sum", **refused) == pytest.approx(
        sum(gave_up), abs=0.5
    )
    # And the one before all.
    assert number(scrape, "wait_time_seconds_count") == 4 + 4 + 1
    assert number(scrape, "wait_time_seconds_sum") == pytest.approx(
        sum(gave_up) + sum(answer["waited"] for answer in got), abs=0.5
    )
    assert number(scrape, "use_time_seconds_count") == 5
    assert number(scrape, "use_time_seconds_sum") == pytest.approx(
        sum(answer["used"] for answer in got), abs=0.5
    )
    assert number(scrape, "create_time_seconds_count") == 2
    assert _state(wait(url, lambda scrape: _state(scrape) == (2, 0))) == (2, 0)


def _state(scrape: scraping.Scrape) -> tuple[float, ...]:
    return tuple(
        scrape.total(f"{_PREFIX}_count", db_client_connection_state=state)
        for state in ("idle", "used")
    )
