"""Run the example application the way one runs one's own, and look at what it tells.

A PostgreSQL, a Valkey, a collector and, where it is installed, a Prometheus are started for it on
free ports, and gunicorn under ``opentelemetry-instrument``. Nothing of it outlives the command.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from c2cotel.cli import CommandError, FailedError
from c2cotel.cli._output import print_json
from c2cotel.cli._values import whole_number

if TYPE_CHECKING:
    from rich.console import Console

    from c2cotel_acceptance.scraping import Scrape
    from c2cotel_acceptance.servers import Gunicorn, Prometheus
    from c2cotel_acceptance.telemetry import OtlpReceiver, Span
    from c2cotel_acceptance.traffic import Call, Traffic

HELP = "run the example application with real servers, and look at it"
ABOUT = """\
It starts a PostgreSQL, a Valkey, a collector and, where it is installed, a
Prometheus on free ports, and the example under gunicorn. Ctrl-C ends it all.
With --check --json it prints an object: ok (a boolean), requests, seconds, and
findings, each with what, expected, found (numbers by where it was looked) and
ok."""
EXAMPLES = """\
c2cotel demo
c2cotel demo --port 8080 --workers 4
c2cotel demo --check --requests 300
"""
FAILS = "something does not start; with --check, a request is not found everywhere"
NEEDS: Final = (
    "demo",
    (
        *("alembic", "gunicorn", "plaster_pastedeploy", "psycopg", "pyramid_tm"),
        *("requests", "rich", "zope.sqlalchemy"),
    ),
)

_DURATION = "http_server_request_duration_seconds_count"
_TRACKING = "/api/tracking/{depth}"
_TRACKING_DEPTH = 2
_TRACKINGS = 10
_SETTLED_WITHIN = 20.0

Counts = dict[tuple[str, int], int]
"""Requests by route and status."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--check",
        action="store_true",
        help="send requests, verify that each is counted, traced and logged, and exit",
    )
    parser.add_argument(
        "--json", action="store_true", help="with --check: its findings, as one object for programs"
    )
    parser.add_argument(
        "--requests",
        type=whole_number(1),
        default=1000,
        help="how many --check sends (default %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=whole_number(1, 65535),
        help="where the application listens (default: any free port)",
    )
    parser.add_argument(
        "--workers", type=whole_number(1), default=2, help="of gunicorn (default %(default)s)"
    )
    parser.add_argument(
        "--threads", type=whole_number(1), default=4, help="of each worker (default %(default)s)"
    )


def run(args: Namespace) -> int:
    from rich.console import Console

    from c2cotel_acceptance.processes import MissingError

    if args.json and not args.check:
        raise CommandError("--json is for what --check finds: add that, or leave it out.")
    talk = Console(stderr=True, highlight=False)
    try:
        with _nothing_left_behind(), contextlib.ExitStack() as stack:
            demo = _start(args, stack, talk)
            return _check(demo, args) if args.check else _watch(demo)
    except (MissingError, RuntimeError, TimeoutError) as error:
        raise FailedError(str(error)) from error
    except KeyboardInterrupt:
        talk.print("Ended; nothing is left behind.")
        return 130 if args.check else 0


# Starting it


@dataclass(frozen=True)
class _Demo:
    gunicorn: "Gunicorn"
    receiver: "OtlpReceiver"
    prometheus: "Prometheus | None"
    metrics_url: str
    talk: "Console"


def _start(args: Namespace, stack: contextlib.ExitStack, talk: "Console") -> _Demo:
    from c2cotel_acceptance import servers
    from c2cotel_acceptance.telemetry import OtlpReceiver

    example = _example()
    folder = stack.enter_context(servers.temporary_directory("demo"))
    metrics_port = servers.free_port()
    with _step(talk, "PostgreSQL"):
        postgres = stack.enter_context(servers.postgres())
    with _step(talk, "Valkey"):
        valkey = stack.enter_context(servers.valkey())
    receiver = stack.enter_context(OtlpReceiver())
    environ = {
        # Short, so that a request shows at once. Yours wins.
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        "OTEL_BLRP_SCHEDULE_DELAY": "500",
        "OTEL_SERVICE_NAME": "c2cotel-demo",
        **os.environ,
        "SQLALCHEMY_URL": postgres.url,
        "C2C_REDIS_URL": valkey.url,
        "C2C_PROMETHEUS_HOST": "127.0.0.1",
        "C2C_PROMETHEUS_PORT": str(metrics_port),
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
    }
    with _step(talk, "The database's migration"):
        _migrate(example, environ)
    prometheus = _start_prometheus(stack, talk, metrics_port)
    with _step(talk, f"gunicorn, {args.workers} workers of {args.threads} threads"):
        gunicorn = servers.Gunicorn(
            ["--paste", "production.ini", f"-w{args.workers}", f"--threads={args.threads}"],
            port=args.port,
            log=folder / "gunicorn.log",
            env=environ,
            cwd=example,
        )
        stack.enter_context(gunicorn)
        gunicorn.wait_url(f"{gunicorn.url}/api/ping")
    return _Demo(gunicorn, receiver, prometheus, f"http://127.0.0.1:{metrics_port}/metrics", talk)


