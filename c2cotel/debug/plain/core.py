"""The clock, and what headers may show."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from c2cotel.debug.texts import masked, names_secret
from c2cotel_instrumentation.redaction import REDACTED

LONGEST_SLEEP: Final = 300
"""Seconds; no load balancer waits longer by default."""


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def clock() -> dict[str, Any]:
    """One moment, in all the ways that people compare it in."""
    epoch = time.time()
    utc = datetime.fromtimestamp(epoch, UTC)
    local = utc.astimezone()
    return {
        "local_time": str(local.replace(tzinfo=None)),
        "gmt_time": str(utc.replace(tzinfo=None)),
        "epoch": epoch,
        "timezone": local.tzname(),
    }


def shown_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """*headers* without what would let somebody in."""
    return {name: REDACTED if names_secret(name) else masked(value) for name, value in headers}
