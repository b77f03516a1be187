"""The example application while it runs for ``c2cotel demo``."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

    from c2cotel_acceptance.servers import Gunicorn, Prometheus
    from c2cotel_acceptance.telemetry import OtlpReceiver

DURATION: Final = "http_server_request_duration_seconds_count"
"""How many requests were answered, in a scrape."""


@dataclass(frozen=True)
class Demo:
    """What has been started; progress is told to *talk*."""

    gunicorn: "Gunicorn"
    receiver: "OtlpReceiver"
    prometheus: "Prometheus | None"
    metrics_url: str
    talk: "Console"


@contextlib.contextmanager
def step(talk: "Console", what: str) -> Iterator[None]:
    """Show that *what* is starting, then how long it took."""
    began = time.monotonic()
    with talk.status(f"{what} …"):
        yield
    talk.print(f"[green]✓[/] {what} [dim]{time.monotonic() - began:.1f} s[/]")
