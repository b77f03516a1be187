"""OpenTelemetry's spans as Sentry's transactions: the same ids, nothing is measured twice.

A transaction is the first span of a trace in this process, with those below it that have ended
before it. Of every trace either all services send their part or none, if they have the same share.

Source: https://develop.sentry.dev/sdk/data-model/event-payloads/transaction/.
"""

import logging
import os
import threading
from typing import Any, Final, cast

import sentry_sdk
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from c2cotel_instrumentation.errors import Complaint

LOGGER = logging.getLogger(__name__)

# What Sentry takes in one transaction.
_MOST_SPANS: Final = 1000
# W3C Trace Context wants these bits random, and UUIDs have fixed ones above them.
_RANDOM: Final = 1 << 56
_NANOSECONDS: Final = 1e9
_STATUS: Final = {
    400: "invalid_argument",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    409: "already_exists",
    413: "failed_precondition",
    429: "resource_exhausted",
    499: "cancelled",
    500: "internal_error",
    501: "unimplemented",
    503: "unavailable",
    504: "deadline_exceeded",
}


class _Open:
    """A transaction that has not ended; *ids* are the spans in it that have not, either."""

    __slots__ = ("dropped", "ended", "ids", "pid", "root")

    def __init__(self, root: int) -> None:
        self.root = root
        self.pid = os.getpid()
        self.ids: set[int] = {root}
        self.ended: list[dict[str, Any]] = []
        self.dropped = 0


class Transactions:
    """A span processor that sends this *share* (0 to 1) of the traces; never raises."""

    def __init__(self, share: float) -> None:
        self._least_random = int(share * _RANDOM)
        self._lock = threading.Lock()
        self._open: dict[int, _Open] = {}
        self._complain = Complaint(
            LOGGER, "A trace is not sent to Sentry. Further ones are not logged."
        )
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        # The parent sends what it has begun; another thread of its may have held the lock.
        self._lock = threading.Lock()
        self._open = {}

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        try:
            context, parent = span.context, span.parent
            with self._lock:
                within = self._open.get(parent.span_id) if parent is not None else None
                if within is None:
                    # Below a span that is not sent: neither is this one.
                    begins = parent is None or parent.is_remote
                    if not begins or context.trace_id % _RANDOM >= self._least_random:
                        return
                    within = _Open(context.span_id)
                within.ids.add(context.span_id)
                self._open[context.span_id] = within
        except Exception as error:  # noqa: BLE001 - the application goes on
            self._complain(error)

    def _on_ending(self, span: Any) -> None:
        """Nothing: it may still change."""

    def on_end(self, span: Any) -> None:
        try:
            if (transaction := self._end(span)) is not None:
                sentry_sdk.capture_event(cast("Any", transaction))
        except Exception as error:  # noqa: BLE001 - the application goes on
            self._complain(error)

    def shutdown(self) -> None:
        """Nothing is held that has ended."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    def _end(self, span: Any) -> dict[str, Any] | None:
        """The transaction that has ended with *span*, if one has."""
        span_id = span.context.span_id
        with self._lock:
            within = self._open.pop(span_id, None)
            if within is None:
                return None
            within.ids.discard(span_id)
            if within.root == span_id:
                for late in within.ids:
                    self._open.pop(late, None)
                return _transaction(span, within)
            if len(within.ended) < _MOST_SPANS:
                within.ended.append(_span(span))
            else:
                within.dropped += 1
        return None


def _transaction(span: Any, within: _Open) -> dict[str, Any]:
    described = _span(span)
    trace = {
        key: described[key]
        for key in ("trace_id", "span_id", "parent_span_id", "op", "status", "data", "origin")
        if key in described
    }
    event: dict[str, Any] = {
        "type": "transaction",
        "transaction": span.name,
        "transaction_info": {"source": "route"},
        "contexts": {"trace": trace},
        "start_timestamp": described["start_timestamp"],
        "timestamp": described["timestamp"],
        "spans": within.ended,
        "tags": {},
    }
    if request_id := (span.attributes or {}).get("c2c.request.id"):
        event["tags"]["request_id"] = request_id
    if within.dropped:
        event["extra"] = {"spans_dropped": within.dropped}
    return event


def _span(span: Any) -> dict[str, Any]:
    attributes = dict(span.attributes or {})
    described = {
        "trace_id": format_trace_id(span.context.trace_id),
        "span_id": format_span_id(span.context.span_id),
        "op": _operation(span.kind, attributes),
        "description": attributes.get("db.query.text") or span.name,
        "start_timestamp": span.start_time / _NANOSECONDS,
        "timestamp": span.end_time / _NANOSECONDS,
        "status": _status(span.status.status_code, attributes),
        "data": attributes,
        "origin": "auto.otel",
    }
    if span.parent is not None:
        described["parent_span_id"] = format_span_id(span.parent.span_id)
    return described


def _operation(kind: SpanKind, attributes: dict[str, Any]) -> str:
    """Sentry's word for it: https://develop.sentry.dev/sdk/telemetry/traces/span-operations/."""
    if "db.system.name" in attributes:
        return "db.redis" if attributes["db.system.name"] == "redis" else "db"
    if "http.request.method" in attributes:
        return "http.client" if kind is SpanKind.CLIENT else "http.server"
    return "function"


def _status(code: StatusCode, attributes: dict[str, Any]) -> str:
    http = attributes.get("http.response.status_code")
    if http in _STATUS:
        return _STATUS[http]
    return "internal_error" if code is StatusCode.ERROR else "ok"
