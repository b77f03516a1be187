"""The metrics: from the catalogue their names, from the source what they say, from here the rest.

The catalogue of the dashboards is held against what the code makes, and against a real scrape.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from c2cotel_boards.catalogue import EMITTED, STATISTICS, Metric
from c2cotel_docs import definitions
from c2cotel_docs.markdown import code, listed, table

METRICS: Final = (*EMITTED, *STATISTICS)


@dataclass(frozen=True)
class Group:
    """What belongs together: the beginnings of its metrics' names, and what switches them."""

    title: str
    prefixes: tuple[str, ...]
    switch: str


GROUPS: Final = (
    Group(
        "Requests",
        ("http.server.", "c2c.pyramid."),
        "Always, of applications of Pyramid. "
        "Off with `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=pyramid`.",
    ),
    Group(
        "Statements, Redis commands, and the pools of both",
        ("db.client.",),
        "Always, where SQLAlchemy or redis-py is used: `db.system.name` tells them apart. Off with "
        "`OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=sqlalchemy,redis`; those of Redis also with "
        "`C2C_TRACK_REDIS=false`.",
    ),
    Group(
        "Databases",
        ("c2c.db.",),
        "Fallbacks with `C2C_DB_REPLICA_DOWN=primary`, where `c2cotel.db.init` is called; "
        "maintenance with `C2C_DB_MAINTENANCE_VIEW_ENABLED=1`.",
    ),
    Group(
        "Outgoing requests",
        ("http.client.",),
        "Always, where requests is used. Off with "
        "`OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=requests`.",
    ),
    Group(
        "Processes",
        ("process.", "c2c.process.", "cpython."),
        "Always, on Linux; elsewhere what the system tells. Off with "
        "`OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=process`.",
    ),
    Group(
        "gunicorn's workers",
        ("c2c.gunicorn.",),
        "Where c2cotel is in gunicorn's master: under `opentelemetry-instrument`, with "
        "`-c python:c2cotel.gunicorn` or with `--preload`. Off with "
        "`OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=gunicorn`.",
    ),
    Group(
        "Health, versions, and what operators do",
        ("c2c.health_check.", "c2c.alembic.", "c2c.build_info", "c2c.switch.", "c2c.broadcast."),
        "In applications that include c2cotel: `c2c.build_info` always, the others from the first "
        "check, question or change on.",
    ),
    Group(
        "What becomes of telemetry",
        ("c2c.log.", "c2c.sentry.", "otel.sdk."),
        "`otel.sdk.*` while something is exported; off with "
        "`OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=false`. The others from the first loss on.",
    ),
    Group(
        "The store of the metrics",
        ("c2c.metrics.", "c2c.prometheus."),
        "Always; `c2c.prometheus.collectors` where the application has metrics of "
        "prometheus_client, `c2c.metrics.fold.failures` from the first one on.",
    ),
    Group(
        "Database statistics",
        ("c2c.database.",),
        "By `c2cotel stats-db`, and nobody else.",
    ),
)

# What the source does not say beside the name: it is the SDK's, or put together.
SAID: Final[Mapping[str, str]] = {
    "c2c.build_info": "1, with the versions of what runs as attributes.",
    "otel.sdk.exporter.span.exported": "Spans sent, or lost where there is an `error.type`.",
    "otel.sdk.exporter.log.exported": "Log records sent, or lost where there is an `error.type`.",
    "otel.sdk.exporter.metric_data_point.exported": "Data points sent, or lost where there is an "
    "`error.type`.",
    "otel.sdk.processor.span.processed": "Spans given to the exporter, or lost where there is an "
    "`error.type`.",
    "otel.sdk.processor.log.processed": "Log records given to the exporter, or lost where there is "
    "an `error.type`.",
    "otel.sdk.processor.span.queue.size": "Spans that wait to be exported.",
    "otel.sdk.processor.span.queue.capacity": "Spans that may wait; what comes then is lost.",
    "otel.sdk.processor.log.queue.size": "Log records that wait to be exported.",
    "otel.sdk.processor.log.queue.capacity": "Log records that may wait; what comes then is lost.",
}

