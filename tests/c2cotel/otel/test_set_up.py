"""What is set up from the environment: the defaults, and that the user's choice wins."""

import logging
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import _logs, metrics, propagate, trace
from opentelemetry.instrumentation.propagators import get_global_response_propagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from c2cotel.metrics.provider import MeterProvider
from c2cotel.otel import instrument, set_up
from c2cotel_instrumentation.context import with_request_id, without_tracing

ENDPOINT = "http://127.0.0.1:9"


def parts() -> dict[str, tuple[str, str]]:
    return {part.name: (part.state, part.why) for part in set_up().parts}


def processors() -> list[str]:
    all_of_them = trace.get_tracer_provider()._active_span_processor._span_processors
    return [type(processor).__name__ for processor in all_of_them]


def test_it_is_set_up_once(in_child):
    def twice():
        first = set_up()
        return first is set_up(), first is set_up(ini={"c2c.base_path": "/x"}), len(first.parts)

    assert in_child(twice) == (True, True, 6)


def test_by_default_there_are_ids_and_counts_but_nothing_is_sent(in_child):
    def default():
        told = parts()
        return (
            {name: state for name, (state, _) in told.items()},
            type(metrics.get_meter_provider()) is MeterProvider,
            processors(),
            propagate.get_global_textmap().fields,
            os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"],
            type(get_global_response_propagator()).__name__,
            logging.getLogger().handlers == before,
        )

    before = list(logging.getLogger().handlers)
    assert in_child(default) == (
        {
            "propagators": "on",
            "instrumentor logging": "on",
            "resource": "on",
            "metrics": "on",
            "traces": "on",
            "logs": "off",
        },
        True,
        ["RequestIdSpanProcessor", "RedactingSpanProcessor"],
        {"traceparent", "tracestate", "baggage", "X-Request-ID"},
        "http,database",
        "RequestIdResponsePropagator",
        True,
    )


def test_an_endpoint_turns_on_all_signals(in_child):
    told = in_child(parts, OTEL_EXPORTER_OTLP_ENDPOINT=ENDPOINT)
    assert told["traces"] == told["logs"] == ("on", "to otlp")
    assert told["metrics"][1].endswith("not scraped, pushed to otlp")


def test_an_endpoint_of_a_signal_turns_on_that_signal(in_child):
    told = in_child(parts, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=f"{ENDPOINT}/v1/logs")
    assert told["logs"] == ("on", "to otlp")
    assert told["traces"][1] == "ids only: no exporter and no OTEL_EXPORTER_OTLP_ENDPOINT"
    assert told["metrics"][1].endswith("not pushed")


def test_none_wins_over_an_endpoint(in_child):
    off = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    told = in_child(parts, OTEL_EXPORTER_OTLP_ENDPOINT=ENDPOINT, **off)
    assert told["traces"][1].startswith("ids only")
    assert told["logs"][0] == "off"
    assert told["metrics"][1].endswith("not pushed")


def test_the_console_is_written_to_at_once(in_child):
    def console():
        set_up()
        return processors()

    assert in_child(console, OTEL_TRACES_EXPORTER="console") == [
        "RequestIdSpanProcessor",
        "RedactingSpanProcessor",
        "SimpleSpanProcessor",
    ]


@pytest.mark.parametrize(
    ("environ", "name", "why"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "otlp,jaeger"},
            "traces",
            (
                "OTEL_TRACES_EXPORTER = jaeger: no such exporter. Install its package, or write "
                "one of: none, otlp, console, otlp_proto_http."
            ),
        ),
        (
            {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "logs",
            (
                "OTEL_LOGS_EXPORTER = otlp: no such exporter. Install it: pip install "
                "opentelemetry-exporter-otlp-proto-grpc, or write one of: none, otlp, console, "
                "otlp_proto_http."
            ),
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            "traces",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL = http/json: expected one of http/protobuf, grpc.",
        ),
    ],
)
def test_an_exporter_that_does_not_exist_turns_off_its_signal_only(in_child, environ, name, why):
    told = in_child(parts, **environ)
    assert told.pop(name) == ("failed", why)
    assert "failed" not in {state for state, _ in told.values()}


