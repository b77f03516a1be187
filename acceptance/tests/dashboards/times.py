"""Good and bad times of the example, after which there is something to see on every panel."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import psycopg

from c2cotel_acceptance.processes import pause
from c2cotel_acceptance.traffic import Call
from c2cotel_acceptance.utils import retry_timeout

from .scene import WINDOW, WORKERS, Scene

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


def good_times(scene: Scene) -> None:
    """All that works is used, and telemetry arrives."""
    shop = scene.shop

    def use() -> None:
        assert shop.send(*_GOOD).failed == 0
        assert shop.operate("health_check", max_level=3).ok

    tables_are_counted(scene)
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
    enough = threading.Event()
    with (
        psycopg.connect(scene.pair.primary.url.replace("+psycopg", "")) as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        connection.execute("LOCK TABLE message IN EXCLUSIVE MODE")
        # All the while, as workers look at their pools every few seconds.
        sending = pool.submit(scene.shop.send, _SAY, count=1000, concurrency=10, until=enough)
        try:
            scene.until(f"max_over_time({count}[{WINDOW}])")
            scene.until_counted("db_client_connection_timeouts_total")
        finally:
            enough.set()
            connection.rollback()
        sending.result()


def processes_suffer(scene: Scene) -> None:
    """One does not answer the others, and is killed."""
    stuck = scene.shop.gunicorn.workers()[0]
    pause(stuck)
    scene.until_counted(
        "c2c_broadcast_silent_total", lambda: scene.shop.operate("sql_profiler", details="1")
    )
    os.kill(stuck, signal.SIGKILL)
    scene.until_counted('c2c_gunicorn_worker_exits_total{c2c_gunicorn_exit_reason=~"signal.*"}')
    retry_timeout(lambda: len(scene.shop.gunicorn.workers()) == WORKERS, 10, 0.05)


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


def tables_are_counted(scene: Scene) -> None:
    """By the command of the statistics: again, if it takes Prometheus too long to read them."""
    told = f"max(last_over_time(c2c_database_statistics_time_seconds[1m])) > {time.time()}"
    scene.until(told, scene.statistics.run)


BAD_TIMES: Final = (
    tables_are_counted,
    requests_fail,
    operators_change_things,
    checks_fail,
    the_pool_is_too_small,
    processes_suffer,
    telemetry_is_lost,
    servers_die,
)
