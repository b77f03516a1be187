"""Every alert fires in a real Prometheus, once, when what it is about happens to the example.

The rules are those that are shipped, exported with a prefix and thresholds of this service, and
with windows of some seconds. All that can go wrong goes wrong in one run, which the fixture
``scene`` makes; the tests look at what has fired in it.
"""

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
import yaml

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError, script
from c2cotel_acceptance.traffic import Call
from c2cotel_acceptance.utils import retry_timeout

from . import example
from .example import SECRET, Service

# One run, which the first test waits for.
pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "dashboards/rules/c2cotel-alerts.yaml"
RECORDING = "c2cotel-recording.yaml"
PREFIX = "shop"
#: What would take too long, or would be met by chance on a busy machine.
THRESHOLDS = {"latency": "0.5", "latency_requests": "12", "pool_wait": "0.4"}
WINDOW = "10s"
POOL = {"c2c_engine": "sqlalchemy"}
SMALL_POOL = {
    "\nsqlalchemy.url =\n": (
        "\nsqlalchemy.url =\nsqlalchemy.pool_size = 1\nsqlalchemy.max_overflow = 0\n"
        "sqlalchemy.pool_timeout = 3\n"
    )
}

HELLO = Call("/api/hello", route="/api/hello")
SAY = Call("/api/hello", "POST", "/api/hello", b'{"text": "again"}')
PING = Call("/api/ping", route="/api/ping")
ERROR = Call("/api/error?kind=unhandled", route="/api/error")
SLOW = Call("/api/slow?seconds=1", route="/api/slow")


def lowered(folder: Path) -> dict[str, str]:
    """The rule files, as they are exported for a service, and so that seconds are enough."""
    more = [f"--threshold={name}={value}" for name, value in THRESHOLDS.items()]
    argv = [script("c2cotel"), "dashboards", "export", str(folder), "rules", "--prefix", PREFIX]
    subprocess.run([*argv, *more], check=True, capture_output=True)
    recording, alerts = (folder / "rules" / name for name in (RECORDING, ALERTS.name))
    # Not the long memory for what is down.
    text = re.sub(r"\[\d+m\]", f"[{WINDOW}]", alerts.read_text())
    recorded = recording.read_text().replace("[15m:1m]) >= 12", f"[{WINDOW}:1s]) >= 5")
    return {
        recording.name: re.sub(r"\[\d+[mhd]\]", f"[{WINDOW}]", recorded),
        alerts.name: re.sub(r"(\n +for: )\S+", r"\g<1>1s", text),
    }


