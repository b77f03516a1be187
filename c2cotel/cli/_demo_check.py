"""What ``c2cotel demo --check`` does: send requests, and look for each in all that is told."""

import contextlib
import os
import signal
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from c2cotel.cli._demo import DURATION, Demo, step
from c2cotel.cli._output import print_json

if TYPE_CHECKING:
    from c2cotel_acceptance.scraping import Scrape
    from c2cotel_acceptance.servers import Prometheus
    from c2cotel_acceptance.telemetry import OtlpReceiver
    from c2cotel_acceptance.traffic import Call, Traffic

_TRACKING = "/api/tracking/{depth}"
_TRACKING_DEPTH = 2
_TRACKINGS = 10
_SETTLED_WITHIN = 20.0

Counts = dict[tuple[str, int], int]
"""Requests by route and status."""


@dataclass(frozen=True)
class _Finding:
    """One line of the summary."""

    what: str
    expected: int
    found: dict[str, int]

    @property
    def good(self) -> bool:
        return all(found == self.expected for found in self.found.values())


def check(demo: Demo, args: Namespace) -> int:
    """Send requests, compare what was answered with what was told, print the comparison."""
    with step(demo.talk, f"{args.requests} requests"):
        traffic = _send(demo.gunicorn.url, args.requests)
    expected = _expected(traffic)
    with step(demo.talk, "The telemetry's arrival"):
        spans = _settled(lambda: _traced(demo.receiver, expected), expected)
        counted = _settled(lambda: _counted(demo, expected), expected)
    findings = [
        _Finding(
            f"{route or 'no route'} {status}",
            requests,
            {"/metrics": counted.get((route, status), 0), "spans": spans.get((route, status), 0)},
        )
        for (route, status), requests in sorted(expected.items())
    ]
    findings.append(_Finding("requests without an answer", 0, {"client": traffic.failed}))
    findings += _found_ids(demo, traffic)

    # More than what was sent: gunicorn was asked whether it is there.
    total = max(int(_scrape(demo).total(DURATION)), sum(expected.values()))
    os.kill(demo.gunicorn.workers()[0], signal.SIGKILL)
    after = int(_scrape(demo).total(DURATION))
    findings.append(_Finding("all, a worker being killed", total, {"/metrics": after}))
    if demo.prometheus:
        asked = _asked(demo.prometheus, f"sum({DURATION})", total)
        findings.append(_Finding("all, in Prometheus", total, {"/metrics": asked}))
    (_print_json if args.json else _print_table)(findings, traffic)
    if all(finding.good for finding in findings):
        return 0
    demo.talk.print(
        f"The end of gunicorn's log:\n{demo.gunicorn.tail(20)}", markup=False, soft_wrap=True
    )
    return 1


def _calls() -> "list[Call]":
    """What is sent, over and over."""
    from c2cotel_acceptance.traffic import Call

    hello = Call("/api/hello", route="/api/hello")
    return [
        hello,
        Call("/api/hello", "POST", "/api/hello", b'{"text": "hello from the demo"}'),
        hello,
        Call("/api/error?kind=http&status=404", route="/api/error"),
        hello,
        Call("/api/error?kind=view", route="/api/error"),
        hello,
        Call("/api/slow?seconds=0.01", route="/api/slow"),
        hello,
        Call("/no/such/page"),
    ]


def _send(url: str, count: int) -> "Traffic":
    from c2cotel_acceptance.traffic import Call, send

    traffic = send(url, _calls(), count)
    # One at a time: each keeps as many threads waiting as it is deep, of the few there are.
    tracking = Call(f"/api/tracking/{_TRACKING_DEPTH}", route=_TRACKING)
    return traffic + send(url, [tracking], _TRACKINGS, concurrency=1)


def _expected(traffic: "Traffic") -> Counts:
    """What the application served: what was answered to us, and its calls of itself."""
    expected = traffic.by_route()
    tracked = expected.get((_TRACKING, 200), 0)
    if tracked:
        expected[_TRACKING, 200] = tracked * (1 + _TRACKING_DEPTH)
    return expected


