"""Log records over OTLP. Their way into the application's own log is the logging instrumentor's."""

import os
from functools import partial

from opentelemetry._logs import get_logger_provider, set_logger_provider

from c2cotel.otel.exit import Pipeline
from c2cotel.otel.exporters import DeferredExporter, find_exporter, make_exporter
from c2cotel.otel.telemetry import Part, Telemetry, exporter_names


def set_up_logs(telemetry: Telemetry) -> Part:
    """Set the global logger provider and a handler that survives logging configurations.

    Without an exporter neither: a handler costs every log line.

    Raises:
        UnknownExporterError: nothing was set up.
        RuntimeError: the application has set a provider before.
    """
    settings = telemetry.settings
    names = exporter_names(settings.otel.logs_exporter, settings.otel.otlp_logs_endpoint, settings)
    found = [find_exporter("logs", name) for name in names]
    if not found:
        return Part("logs", "off", "no exporter and no OTEL_EXPORTER_OTLP_ENDPOINT")

    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    from c2cotel.otel.log_records import RequestIdLogProcessor, add_handler
    from c2cotel.otel.self_metrics import NOTHING, ProcessorMeterProvider

    provider = LoggerProvider(telemetry.resource, shutdown_on_exit=False, meter_provider=NOTHING)
    set_logger_provider(provider)
    if get_logger_provider() is not provider:
        raise RuntimeError("the application has set a logger provider of its own; that one is kept")
    provider.add_log_record_processor(RequestIdLogProcessor())
    for entry_point in found:
        exporter = DeferredExporter("log records", partial(make_exporter, entry_point))
        processor = BatchLogRecordProcessor(
            exporter,  # type: ignore[arg-type]  # has its methods
            meter_provider=ProcessorMeterProvider(),  # type: ignore[arg-type]  # has its method
        )
        provider.add_log_record_processor(processor)
        telemetry.exit.pipelines.append(Pipeline("log records", processor, exporter))
    add_handler(provider, os.environ.get("OTEL_PYTHON_LOG_HANDLER_LEVEL"), telemetry.exit)
    return Part("logs", "on", f"to {', '.join(names)}")