def test_without_an_exporter_that_exists_there_are_still_trace_ids(in_child):
    def trace_id():
        set_up()
        return trace.get_tracer("t").start_span("s").get_span_context().trace_id, processors()

    made, left = in_child(trace_id, OTEL_TRACES_EXPORTER="otlp,jaeger")
    assert made
    assert left == ["RequestIdSpanProcessor", "RedactingSpanProcessor"]


def test_the_users_propagators_win(in_child):
    def fields():
        before = propagate.get_global_textmap()
        why = parts()["propagators"][1]
        return propagate.get_global_textmap() is before, why

    told = in_child(fields, OTEL_PROPAGATORS="tracecontext")
    assert told == (True, "OTEL_PROPAGATORS = tracecontext")


def test_the_header_of_the_ini_is_believed_though_it_comes_later(in_child):
    def fields():
        set_up()
        set_up(ini={"c2c.request_id_header": "X-Mine"})
        carrier: dict[str, str] = {}
        propagate.inject(carrier, with_request_id("it"))
        return carrier

    assert in_child(fields) == {"X-Mine": "it"}


LATE = """
from c2cotel import otel
from pyramid.config import Configurator
from opentelemetry import trace
from pyramid.request import Request

ini = {"c2c.metrics.max_series": "7", "c2c.exit_timeout": "5", "c2c.base_path": "/ops"}
applications = []
for _ in range(2):
    config = Configurator(settings=ini)
    config.include("c2cotel")
    config.add_route("live", "/ops/health/live/deeper")
    config.add_view(
        lambda request: {"recording": trace.get_current_span().is_recording()},
        route_name="live",
        renderer="json",
    )
    applications.append(config.make_wsgi_app())
for application in applications:
    print(Request.blank("/ops/health/live/deeper").get_response(application).json_body)
"""


def test_what_the_ini_says_too_late_is_said_once_and_probes_are_still_known(instrumented):
    done = instrumented(LATE, OTEL_TRACES_EXPORTER="console", C2C_EXIT_TIMEOUT="5")
    (line,) = [line for line in done.errors if "too late" in line]
    assert line == (
        "c2cotel: c2c.metrics.max_series comes too late: the telemetry of this process was set up "
        "before the ini was read. Set C2C_METRICS_MAX_SERIES in the environment."
    )
    assert done.output == "{'recording': False}\n" * 2


def test_an_ini_that_the_telemetry_is_set_up_with_is_not_too_late(in_child, capfd):
    def series():
        ini = {"c2c.metrics.max_series": "7"}
        set_up(ini=ini)
        return set_up(ini=ini).settings.metrics.max_series

    assert in_child(series) == 7
    assert capfd.readouterr().err == ""


def test_trace_ids_are_uuids(in_child):
    def trace_ids():
        set_up()
        tracer = trace.get_tracer("t")
        made = (tracer.start_span("s").get_span_context().trace_id for _ in range(20))
        return {format(trace_id, "032x")[12] + format(trace_id, "032x")[16] for trace_id in made}

    assert in_child(trace_ids) <= {"48", "49", "4a", "4b"}


def test_the_users_id_generator_wins(in_child):
    def generator():
        set_up()
        return type(trace.get_tracer_provider().id_generator).__name__

    assert in_child(generator, OTEL_PYTHON_ID_GENERATOR="random") == "RandomIdGenerator"
    assert in_child(generator) == "UuidIdGenerator"


def test_the_users_sampler_wins(in_child):
    def sampled():
        set_up()
        return trace.get_tracer("t").start_span("s").is_recording()

    assert in_child(sampled)
    assert not in_child(sampled, OTEL_TRACES_SAMPLER="always_off")
    assert not in_child(
        sampled, OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0"
    )


