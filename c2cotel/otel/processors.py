"""The request on every span, and no span where none is wanted."""

from random import getrandbits
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

from c2cotel_instrumentation.context import current_request_id, is_untraced

REQUEST_ID: Final = "c2c.request.id"

# RFC 9562: version 4 in the 13th hexadecimal digit, variant 1 in the 17th.
_CLEAR = ~(0xF << 76 | 0x3 << 62)
_VERSION_4 = 0x4 << 76 | 0x2 << 62


class UuidIdGenerator(RandomIdGenerator):
    """Trace ids that are UUIDs (version 4), since they serve as request ids.

    The 56 bits that W3C Trace Context level 2 wants random are.
    """

    def generate_trace_id(self) -> int:
        return getrandbits(128) & _CLEAR | _VERSION_4


class RequestIdSpanProcessor(SpanProcessor):
    """Sets ``c2c.request.id`` on each span that starts within a request."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if request_id := current_request_id(parent_context):
            span.set_attribute(REQUEST_ID, request_id)


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
