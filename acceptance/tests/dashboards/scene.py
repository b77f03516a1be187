"""The example twice, with all that it needs, and a Prometheus that looks at it.

``shop`` has all of c2cotel and a pool of two connections; ``small`` counts no more than a few
series. Some numbers come from no service of today: see ``statistics``.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests

from c2cotel_acceptance import servers, telemetry, traffic
from c2cotel_acceptance.traffic import Call
from c2cotel_acceptance.utils import retry_timeout

from .statistics import Runs

SECRET: Final = "correct-horse-battery-staple"
APP: Final = Path(__file__).parents[2] / "app"
INTERVAL: Final = "1s"
#: What a rate looks at: some scrapes.
WINDOW: Final = "5s"
JOB: Final = "shop"
_OURS: Final = ("C2C_", "OTEL_", "GUNICORN_", "LOG_", "SQLALCHEMY_", "SENTRY_", "GIT_HASH")

WORKERS: Final = 2
_OTHER_HANDLERS: Final = {
    "keys = console\n\n[formatters]": "keys = console, nowhere\n\n[formatters]",
    "level = INFO\nhandlers =\nqualname = c2cotel_app": (
        "level = INFO\nhandlers = nowhere\nqualname = c2cotel_app"
    ),
    "\nsqlalchemy.url =\n": (
        "\nsqlalchemy.url =\nsqlalchemy.pool_size = 2\nsqlalchemy.max_overflow = 0\n"
        "sqlalchemy.pool_timeout = 1\n"
    ),
}
# A way that leads nowhere: each packet is a line that is dropped.
_NOWHERE: Final = """
[handler_nowhere]
class = c2cotel.pyramid_logging.PyramidCeeSysLogHandler
kwargs = {{'address': '{}'}}
"""


@dataclass
class Service:
    """The example, and its operator."""

    gunicorn: servers.Gunicorn
    metrics: str

    def send(self, *calls: Call, count: int | None = None, **how: Any) -> traffic.Traffic:
        return traffic.send(self.gunicorn.url, calls, count, **{"concurrency": 6, **how})

    def operate(self, view: str, **params: Any) -> requests.Response:
        headers = {"X-API-Key": SECRET}
        return requests.get(
            f"{self.gunicorn.url}/c2c/{view}", params=params, headers=headers, timeout=30
        )

    def scrape(self) -> str:
        return requests.get(f"http://{self.metrics}/metrics", timeout=10).text


@dataclass
class Scene:
    """What there is; *since* when it has been looked at, in seconds since 1970."""

    shop: Service
    small: Service
    pair: servers.Replicated
    valkey: servers.Valkey
    collector: telemetry.OtlpReceiver
    folder: Path
    statistics: Runs
    prometheus: servers.Prometheus
    since: float = field(default_factory=time.time)

    def until(self, expression: str, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """Do *meanwhile* again and again, until *expression* has a value above zero."""

        def seen() -> bool:
            meanwhile()
            return any(value > 0 for _, value in self.prometheus.query(expression))

        try:
            retry_timeout(seen, 30, 0.1)
        except TimeoutError as error:
            up = {labels["instance"]: value for labels, value in self.prometheus.query("up")}
            raise TimeoutError(f"It does not come to {expression}: {error} ({up=})") from error

    def until_counted(self, selector: str, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """The same, until *selector* has grown."""
        new = f"({selector} unless {selector} offset {WINDOW})"
        self.until(f"{new} or increase({selector}[{WINDOW}])", meanwhile)


def _environ(folder: Path, port: int, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    return {
        **kept,
        "PYTHONPATH": str(APP),
        "C2C_RUN_DIR": str(folder),
        "C2C_PROMETHEUS_HOST": "127.0.0.1",
        "C2C_PROMETHEUS_PORT": str(port),
        "OTEL_SERVICE_NAME": "example",
        **more,
    }


def _service(
    stack: contextlib.ExitStack, folder: Path, ini: Path, workers: int, **env: str
) -> Service:
    """Started, but not waited for."""
    port = servers.free_port()
    folder.mkdir()
    gunicorn = servers.Gunicorn(
        ["--paste", str(ini), "-w", str(workers)],
        log=folder / "gunicorn.log",
        env=_environ(folder, port, **env),
        cwd=APP,
    )
    return Service(stack.enter_context(gunicorn), f"127.0.0.1:{port}")


def _including(folder: Path) -> Path:
    """The ini file with c2cotel; its pool is small, and some of its log leads nowhere."""
    text = (APP / "production-include.ini").read_text()
    for old, new in _OTHER_HANDLERS.items():
        assert old in text
        text = text.replace(old, new)
    ini = folder / "including.ini"
    ini.write_text(text + _NOWHERE.format(folder / "no-socket"))
    return ini


@contextlib.contextmanager
def _pair() -> Iterator[servers.Replicated]:
    with servers.replicated() as pair:
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=APP,
            env={**os.environ, "SQLALCHEMY_URL": pair.primary.url},
            check=True,
        )
        pair.wait()
        yield pair


def begin(stack: contextlib.ExitStack, folder: Path) -> Scene:
    """All of it, running.

    Raises:
        MissingError: a program is not there.
    """
    pair, valkey = stack.enter_context(_pair()), stack.enter_context(servers.valkey())
    collector = stack.enter_context(telemetry.OtlpReceiver())
    statistics = stack.enter_context(Runs())
    nobody = stack.enter_context(servers.closed_port())
    shop = _service(
        stack,
        folder / "shop",
        _including(folder),
        WORKERS,
        SQLALCHEMY_URL=pair.primary.url,
        SQLALCHEMY_SLAVE_URL=pair.standby.url,
        C2C_REDIS_URL=valkey.url,
        C2C_SECRET=SECRET,
        GIT_HASH="0123abcd",
        SENTRY_URL=f"http://key@127.0.0.1:{nobody}/1",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_BSP_SCHEDULE_DELAY="200",
        OTEL_BLRP_SCHEDULE_DELAY="200",
        OTEL_BSP_MAX_QUEUE_SIZE="64",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="32",
        OTEL_BLRP_MAX_QUEUE_SIZE="32",
        OTEL_BLRP_MAX_EXPORT_BATCH_SIZE="16",
        OTEL_METRIC_EXPORT_INTERVAL="500",
    )
    small = _service(
        stack,
        folder / "small",
        APP / "production.ini",
        1,
        SQLALCHEMY_URL=pair.primary.url,
        C2C_METRICS_MAX_SERIES="8",
    )
    for each in (shop, small):
        each.gunicorn.wait_url(f"{each.gunicorn.url}/api/ping")
    targets = {JOB: [shop.metrics, small.metrics], "stats-db": [statistics.address]}
    prometheus = stack.enter_context(servers.prometheus(targets, scrape_interval=INTERVAL))
    return Scene(shop, small, pair, valkey, collector, folder, statistics, prometheus)
