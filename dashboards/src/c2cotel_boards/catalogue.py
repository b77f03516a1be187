"""The metrics that c2cotel emits, and their labels: what dashboards, rules and alerts may name.

Names, kinds, units and attributes are those of OpenTelemetry, as the code makes them; their names
in Prometheus follow by the same mapping as those of a scrape. ``differences`` compares all of it
with a real scrape.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from opentelemetry.exporter.prometheus._mapping import (
    map_unit,
    sanitize_attribute,
    sanitize_full_name,
)
from prometheus_client.parser import text_string_to_metric_families

Kind = Literal["counter", "gauge", "histogram"]

_SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
}
# Of Prometheus and of the exporter, on every series.
ALWAYS: Final = frozenset(
    {"job", "instance", "otel_scope_name", "otel_scope_version", "otel_scope_schema_url"}
)


@dataclass(frozen=True)
class Metric:
    """One instrument; an up-down counter is a gauge, as in Prometheus.

    Attributes:
        any_label: It has also labels that are chosen by whoever configures it.
    """

    name: str
    kind: Kind
    unit: str
    attributes: tuple[str, ...] = ()
    any_label: bool = False

    @property
    def family(self) -> str:
        """Its name in Prometheus, without the suffix of a series."""
        name: str = sanitize_full_name(self.name)
        unit = map_unit(self.unit)
        return name if not unit or name.endswith(f"_{unit}") else f"{name}_{unit}"

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series in Prometheus."""
        return tuple(self.family + suffix for suffix in _SUFFIXES[self.kind])

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(map(sanitize_attribute, self.attributes))


_POOL: Final = ("db.client.connection.pool.name", "c2c.engine")
_EXPORTER: Final = ("otel.component.type", "error.type")
_PROCESSOR: Final = ("otel.component.type", "otel.component.name")

