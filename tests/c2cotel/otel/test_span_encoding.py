"""Our encoding of spans and the library's say the same."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as library
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState

from c2cotel.otel.span_encoding import encode_spans

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
VALUES = st.one_of(
    TEXT,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(TEXT, max_size=3),
    st.binary(max_size=10),
)
ATTRIBUTES = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), VALUES)
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    trace_state=st.sampled_from([TraceState(), TraceState([("a", "1"), ("b", "2")])]),
)
SPANS = st.builds(
    ReadableSpan,
    TEXT,
    context=CONTEXTS,
    parent=st.none() | CONTEXTS,
    resource=st.sampled_from([Resource({"a": 1}), Resource({"b": "x"}, "https://schema")]),
    attributes=ATTRIBUTES,
    events=st.lists(st.builds(Event, TEXT, ATTRIBUTES, st.integers(1, 2**63)), max_size=2),
    links=st.lists(st.builds(Link, CONTEXTS, ATTRIBUTES), max_size=2),
    kind=st.sampled_from(SpanKind),
    status=st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "why")]),
    start_time=st.integers(0, 2**63),
    end_time=st.integers(0, 2**63),
    instrumentation_scope=st.sampled_from(
        [None, InstrumentationScope("a", "1"), InstrumentationScope("b", "2", "https://schema")]
    ),
)


@given(st.lists(SPANS, max_size=4))
def test_what_is_read_is_what_the_library_writes(spans):
    assert ExportTraceServiceRequest.FromString(encode_spans(spans)) == library(spans)


def test_text_that_is_no_unicode_costs_its_letters_and_not_the_batch():
    span = ReadableSpan(
        "\ud800", context=SpanContext(1, 1, is_remote=False), attributes={"a": "\ud800"}
    )
    read = ExportTraceServiceRequest.FromString(encode_spans([span]))
    (written,) = read.resource_spans[0].scope_spans[0].spans
    assert (written.name, written.attributes[0].value.string_value) == ("?", "?")
