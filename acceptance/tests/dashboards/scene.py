"""The example twice, with all that it needs, and a Prometheus that looks at it.

``shop`` has all of c2cotel and a pool of two connections; ``small`` counts no more than a few
series. What ``c2cotel stats-db`` tells of two databases is there, too: see ``statistics``.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from c2cotel_acceptance import servers, telemetry
from c2cotel_acceptance.utils import retry_timeout

from . import example
from .example import SECRET, Service
from .statistics import Runs

INTERVAL: Final = "1s"
#: What a rate looks at: some scrapes.
WINDOW: Final = "5s"
JOB: Final = "shop"

WORKERS: Final = 2
#: The pool is small, and some of its log leads nowhere.
_CHANGES: Final = {
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


def begin(stack: contextlib.ExitStack, folder: Path) -> Scene:
    """All of it, running.

    Raises:
        MissingError: a program is not there.
    """
    pair, valkey = stack.enter_context(example.pair()), stack.enter_context(servers.valkey())
    collector = stack.enter_context(telemetry.OtlpReceiver())
    statistics = stack.enter_context(Runs(pair.primary.url))
    nobody = stack.enter_context(servers.closed_port())
    shop = example.service(
        stack,
        folder / "shop",
        example.including(folder, _CHANGES, _NOWHERE.format(folder / "no-socket")),
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
    small = example.service(
        stack,
        folder / "small",
        example.APP / "production.ini",
        1,
        SQLALCHEMY_URL=pair.primary.url,
        C2C_METRICS_MAX_SERIES="8",
    )
    for each in (shop, small):
        each.gunicorn.wait_url(f"{each.gunicorn.url}/api/ping")
    targets = {JOB: [shop.metrics, small.metrics], "stats-db": statistics.addresses}
    prometheus = stack.enter_context(servers.prometheus(targets, scrape_interval=INTERVAL))
    return Scene(shop, small, pair, valkey, collector, folder, statistics, prometheus)