ATTRIBUTES: Final[Mapping[str, str]] = {
    "application": "the version of the package `C2C_PROMETHEUS_APPLICATION_PACKAGE`",
    "c2c.broadcast.channel": "what was asked: `c2c_switch`, `c2c_dump_stacks`…, or the name that "
    "the application has chosen",
    "c2c.check.name": "as the check was added, for example `db_engine_sqlalchemy`",
    "c2c.engine": "the `c2c_name` of the engine: the prefix given to `c2cotel.db.init`",
    "c2c.gunicorn.exit.reason": "`requested`, `max_requests`, `timeout`, `graceful_timeout`, "
    "`failed`, `signal SIGKILL` or another signal, `unknown`",
    "c2c.log.handler": "the class of the handler",
    "c2c.mapping": "`heap`, `stack`, `anonymous`, `library`, `file`, `shared`, `device`, `kernel`",
    "c2c.metrics.instrument": "the name of the instrument",
    "c2c.sentry.reason": "Sentry's word: `network`, `full_queue`, `self_rate_limits`, "
    "`status_429`…",
    "c2c.switch": "`logging_level`, `readonly`, `sql_profiler`, `profile`, `request_profile`, "
    "`memory_trace`",
    "c2c.switch.action": "`set`, `reset`, `expired`",
    "c2c.switch.value": "of log levels: the level",
    "configuration": "the path of alembic.ini, or `<default>`",
    "cpu.mode": "`user`, `system`",
    "cpython.gc.generation": "`0`, `1`, `2`",
    "db.client.connection.pool.name": "`host:port/database`, or the engine's `pool_logging_name`",
    "db.client.connection.state": "`idle`, `used`",
    "db.collection.name": "the table; absent where there are several, or none",
    "db.namespace": "the database",
    "db.operation.name": "`SELECT`, `INSERT`, `COMMIT`…; of Redis `GET`, `PIPELINE`, `MULTI SET`…",
    "db.system.name": "`postgresql`, `sqlite`, `mysql`, `redis`…",
    "error.type": "only of what failed: a status, the qualified name of an exception, or a word "
    "such as `queue_full`",
    "fork": "`main`, `fsm`",
    "git_hash": "`GIT_HASH`, else that of versions.json",
    "git_tag": "that of versions.json",
    "http.request.method": "`GET`, `POST`…; `_OTHER` for what is no method",
    "http.response.status_code": "`200`, `404`…",
    "http.route": "the pattern, `/hello/{name}`; absent where no route matches",
    "index": "the index",
    "metric": "the NAME of `--extra-gauge`, or what the query of `--extra` calls it",
    "name": "the name of the check",
    "otel.component.name": "the component, with a number",
    "otel.component.type": "`otlp_http_span_exporter`, `batching_span_processor`…",
    "pid": "the process; what has it goes when the process does",
    "process.context_switch.type": "`voluntary`, `involuntary`",
    "schema": "the schema of the table",
    "server.address": "the host; `_OTHER` from the 101st on",
    "server.port": "its port",
    "system.paging.fault.type": "`minor`, `major`",
    "table": "the table",
    "url.scheme": "`http`, `https`",
    "version": "the revision that the database is at",
}

_HEAD: Final = ("Metric, and what a scrape calls it", "Kind", "Attributes", "What it says")


def group_of(metric: Metric) -> Group:
    """The group that *metric* is in.

    Raises:
        LookupError: None has its prefix, or several have.
    """
    found = [group for group in GROUPS if metric.name.startswith(group.prefixes)]
    if len(found) != 1:
        raise LookupError(f"{metric.name} is in {[group.title for group in found]}")
    return found[0]


def tables() -> str:
    """A table of metrics for each group, and one of their attributes.

    Raises:
        KeyError: A metric has no description, an attribute no values; the text is its name.
    """
    names = [metric.name for metric in METRICS]
    said = {**definitions.descriptions(names), **SAID}
    bounds = definitions.buckets([each.name for each in METRICS if each.kind == "histogram"])
    parts = []
    for group in GROUPS:
        mine = [metric for metric in METRICS if group_of(metric) is group]
        rows = [(_names(each), _kind(each), _attributes(each), said[each.name]) for each in mine]
        parts += [f"### {group.title}", group.switch, table(_HEAD, rows)]
        parts += _buckets(mine, bounds)
    used = {attribute for metric in METRICS for attribute in metric.attributes}
    values = [(code(name), ATTRIBUTES[name]) for name in sorted(used)]
    parts += ["### Values of the attributes", table(("Attribute", "Values"), values)]
    return "\n\n".join(parts)


def _names(metric: Metric) -> str:
    """OpenTelemetry's, and below it that of a scrape: of a histogram, its count."""
    exposed = metric.family if metric.kind == "histogram" else metric.series[0]
    return f"{code(metric.name)}<br>{code(exposed)}"


def _kind(metric: Metric) -> str:
    return f"{metric.kind}, {code(metric.unit)}" if metric.unit else metric.kind


def _attributes(metric: Metric) -> str:
    more = ", one per package of `C2C_PROMETHEUS_PACKAGES`" if metric.any_label else ""
    return listed(metric.attributes) + more


def _buckets(metrics: list[Metric], bounds: Mapping[str, tuple[float, ...]]) -> list[str]:
    """A line for each set of buckets."""
    by_bounds: dict[tuple[float, ...], list[str]] = {}
    for metric in metrics:
        if metric.kind == "histogram":
            by_bounds.setdefault(bounds[metric.name], []).append(metric.name)
    return [
        f"Buckets of {listed(names)}: {', '.join(f'{bound:g}' for bound in limits)} s."
        for limits, names in by_bounds.items()
    ]
