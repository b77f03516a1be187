"""The request on every span, no secret on any, and no span where none is wanted."""

from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, Span, SpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Status

from c2cotel_instrumentation.context import current_request_id, is_untraced, new_trace_id
from c2cotel_instrumentation.redaction import redacted_text

REQUEST_ID: Final = "c2c.request.id"

_TEXTS: Final = ("exception.message", "exception.stacktrace")


class UuidIdGenerator(RandomIdGenerator):
    """Trace ids that are UUIDs (version 4), since they serve as request ids.

    The 56 bits that W3C Trace Context level 2 wants random are.
    """

    def generate_trace_id(self) -> int:
        return new_trace_id()


class RequestIdSpanProcessor(SpanProcessor):
    """Sets ``c2c.request.id`` on each span that starts within a request."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if request_id := current_request_id(parent_context):
            span.set_attribute(REQUEST_ID, request_id)


class RedactingSpanProcessor(SpanProcessor):
    """Takes secrets out of the exceptions that a span has recorded, and out of its status.

    HTTP clients write the URL into the text of an exception, and SQLAlchemy the statement with its
    values; every span that it passes records the text.
    """

    def _on_ending(self, span: Span) -> None:
        for event in span.events:
            if shown := _redacted(event):
                # The SDK has made it for this span alone.
                event._attributes = {**(event.attributes or {}), **shown}  # noqa: SLF001 - see above
        if told := span.status.description:
            status = Status(span.status.status_code, redacted_text(told))
            span._status = status  # noqa: SLF001 - an ending span takes none any more


class TracedOnly(Sampler):
    """Drops every span below an excluded request; else asks *chosen*.

    Needed by samplers that do not look at the parent: those that do find one that is not sampled.
    """

    def __init__(self, chosen: Sampler) -> None:
        self._chosen = chosen

    def should_sample(self, parent_context: Context | None, *args: Any, **kwargs: Any) -> Any:
        if is_untraced(parent_context):
            return SamplingResult(Decision.DROP)
        return self._chosen.should_sample(parent_context, *args, **kwargs)

    def get_description(self) -> str:
        return self._chosen.get_description()


def _redacted(event: Event) -> dict[str, str]:
    """The attributes of *event* that are to be shown otherwise."""
    shown = {}
    for name in _TEXTS:
        text = (event.attributes or {}).get(name)
        if isinstance(text, str) and (redacted := redacted_text(text)) != text:
            shown[name] = redacted
    return shown