def _settled(read: Callable[[], Counts], expected: Counts) -> Counts:
    """What *read* gives once it is what is *expected*, or in the end."""
    deadline = time.monotonic() + _SETTLED_WITHIN
    while (found := read()) != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _traced(receiver: "OtlpReceiver", expected: Counts) -> Counts:
    found: Counter[tuple[str, int]] = Counter()
    for span in receiver.server_spans():
        if span.attributes.get("c2c.request.id"):
            status = int(span.attributes.get("http.response.status_code", 0))
            found[span.attributes.get("http.route", ""), status] += 1
    return {key: value for key, value in found.items() if key in expected}


def _counted(demo: Demo, expected: Counts) -> Counts:
    by = _scrape(demo).by(DURATION, "http_route", "http_response_status_code")
    found = {(route, int(status or 0)): int(count) for (route, status), count in by.items()}
    return {key: value for key, value in found.items() if key in expected}


def _scrape(demo: Demo) -> "Scrape":
    """The page of metrics; an empty one when there is none, so that the table tells."""
    from c2cotel_acceptance import scraping
    from c2cotel_acceptance.utils import retry_timeout

    try:
        # When the process that served it was killed, another takes over.
        return retry_timeout(lambda: scraping.scrape(demo.metrics_url), 3, 0.1)
    except TimeoutError:
        return scraping.Scrape("", ())


def _found_ids(demo: Demo, traffic: "Traffic") -> list[_Finding]:
    """How many of the answers' request ids the log has, and the spans, and the log over OTLP."""
    ids = set(traffic.request_ids)
    # The application writes a line for each of these, whoever called.
    written = sum(
        count
        for (_, route, status), count in traffic.answered.items()
        if route == "/api/hello" and status < 400  # noqa: PLR2004 - the first HTTP error
    )
    written += (1 + _TRACKING_DEPTH) * traffic.by_route().get((_TRACKING, 200), 0)
    with contextlib.suppress(TimeoutError):
        demo.receiver.wait(lambda receiver: len(_app_logs(receiver)) >= written, _SETTLED_WITHIN)
    logged = demo.gunicorn.output()
    traced = {span.attributes.get("c2c.request.id") for span in demo.receiver.server_spans()}
    return [
        _Finding(
            "request ids",
            traffic.total,
            {
                "answers": len(ids),
                "spans": len(ids & traced),
                "log": sum(request_id in logged for request_id in ids),
            },
        ),
        _Finding("lines logged in requests", written, {"OTLP": len(_app_logs(demo.receiver))}),
    ]


def _app_logs(receiver: "OtlpReceiver") -> list[object]:
    """The records that the application's views wrote, each with its trace."""
    return [
        record
        for record in receiver.logs
        if record.scope.startswith("c2cotel_app") and record.trace_id
    ]


def _asked(prometheus: "Prometheus", expression: str, expected: int) -> int:
    """The value of *expression*, given the time that one more scrape takes."""
    with contextlib.suppress(TimeoutError):
        prometheus.wait_value(expression, expected, timeout=10)
    return int(prometheus.value(expression))


def _print_json(findings: list[_Finding], traffic: "Traffic") -> None:
    print_json(
        {
            "ok": all(finding.good for finding in findings),
            "requests": traffic.total,
            "seconds": traffic.seconds,
            "findings": [
                {"what": it.what, "expected": it.expected, "found": it.found, "ok": it.good}
                for it in findings
            ],
        }
    )


def _print_table(findings: list[_Finding], traffic: "Traffic") -> None:
    from rich.console import Console
    from rich.table import Table

    rate = traffic.total / traffic.seconds
    table = Table(title=f"{traffic.total} requests, {rate:.0f} a second", title_justify="left")
    for column, justify in (("", "left"), ("sent", "right"), ("found", "left"), ("", "left")):
        table.add_column(column, justify="right" if justify == "right" else "left")
    for finding in findings:
        found = ", ".join(f"{where} {number}" for where, number in finding.found.items())
        table.add_row(
            finding.what,
            str(finding.expected),
            found,
            "[green]✓[/]" if finding.good else "[red]✗ wrong[/]",
        )
    Console(highlight=False).print(table)
