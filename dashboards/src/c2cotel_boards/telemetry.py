"""Of the dashboard Processes: the store of the metrics, and what becomes of all telemetry."""

from typing import Final

from c2cotel_boards import look, panels, promql
from c2cotel_boards.look import Query
from c2cotel_boards.panels import Panel

_LOST: Final = 'error_type!=""'
_ARRIVED: Final = 'error_type=""'
_EXPORTED: Final = {
    "spans": "otel_sdk_exporter_span_exported_total",
    "log records": "otel_sdk_exporter_log_exported_total",
    "data points": "otel_sdk_exporter_metric_data_point_exported_total",
}
_PROCESSED: Final = {
    "spans": "otel_sdk_processor_span_processed_total",
    "log records": "otel_sdk_processor_log_processed_total",
}


def store() -> list[Panel]:
    """How full it is, and what it costs to read."""
    limit = promql.aggregate(promql.series("c2c_metrics_instrument_limit"), function="min")
    fullest = promql.aggregate(
        promql.series("c2c_metrics_instrument_series"), "c2c_metrics_instrument", function="max"
    )
    return [
        panels.timeseries(
            "Which metrics have most series?",
            "The fullest, and dashed C2C_METRICS_MAX_SERIES: beyond it, what is new is counted "
            "together, without its labels. Some label has a value for each user, or each path.",
            Query(fullest, "{{c2c_metrics_instrument}}"),
            Query(limit, "at most"),
            unit="short",
            whole=True,
            width=12,
            height=9,
            legend="table",
            dashed=["at most"],
        ),
        panels.timeseries(
            "How long does a scrape take?",
            "The slowest instance; reading all processes is part of it. Near Prometheus' "
            "scrape_timeout there will be gaps: fewer series, or a larger scrape_interval.",
            Query(_slowest("scrape"), "scrape"),
            Query(_slowest("read"), "reading of all processes"),
            unit="s",
            width=6,
            height=9,
        ),
        panels.timeseries(
            "How large is the store?",
            "C2C_RUN_DIR of all instances; dashed, at the axis on the right, is what the fullest "
            "file system has left. Without any, what is new is not counted.",
            Query(promql.aggregate(promql.series("c2c_metrics_directory_size_bytes")), "used"),
            Query(
                promql.aggregate(
                    promql.series("c2c_metrics_directory_available_bytes"), function="min"
                ),
                "left",
            ),
            unit="bytes",
            width=6,
            height=9,
            dashed=["left"],
        ).override_by_name("left", [look.on_the_right()]),
    ]


def _slowest(what: str) -> str:
    metric = promql.series(f"c2c_metrics_{what}_duration_seconds")
    return promql.aggregate(metric, function="max")


def delivery() -> list[Panel]:
    """What arrives, what is lost, and how long the queues are."""
    return [
        panels.timeseries(
            "How much telemetry arrives?",
            "Per second, at the OpenTelemetry collector. Nothing while there are requests: none "
            "is configured, or what is lost says why.",
            *[
                Query(promql.rate(promql.series(metric, _ARRIVED)), what)
                for what, metric in _EXPORTED.items()
            ],
            unit="cps",
        ),
        panels.timeseries(
            "What telemetry is lost, and why?",
            "Also a single one. A status or an exception: the collector. queue_full: more than it "
            "can take. Measurements: no room in the store, or too many series. Log lines, events: "
            "syslog, Sentry.",
            *_lost(),
            unit="short",
            bars=True,
            stacked=True,
        ),
        panels.timeseries(
            "How full are the queues?",
            "Spans and log records that wait to be sent, of those that fit, in the fullest "
            "instance. At 100 % what comes next is lost.",
            *[Query(_queue(signal), name) for name, signal in _QUEUES.items()],
            unit="percentunit",
            maximum=1,
            limit=look.warn_from(0.8, 0.95),
        ),
    ]


_QUEUES: Final = {"spans": "span", "log records": "log"}


def _queue(signal: str) -> str:
    waiting, capacity = (
        promql.aggregate(
            promql.series(f"otel_sdk_processor_{signal}_queue_{what}"), "job", "instance"
        )
        for what in ("size", "capacity")
    )
    return f"max({waiting} / {capacity})"


def _lost() -> list[Query]:
    sent = [
        Query(_counted(promql.series(metric, _LOST), "error_type"), f"{what}: {{{{error_type}}}}")
        for metrics in (_EXPORTED, _PROCESSED)
        for what, metric in metrics.items()
    ]
    handler, why = "c2c_log_handler", "c2c_sentry_reason"
    lines = promql.series("c2c_log_dropped_total")
    events = promql.series("c2c_sentry_lost_total")
    full, many = (promql.series(f"c2c_metrics_{what}_total") for what in ("lost", "overflowed"))
    return [
        *sent,
        Query(_counted(lines, handler), f"log lines: {{{{{handler}}}}}"),
        Query(_counted(events, why), f"events for Sentry: {{{{{why}}}}}"),
        Query(f"{promql.counted(full)} + {promql.counted(many)} > 0", "measurements"),
    ]


def _counted(selector: str, *by: str) -> str:
    return promql.counted(selector, *by) + " > 0"
