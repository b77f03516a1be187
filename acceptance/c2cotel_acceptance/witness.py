"""Ask what an application told about a request: its spans, its log lines, what it counted.

:class:`Witness` asks an :class:`~c2cotel_acceptance.telemetry.OtlpReceiver`; the fixture
``telemetry`` of :mod:`c2cotel_acceptance.plugin` is one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from operator import methodcaller
from typing import Any, TypeVar

from c2cotel_acceptance import evidence
from c2cotel_acceptance.evidence import Measured, Of, Text, Wanted
from c2cotel_acceptance.telemetry import LogRecord, OtlpReceiver, Point, Span

# pytest shows the line of the test instead of lines from here.
__tracebackhide__ = methodcaller("errisinstance", AssertionError)

_INTERVAL = 0.05
_T = TypeVar("_T", Span, LogRecord)


class TelemetryError(AssertionError):
    """The application did not tell what the test expects; the text lists what it told instead."""


class Witness:
    """What *receiver* is told from now on.

    Applications send in batches, so each question waits for the answer, *timeout* seconds at most.
    """

    def __init__(self, receiver: OtlpReceiver, timeout: float = 15) -> None:
        self.receiver = receiver
        self.timeout = timeout
        self._began = time.time_ns()

    @property
    def endpoint(self) -> str:
        """For ``OTEL_EXPORTER_OTLP_ENDPOINT`` of the application."""
        return self.receiver.endpoint

    def spans(  # noqa: PLR0913 - what may be asked, by keyword
        self,
        of: Of,
        name: str | None = None,
        *,
        kind: str | None = None,
        status: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        count: int = 1,
        timeout: float | None = None,
    ) -> list[Span]:
        """The spans of the request *of*, by their start, as soon as there are *count* of them.

        *name*, *kind* (``SERVER``, ``CLIENT``, ``INTERNAL``…), *status* (``OK``, ``ERROR``) and
        *attributes* say which; what is not said does not matter.

        Raises:
            TelemetryError: there are fewer after *timeout* seconds.
        """
        wanted = Wanted({"name": name, "kind": kind, "status": status}, attributes)
        return self._wait(lambda: self.receiver.spans, "span", of, wanted, count, timeout)

    def span(self, of: Of, name: str | None = None, **which: Any) -> Span:
        """The first of the spans that :meth:`spans` gives."""
        return self.spans(of, name, **which)[0]

    def logs(  # noqa: PLR0913 - what may be asked, by keyword
        self,
        of: Of,
        body: Text | None = None,
        *,
        severity: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        count: int = 1,
        timeout: float | None = None,
    ) -> list[LogRecord]:
        """The log lines of the request *of*, in the order of arrival, once there are *count*.

        *body* is a part of the text, or a regular expression that is found in it.

        Raises:
            TelemetryError: there are fewer after *timeout* seconds.
        """
        wanted = Wanted({"body": body, "severity": severity}, attributes)
        return self._wait(lambda: self.receiver.logs, "log line", of, wanted, count, timeout)

    def log(self, of: Of, body: Text | None = None, **which: Any) -> LogRecord:
        """The first of the lines that :meth:`logs` gives."""
        return self.logs(of, body, **which)[0]

    def no_log(
        self,
        of: Of,
        body: Text | None = None,
        *,
        severity: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        within: float = 1,
    ) -> None:
        """Make sure that no such line comes within *within* seconds.

        Silence cannot be waited for: give it longer than the application's batches take
        (``OTEL_BLRP_SCHEDULE_DELAY``, milliseconds).

        Raises:
            TelemetryError: one came.
        """
        wanted = Wanted({"body": body, "severity": severity}, attributes)
        deadline = time.monotonic() + within
        while True:
            if found := wanted.among(evidence.of_request(of, self.receiver.logs)):
                told = f"A log line {wanted} of {evidence.written(of)}"
                raise TelemetryError(f"{told}:\n{evidence.listed(found)}")
            if time.monotonic() >= deadline:
                return
            time.sleep(_INTERVAL)

    def metric(
        self,
        name: str,
        attributes: Mapping[str, Any] | None = None,
        *,
        at_least: float = 1,
        timeout: float | None = None,
    ) -> Measured:
        """What the series of *name* with these *attributes* got since the test began.

        Waits until that is *at_least* so much: measurements of a histogram, the sum of a counter;
        a gauge has to be exported once. Metrics belong to no request, and an application exports
        them now and then (``OTEL_METRIC_EXPORT_INTERVAL``, milliseconds): what it counted before
        the test, but since its last export, is in it as well.

        Raises:
            TelemetryError: it is less after *timeout* seconds.
        """
        wanted = Wanted({"name": name}, attributes)
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            points = self.receiver.points
            measured = evidence.measured(wanted.among(points), self._began)
            histogram = any(point.kind == "histogram" for point in measured.points)
            got = measured.count if histogram else measured.value
            is_gauge = any(point.kind == "gauge" for point in measured.points)
            if measured.points and (is_gauge or got >= at_least):
                return measured
            if time.monotonic() >= deadline:
                raise TelemetryError(self._no_metric(wanted, got, at_least, points))
            time.sleep(_INTERVAL)

    def _wait(  # noqa: PLR0913, PLR0917 - what spans and logs have in common
        self,
        all_: Callable[[], list[_T]],
        what: str,
        of: Of,
        wanted: Wanted,
        count: int,
        timeout: float | None,
    ) -> list[_T]:
        timeout = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout
        while True:
            told = all_()
            found = wanted.among(evidence.of_request(of, told))
            if len(found) >= count:
                return sorted(found, key=lambda one: one.start if isinstance(one, Span) else 0)
            if time.monotonic() >= deadline:
                break
            time.sleep(_INTERVAL)
        missing = f"No {what}" if count == 1 else f"{len(found)} instead of {count} of a {what}"
        lines = [f"{missing} {wanted} of {evidence.written(of)} within {timeout:g} s."]
        if of_it := evidence.of_request(of, told):
            lines += [f"What came of this request: {len(of_it)}", evidence.listed(of_it)]
        elif told:
            lines += [
                f"Nothing came of this request; of others: {len(told)}, at last",
                evidence.listed(told),
            ]
        lines += self._arrived()
        raise TelemetryError("\n".join(lines))

    def _no_metric(
        self, wanted: Wanted, got: float, at_least: float, points: Sequence[Point]
    ) -> str:
        name = wanted.fields["name"]
        lines = [f"The metric {wanted} got {got:g} since the test began, not {at_least:g}."]
        if series := {evidence.series(point): point for point in points if point.name == name}:
            lines += ["The latest of its series:", evidence.listed(series.values())]
        elif points:
            lines.append("What came instead: " + ", ".join(sorted({one.name for one in points})))
        return "\n".join([*lines, *self._arrived()])

    def _arrived(self) -> list[str]:
        """What may be wrong with the way here."""
        receiver = self.receiver
        if not receiver.requests:
            hint = (
                f"Nothing at all has arrived at {receiver.endpoint}. Does the application have "
                f"OTEL_EXPORTER_OTLP_ENDPOINT={receiver.endpoint}, "
                "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, and reach it?"
            )
            return [hint]
        return [f"Arrived so far: {receiver}"]
