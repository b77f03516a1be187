"""Spans: the SDK's provider, with the request id on each and an exit that does not hang."""

from collections.abc import Mapping
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler

from c2cotel.otel.complaint import complain
from c2cotel.otel.exit import Pipeline
from c2cotel.otel.exporters import DeferredExporter, find_exporter, make_exporter
from c2cotel.otel.lean_spans import LeanTracerProvider
from c2cotel.otel.processors import (
    RedactingSpanProcessor,
    RequestIdSpanProcessor,
    TracedOnly,
    UuidIdGenerator,
)
from c2cotel.otel.self_metrics import NOTHING, ProcessorMeterProvider, without_own_metrics
from c2cotel.otel.telemetry import Part, Telemetry, exporter_names


def set_up_traces(telemetry: Telemetry, environ: Mapping[str, str]) -> Part:
    """Set the global tracer provider.

    Raises:
        UnknownExporterError: there are trace ids, for logs and request ids, and no export.
        RuntimeError: the application has set a provider before.
    """
    settings = telemetry.settings
    provider = LeanTracerProvider(
        sampler=_sampler(environ),
        resource=telemetry.resource,
        shutdown_on_exit=False,
        id_generator=_id_generator(environ),
        meter_provider=NOTHING,
    )
    trace.set_tracer_provider(provider)
    if trace.get_tracer_provider() is not provider:
        raise RuntimeError("the application has set a tracer provider of its own; that one is kept")
    provider.add_span_processor(RequestIdSpanProcessor())
    provider.add_span_processor(RedactingSpanProcessor())
    names = exporter_names(
        settings.otel.traces_exporter, settings.otel.otlp_traces_endpoint, settings
    )
    for name, entry_point in [(name, find_exporter("traces", name)) for name in names]:
        exporter = DeferredExporter("spans", partial(_make, entry_point))
        if name == "console":
            provider.add_span_processor(SimpleSpanProcessor(exporter))  # type: ignore[arg-type]  # has its methods
            continue
        processor = BatchSpanProcessor(
            exporter,  # type: ignore[arg-type]  # has its methods
            meter_provider=ProcessorMeterProvider(),  # type: ignore[arg-type]  # has its method
        )
        provider.add_span_processor(processor)
        telemetry.exit.pipelines.append(Pipeline("spans", processor, exporter))
    if not names:
        return Part("traces", "on", "ids only: no exporter and no OTEL_EXPORTER_OTLP_ENDPOINT")
    return Part("traces", "on", f"to {', '.join(names)}")


def _make(entry_point: EntryPoint) -> Any:
    """The exporter; over HTTP with our encoding."""
    if entry_point.name != "otlp_proto_http":
        return make_exporter(entry_point)
    from c2cotel.otel.span_encoding import LeanSpanExporter

    return without_own_metrics(LeanSpanExporter)


def _sampler(environ: Mapping[str, str]) -> Sampler:
    name = environ.get("OTEL_TRACES_SAMPLER")
    if not name:
        return DEFAULT_ON
    # As the SDK reads it: any entry point, and its argument.
    from opentelemetry.sdk._configuration import _import_sampler

    chosen = _import_sampler(name) or DEFAULT_ON
    return chosen if name.startswith("parentbased_") else TracedOnly(chosen)


def _id_generator(environ: Mapping[str, str]) -> IdGenerator:
    name = environ.get("OTEL_PYTHON_ID_GENERATOR")
    if not name:
        return UuidIdGenerator()
    from opentelemetry.sdk._configuration import _import_id_generator

    try:
        return _import_id_generator(name)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, ids can be made
        complain(f"OTEL_PYTHON_ID_GENERATOR = {name}: {error}. Random UUIDs are used.")
        return UuidIdGenerator()
