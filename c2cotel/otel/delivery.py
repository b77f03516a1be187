"""Whether what is exported arrives: said once when it does not, and once when it does again.

An OTLP exporter logs two or three lines for every batch that a dead collector does not take, every
few seconds, in every process. Those are held back; the last one is the reason in ours.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from c2cotel.otel.self_metrics import OTHER

LOGGER = logging.getLogger(__name__)

# Exporters log the one or the other.
_STATUSES: Final[Mapping[object, str]] = {
    key: str(status.value) for status in HTTPStatus for key in (status.value, status.phrase)
}


class Delivery(logging.Filter):
    """The fate of one signal.

    Attributes:
        what: What it is about, ``spans`` for example.
        error_type: What the last failure was, as an attribute of a metric: a status, an exception.
        why: The last thing that the exporter said about a failure.
        ending: The process ends: what is lost is told by :mod:`c2cotel.otel.exit`.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.forget()

    def forget(self) -> None:
        """In a forked child: nothing has been tried yet."""
        self._thread: int | None = None
        self._failing = False
        self.why = ""
        self.error_type = OTHER
        self.ending = False

    def overhear(self, exporter: Any) -> None:
        """Listen to what the classes of *exporter* log, and to what its client is answered."""
        for kind in type(exporter).__mro__:
            if kind.__module__.startswith("opentelemetry.exporter."):
                filters = logging.getLogger(kind.__module__).filters
                # First: the SDK has one that drops what has been said in the last seconds.
                if self not in filters:
                    filters.insert(0, self)
        client = getattr(exporter, "_client", None)
        send = getattr(client, "export", None)
        if client is None or send is None:
            return

        # What an exporter that has no time to try again logs is not why.
        def heard(data: bytes) -> Any:
            result = send(data)
            answered = getattr(result, "status_code", None), getattr(result, "error", None)
            self.error_type = _error_type(answered) or self.error_type
            return result

        client.export = heard

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep back what is logged by an attempt of ours; others may use the same exporter."""
        if record.thread != self._thread:
            return True
        if record.levelno >= logging.WARNING:
            self.why = record.getMessage()
            self.error_type = _error_type(record.args) or self.error_type
        return False

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one export."""
        self._thread = threading.get_ident()
        self.error_type = OTHER
        try:
            yield
        finally:
            self._thread = None

    def tell(self, *, delivered: bool) -> None:
        """What became of it; logged if it is news."""
        if delivered and self._failing:
            LOGGER.warning("The %s of this process are delivered again.", self.what)
        elif not delivered and not self._failing and not self.ending:
            LOGGER.warning(
                "The %s of this process are not delivered: %s Trying again with each batch; "
                "said once until it works.",
                self.what,
                self.why or "the exporter does not say why.",
            )
        self._failing = not delivered


def _error_type(said: object) -> str:
    """The status or the exception among what an exporter has logged; empty if there is none."""
    for value in said if isinstance(said, tuple) else ():
        if isinstance(value, Exception):
            return type(value).__qualname__
        if isinstance(value, int | str) and value in _STATUSES:
            return _STATUSES[value]
    return ""
