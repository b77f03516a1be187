"""Our spans and the SDK's: what comes out is the same, whatever is done to them."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, DEFAULT_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from c2cotel.otel.lean_spans import LeanSpan, LeanTracerProvider


class Counting(RandomIdGenerator):
    """The same ids each time."""

    def __init__(self):
        self.next = 0

    def generate_span_id(self):
        self.next += 1
        return self.next

    generate_trace_id = generate_span_id


def traced(provider_class, actions, **options):
    """What is exported after *actions* on a tracer."""
    exporter = InMemorySpanExporter()
    provider = provider_class(
        resource=Resource({"service.name": "x"}),
        shutdown_on_exit=False,
        id_generator=Counting(),
        **{"sampler": DEFAULT_ON, **options},
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    actions(provider.get_tracer("lib", "1", "https://schema"))
    return [span.to_json() for span in exporter.get_finished_spans()]


def assert_same(actions, **options):
    ours = traced(LeanTracerProvider, actions, **options)
    assert ours == traced(TracerProvider, actions, **options)
    return ours


VALUES = st.one_of(
    st.text(max_size=20),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=3), max_size=3),
    st.none(),
)
ATTRIBUTES = st.dictionaries(st.text(min_size=1, max_size=6), VALUES, max_size=5)
STEPS = st.one_of(
    st.tuples(st.just("set_attributes"), ATTRIBUTES),
    st.tuples(st.just("set_attribute"), st.text(min_size=1, max_size=6), VALUES),
    st.tuples(st.just("update_name"), st.text(max_size=5)),
    st.tuples(st.just("add_event"), st.text(max_size=5), ATTRIBUTES, st.integers(1, 9)),
    st.tuples(st.just("set_status"), st.sampled_from(StatusCode)),
)


@given(st.sampled_from(SpanKind), ATTRIBUTES, st.lists(STEPS, max_size=6))
def test_a_span_is_the_same_as_the_sdks(kind, attributes, steps):
    def act(tracer):
        span = tracer.start_span("root", None, kind, attributes, start_time=1)
        child = tracer.start_span("child", set_span_in_context(span), start_time=2)
        for name, *arguments in steps:
            getattr(span, name)(*arguments)
        child.end(3)
        span.end(4)

    # The order of attributes that were set twice differs, and means nothing.
    assert_same_but_order(act)


def assert_same_but_order(act):
    import json

    ours, theirs = (
        [json.loads(span) for span in traced(provider, act)]
        for provider in (LeanTracerProvider, TracerProvider)
    )
    assert ours == theirs


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
@pytest.mark.parametrize("remote", [True, False])
def test_what_the_parent_says_counts(flags, remote):
    parent = SpanContext(77, 88, remote, TraceFlags(flags), TraceState([("vendor", "1")]))

    def act(tracer):
        context = set_span_in_context(NonRecordingSpan(parent))
        span = tracer.start_span("child", context, start_time=1)
        span.set_attribute("flags", int(span.get_span_context().trace_flags))
        span.end(2)

    assert len(assert_same(act)) == flags & 1


def test_an_exception_is_recorded_with_its_stack():
    def act(tracer):
        with pytest.raises(KeyError), tracer.start_as_current_span("failing", start_time=1):
            raise KeyError("x")

    (ours,) = traced(LeanTracerProvider, act)
    assert '"exception.type": "KeyError"' in ours
    assert '"status_code": "ERROR"' in ours


@pytest.mark.parametrize("links", [[], [Link(SpanContext(1, 2, is_remote=True))]])
@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("status", [True, False])
def test_an_exception_is_recorded_only_where_it_is_wanted(links, record, status):
    provider = LeanTracerProvider(sampler=DEFAULT_ON, shutdown_on_exit=False)
    span = provider.get_tracer("x").start_span(
        "failing", links=links, record_exception=record, set_status_on_exception=status
    )
    with pytest.raises(KeyError), span:
        raise KeyError("x")
    assert [event.name for event in span.events] == ["exception"] * record
    assert (span.status.status_code is StatusCode.ERROR) == status


def test_links_are_the_sdks():
    link = Link(SpanContext(1, 2, is_remote=True), {"why": "batch"})

    def act(tracer):
        tracer.start_span("linked", links=[link], start_time=1).end(2)
        span = tracer.start_span("later", start_time=1)
        span.add_link(link.context)
        span.end(2)

    assert_same(act)


def test_more_than_128_attributes_are_cut_as_the_sdk_cuts_them():
    def act(tracer):
        span = tracer.start_span("many", start_time=1)
        span.set_attributes({f"a{number}": number for number in range(100)})
        span.set_attributes({f"b{number}": number for number in range(100)})
        span.end(2)

    assert_same(act)


def test_configured_limits_and_samplers_are_the_sdks_affair():
    for options in (
        {"span_limits": SpanLimits(max_span_attribute_length=3)},
        {"sampler": ALWAYS_ON},
    ):
        provider = LeanTracerProvider(shutdown_on_exit=False, **{"sampler": DEFAULT_ON, **options})
        span = provider.get_tracer("x").start_span("x")
        assert not isinstance(span, LeanSpan)
        span.end()


def test_an_ended_span_changes_no_more(caplog):
    span = LeanTracerProvider(sampler=DEFAULT_ON, shutdown_on_exit=False).get_tracer("x")
    span = span.start_span("x", attributes={"a": 1})
    assert isinstance(span, LeanSpan)
    span.end(5)
    span.end(6)
    span.set_attribute("a", 2)
    span.set_attributes({"a": 3})
    span.update_name("y")
    assert (span.attributes, span.name, span.end_time) == ({"a": 1}, "x", 5)
    assert not span.is_recording()
    assert len(caplog.messages) == 4


def test_an_attribute_of_another_type_goes_on_as_the_sdks():
    span = LeanTracerProvider(sampler=DEFAULT_ON, shutdown_on_exit=False).get_tracer("x")
    span = span.start_span("x", attributes={"simple": "yes"})
    span.set_attribute("list", deque(["a"]))
    assert isinstance(span._attributes, BoundedAttributes)
    span.end()
