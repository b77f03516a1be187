"""Which of the telemetry that has arrived a test asks for, and how it reads in a message."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import requests

from c2cotel_acceptance import exchange
from c2cotel_acceptance.telemetry import LogRecord, Point, Span

Of = requests.Response | str
"""A request: the answer to it, or its request id or trace id."""
Text = str | re.Pattern[str]
"""A part of a text, or what is found in it."""

_REQUEST_ID = "c2c.request.id"
_MOST = 20  # things that are listed when the right one is not among them
_LONGEST = 300  # characters of each
_One = TypeVar("_One", Span, LogRecord, Point)
_T = TypeVar("_T", Span, LogRecord)


@dataclass(frozen=True)
class Measured:
    """What the series of a metric have in common since the test began.

    *value* is by how much the sum grew (of a gauge: the sum of its latest values), *count* how
    many measurements a histogram got. *points* are the latest of each series.
    """

    value: float
    count: int
    points: tuple[Point, ...]


class Wanted:
    """Which spans, log records or points: *fields* that are None do not matter."""

    def __init__(
        self,
        fields: Mapping[str, Text | None],
        attributes: Mapping[str, Any] | None,
    ) -> None:
        self.fields = {name: value for name, value in fields.items() if value is not None}
        self.attributes = dict(attributes or {})

    def __str__(self) -> str:
        told = [f"{name}={value!r}" for name, value in (self.fields | self.attributes).items()]
        return f"with {', '.join(told)}" if told else "at all"

    def among(self, told: Iterable[_One]) -> list[_One]:
        """Those of *told* that are as wanted."""
        return [one for one in told if self._is(one)]

    def _is(self, one: object) -> bool:
        return all(
            _found(value, getattr(one, name)) if name == "body" else getattr(one, name) == value
            for name, value in self.fields.items()
        ) and all(
            key in one.attributes and one.attributes[key] == value  # type: ignore[attr-defined] # all have
            for key, value in self.attributes.items()
        )


def _found(wanted: Text, body: object) -> bool:
    text = body if isinstance(body, str) else repr(body)
    return wanted in text if isinstance(wanted, str) else wanted.search(text) is not None


def of_request(of: Of, told: Iterable[_T]) -> list[_T]:
    """Those of *told* that belong to the request *of*, by its trace or its request id."""
    trace, request_id = _ids(of)
    return [
        one
        for one in told
        if (trace and one.trace_id == trace)
        or (request_id and one.attributes.get(_REQUEST_ID) == request_id)
    ]


def _ids(of: Of) -> tuple[str | None, str | None]:
    if isinstance(of, str):
        trace = of.replace("-", "").lower()
        return (trace if re.fullmatch("[0-9a-f]{32}", trace) else None), of
    ids = exchange.trace_id(of), exchange.request_id(of)
    if not any(ids):
        raise exchange.failure(
            of, "it has neither X-Request-ID nor traceresponse, so nothing is found of it"
        )
    return ids


def written(of: Of) -> str:
    trace, request_id = _ids(of)
    if isinstance(of, str):
        return f"trace {trace}" if trace else f"request id {request_id}"
    ids = (("trace", trace), ("request id", request_id))
    told = ", ".join(f"{name} {id_}" for name, id_ in ids if id_)
    return f"{of.request.method} {of.request.path_url} ({told})"


def measured(points: Iterable[Point], began: int) -> Measured:
    """What each series' latest export has more than its last one before *began*."""
    before: dict[object, Point] = {}
    after: dict[object, list[Point]] = {}
    for point in points:
        if point.time < began:
            before[series(point)] = point
        else:
            after.setdefault(series(point), []).append(point)
    value, count = 0.0, 0
    for one, exports in after.items():
        counted = exports if exports[-1].temporality == "DELTA" else exports[-1:]
        value += sum(point.value for point in counted)
        count += sum(point.count or 0 for point in counted)
        base = before.get(one)
        if (
            base is not None
            and base.temporality == "CUMULATIVE"
            and base.start == counted[-1].start
        ):
            value -= base.value
            count -= base.count or 0
    return Measured(value, count, tuple(exports[-1] for exports in after.values()))


def series(point: Point) -> object:
    return (
        point.name,
        point.scope,
        repr(sorted(point.attributes.items())),
        repr(sorted(point.resource.items())),
    )


def listed(told: Iterable[Span] | Iterable[LogRecord] | Iterable[Point]) -> str:
    lines = [f"    {_line(one)}" for one in told]
    left = len(lines) - _MOST
    return "\n".join([*([f"    … and {left} before"] if left > 0 else []), *lines[-_MOST:]])


def _line(one: Span | LogRecord | Point) -> str:
    attributes = ", ".join(f"{key}={value!r}" for key, value in one.attributes.items())
    match one:
        case Span():
            head = f"{one.kind} {one.name!r}, {one.status}"
        case LogRecord():
            head = f"{one.severity} {one.body!r}"
        case Point():
            count = "" if one.count is None else f" in {one.count}"
            head = f"{one.kind} {one.name} = {one.value:g}{count}"
    line = f"{head}; {attributes}" if attributes else head
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
