"""The example application in gunicorn, with real servers around it.

``serve`` starts it and ends it with the test::

    def test_every_request_is_counted(serve):
        service = serve("--preload", workers=4)
        traffic = service.send(Call("/api/ping", route="/api/ping"), count=1000)
        assert service.scrape().total("http_server_request_duration_seconds_count") == traffic.total

It sees no ``C2C_*`` nor ``OTEL_*`` variable of the person who runs the tests.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from c2cotel_acceptance import browser, scraping, servers, telemetry
from c2cotel_acceptance.processes import MissingError, Process, script
from c2cotel_acceptance.traffic import Call, Traffic, send
from c2cotel_acceptance.utils import retry_timeout

APP = Path(__file__).parents[1] / "app"
SCREENSHOTS = Path(__file__).parents[2] / ".cache" / "screenshots"
DURATION = "http_server_request_duration_seconds_count"
_OURS = ("C2C_", "OTEL_", "GUNICORN_", "LOG_", "GIT_HASH")


def pytest_configure() -> None:
    """End on TERM as on Ctrl-C: ending at once would leave every server behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def clean_environ(**more: str) -> dict[str, str]:
    """Our environment without what configures c2cotel or gunicorn, and with *more*."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    return {**kept, **more}


@dataclass
class Service:
    """The example, being served."""

    process: Process
    url: str
    metrics_port: int | None
    log: Path
    env: dict[str, str] = field(repr=False)

    def send(self, *calls: Call, count: int | None = None, **how: object) -> Traffic:
        """Send *calls*, *count* in all, as :func:`c2cotel_acceptance.traffic.send` does."""
        return send(self.url, calls, count, **how)

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    def scrape(self, **how: bool) -> scraping.Scrape:
        # Whoever served the page may have ended: another takes over within a second.
        return retry_timeout(lambda: scraping.scrape(self.metrics_url, **how), 5, 0.05)

    def counted(self) -> dict[tuple[str, int], int]:
        """Requests by route and status, as the scrape has them."""
        by = self.scrape().by(DURATION, "http_route", "http_response_status_code")
        return {(route, int(status)): int(count) for (route, status), count in by.items()}

    def watched(self) -> contextlib.AbstractContextManager[list[float]]:
        """``with service.watched() as totals``: the requests counted, scraped all the while."""
        return scraping.watch(self.metrics_url, DURATION)

    def workers(self) -> list[int]:
        return self.process.children()

    def output(self) -> str:
        return self.process.output()


Serve = Callable[..., Service]
_T = TypeVar("_T")


def _missing(error: MissingError) -> NoReturn:
    """Skip for want of a program; in CI nothing may be skipped."""
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


@contextlib.contextmanager
def _or_missing(server: contextlib.AbstractContextManager[_T]) -> Iterator[_T]:
    """*server*, or the test is skipped for want of it."""
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(server)
        except MissingError as error:
            _missing(error)
        yield started


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    """A PostgreSQL with the example's database in it."""
    with _or_missing(servers.postgres()) as server:
        migrate(server.url)
        yield server


def migrate(url: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=APP,
        env=clean_environ(SQLALCHEMY_URL=url),
        check=True,
    )


@pytest.fixture(scope="session")
def valkey() -> Iterator[servers.Valkey]:
    """An empty Valkey of our own, which tests may stop, kill and start again."""
    with _or_missing(servers.valkey()) as server:
        yield server


@pytest.fixture(scope="session")
def sentinels() -> Iterator[servers.Sentinels]:
    """A primary, its replica and three Sentinels."""
    with _or_missing(servers.sentinels()) as group:
        yield group


@pytest.fixture(scope="session")
def chromium() -> Iterator[browser.Chromium]:
    """A browser; what it photographs stays in ``.cache/screenshots``."""
    with _or_missing(browser.chromium(SCREENSHOTS)) as running:
        yield running


@pytest.fixture
def small_tmpfs(tmp_path) -> Iterator[Callable[[str], Path]]:
    """``small_tmpfs("256k")``: a folder in memory that holds no more than that. Needs root."""
    with contextlib.ExitStack() as stack:

        def mount(size: str) -> Path:
            folder = tmp_path / f"tmpfs-{size}"
            folder.mkdir()
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"A tmpfs cannot be mounted here, run this as root: {done.stderr}")
            stack.callback(subprocess.run, ["umount", "--lazy", folder], check=True)
            return folder

        yield mount


@pytest.fixture
def otlp() -> Iterator[telemetry.OtlpReceiver]:
    with telemetry.OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def hanging_collector() -> Iterator[telemetry.HangingCollector]:
    with telemetry.HangingCollector() as collector:
        yield collector


