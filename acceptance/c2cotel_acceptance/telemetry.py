"""Receive what an application tells.

:class:`OtlpReceiver` is an OTLP/HTTP collector in this process, :class:`HangingCollector` one that
never answers. What arrives is told in plain dataclasses.

The receiver is written on http.server: oteltest's HTTP sink answers one request at a time,
understands no compression, and does not say when its port is open.
"""

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from types import TracebackType
from typing import Any, Self

import requests
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from c2cotel_acceptance.receiving import Receiver

Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """Something that happened during a span, at *time* (nanoseconds since 1970)."""

    name: str
    time: int
    attributes: Attributes


@dataclass(frozen=True)
class Span:
    """A span; ids are hexadecimal, times nanoseconds since 1970, *status* UNSET, OK or ERROR."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str | None
    start: int
    end: int
    attributes: Attributes
    resource: Attributes
    scope: str
    status: str
    status_message: str
    events: tuple[Event, ...]


@dataclass(frozen=True)
class LogRecord:
    """A log record; the ids are None outside a span."""

    body: Any
    severity: str
    trace_id: str | None
    span_id: str | None
    attributes: Attributes
    resource: Attributes
    scope: str


@dataclass(frozen=True)
class Point:
    """A data point of a metric.

    *kind* is ``sum``, ``gauge`` or ``histogram``. A histogram's *value* is its sum, and *count*
    how many measurements are in it; *temporality* is ``CUMULATIVE``, ``DELTA``, or empty.
    """

    name: str
    kind: str
    unit: str
    value: float
    count: int | None
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    attributes: Attributes
    resource: Attributes
    scope: str
    temporality: str
    start: int
    time: int


class OtlpReceiver(Receiver):
    """A collector for OTLP over HTTP with protobuf, on a free port of localhost.

    It starts with the ``with``. Safe to read while telemetry arrives: each property gives what
    has come so far. Another *host* than ``127.0.0.1`` is for senders elsewhere, such as
    containers. *status* and *delay* (seconds) make it a bad collector.
    """

    content_type = "application/x-protobuf"  # an empty message: everything is accepted

    def __init__(
        self, *, status: int = 200, delay: float = 0.0, port: int = 0, host: str = "127.0.0.1"
    ) -> None:
        super().__init__(status=status, delay=delay, port=port, host=host)
        self.requests: Counter[str] = Counter()
        self._spans: list[Span] = []
        self._logs: list[LogRecord] = []
        self._points: list[Point] = []

    @property
    def endpoint(self) -> str:
        """For ``OTEL_EXPORTER_OTLP_ENDPOINT`` on this machine."""
        return f"http://{self.address}"

    @property
    def spans(self) -> list[Span]:
        """Every span so far, in the order of arrival."""
        with self._lock:
            return list(self._spans)

    @property
    def logs(self) -> list[LogRecord]:
        """Every log record so far, in the order of arrival."""
        with self._lock:
            return list(self._logs)

    @property
    def points(self) -> list[Point]:
        """Every data point of every export so far: a cumulative series comes again and again."""
        with self._lock:
            return list(self._points)

    def server_spans(self) -> list[Span]:
        """The spans of requests served."""
        return [span for span in self.spans if span.kind == "SERVER"]

    def clear(self) -> None:
        """Forget what has arrived."""
        with self._lock:
            for kept in (self._spans, self._logs, self._points, self.errors):
                kept.clear()
            self.requests.clear()

    def __str__(self) -> str:
        return (
            f"{len(self.spans)} spans, {len(self.logs)} log records, {len(self.points)} points, "
            f"requests {dict(self.requests)}, errors {self.errors}"
        )

    def take(self, path: str, headers: Message, body: bytes) -> int:
        """Take one export; return the HTTP status for it."""
        del headers
        self.requests[path] += 1
        if self.status != requests.codes.ok:
            return self.status
        try:
            match path:
                case "/v1/traces":
                    self._spans += _spans(ExportTraceServiceRequest.FromString(body))
                case "/v1/logs":
                    self._logs += _logs(ExportLogsServiceRequest.FromString(body))
                case "/v1/metrics":
                    self._points += _points(ExportMetricsServiceRequest.FromString(body))
                case _:
                    self.errors.append(f"{path}: no such path")
                    return 404
        except DecodeError as error:
            self.errors.append(f"{path}: {error}")
            return 400
        return 200


class HangingCollector:
    """Accepts every connection, reads nothing, answers nothing, from ``with`` to its end."""

    def __init__(self) -> None:
        self.connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def endpoint(self) -> str:
        """For ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # that is how closing the listener ends the thread
            while True:
                self.connections.append(self._listener.accept()[0])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close alone does not wake accept()
        self._thread.join()
        self._listener.close()
        for connection in self.connections:
            connection.close()


# From protobuf to dataclasses


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Span(
                    name=span.name,
                    kind=_short(trace_pb2.Span.SpanKind.Name(span.kind), "SPAN_KIND_"),
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent=span.parent_span_id.hex() or None,
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    resource=resource,
                    scope=scope.scope.name,
                    status=_short(
                        trace_pb2.Status.StatusCode.Name(span.status.code), "STATUS_CODE_"
                    ),
                    status_message=span.status.message,
                    events=tuple(
                        Event(event.name, event.time_unix_nano, _attributes(event.attributes))
                        for event in span.events
                    ),
                )


def _logs(request: ExportLogsServiceRequest) -> Iterator[LogRecord]:
    for group in request.resource_logs:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_logs:
            for record in scope.log_records:
                yield LogRecord(
                    body=_value(record.body),
                    severity=record.severity_text,
                    trace_id=record.trace_id.hex() or None,
                    span_id=record.span_id.hex() or None,
                    attributes=_attributes(record.attributes),
                    resource=resource,
                    scope=scope.scope.name,
                )


def _points(request: ExportMetricsServiceRequest) -> Iterator[Point]:
    for group in request.resource_metrics:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data") or ""
                data = getattr(metric, kind)
                for point in data.data_points:
                    yield _point(metric, kind, data, point, resource, scope.scope.name)


def _point(  # noqa: PLR0913, PLR0917 - one level of the protobuf tree each
    metric: metrics_pb2.Metric,
    kind: str,
    data: Any,
    point: Any,
    resource: Attributes,
    scope: str,
) -> Point:
    is_histogram = kind == "histogram"
    temporality = (
        ""
        if kind == "gauge"
        else metrics_pb2.AggregationTemporality.Name(data.aggregation_temporality)
    )
    return Point(
        name=metric.name,
        kind=kind,
        unit=metric.unit,
        value=point.sum if is_histogram else getattr(point, point.WhichOneof("value")),
        count=point.count if is_histogram else None,
        bounds=tuple(point.explicit_bounds) if is_histogram else (),
        buckets=tuple(point.bucket_counts) if is_histogram else (),
        attributes=_attributes(point.attributes),
        resource=resource,
        scope=scope,
        temporality=_short(temporality, "AGGREGATION_TEMPORALITY_"),
        start=point.start_time_unix_nano,
        time=point.time_unix_nano,
    )


def _short(name: str, prefix: str) -> str:
    return name.removeprefix(prefix)


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case simple:
            return getattr(value, simple)
