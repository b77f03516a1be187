"""Good and bad times of the example, in which there is something to see on every panel.

``shop`` is the example with all of c2cotel and a pool of two connections, ``small`` one that
counts no more than a few series. Some numbers come from no service of today: see ``statistics``.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import requests

from c2cotel_acceptance import servers, telemetry, traffic
from c2cotel_acceptance.processes import pause
from c2cotel_acceptance.traffic import Call
from c2cotel_acceptance.utils import retry_timeout

SECRET: Final = "correct-horse-battery-staple"
APP: Final = Path(__file__).parents[2] / "app"
INTERVAL: Final = "500ms"
#: What a rate looks at: some scrapes.
WINDOW: Final = "5s"
JOB: Final = "shop"
_OURS: Final = ("C2C_", "OTEL_", "GUNICORN_", "LOG_", "SQLALCHEMY_", "SENTRY_", "GIT_HASH")

_HELLO: Final = Call("/api/hello")
_SAY: Final = Call("/api/hello", "POST", body=b'{"text": "again"}')
_GOOD: Final = (
    _HELLO,
    _SAY,
    Call("/api/search", "POST", body=b'{"text": "again"}'),
    Call("/api/messages"),
    Call("/api/tracking/2"),
    Call("/api/slow?seconds=0.05"),
    Call("/api/ping"),
)
_BAD: Final = (
    *[Call(f"/api/error?kind={kind}") for kind in ("unhandled", "view", "database")],
    *[Call(f"/api/error?kind={kind}") for kind in ("constraint", "call", "http&status=404")],
    Call("/no/such/page"),
)
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

    def send(self, *calls: Call, count: int | None = None) -> traffic.Traffic:
        return traffic.send(self.gunicorn.url, calls, count, concurrency=6)

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
    prometheus: servers.Prometheus
    since: float = field(default_factory=time.time)

    def until(self, expression: str, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """Do *meanwhile* again and again, until *expression* has a value above zero."""

        def seen() -> bool:
            meanwhile()
            return any(value > 0 for _, value in self.prometheus.query(expression))

        try:
            retry_timeout(seen, 20, 0.1)
        except TimeoutError as error:
            raise TimeoutError(f"It does not come to {expression}: {error}") from error

    def until_counted(self, selector: str, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """The same, until *selector* has grown."""
        new = f"({selector} unless {selector} offset {WINDOW})"
        self.until(f"{new} or increase({selector}[{WINDOW}])", meanwhile)


def good_times(scene: Scene) -> None:
    """All that works is used, and telemetry arrives."""
    shop = scene.shop

    def use() -> None:
        assert shop.send(*_GOOD).failed == 0
        assert shop.operate("health_check", max_level=3).ok

    use()
    shop.send(Call("/api/subprocess"))
    for signal_ in ("span", "log", "metric_data_point"):
        scene.until(f"rate(otel_sdk_exporter_{signal_}_exported_total[{WINDOW}])", use)
    scene.until(f"rate({_redis('count')}[{WINDOW}])", use)


def _redis(what: str, *matchers: str) -> str:
    matching = ",".join(('db_system_name="redis"', *matchers))
    return f"db_client_operation_duration_seconds_{what}{{{matching}}}"


def requests_fail(scene: Scene) -> None:
    for metric in ("http_server", "http_client"):
        failed = f'{metric}_request_duration_seconds_count{{error_type!=""}}'
        scene.until_counted(failed, lambda: scene.shop.send(*_BAD))
        scene.until(f"rate({failed}[{WINDOW}])", lambda: scene.shop.send(*_BAD))
    scene.until_counted("c2c_log_dropped_total", lambda: scene.shop.send(_HELLO))
    scene.until_counted("c2c_sentry_lost_total")
    scene.until_counted("c2c_metrics_overflowed_total", lambda: scene.small.send(*_BAD, *_GOOD))


def operators_change_things(scene: Scene) -> None:
    shop = scene.shop
    assert shop.operate("logging/level", name="c2cotel_app", level="DEBUG").ok
    assert shop.operate("sql_profiler", enable="1").ok
    assert shop.operate("db/maintenance", readonly="true").ok
    scene.until(
        f"rate(c2c_db_maintenance_refusals_total[{WINDOW}])", lambda: shop.send(_SAY, _HELLO)
    )
    scene.until("c2c_switch_active > 0")
    assert shop.operate("db/maintenance", readonly="false").ok
    scene.until("c2c_db_maintenance_readonly == bool 0")


def checks_fail(scene: Scene) -> None:
    with psycopg.connect(scene.pair.primary.url.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '000000000000'")
    scene.pair.wait()
    (scene.folder / "not_happy").touch()
    assert scene.shop.operate("health_check", max_level=3).status_code == 500
    scene.until("sum(1 - c2c_health_check_status) >= 2")


def the_pool_is_too_small(scene: Scene) -> None:
    """Somebody holds a lock; who writes waits, until the pool has no connection left."""
    count = "db_client_connection_pending_requests"
    with psycopg.connect(scene.pair.primary.url.replace("+psycopg", "")) as connection:
        connection.execute("LOCK TABLE message IN EXCLUSIVE MODE")
        sending = threading.Thread(target=scene.shop.send, args=[_SAY], kwargs={"count": 12})
        sending.start()
        scene.until(f"max_over_time({count}[{WINDOW}])")
        scene.until_counted("db_client_connection_timeouts_total")
        connection.rollback()
    sending.join()


def processes_suffer(scene: Scene) -> None:
    """One does not answer the others, and is killed."""
    stuck = scene.shop.gunicorn.workers()[0]
    pause(stuck)
    scene.until_counted(
        "c2c_broadcast_silent_total", lambda: scene.shop.operate("sql_profiler", details="1")
    )
    os.kill(stuck, signal.SIGKILL)
    scene.until_counted('c2c_gunicorn_worker_exits_total{c2c_gunicorn_exit_reason=~"signal.*"}')
    retry_timeout(lambda: len(scene.shop.gunicorn.workers()) == _WORKERS, 10, 0.05)


def telemetry_is_lost(scene: Scene) -> None:
    """The collector is slow, and then refuses all."""
    sender = lambda: scene.shop.send(_HELLO, count=60)  # noqa: E731 - what is done twice
    scene.collector.delay = 2.0
    full = 'error_type="queue_full"'
    for kind in ("span", "log"):
        scene.until_counted(f"otel_sdk_processor_{kind}_processed_total{{{full}}}", sender)
    scene.collector.delay, scene.collector.status = 0.0, 400
    for kind in ("span", "log", "metric_data_point"):
        lost = f'otel_sdk_exporter_{kind}_exported_total{{error_type!=""}}'
        scene.until_counted(lost, sender)


def servers_die(scene: Scene) -> None:
    """The replica, and then Redis."""
    scene.pair.stop_standby()
    scene.until_counted("c2c_db_fallbacks_total", lambda: scene.shop.send(_HELLO, count=4))
    scene.valkey.kill()
    scene.until_counted(
        _redis("count", 'error_type!=""'), lambda: scene.shop.operate("health_check", max_level=3)
    )


_WORKERS: Final = 2


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


def scene(stack: contextlib.ExitStack, folder: Path, statistics: str) -> Scene:
    """All of it, running; *statistics* is where another exporter answers.

    Raises:
        MissingError: a program is not there.
    """
    pair, valkey = stack.enter_context(_pair()), stack.enter_context(servers.valkey())
    collector = stack.enter_context(telemetry.OtlpReceiver())
    nobody = stack.enter_context(servers.closed_port())
    shop = _service(
        stack,
        folder / "shop",
        _including(folder),
        _WORKERS,
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
    targets = {JOB: [shop.metrics, small.metrics], "stats-db": [statistics]}
    prometheus = stack.enter_context(servers.prometheus(targets, scrape_interval=INTERVAL))
    return Scene(shop, small, pair, valkey, collector, folder, prometheus)


BAD_TIMES: Final = (
    requests_fail,
    operators_change_things,
    checks_fail,
    the_pool_is_too_small,
    processes_suffer,
    telemetry_is_lost,
    servers_die,
)
