"""What every event gets before it is sent: the trace, the request id, the tags, and no secrets."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace import SpanContext, format_span_id, format_trace_id, get_current_span

from c2cotel.sentry.scrubbing import Scrubber
from c2cotel_instrumentation.context import current_request_id
from c2cotel_instrumentation.errors import Complaint

REQUEST_ID: Final = "request_id"

LOGGER = logging.getLogger(__name__)


class Outgoing:
    """``before_send`` and ``before_send_transaction`` of the SDK.

    An event that it fails on is not sent: it might hold a secret. That is logged, once.
    *started* is what the client was made of.
    """

    def __init__(self, tags: Mapping[str, str], scrubber: Scrubber, started: object) -> None:
        self.started = started
        self._tags = tags
        self._scrubber = scrubber
        self._complain = Complaint(
            LOGGER, "An event is not sent to Sentry. Further ones are not logged."
        )

    def __call__(self, event: dict[str, Any], hint: Any) -> dict[str, Any] | None:
        try:
            if event.get("type") != "transaction":
                link(event, get_current_span().get_span_context())
            tag(event, {REQUEST_ID: current_request_id() or ""})
            tag(event, self._tags)
            return self._scrubber.scrubbed(event)
        except Exception as error:  # noqa: BLE001 - values of any kind may be in there
            self._complain(error)
            return None


def link(event: dict[str, Any], span: SpanContext) -> None:
    """Let *event* say that it belongs to *span*, if that is one."""
    if span.is_valid:
        event.setdefault("contexts", {})["trace"] = {
            "trace_id": format_trace_id(span.trace_id),
            "span_id": format_span_id(span.span_id),
        }


def tag(event: dict[str, Any], tags: Mapping[str, str]) -> None:
    """Add *tags*; what is there already stays."""
    there = event.setdefault("tags", {})
    for name, value in tags.items():
        if value and isinstance(there, dict):
            there.setdefault(name, value)
