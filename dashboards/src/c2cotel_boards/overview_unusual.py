"""The row of the overview that says what is not as it should be, each with where to look."""

from typing import Final

from c2cotel_boards import links, look, panels, promql
from c2cotel_boards.panels import Panel

_SHOWN: Final = "$__range"


def stats() -> list[Panel]:
    alive = promql.aggregate(promql.series("c2c_gunicorn_workers"))
    configured = promql.aggregate(promql.series("c2c_gunicorn_workers_configured"))
    fallbacks = promql.series("c2c_db_fallbacks_total")
    return [
        panels.stat(
            "Workers missing",
            "Of those that gunicorn is to have. More than 0 for longer than a start: they cannot "
            "start; gunicorn's log says why.",
            f"{configured} - {alive}",
            unit="short",
            steps=look.warn_from(1),
            link=links.to("processes", "Workers"),
        ),
        panels.stat(
            "Workers lost",
            "In the time that is shown: killed, timed out, failed; not those that gunicorn was "
            "told to end. SIGKILL that nobody has sent is the kernel, for want of memory.",
            promql.workers_lost(),
            unit="short",
            decimals=0,
            steps=look.bad_from(0.5),
            sparkline=False,
            link=links.to("processes", "Why?"),
        ),
        panels.stat(
            "Replica away",
            "Sessions in the time that is shown that were for a replica and went to the primary, "
            "as the replica was down.",
            promql.or_zero(promql.counted(fallbacks, window=_SHOWN)),
            unit="short",
            decimals=0,
            steps=look.warn_from(0.5),
            sparkline=False,
            link=links.to("database", "Which replica?"),
        ),
        panels.stat(
            "Read-only",
            "Whether the database is read-only for maintenance. Who writes is refused: an "
            "operator may have left it on.",
            promql.or_zero(
                promql.aggregate(promql.series("c2c_db_maintenance_readonly"), function="max")
            ),
            unit="short",
            texts={0: ("no", look.GREEN), 1: ("READ-ONLY", look.RED)},
            sparkline=False,
            link=links.to("operations", "Since when?"),
        ),
        panels.stat(
            "Left on",
            "What operators have set over the configuration, at the moment: log levels, the SQL "
            "profiler, read-only. Each costs something.",
            promql.or_zero(promql.aggregate(_switches())),
            unit="short",
            steps=look.warn_from(1),
            link=links.to("operations", "What?"),
        ),
        panels.stat(
            "Telemetry lost",
            "Spans, log records, measurements and events in the time that is shown that did not "
            "arrive. Above 0 the other numbers may be incomplete.",
            _lost(),
            unit="short",
            decimals=0,
            steps=look.warn_from(0.5),
            sparkline=False,
            link=links.to("processes", "Which?"),
        ),
    ]


def _switches() -> str:
    """Of several processes' or hosts' each switch once: they agree."""
    active = promql.series("c2c_switch_active")
    return promql.aggregate(active, "job", "c2c_switch", "c2c_switch_value", function="max")


def _lost() -> str:
    failed = 'error_type!=""'
    return promql.added(
        *[
            promql.counted(selector, window=_SHOWN)
            for selector in (
                promql.series("otel_sdk_exporter_span_exported_total", failed),
                promql.series("otel_sdk_exporter_log_exported_total", failed),
                promql.series("otel_sdk_processor_span_processed_total", failed),
                promql.series("otel_sdk_processor_log_processed_total", failed),
                promql.series("c2c_metrics_lost_total"),
                promql.series("c2c_metrics_overflowed_total"),
                promql.series("c2c_log_dropped_total"),
                promql.series("c2c_sentry_lost_total"),
            )
        ]
    )