EMITTED: Final = (
    # Requests
    Metric(
        "http.server.request.duration",
        "histogram",
        "s",
        (
            "http.request.method",
            "http.route",
            "http.response.status_code",
            "url.scheme",
            "error.type",
        ),
    ),
    Metric(
        "http.server.active_requests", "gauge", "{request}", ("http.request.method", "url.scheme")
    ),
    Metric("c2c.pyramid.render.duration", "histogram", "s", ("http.route", "error.type")),
    # SQL and Redis
    Metric(
        "db.client.operation.duration",
        "histogram",
        "s",
        (
            "db.system.name",
            "db.namespace",
            "db.operation.name",
            "db.collection.name",
            "c2c.engine",
            "server.address",
            "server.port",
            "error.type",
        ),
    ),
    Metric(
        "db.client.connection.count",
        "gauge",
        "{connection}",
        (*_POOL, "db.client.connection.state"),
    ),
    Metric("db.client.connection.max", "gauge", "{connection}", _POOL),
    Metric("db.client.connection.idle.max", "gauge", "{connection}", _POOL),
    Metric("db.client.connection.pending_requests", "gauge", "{request}", _POOL),
    Metric("db.client.connection.timeouts", "counter", "{timeout}", _POOL),
    Metric("db.client.connection.wait_time", "histogram", "s", (*_POOL, "error.type")),
    Metric("db.client.connection.use_time", "histogram", "s", _POOL),
    Metric("db.client.connection.create_time", "histogram", "s", _POOL),
    Metric("c2c.db.fallbacks", "counter", "{session}", ("c2c.engine",)),
    Metric("c2c.db.maintenance.readonly", "gauge", ""),
    Metric("c2c.db.maintenance.refusals", "counter", "{request}"),
    # Outgoing requests
    Metric(
        "http.client.request.duration",
        "histogram",
        "s",
        (
            "http.request.method",
            "server.address",
            "server.port",
            "url.scheme",
            "http.response.status_code",
            "error.type",
        ),
    ),
    # Processes
    Metric("process.cpu.time", "counter", "s", ("cpu.mode",)),
    Metric("process.cpu.utilization", "gauge", "1", ("cpu.mode", "pid")),
    Metric("process.memory.usage", "gauge", "By", ("pid",)),
    Metric("process.memory.virtual", "gauge", "By", ("pid",)),
    Metric("c2c.process.memory.map", "gauge", "By", ("c2c.mapping", "pid")),
    Metric("process.paging.faults", "counter", "{fault}", ("system.paging.fault.type",)),
    Metric(
        "process.context_switches",
        "counter",
        "{context_switch}",
        ("process.context_switch.type",),
    ),
    Metric("process.thread.count", "gauge", "{thread}", ("pid",)),
    Metric("process.unix.file_descriptor.count", "gauge", "{file_descriptor}", ("pid",)),
    Metric("c2c.process.file_descriptor.limit", "gauge", "{file_descriptor}", ("pid",)),
    Metric("process.uptime", "gauge", "s", ("pid",)),
    Metric("cpython.gc.collections", "counter", "{collection}", ("cpython.gc.generation",)),
    Metric("cpython.gc.collected_objects", "counter", "{object}", ("cpython.gc.generation",)),
    Metric("cpython.gc.uncollectable_objects", "counter", "{object}", ("cpython.gc.generation",)),
    Metric("c2c.gunicorn.workers", "gauge", "{worker}"),
    Metric("c2c.gunicorn.workers.configured", "gauge", "{worker}"),
    Metric("c2c.gunicorn.worker.starts", "counter", "{worker}"),
    Metric("c2c.gunicorn.worker.exits", "counter", "{worker}", ("c2c.gunicorn.exit.reason",)),
    # Health, versions and what operators do
    Metric("c2c.health_check.status", "gauge", "", ("c2c.check.name",)),
    Metric("c2c.health_check.duration", "histogram", "s", ("c2c.check.name",)),
    Metric("c2c.alembic.version", "gauge", "", ("version", "name", "configuration")),
    Metric("c2c.alembic.mismatch", "gauge", "", ("c2c.check.name",)),
    Metric("c2c.build_info", "gauge", "", ("git_hash", "git_tag", "application"), any_label=True),
    Metric("c2c.switch.active", "gauge", "{override}", ("c2c.switch", "c2c.switch.value")),
    Metric("c2c.switch.changes", "counter", "{change}", ("c2c.switch", "c2c.switch.action")),
    Metric("c2c.broadcast.duration", "histogram", "s", ("c2c.broadcast.channel",)),
    Metric("c2c.broadcast.answers", "counter", "{answer}", ("c2c.broadcast.channel",)),
    Metric("c2c.broadcast.silent", "counter", "{process}", ("c2c.broadcast.channel",)),
    # What becomes of telemetry
    Metric("c2c.log.dropped", "counter", "{record}", ("c2c.log.handler",)),
    Metric("c2c.sentry.lost", "counter", "{event}", ("c2c.sentry.reason",)),
    Metric("otel.sdk.exporter.span.exported", "counter", "{span}", _EXPORTER),
    Metric("otel.sdk.exporter.log.exported", "counter", "{log_record}", _EXPORTER),
    Metric("otel.sdk.exporter.metric_data_point.exported", "counter", "{data_point}", _EXPORTER),
    Metric("otel.sdk.processor.span.processed", "counter", "{span}", (*_PROCESSOR, "error.type")),
    Metric(
        "otel.sdk.processor.log.processed", "counter", "{log_record}", (*_PROCESSOR, "error.type")
    ),
    Metric("otel.sdk.processor.span.queue.size", "gauge", "{span}", _PROCESSOR),
    Metric("otel.sdk.processor.span.queue.capacity", "gauge", "{span}", _PROCESSOR),
    Metric("otel.sdk.processor.log.queue.size", "gauge", "{log_record}", _PROCESSOR),
    Metric("otel.sdk.processor.log.queue.capacity", "gauge", "{log_record}", _PROCESSOR),
    # The store of the metrics
    Metric("c2c.metrics.processes", "gauge", "{process}"),
    Metric("c2c.metrics.series", "gauge", "{series}"),
    Metric("c2c.metrics.instrument.series", "gauge", "{series}", ("c2c.metrics.instrument",)),
    Metric("c2c.metrics.instrument.limit", "gauge", "{series}"),
    Metric("c2c.metrics.overflowing", "gauge", "{instrument}"),
    Metric("c2c.metrics.lost", "counter", "{measurement}"),
    Metric("c2c.metrics.overflowed", "counter", "{measurement}"),
    Metric("c2c.metrics.fold.failures", "counter", "{failure}"),
    Metric("c2c.metrics.directory.size", "gauge", "By"),
    Metric("c2c.metrics.directory.available", "gauge", "By"),
    Metric("c2c.metrics.read.duration", "gauge", "s"),
    Metric("c2c.metrics.scrape.duration", "gauge", "s"),
    Metric("c2c.prometheus.collectors", "gauge", "{collector}", ("pid",)),
)