@pytest.mark.parametrize("sampler", ["", "always_on", "traceidratio", "parentbased_always_on"])
def test_below_an_excluded_request_no_span_is_an_orphan(in_child, sampler):
    def recorded():
        set_up()
        tracer = trace.get_tracer("t")
        # As the Pyramid instrumentor leaves it: marked, below a span that is not sampled.
        parent = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
        excluded = without_tracing(trace.set_span_in_context(parent))
        child = tracer.start_span("child", excluded)
        grandchild = tracer.start_span("grandchild", trace.set_span_in_context(child, excluded))
        return child.is_recording(), grandchild.is_recording()

    told = in_child(recorded, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="1")
    assert told == (False, False)


def test_a_disabled_sdk_leaves_the_request_ids(in_child):
    def disabled():
        told = parts()
        carrier: dict[str, str] = {}
        propagate.inject(carrier, with_request_id("it"))
        told_of = (trace.get_tracer_provider(), metrics.get_meter_provider())
        return told, carrier, [type(provider).__name__ for provider in told_of]

    told, carrier, providers = in_child(disabled, OTEL_SDK_DISABLED="true")
    assert told["propagators"][0] == "on"
    assert {told[name] for name in ("metrics", "traces", "logs")} == {("off", "OTEL_SDK_DISABLED")}
    assert carrier == {"X-Request-ID": "it"}
    assert providers == ["ProxyTracerProvider", "DisabledMeterProvider"]


def test_a_disabled_sdk_takes_the_gauges_that_say_how_they_merge(in_child):
    def disabled():
        # Before set-up, as module-level code does, only the API's keywords are known.
        early = metrics.get_meter("early").create_gauge("early")
        set_up()
        early.set(1)
        meter = metrics.get_meter("t", "1")
        meter.create_gauge("g", "s", "text", merge="max").set(2)
        meter.create_observable_gauge("o", [lambda _: []], "s", "text", merge="sum")
        return type(meter).__name__

    assert in_child(disabled, OTEL_SDK_DISABLED="true") == "DisabledMeter"


def test_the_applications_own_provider_is_kept(in_child):
    def own():
        provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
        return parts(), trace.get_tracer_provider() is provider

    told, kept = in_child(own, OTEL_EXPORTER_OTLP_ENDPOINT=ENDPOINT)
    assert kept
    assert told["traces"] == (
        "failed",
        "the application has set a tracer provider of its own; that one is kept",
    )
    assert told["logs"] == ("on", "to otlp")


def test_instrumentors_are_loaded_once(in_child):
    def loaded():
        telemetry = instrument()
        names = [part.name for part in telemetry.parts]
        return names, names == [part.name for part in instrument().parts]

    names, same = in_child(loaded)
    assert "instrumentor pyramid" in names
    assert "instrumentor logging" in names
    assert same
    assert len(names) == len(set(names))


# No NUL: no environment can hold one.
_TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20
) | st.sampled_from(
    "|0|-1|1e400|nan|true|none|otlp|console|otlp,prometheus|always_on|traceidratio|%|a=b,c|"
    f"parentbased_always_on|service.name=x|{ENDPOINT}".split("|")
)
_VARIABLES = (
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_PYTHON_ID_GENERATOR",
    "OTEL_PROPAGATORS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_PYTHON_LOG_HANDLER_LEVEL",
    "OTEL_CONFIG_FILE",
    "C2C_PROMETHEUS_HOST",
    "C2C_EXIT_TIMEOUT",
    "C2C_METRICS_MAX_SERIES",
    "C2C_METRICS_GAUGE_MERGE",
    "C2C_REQUEST_ID_HEADER",
    "C2C_VERSIONS_FILE",
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(environ=st.dictionaries(st.sampled_from(_VARIABLES), _TEXT, max_size=8))
def test_it_never_raises_whatever_the_environment(in_child, environ):
    def states():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        told = parts()
        span = trace.get_tracer("t").start_span("s")
        metrics.get_meter("t").create_counter("c").add(1)
        span.end()
        _logs.get_logger("t").emit(body="l")
        return set(told) >= {"propagators", "metrics", "traces", "logs"}

    assert in_child(states, **environ)


def test_it_is_set_up_without_a_stderr(in_child):
    def states():
        import sys

        sys.stderr = None
        return parts()["traces"][0]

    assert in_child(states, OTEL_TRACES_EXPORTER="jaeger", C2C_PROMETHEUS_PORT="x") == "failed"
