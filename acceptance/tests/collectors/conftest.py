"""An application with metrics of prometheus_client, in two workers of gunicorn."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from c2cotel_acceptance import scraping, servers
from c2cotel_acceptance.utils import retry_timeout

_HERE = Path(__file__).parent
_OURS = ("C2C_", "OTEL_", "GUNICORN_", "LOG_", "GIT_HASH", "PROMETHEUS_")


@dataclass(frozen=True)
class Shop:
    """The application, and who scrapes it: on its port, or by the view."""

    process: servers.Gunicorn = field(repr=False)
    port: int

    @property
    def by_port(self) -> str:
        return f"http://127.0.0.1:{self.port}/metrics"

    @property
    def by_view(self) -> str:
        return f"{self.process.url}/c2c/metrics"

    def scrape(self, url: str = "", **how: bool) -> scraping.Scrape:
        return scraping.scrape(url or self.by_port, **how)

    def ask(self, path: str) -> int:
        """The pid of the worker that answered, on a fresh connection."""
        return int(requests.get(f"{self.process.url}/{path}", timeout=30).text)

    def ask_all(self, path: str) -> dict[int, int]:
        """Ask until each worker has answered; how often each has."""
        counts = dict.fromkeys(self.process.workers(), 0)

        def ask() -> bool:
            with ThreadPoolExecutor(4) as pool:
                for pid in pool.map(lambda _: self.ask(path), range(4)):
                    counts[pid] = counts.get(pid, 0) + 1
            return all(counts.values())

        retry_timeout(ask, 20, interval=0)
        return counts

    def wait(self, condition: Callable[[scraping.Scrape], object]) -> scraping.Scrape:
        """Scrape until *condition* is true of it; what a process observes is 5 s old at most."""

        def look() -> scraping.Scrape | None:
            found = self.scrape()
            return found if condition(found) else None

        return retry_timeout(look, 15, interval=0.2)


@contextlib.contextmanager
def _shop(folder: Path, *more: str, **env: str) -> Iterator[Shop]:
    port = servers.free_port()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    environ = {
        **kept,
        "PYTHONPATH": str(_HERE),
        "C2C_PROMETHEUS_PORT": str(port),
        "C2C_PROMETHEUS_HOST": "127.0.0.1",
        "C2C_PROMETHEUS_VIEW_ENABLED": "true",
        **env,
    }
    options = ["-c", str(_HERE / "gunicorn.conf.py"), "-w", "2", "--threads", "4", *more]
    with servers.Gunicorn(
        [*options, "collectors_app:main()"], log=folder / "gunicorn.log", env=environ, cwd=folder
    ) as process:
        process.wait_url(f"{process.url}/order")
        yield Shop(process, port)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[Shop]:
    """As the predecessor's manual says: prometheus_client counts in files."""
    folder = tmp_path_factory.mktemp("shop")
    files = folder / "prometheus-metrics"
    files.mkdir()
    with _shop(folder, PROMETHEUS_MULTIPROC_DIR=str(files)) as running:
        yield running


@pytest.fixture(scope="module")
def shop_without_files(tmp_path_factory) -> Iterator[Shop]:
    with _shop(tmp_path_factory.mktemp("without")) as running:
        yield running


@pytest.fixture(scope="module")
def shop_preloaded(tmp_path_factory) -> Iterator[Shop]:
    """Imported by the master, which forks its workers with all that is in it."""
    with _shop(tmp_path_factory.mktemp("preloaded"), "--preload") as running:
        yield running


@pytest.fixture
def promtool() -> Callable[[str], None]:
    """``promtool(text)`` has it checked."""
    program = shutil.which("promtool")
    if program is None:
        how = "promtool is missing: sudo apt-get install prometheus"
        pytest.fail(how) if os.environ.get("CI") else pytest.skip(how)

    def check(text: str) -> None:
        done = subprocess.run(
            [program, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        # 3: valid, and some names could be better.
        assert done.returncode in (0, 3), done.stderr

    return check
