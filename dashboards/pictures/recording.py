# ruff: noqa: INP001, T201 - a script, which says what it does
"""Some minutes of the example application, as Prometheus has seen them.

The servers, the good and the bad times are those of ``acceptance/tests/dashboards``, where every
panel is proven to have data; here there is traffic like that of a service all the while, and most
of what goes wrong is mended again.
"""

import contextlib
import json
import math
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / path) for path in ("acceptance", "acceptance/tests", "dashboards/src")]

from c2cotel_acceptance import servers  # noqa: E402 - found only now
from c2cotel_acceptance.processes import Process  # noqa: E402
from c2cotel_acceptance.traffic import Call, send  # noqa: E402
from dashboards import example, times  # noqa: E402
from dashboards import scene as places  # noqa: E402

QUIET: Final = 45.0
"""Seconds between what goes wrong."""
_BEFORE: Final = 90.0
_BEGINNING: Final = 15.0
_PLACE: Final = Path(tempfile.gettempdir()) / "example"
_MIX: Final = (
    (30, Call("/api/hello")),
    (16, Call("/api/messages")),
    (12, Call("/api/hello", "POST", body=b'{"text": "again"}')),
    (12, Call("/api/search", "POST", body=b'{"text": "again"}')),
    (12, Call("/api/ping")),
    (6, Call("/api/slow?seconds=0.2")),
    (8, Call("/api/tracking/2")),
    (2, Call("/api/error?kind=http&status=404")),
    (1, Call("/no/such/page")),
)
_TICK: Final = 0.5
_STATISTICS_EVERY: Final = 15.0
_CHECKS_EVERY: Final = 5.0


def record(folder: Path) -> None:
    """Let it happen; what Prometheus knows afterwards is in *folder*.

    Raises:
        MissingError: A program is not there.
    """
    with contextlib.ExitStack() as stack:
        scene = places.begin(stack, _place(stack))
        began = time.time()
        with _usual_traffic(scene):
            _wait(_BEFORE)
            for happens in _HAPPENINGS:
                print(f"{time.time() - began:4.0f} s  {_name(happens)}", flush=True)
                happens(scene)
                _wait(QUIET)
            _wait(QUIET)
        ended = time.time()
        # Ended in good order, it has written everything.
        scene.prometheus.process.stop()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(scene.prometheus.log.parent / "data", folder / "data")
    (folder / "times.json").write_text(json.dumps({"from": began + _BEGINNING, "to": ended}))


def _place(stack: contextlib.ExitStack) -> Path:
    """A copy of the example: where it lies is to be read in the pictures."""
    shutil.copytree(example.APP, _PLACE / "app", ignore=shutil.ignore_patterns("__pycache__"))
    stack.callback(shutil.rmtree, _PLACE)
    example.APP = _PLACE / "app"
    return _PLACE


@contextlib.contextmanager
def recorded(folder: Path) -> Iterator[tuple[str, float, float]]:
    """A Prometheus that knows it, and from when to when it was."""
    when = json.loads((folder / "times.json").read_text())
    port = servers.free_port()
    (folder / "prometheus.yml").write_text("{}")
    process = Process(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=10y",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        log=folder / "log",
    )
    with process:
        process.wait_url(f"http://127.0.0.1:{port}/-/ready")
        yield f"http://127.0.0.1:{port}", when["from"], when["to"]


def _replica_down(scene: places.Scene) -> None:
    with scene.pair.without_standby():
        counted = "c2c_db_fallbacks_total"
        scene.until_counted(counted, lambda: scene.shop.send(Call("/api/hello"), count=4))


def _redis_down(scene: places.Scene) -> None:
    scene.valkey.kill()
    failed = 'db_client_operation_duration_seconds_count{db_system_name="redis",error_type!=""}'
    scene.until_counted(failed, lambda: scene.shop.operate("health_check", max_level=3))
    _wait(QUIET / 2)
    scene.valkey.restart()


def _telemetry_lost(scene: places.Scene) -> None:
    times.telemetry_is_lost(scene)
    _wait(QUIET / 4)
    scene.collector.status = 200


_HAPPENINGS: Final[tuple[Callable[[places.Scene], None], ...]] = (
    times.good_times,
    times.requests_fail,
    times.the_pool_is_too_small,
    _replica_down,
    times.processes_suffer,
    _telemetry_lost,
    _redis_down,
    times.operators_change_things,
    times.checks_fail,
)


def _name(happens: Callable[[places.Scene], None]) -> str:
    return happens.__name__.strip("_").replace("_", " ")


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


@contextlib.contextmanager
def _usual_traffic(scene: places.Scene) -> Iterator[None]:
    over = threading.Event()
    chance = random.Random(7)  # noqa: S311 - not for secrets

    def use(service: places.Service, share: float) -> None:
        began = time.monotonic()
        weights, calls = zip(*_MIX, strict=True)
        while not over.wait(_TICK):
            wave = 1 + 0.4 * math.sin((time.monotonic() - began) / 25)
            count = round(share * wave * chance.uniform(0.8, 1.2) * _TICK)
            sent = chance.choices(calls, weights, k=count)
            send(service.gunicorn.url, sent, concurrency=3, timeout=10, until=over)

    def every(seconds: float, what: Callable[[], object]) -> None:
        while not over.wait(seconds):
            with contextlib.suppress(OSError):
                what()

    threads = [
        threading.Thread(target=use, args=[scene.shop, 16.0]),
        threading.Thread(target=use, args=[scene.small, 4.0]),
        threading.Thread(target=every, args=[_STATISTICS_EVERY, scene.statistics.run]),
        threading.Thread(
            target=every,
            args=[_CHECKS_EVERY, lambda: scene.shop.operate("health_check", max_level=3)],
        ),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