# By the command `c2cotel stats-db`, and nobody else.
_TABLE: Final = ("db.namespace", "schema", "table")
_INDEX: Final = (*_TABLE, "index")
STATISTICS: Final = (
    Metric("c2c.database.size", "gauge", "By", ("db.namespace",)),
    Metric("c2c.database.table.rows", "gauge", "{row}", _TABLE),
    Metric("c2c.database.table.dead_rows", "gauge", "{row}", _TABLE),
    Metric("c2c.database.table.size", "gauge", "By", _TABLE),
    Metric("c2c.database.table.scans", "gauge", "{scan}", _TABLE),
    Metric("c2c.database.index.size", "gauge", "By", (*_INDEX, "fork")),
    Metric("c2c.database.index.scans", "gauge", "{scan}", _INDEX),
    Metric("c2c.database.index.entries_read", "gauge", "{entry}", _INDEX),
    Metric("c2c.database.index.rows_fetched", "gauge", "{row}", _INDEX),
    Metric("c2c.database.extra", "gauge", "", ("db.namespace", "metric")),
    Metric("c2c.database.statistics.time", "gauge", "s", ("db.namespace",)),
    Metric("c2c.database.statistics.duration", "gauge", "s", ("db.namespace",)),
    Metric("c2c.database.statistics.failures", "gauge", "{query}", ("db.namespace",)),
)

# Made by the exporter, of the resource's attributes; and by Prometheus, of each scrape.
OTHERS: Final[Mapping[str, frozenset[str]]] = {
    "target_info": frozenset(
        {"service_name", "service_version", "service_instance_id", "host_name"}
    ),
    "up": frozenset(),
}


def known() -> dict[str, Metric]:
    """The emitted metrics by the names of their series in Prometheus."""
    return {name: metric for metric in (*EMITTED, *STATISTICS) for name in metric.series}


def unknown(name: str, labels: Iterable[str]) -> str | None:
    """Why a query that names the series *name* and *labels* of it finds nothing; None if it may."""
    metric = known().get(name)
    if metric is None and name not in OTHERS:
        return f"{name}: c2cotel emits no such metric"
    if metric is not None and metric.any_label:
        return None
    has = ALWAYS | (OTHERS[name] if metric is None else metric.labels)
    if metric is not None and name.endswith("_bucket"):
        has |= {"le"}
    missing = sorted(set(labels) - has)
    return f"{name} has no label {', '.join(missing)}; it has {sorted(has)}" if missing else None


def differences(
    scrape: str, *, absent: Iterable[str] = (), of: Iterable[Metric] = EMITTED
) -> list[str]:
    """How the catalogue, or its metrics *of*, differ from what a real service exposes.

    *absent* are metrics (OpenTelemetry's names) that the service has had no reason to emit; what
    is not ours (``app_reports_total`` of the example) is left out by its prefix.
    """
    expected, left_out = tuple(of), set(absent)
    emitted = [metric for metric in expected if metric.name not in left_out]
    return [*_of_scrape(scrape, expected), *_of_catalogue(scrape, emitted)]


_OURS: Final = ("http_", "c2c_", "db_client_", "process_", "cpython_", "otel_sdk_")


def _of_scrape(scrape: str, expected: Iterable[Metric]) -> Iterator[str]:
    kinds = {metric.family: metric for metric in expected}
    for family in text_string_to_metric_families(scrape):
        if not family.name.startswith(_OURS):
            continue
        metric = kinds.get(family.name)
        if metric is None:
            yield f"{family.name} ({family.type}) is exposed, and is not in the catalogue"
            continue
        if metric.kind != family.type:
            yield f"{metric.name} is a {family.type}, not a {metric.kind}"
        labels = {name for sample in family.samples for name in sample.labels}
        more = labels - metric.labels - ALWAYS - {"le"}
        if more and not metric.any_label:
            yield f"{metric.name} has the labels {sorted(more)}, too"


def _of_catalogue(scrape: str, emitted: Iterable[Metric]) -> Iterator[str]:
    labels: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(scrape):
        # An empty label is none: another series of the family has it.
        for sample in family.samples:
            labels[family.name] |= {name for name, value in sample.labels.items() if value}
    for metric in emitted:
        missing = metric.labels - labels.get(metric.family, set())
        if metric.family not in labels:
            yield f"{metric.name} is in the catalogue, and is not exposed"
        elif missing and not metric.any_label:
            yield f"{metric.name} has nowhere the labels {sorted(missing)}"
