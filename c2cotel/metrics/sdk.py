"""Merged series as the SDK's ``MetricsData``, for any metric exporter of the SDK.

The serving process alone pushes it (:mod:`c2cotel.otel.push`): one stable instance
(:class:`c2cotel.metrics.directory.Group`) instead of one a worker.
"""

import time
from collections.abc import Iterable
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    DataPointT,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from c2cotel.metrics.families import Family, Row
from c2cotel.metrics.instruments import Description, Scope

_CUMULATIVE = AggregationTemporality.CUMULATIVE

Collected = Iterable[tuple[Family, list[Row]]]


def metrics_data(families: Collected, resource: Resource, started: int) -> MetricsData:
    """*families* as the SDK would have collected them in one process.

    *started*: nanoseconds since the epoch, from which the sums count.
    """
    now = time.time_ns()
    scopes: dict[Scope, list[Metric]] = {}
    for family, rows in families:
        description = family.description
        metric = Metric(
            name=description.name,
            description=description.text,
            unit=description.unit,
            data=_data(description, rows, started, now),
        )
        scopes.setdefault(description.scope, []).append(metric)
    scope_metrics = [
        ScopeMetrics(
            scope=InstrumentationScope(
                scope.name, scope.version, scope.schema_url, dict(scope.attributes)
            ),
            metrics=metrics,
            schema_url=scope.schema_url,
        )
        for scope, metrics in scopes.items()
    ]
    return MetricsData([ResourceMetrics(resource, scope_metrics, resource.schema_url)])


def _data(
    description: Description, rows: list[Row], started: int, now: int
) -> Sum | Gauge | Histogram:
    if description.kind == "histogram":
        points = [_histogram_point(description, row, started, now) for row in rows]
        return Histogram(points, _CUMULATIVE)
    numbers: list[DataPointT] = [
        NumberDataPoint(dict(row.key), started, now, row.values[0]) for row in rows
    ]
    if description.is_gauge:
        return Gauge(numbers)  # type: ignore[arg-type]  # NumberDataPoint, as it wants
    return Sum(numbers, _CUMULATIVE, description.is_monotonic)  # type: ignore[arg-type]


def _histogram_point(
    description: Description, row: Row, started: int, now: int
) -> HistogramDataPoint:
    *counts, total = row.values
    buckets = [int(count) for count in counts]
    # Lowest and highest value cannot be kept by adding, and OTLP does not require them.
    unknown: Any = None
    return HistogramDataPoint(
        attributes=dict(row.key),
        start_time_unix_nano=started,
        time_unix_nano=now,
        count=sum(buckets),
        sum=total,
        bucket_counts=buckets,
        explicit_bounds=description.bounds,
        min=unknown,
        max=unknown,
    )
