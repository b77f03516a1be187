"""The SDK's spans, with less work in the common case.

What costs a request is not what spans are for but what they might be: limits, links, events, a
sampler that could be any. Here a span that is sampled because its parent is, or because it is the
first, is made with what it needs; events and limits come when there is something to keep or to
cut. Everything else, and every other configuration, goes to the SDK, from which these classes
derive: exporters and processors see no difference but one, the span that ends is itself and no
copy, immutable like that.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from time import time_ns
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, Tracer, TracerProvider, _Span
from opentelemetry.sdk.trace.sampling import DEFAULT_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, TraceFlags, get_current_span
from opentelemetry.util.types import Attributes

_SAMPLED: Final = TraceFlags.SAMPLED
_RANDOM: Final = TraceFlags.RANDOM_TRACE_ID
_FLAGS: Final = (TraceFlags(_SAMPLED), TraceFlags(_SAMPLED | _RANDOM))
_LOCAL: Final = False
_UNSET: Final = Status()
# Values of these types are taken as they are; the SDK looks into others.
_SIMPLE: Final = frozenset((str, int, bool, float))
# The default limit. Where one is configured, the SDK's own spans are used.
_MOST_ATTRIBUTES: Final = 128


class LeanTracerProvider(TracerProvider):
    """Gives tracers that make :class:`LeanSpan`, if limits and sampler are the default ones."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        tracer = super().get_tracer(*args, **kwargs)
        if type(tracer) is Tracer and self.sampler is DEFAULT_ON and _is_default(self._span_limits):
            # The SDK makes them and keeps them by scope; this is all that is ours about them.
            tracer.__class__ = LeanTracer
        return tracer


class LeanTracer(Tracer):
    def start_span(  # noqa: PLR0913, PLR0917 - the API's
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: FBT001, FBT002 - the API's
        set_status_on_exception: bool = True,  # noqa: FBT001, FBT002 - the API's
    ) -> Any:
        parent: SpanContext | None = get_current_span(context).get_span_context()
        if parent is not None and not parent.is_valid:
            parent = None
        unsampled = parent is not None and not parent.trace_flags & _SAMPLED
        if links or unsampled or not self._tracer_config.is_enabled:
            return super().start_span(
                name,
                context,
                kind,
                attributes,
                links,
                start_time,
                record_exception=record_exception,
                set_status_on_exception=set_status_on_exception,
            )
        state = None
        if parent is not None:
            trace_id, state = parent.trace_id, parent.trace_state
            random = bool(parent.trace_flags & _RANDOM)
        else:
            trace_id = self.id_generator.generate_trace_id()
            random = self.id_generator.is_trace_id_random()
        own = SpanContext(
            trace_id, self.id_generator.generate_span_id(), _LOCAL, _FLAGS[random], state
        )
        span = LeanSpan(self, name, own, parent, kind)
        if attributes:
            span.set_attributes(attributes)
        span._record_exception = record_exception
        span._set_status_on_exception = set_status_on_exception
        span._start_time = time_ns() if start_time is None else start_time
        self.span_processor.on_start(span, parent_context=context)
        return span


class LeanSpan(_Span):
    """A recording span. Its attributes are a dictionary until one of them needs more than that."""

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
    ) -> None:
        # What the SDK's two constructors would set, but for the empty containers.
        self._name = name
        self._context = context
        self._parent = parent
        self._kind = kind
        self._resource = tracer.resource
        self._instrumentation_info = tracer.instrumentation_info
        self._instrumentation_scope = tracer._instrumentation_scope
        self._span_processor = tracer.span_processor
        self._limits = tracer._span_limits
        self._sampler = tracer.sampler
        self._trace_config = None
        self._record_end_metrics = None
        self._lock = Lock()
        self._attributes: Any = {}
        self._events: Any = ()
        self._links: Any = ()
        self._status = _UNSET
        self._start_time = None
        self._end_time = None

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        kept = self._attributes
        if type(kept) is dict:
            if self._end_time is None and _are_simple(attributes, len(kept)):
                kept.update(attributes)
                return
            self._bound()
        super().set_attributes(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        self.set_attributes({key: value})

    def end(self, end_time: int | None = None) -> None:
        if type(self._attributes) is not dict:
            super().end(end_time)
            return
        with self._lock:
            ended, self._end_time = self._end_time, self._end_time or end_time or time_ns()
        if ended is not None:
            super().end()  # says so
            return
        self._span_processor._on_ending(self)
        self._span_processor.on_end(self)

    def _bound(self) -> None:
        """Go on with the SDK's attributes, which know what to do with any."""
        self._attributes = BoundedAttributes(
            self._limits.max_span_attributes, self._attributes, immutable=False
        )

    def _add_event(self, event: Any) -> None:
        if not self._events:
            self._events = self._new_events()  # type: ignore[no-untyped-call]  # the SDK's
        super()._add_event(event)

    def _add_link(self, link: Link) -> None:
        if not self._links:
            self._links = self._new_links(())
        super()._add_link(link)


def _are_simple(attributes: Mapping[str, Any], already: int) -> bool:
    if already + len(attributes) > _MOST_ATTRIBUTES:
        return False
    for key, value in attributes.items():
        if type(value) not in _SIMPLE or type(key) is not str or not key:
            return False
    return True


def _is_default(limits: SpanLimits) -> bool:
    return (
        limits.max_span_attributes == _MOST_ATTRIBUTES and limits.max_span_attribute_length is None
    )