@pytest.fixture
def prometheus() -> Iterator[Callable[..., servers.Prometheus]]:
    """``prometheus(service, …)`` starts one that scrapes these services every second."""
    with contextlib.ExitStack() as stack:

        def start(*services: Service) -> servers.Prometheus:
            targets = [f"127.0.0.1:{service.metrics_port}" for service in services]
            try:
                return stack.enter_context(servers.prometheus(targets))
            except MissingError as error:
                _missing(error)

        yield start


@contextlib.contextmanager
def _serving(postgres: servers.Postgres, folder: Path) -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:
        started = []

        def start(
            *options: str,
            workers: int = 4,
            otlp: telemetry.OtlpReceiver | telemetry.HangingCollector | None = None,
            ini: str = "production.ini",
            instrument: bool = True,
            scraped: bool = True,
            within: tuple[str, ...] = (),
            env: dict[str, str] | None = None,
            wait: bool = True,
        ) -> Service:
            metrics_port = servers.free_port() if scraped else None
            environ = _environ(postgres.url, metrics_port, otlp, env or {})
            log = folder / f"gunicorn-{len(started)}.log"
            arguments = ["--paste", ini, "-w", str(workers), *options]
            gunicorn = servers.Gunicorn(
                arguments,
                instrument=instrument,
                within=within,
                log=log,
                env=environ,
                cwd=APP,
            )
            stack.enter_context(gunicorn)
            if wait:
                gunicorn.wait_url(f"{gunicorn.url}/api/ping")
            service = Service(gunicorn, gunicorn.url, metrics_port, log, environ)
            started.append(service)
            return service

        yield start


@pytest.fixture
def serve(postgres, tmp_path) -> Iterator[Serve]:
    """``serve(*options, workers=4, otlp=None, ini="production.ini", instrument=True, env={})``.

    Starts gunicorn with *options* and waits until it answers. *otlp* is a receiver (anything with
    an ``endpoint``) for traces, logs and metrics. ``scraped=False`` leaves out the metrics' port;
    ``wait=False`` does not wait. Each worker has four threads, as gunicorn.conf.py says, unless
    *options* say ``--threads``.
    """
    with _serving(postgres, tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def serve_long(postgres, tmp_path_factory) -> Iterator[Serve]:
    """As ``serve``, for what many tests share: it is served until the last one has ended."""
    with _serving(postgres, tmp_path_factory.mktemp("long")) as start:
        yield start


@contextlib.contextmanager
def _serving_alone(postgres: servers.Postgres, folder: Path) -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def start(
            *,
            otlp: telemetry.OtlpReceiver | None = None,
            ini: str = "production.ini",
            instrument: bool = True,
            env: dict[str, str] | None = None,
        ) -> Service:
            port, metrics_port = servers.free_port(), servers.free_port()
            environ = _environ(postgres.url, metrics_port, otlp, env or {})
            text = (APP / ini).read_text().replace("%(here)s", str(APP))
            here = folder / f"alone-{port}.ini"
            here.write_text(text.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
            environ["PYTHONPATH"] = str(APP)
            wrapper = [script("opentelemetry-instrument")] if instrument else []
            log = folder / f"pserve-{port}.log"
            argv = [*wrapper, script("pserve"), str(here)]
            process = stack.enter_context(Process(argv, log=log, env=environ, cwd=APP))
            url = f"http://127.0.0.1:{port}"
            process.wait_url(f"{url}/api/ping")
            return Service(process, url, metrics_port, log, environ)

        yield start


@pytest.fixture
def serve_alone(postgres, tmp_path) -> Iterator[Serve]:
    """``serve_alone(otlp=None, ini="production.ini", instrument=True, env={})``: by waitress."""
    with _serving_alone(postgres, tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def serve_alone_long(postgres, tmp_path_factory) -> Iterator[Serve]:
    """As ``serve_alone``, for what many tests share."""
    with _serving_alone(postgres, tmp_path_factory.mktemp("alone")) as start:
        yield start


def _environ(
    database: str,
    metrics_port: int | None,
    otlp: telemetry.OtlpReceiver | telemetry.HangingCollector | None,
    more: dict[str, str],
) -> dict[str, str]:
    environ = clean_environ(SQLALCHEMY_URL=database, OTEL_SERVICE_NAME="example")
    if metrics_port is not None:
        environ |= {"C2C_PROMETHEUS_PORT": str(metrics_port), "C2C_PROMETHEUS_HOST": "127.0.0.1"}
    if otlp is not None:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = otlp.endpoint
        # Milliseconds; nobody wants to wait for the usual five seconds.
        environ |= {"OTEL_BSP_SCHEDULE_DELAY": "300", "OTEL_BLRP_SCHEDULE_DELAY": "300"}
    return environ | more