def _example() -> Path:
    """The folder of the example: in the wheel, or in the checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "example", package.parent / "acceptance" / "app"):
        if (folder / "production.ini").exists():
            return folder
    raise RuntimeError(f"The example application is not in {package}: install c2cotel again.")


def _migrate(example: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=example,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"alembic upgrade head ({done.returncode}):\n{done.stderr}")


def _start_prometheus(
    stack: contextlib.ExitStack, talk: "Console", metrics_port: int
) -> "Prometheus | None":
    from c2cotel_acceptance import servers
    from c2cotel_acceptance.processes import MissingError

    try:
        with _step(talk, "Prometheus"):
            return stack.enter_context(servers.prometheus([f"127.0.0.1:{metrics_port}"]))
    except MissingError as error:
        talk.print(f"[yellow]-[/] {error} (the demo goes on without)")
        return None


@contextlib.contextmanager
def _step(talk: "Console", what: str) -> Iterator[None]:
    """Show that *what* is starting, then how long it took."""
    began = time.monotonic()
    with talk.status(f"{what} …"):
        yield
    talk.print(f"[green]✓[/] {what} [dim]{time.monotonic() - began:.1f} s[/]")


@contextlib.contextmanager
def _nothing_left_behind() -> Iterator[None]:
    """End what was started, also after TERM and HUP, and however often Ctrl-C is pressed."""
    from c2cotel_acceptance.processes import children

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in numbers}
    others = set(children(os.getpid()))
    try:
        yield
    finally:
        # Interrupted while it was starting a program, Python has forgotten it.
        for pid in set(children(os.getpid())) - others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for each, handler in before.items():
            signal.signal(each, handler)


# Watching it


def _watch(demo: _Demo) -> int:
    """Print where to look, then each request as its trace arrives, until Ctrl-C."""
    from rich.console import Console

    out = Console(highlight=False, soft_wrap=True)
    out.print()
    out.print(f"[bold]The application[/]  {demo.gunicorn.url}/api/hello")
    out.print(f"[bold]Its metrics[/]      {demo.metrics_url}")
    if demo.prometheus:
        out.print(f"[bold]Prometheus[/]       {demo.prometheus.url}")
    out.print(f"[bold]Its log[/]          {demo.gunicorn.log}")
    out.print("\n[bold]Try[/]")
    for command in (
        f"curl -i -H 'X-Request-ID: find-me' {demo.gunicorn.url}/api/tracking/2",
        f"curl -s {demo.metrics_url} | grep ^{_DURATION}",
        f"grep find-me {demo.gunicorn.log}",
    ):
        out.print(f"  {command}", markup=False)
    out.print("\nCtrl-C ends it all. Until then, each request as its trace arrives:")
    shown = 0
    while demo.gunicorn.returncode is None:
        spans = demo.receiver.server_spans()
        for span in spans[shown:]:
            out.print(_told(span), markup=False)
        shown = len(spans)
        time.sleep(0.2)
    raise RuntimeError(f"gunicorn ended by itself:\n{demo.gunicorn.tail()}")


def _told(span: "Span") -> str:
    milliseconds = (span.end - span.start) / 1e6
    status = span.attributes.get("http.response.status_code", "")
    request_id = span.attributes.get("c2c.request.id", "")
    return f"  {span.name:<28} {status}  {milliseconds:8.1f} ms  {request_id}"


# Checking it


@dataclass(frozen=True)
class _Finding:
    """One line of the summary."""

    what: str
    expected: int
    found: dict[str, int]

    @property
    def good(self) -> bool:
        return all(found == self.expected for found in self.found.values())


def _check(demo: _Demo, args: Namespace) -> int:
    """Send requests, compare what was answered with what was told, print the comparison."""
    with _step(demo.talk, f"{args.requests} requests"):
        traffic = _send(demo.gunicorn.url, args.requests)
    expected = _expected(traffic)
    with _step(demo.talk, "The telemetry's arrival"):
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
    total = max(int(_scrape(demo).total(_DURATION)), sum(expected.values()))
    os.kill(demo.gunicorn.workers()[0], signal.SIGKILL)
    after = int(_scrape(demo).total(_DURATION))
    findings.append(_Finding("all, a worker being killed", total, {"/metrics": after}))
    if demo.prometheus:
        asked = _asked(demo.prometheus, f"sum({_DURATION})", total)
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


def _counted(demo: _Demo, expected: Counts) -> Counts:
    by = _scrape(demo).by(_DURATION, "http_route", "http_response_status_code")
    found = {(route, int(status or 0)): int(count) for (route, status), count in by.items()}
    return {key: value for key, value in found.items() if key in expected}


def _scrape(demo: _Demo) -> "Scrape":
    """The page of metrics; an empty one when there is none, so that the table tells."""
    from c2cotel_acceptance import scraping
    from c2cotel_acceptance.utils import retry_timeout

    try:
        # When the process that served it was killed, another takes over.
        return retry_timeout(lambda: scraping.scrape(demo.metrics_url), 3, 0.1)
    except TimeoutError:
        return scraping.Scrape("", ())


def _found_ids(demo: _Demo, traffic: "Traffic") -> list[_Finding]:
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
