"""What every event gets before it is sent: the trace, the request id, the tags, and no secrets."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace import SpanContext, format_span_id, format_trace_id, get_current_span

from c2cotel.sentry.messages import has_secrets, said
from c2cotel.sentry.scrubbing import Scrubber
from c2cotel_instrumentation.context import current_request_id
from c2cotel_instrumentation.errors import Complaint

REQUEST_ID: Final = "request_id"

_PARAMETER: Final = "sentry.message.parameter."

LOGGER = logging.getLogger(__name__)


class Outgoing:
    """``before_send`` and ``before_send_transaction`` of the SDK; :meth:`log` is its other one.

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
            _fill_in(event, (hint or {}).get("log_record"))
            return self._scrubber.scrubbed(event)
        except Exception as error:  # noqa: BLE001 - values of any kind may be in there
            self._complain(error)
            return None

    def log(self, line: dict[str, Any], _: Any) -> dict[str, Any] | None:
        """``before_send_log``: a log record where ``SENTRY_CLIENT_ENABLE_LOGS`` sends all."""
        try:
            attributes = {
                name: value
                for name, value in line["attributes"].items()
                if not name.startswith(_PARAMETER)
            }
            body = line["body"]
            if has_secrets(template := attributes.get("sentry.message.template")):
                body = said(template, _parameters(line["attributes"]))
            return self._scrubber.scrubbed({**line, "body": body, "attributes": attributes})
        except Exception as error:  # noqa: BLE001 - as above
            self._complain(error)
            return None


def _parameters(attributes: Mapping[str, Any]) -> Any:
    """The arguments of a log record, as the SDK puts them among its attributes."""
    found = {
        name.removeprefix(_PARAMETER): value
        for name, value in attributes.items()
        if name.startswith(_PARAMETER)
    }
    return tuple(found.values()) if all(name.isdecimal() for name in found) else found


def breadcrumb(crumb: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    """``before_breadcrumb`` of the SDK: what a log record says, before its format is forgotten."""
    record = hint.get("log_record")
    if record is not None and record.args and has_secrets(record.msg):
        crumb["message"] = said(record.msg, record.args)
    return crumb


def _fill_in(event: dict[str, Any], record: logging.LogRecord | None) -> None:
    """Let the text of a log record stand for its arguments, which have no names to go by."""
    entry = event.get("logentry")
    if not isinstance(entry, dict):
        return
    arguments = entry.pop("params", None)
    if record is not None:
        entry["formatted"] = said(record.msg, record.args)
    elif arguments or "formatted" not in entry:
        entry["formatted"] = said(entry.get("message", ""), _arguments(arguments))


def _arguments(sent: Any) -> Any:
    """The arguments as they were, of which the SDK has made what JSON has."""
    return tuple(sent) if isinstance(sent, list) else sent


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
