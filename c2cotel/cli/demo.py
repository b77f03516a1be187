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
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from c2cotel.cli import CommandError, FailedError
from c2cotel.cli._demo import DURATION, Demo, step
from c2cotel.cli._demo_check import check
from c2cotel.cli._values import whole_number

if TYPE_CHECKING:
    from rich.console import Console

    from c2cotel_acceptance.servers import Prometheus
    from c2cotel_acceptance.telemetry import Span

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
            return check(demo, args) if args.check else _watch(demo)
    except (MissingError, RuntimeError, TimeoutError) as error:
        raise FailedError(str(error)) from error
    except KeyboardInterrupt:
        talk.print("Ended; nothing is left behind.")
        return 130 if args.check else 0


# Starting it


def _start(args: Namespace, stack: contextlib.ExitStack, talk: "Console") -> Demo:
    from c2cotel_acceptance import servers
    from c2cotel_acceptance.telemetry import OtlpReceiver

    example = _example()
    folder = stack.enter_context(servers.temporary_directory("demo"))
    metrics_port = servers.free_port()
    with step(talk, "PostgreSQL"):
        postgres = stack.enter_context(servers.postgres())
    with step(talk, "Valkey"):
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
    with step(talk, "The database's migration"):
        _migrate(example, environ)
    prometheus = _start_prometheus(stack, talk, metrics_port)
    with step(talk, f"gunicorn, {args.workers} workers of {args.threads} threads"):
        gunicorn = servers.Gunicorn(
            ["--paste", "production.ini", f"-w{args.workers}", f"--threads={args.threads}"],
            port=args.port,
            log=folder / "gunicorn.log",
            env=environ,
            cwd=example,
        )
        stack.enter_context(gunicorn)
        gunicorn.wait_url(f"{gunicorn.url}/api/ping")
    return Demo(gunicorn, receiver, prometheus, f"http://127.0.0.1:{metrics_port}/metrics", talk)


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
        with step(talk, "Prometheus"):
            return stack.enter_context(servers.prometheus([f"127.0.0.1:{metrics_port}"]))
    except MissingError as error:
        talk.print(f"[yellow]-[/] {error} (the demo goes on without)")
        return None


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


def _watch(demo: Demo) -> int:
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
        f"curl -s {demo.metrics_url} | grep ^{DURATION}",
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
