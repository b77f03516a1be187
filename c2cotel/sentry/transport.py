"""The way to Sentry: in a thread of its own, never instrumented, and what is lost is said once."""

import logging
from typing import Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.metrics import get_meter
from sentry_sdk.transport import HttpTransport

from c2cotel.forking import FirstTime

LOGGER = logging.getLogger(__name__)

_WHY: Final = {
    "network": "Sentry cannot be reached",
    "full_queue": "Sentry takes them slower than they come",
    "self_rate_limits": "Sentry has asked for fewer",
    "status_429": "Sentry has asked for fewer",
    "status_413": "it is too large for Sentry",
    "status_401": "Sentry does not know the key of SENTRY_URL",
    "status_403": "Sentry does not know the key of SENTRY_URL",
}


class LoggedTransport(HttpTransport):
    """Counts as ``c2c.sentry.lost`` {event}, by ``c2c.sentry.reason``, what Sentry did not get."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        # The three retries of each event that is lost are not worth three lines.
        logging.getLogger("urllib3.connectionpool").addFilter(_is_of_others)
        self._first_time = FirstTime()
        self._said: set[str] = set()
        self._lost = get_meter("c2cotel").create_counter(
            "c2c.sentry.lost",
            unit="{event}",
            description="Number of envelopes that Sentry did not get.",
        )

    def _send_envelope(self, envelope: Any) -> None:
        # Nobody wants a span of it: as a transaction it would be sent, which makes another one.
        with suppress_instrumentation():
            self._first_time.run(lambda: super(LoggedTransport, self)._send_envelope(envelope))

    def on_dropped_event(self, reason: str, /) -> None:
        """The SDK's hook, called in its thread."""
        self._lost.add(1, {"c2c.sentry.reason": reason})
        if reason not in self._said:
            self._said.add(reason)
            LOGGER.warning(
                "An event for Sentry is lost: %s. Further ones are counted, not logged.",
                _WHY.get(reason, f"it was refused ({reason})"),
            )


def _is_of_others(record: logging.LogRecord) -> bool:
    return not (record.threadName or "").startswith("sentry-sdk.")