@dataclass
class Scene:
    """``shop`` and ``another`` are instances of one job, ``steady`` is alone in its own."""

    shop: Service
    another: Service
    steady: Service
    pair: servers.Replicated
    folder: Path
    prometheus: servers.Prometheus
    good: list[dict[str, str]] = field(default_factory=list)

    def fires(self, alert: str) -> bool:
        return any(labels["alertname"] == alert for labels in self.prometheus.firing())

    def until(self, alert: str, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """Wait until *alert* fires, while *meanwhile* happens again and again."""

        def look() -> bool:
            meanwhile()
            return self.fires(alert)

        try:
            retry_timeout(look, 30, 0.1)
        except TimeoutError as error:
            now = {labels["alertname"] for labels in self.prometheus.firing()}
            raise TimeoutError(f"{alert} does not fire, these do: {sorted(now)}") from error


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Meanwhile who writes a message waits."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("LOCK TABLE message IN EXCLUSIVE MODE")
        yield
        connection.rollback()


def waiting(scene: Scene, seconds: float) -> None:
    """Four threads of each worker, one connection, and that one is held for *seconds*."""
    eight = {"count": 8, "concurrency": 8}
    with locked(scene.pair.primary.url):
        sending = threading.Thread(target=scene.shop.send, args=(SAY,), kwargs=eight)
        sending.start()
        threading.Event().wait(seconds)
    sending.join()


def requests_fail(scene: Scene) -> None:
    # 2 % of them, which is little: too much for the budget only.
    few = (*[PING] * 49, ERROR)
    scene.until("C2cotelErrorBudget", lambda: scene.steady.send(*few, count=150, concurrency=2))
    scene.until("C2cotelErrorRatio", lambda: scene.shop.send(ERROR, HELLO, count=10))


def requests_are_slow(scene: Scene) -> None:
    scene.until("C2cotelLatency", lambda: scene.shop.send(SLOW, count=16, concurrency=8))


def the_pool_is_too_small(scene: Scene) -> None:
    # pool_timeout is 3 s.
    scene.until("C2cotelPoolWaiting", lambda: waiting(scene, 1.5))
    scene.until("C2cotelPoolExhausted", lambda: waiting(scene, 4))


def failing(scene: Scene) -> set[str]:
    """The first words of the names of the checks that fail."""
    answer = scene.shop.operate("health_check", max_level=3)
    return {name.partition("_")[0] for name in answer.json()["failures"]}


def checks_fail(scene: Scene) -> None:
    with psycopg.connect(scene.pair.primary.url.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '000000000000'")
    scene.pair.wait()
    (scene.folder / "not_happy").touch()
    # On a busy machine others are late, and fail: until they do not.
    retry_timeout(lambda: failing(scene) == {"custom", "alembic"}, 30, 0.1)
    scene.until("C2cotelHealthCheckFailing")
    scene.until("C2cotelAlembicMismatch")


def operators_forget(scene: Scene) -> None:
    assert scene.shop.operate("logging/level", name="c2cotel_app", level="DEBUG").ok
    scene.until("C2cotelDebugLeftOn")


def telemetry_is_lost(scene: Scene) -> None:
    scene.until("C2cotelTelemetryDropped", lambda: scene.shop.send(HELLO, count=2))


def the_replica_is_killed(scene: Scene) -> None:
    scene.pair.stop_standby()
    scene.until("C2cotelReplicaFallback", lambda: scene.shop.send(HELLO, count=2))
    # Without a replica, and so at the end.
    assert scene.shop.operate("db/maintenance", readonly="true").ok
    scene.until("C2cotelReadonlyLeftOn")


def workers_are_killed(scene: Scene) -> None:
    killed: set[int] = set()
    while len(killed) < 4:
        pid = retry_timeout(lambda: set(scene.steady.gunicorn.workers()) - killed, 10, 0.05).pop()
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    scene.until("C2cotelWorkerRestarts")


def services_end(scene: Scene) -> None:
    scene.another.gunicorn.stop()
    scene.until("C2cotelInstanceDown")
    scene.steady.gunicorn.stop()
    scene.until("C2cotelServiceDown")


def _scene(stack: contextlib.ExitStack, folder: Path) -> Scene:
    pair = stack.enter_context(example.pair())
    # Nobody listens there, and to find out takes no time.
    port = stack.enter_context(servers.closed_port())
    collector = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "C2C_EXIT_TIMEOUT": "0.5",
    }
    primary = {"SQLALCHEMY_URL": pair.primary.url, "C2C_PROMETHEUS_PREFIX": PREFIX}
    replica = {"SQLALCHEMY_SLAVE_URL": pair.standby.url, "C2C_SECRET": SECRET}
    # In two workers: nothing is to fire twice for that.
    shop = example.service(
        stack,
        folder / "shop",
        example.including(folder, SMALL_POOL),
        2,
        **primary,
        **replica,
        **collector,
    )
    plain = example.APP / "production.ini"
    another = example.service(stack, folder / "another", plain, 1, **primary)
    small = {"C2C_METRICS_MAX_SERIES": "8"}
    steady = example.service(stack, folder / "steady", plain, 1, **primary, **small)
    for each in (shop, another, steady):
        each.gunicorn.wait_url(f"{each.gunicorn.url}/api/ping")
    targets = {"shop": [shop.metrics, another.metrics], "steady": [steady.metrics]}
    prometheus = stack.enter_context(
        servers.prometheus(targets, scrape_interval="500ms", rules=lowered(folder / "export"))
    )
    return Scene(shop, another, steady, pair, folder, prometheus)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[Scene]:
    """In which everything has gone wrong, after some good time."""
    with contextlib.ExitStack() as stack:
        try:
            scene = _scene(stack, tmp_path_factory.mktemp("alerts"))
        except MissingError as error:
            pytest.skip(str(error))
        # Long enough to fire, if anything did; what is always so is not to be seen here.
        for _ in range(4):
            assert scene.shop.send(HELLO, PING, count=12).failed == 0
            threading.Event().wait(0.5)
        scene.good = scene.prometheus.firing("10m")
        scene.until("C2cotelStoreOverflow")
        for happens in (
            requests_fail,
            checks_fail,
            requests_are_slow,
            the_pool_is_too_small,
            operators_forget,
            telemetry_is_lost,
            the_replica_is_killed,
            workers_are_killed,
            services_end,
        ):
            happens(scene)
        yield scene


@pytest.fixture(scope="module")
def fired(scene) -> dict[str, list[dict[str, str]]]:
    """The labels of all that has fired in that time, by alert."""
    found: dict[str, list[dict[str, str]]] = {}
    for labels in scene.prometheus.firing("10m"):
        found.setdefault(labels.pop("alertname"), []).append(labels)
    return found


def _shipped() -> dict[str, str]:
    """The severity of each alert."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return {
        rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"]
    }


def test_in_good_times_nothing_fires_but_what_is_wrong_from_the_start(scene):
    assert {labels["alertname"] for labels in scene.good} <= {
        "C2cotelStoreOverflow",
        "C2cotelTelemetryDropped",
    }


def test_each_alert_fires_once_for_what_it_is_about(scene, fired):
    pool = {**POOL, "db_client_connection_pool_name": f"127.0.0.1:{scene.pair.primary.port}/app"}
    about = {
        "C2cotelErrorRatio": {"job": "shop"},
        "C2cotelErrorBudget": {"job": "steady"},
        "C2cotelLatency": {"job": "shop"},
        "C2cotelPoolExhausted": {"job": "shop", **pool},
        "C2cotelPoolWaiting": {"job": "shop", **pool},
        "C2cotelReplicaFallback": {"job": "shop", "c2c_engine": "sqlalchemy_slave"},
        "C2cotelReadonlyLeftOn": {"job": "shop"},
        "C2cotelDebugLeftOn": {"job": "shop"},
        "C2cotelWorkerRestarts": {"job": "steady", "instance": scene.steady.metrics},
        "C2cotelStoreOverflow": {"job": "steady"},
        "C2cotelServiceDown": {"job": "steady"},
        "C2cotelInstanceDown": {"job": "shop", "instance": scene.another.metrics},
    }
    severities = _shipped()
    expected = {
        alert: [{**labels, "severity": severities[alert]}] for alert, labels in about.items()
    }
    (alembic,) = fired["C2cotelAlembicMismatch"]
    assert alembic.pop("c2c_check_name").startswith("alembic_")
    assert alembic == {"job": "shop", "severity": "warning"}
    # Others may have been late.
    failed = {
        labels["c2c_check_name"]: labels["job"] for labels in fired["C2cotelHealthCheckFailing"]
    }
    assert failed["custom"] == "shop"
    lost = fired["C2cotelTelemetryDropped"]
    assert {labels["job"] for labels in lost} == {"shop"}
    assert "spans" in {labels["telemetry"] for labels in lost}
    others = {"C2cotelAlembicMismatch", "C2cotelHealthCheckFailing", "C2cotelTelemetryDropped"}
    assert {alert: labels for alert, labels in fired.items() if alert not in others} == expected
    assert set(fired) == set(severities)


def test_prometheus_has_understood_all_of_it(scene):
    answer = requests.get(f"{scene.prometheus.url}/api/v1/rules", timeout=10).json()
    rules = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
