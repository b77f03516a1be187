"""What measuring costs, next to the alternatives: ``make bench``.

Three tables in one run: the metrics store beside OpenTelemetry's SDK and prometheus_client's
multiprocess mode; and the CPU that a request of the example's hello, and one statement of many in
a request, take bare, with c2cotel and with contrib's instrumentation on the SDK. Each side runs in
a process of its own, and all take turns, so that whatever else the machine does falls on all of
them. Medians are shown. The exit status is 1 if a target is missed.
"""

import json
import operator
import statistics
import subprocess
import sys
import threading
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from rich.console import Console
from rich.table import Table
from workers import Worker, clean_environ

from c2cotel_acceptance import servers, telemetry
from c2cotel_acceptance.processes import script

_APP = Path(__file__).parents[1] / "app"
_STORES = ("c2cotel", "sdk", "prometheus_client")
_MERGING = ("c2cotel", "prometheus_client")
_VARIANTS = ("bare", "c2cotel", "contrib")
ADD, RECORD = "counter.add", "histogram.record"
_STABLE = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http,database"}

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How much is done."""

    rounds: int
    measurements: int  # by tens, in each round
    scrapes: int


_FULL = Size(rounds=25, measurements=200, scrapes=7)
_QUICK = Size(rounds=9, measurements=200, scrapes=1)
# Each round of requests; their spans fill less than a batch, so all are sent when it is over.
_TURNS, _REQUESTS = 5, 30
_STATEMENTS = 80


@dataclass(frozen=True)
class Target:
    """A ratio that is not to be exceeded."""

    name: str
    ratio: float
    most: float

    @property
    def reached(self) -> bool:
        return self.ratio <= self.most


class CountingReceiver(telemetry.OtlpReceiver):
    """Counts the spans of each service, and keeps no more of them: there are many."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()
        self._counting = threading.Lock()

    def receive(self, path: str, body: bytes) -> int:
        if path != "/v1/traces":
            return super().receive(path, body)
        request = ExportTraceServiceRequest.FromString(body)
        with self._counting:
            for group in request.resource_spans:
                service = {pair.key: pair.value.string_value for pair in group.resource.attributes}
                for scope in group.scope_spans:
                    self.counted[service["service.name"]] += len(scope.spans)
        return 200


# The store


@dataclass(frozen=True)
class Row:
    """One line of the first table; a side that cannot do it has None."""

    what: str
    unit: str
    sides: dict[str, float | None]


def bench_instruments(size: Size, progress: Progress) -> list[Row]:
    rows = []
    with _workers() as (workers, _):
        for question, what in (("add", ADD), ("record", RECORD)):
            progress(what)
            rows.append(Row(what, "ns", _in_turn(workers, question, size)))
    return rows


def bench_scrapes(size: Size, progress: Progress) -> list[Row]:
    rows = []
    with _workers(_MERGING) as (workers, _):
        for question, what in (
            ("scrape_counters", "scrape, 4 x 2040 series"),
            ("scrape_histograms", "scrape, 4 x 2000 histograms"),
        ):
            progress(what)
            # Ours reads the names of the series at the first one only.
            taken = {
                name: statistics.median(worker.ask(question, times=size.scrapes + 1)[1:]) * 1000
                for name, worker in workers.items()
            }
            rows.append(Row(what, "ms", {"sdk": None, **taken}))
    return rows


def bench_ends(_: Size, progress: Progress) -> list[Row]:
    progress("killed workers")
    with _workers() as (workers, receiver):
        rows = [_survivors(workers, receiver)]
    progress("104 workers")
    with _workers(_MERGING) as (workers, _receiver):
        files = {name: worker.ask("files", workers=104) for name, worker in workers.items()}
    return [*rows, Row("files after 104 workers", "", {"sdk": None, **files})]


@contextmanager
def _workers(
    names: tuple[str, ...] = _STORES,
) -> Iterator[tuple[dict[str, Worker], telemetry.OtlpReceiver]]:
    with ExitStack() as stack:
        receiver = stack.enter_context(telemetry.OtlpReceiver())
        yield (
            {
                name: stack.enter_context(
                    Worker("store_worker.py", name, receiver.endpoint, env=clean_environ())
                )
                for name in names
            },
            receiver,
        )


def _in_turn(workers: dict[str, Worker], question: str, size: Size) -> dict[str, float | None]:
    taken: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(size.rounds):
        for name, worker in workers.items():
            taken[name].append(worker.ask(question, rounds=size.measurements))
    return {name: statistics.median(times) for name, times in taken.items()}


def _survivors(workers: dict[str, Worker], receiver: telemetry.OtlpReceiver) -> Row:
    lost: dict[str, float | None] = {}
    for name, worker in workers.items():
        total, counted = worker.ask("survive", killed=12, recycled=2)
        if name == "sdk":
            last = {
                (point.resource["process.pid"], tuple(sorted(point.attributes.items()))): point
                for point in receiver.points
                if point.name == "adds"
            }
            counted = sum(point.value for point in last.values())
        lost[name] = total - counted
    return Row("lost of 14000, 12 x SIGKILL", "", lost)


_STORE_PARTS = {"instruments": bench_instruments, "scrapes": bench_scrapes, "ends": bench_ends}


# Requests


@dataclass(frozen=True)
class Request:
    """The second table's line of one variant, µs of CPU a request."""

    variant: str
    cpu: float
    overhead: float
    sending: float  # of it, sending the spans
    spans: float
    pushed: int  # data points of metrics, in the whole run


def bench_requests(size: Size, progress: Progress) -> tuple[list[Request], list[float]]:
    """The variants, and the ratio of the overheads in each round."""
    progress("starting PostgreSQL")
    turns: dict[str, list[float]] = {name: [] for name in _VARIANTS}
    flushes: dict[str, list[float]] = {name: [] for name in _VARIANTS}
    rounds: dict[str, list[float]] = {name: [] for name in _VARIANTS}
    with _variants("hello_worker.py") as (workers, receiver):
        for worker in workers.values():
            worker.ask("call", times=100)
            worker.ask("flush")
        receiver.counted.clear()
        for number in range(size.rounds):
            progress(f"hello, round {number + 1} of {size.rounds}")
            for _ in range(_TURNS):
                for name, worker in workers.items():
                    turns[name].append(worker.ask("call", times=_REQUESTS) / _REQUESTS)
            for name, worker in workers.items():
                flushes[name].append(worker.ask("flush") / _REQUESTS / _TURNS)
                rounds[name].append(statistics.mean(turns[name][-_TURNS:]) + flushes[name][-1])
        pushed = Counter(point.resource["service.name"] for point in receiver.points)
    calls = size.rounds * _TURNS * _REQUESTS
    requests: list[Request] = []
    for name in _VARIANTS:
        cpu = statistics.median(turns[name]) + statistics.median(flushes[name])
        overhead = cpu - requests[0].cpu if requests else 0.0
        requests.append(
            Request(
                name,
                cpu,
                overhead,
                statistics.median(flushes[name]),
                receiver.counted[name] / calls,
                pushed[name],
            )
        )
    ratios = [
        (ours - bare) / (contrib - bare)
        for bare, ours, contrib in zip(*(rounds[name] for name in _VARIANTS), strict=True)
    ]
    return requests, ratios


# Statements


@dataclass(frozen=True)
class Statement:
    """The third table's line of one variant, µs of CPU a statement."""

    variant: str
    sampled: bool
    cpu: float
    overhead: float
    sending: float


def bench_statements(size: Size, progress: Progress) -> list[Statement]:
    found = []
    progress("starting PostgreSQL")
    with _variants("sql_worker.py") as (workers, _):
        for sampled in (True, False):
            turns: dict[str, list[float]] = {name: [] for name in _VARIANTS}
            flushes: dict[str, list[float]] = {name: [] for name in _VARIANTS}
            for worker in workers.values():
                worker.ask("call", times=100, sampled=sampled)
                worker.ask("flush")
            for number in range(size.rounds):
                progress(f"statements, round {number + 1} of {size.rounds}")
                for _ in range(_TURNS):
                    for name, worker in workers.items():
                        taken = worker.ask("call", times=_STATEMENTS, sampled=sampled)
                        turns[name].append(taken / _STATEMENTS)
                for name, worker in workers.items():
                    flushes[name].append(worker.ask("flush") / _STATEMENTS / _TURNS)
            for name in _VARIANTS:
                sending = statistics.median(flushes[name])
                # Each turn with the bare one beside it: what the machine does changes meanwhile.
                more = map(operator.sub, turns[name], turns["bare"])
                overhead = statistics.median(more) + sending
                cpu = statistics.median(turns[name]) + sending
                found.append(Statement(name, sampled, cpu, overhead, sending))
    return found


@contextmanager
def _variants(program: str) -> Iterator[tuple[dict[str, Worker], CountingReceiver]]:
    with ExitStack() as stack:
        database = stack.enter_context(servers.postgres())
        receiver = stack.enter_context(CountingReceiver())
        bare = clean_environ(
            SQLALCHEMY_URL=database.url, PYTHONWARNINGS="ignore:pkg_resources is deprecated"
        )
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"], cwd=_APP, env=bare, check=True
        )
        sending = {
            **bare,
            **_STABLE,
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_METRIC_EXPORT_INTERVAL": "2000",
            # They are sent when we say so, to be seen apart.
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
        }
        wrappers = {"c2cotel": [script("opentelemetry-instrument")]}
        workers = {
            name: stack.enter_context(
                Worker(
                    program,
                    name,
                    env=bare if name == "bare" else {**sending, "OTEL_SERVICE_NAME": name},
                    wrapper=wrappers.get(name, []),
                )
            )
            for name in _VARIANTS
        }
        yield workers, receiver


def profile(variant: str, program: str, **how: Any) -> list[list[Any]]:
    """Where the time of *variant* goes, by function."""
    with _variants(program) as (workers, _):
        workers[variant].ask("call", times=100, **how)
        rows: list[list[Any]] = workers[variant].ask("profile", times=200, **how)
        return rows


# The result


def targets(rows: list[Row], requests: list[Request], statements: list[Statement]) -> list[Target]:
    found = []
    for row in rows:
        if row.what not in {ADD, RECORD}:
            continue
        ours, sdk, client = (row.sides[name] or 0.0 for name in _STORES)
        found.append(Target(f"{row.what} / SDK", ours / sdk, 1 / 6))
        found.append(Target(f"{row.what} / prometheus_client", ours / client, 1 / 2))
    if requests:
        _, ours, contrib = (request.overhead for request in requests)
        found.append(Target("overhead of a request / contrib", ours / contrib, 1 / 3))
    overheads = {(each.variant, each.sampled): each.overhead for each in statements}
    for sampled, most in ((True, 1 / 2), (False, 1 / 4)) if statements else ():
        name = f"overhead of {_sampled(sampled)} statement / contrib"
        ratio = overheads["c2cotel", sampled] / overheads["contrib", sampled]
        found.append(Target(name, ratio, most))
    return found


def _sampled(sampled: bool) -> str:  # noqa: FBT001 - the word for it
    return "a sampled" if sampled else "an unsampled"


def show(
    console: Console,
    rows: list[Row],
    requests: list[Request],
    ratios: list[float],
    statements: list[Statement],
) -> list[Target]:
    if rows:
        table = Table("", "c2cotel", "OTel SDK", "prometheus_client", title="The metrics store")
        for row in rows:
            table.add_row(row.what, *(_number(row.sides[name], row.unit) for name in _STORES))
        console.print(table)
        console.print(
            "5 attributes; the SDK's workers push every second, its default is 60.", style="dim"
        )
    if requests:
        low, _, high = statistics.quantiles(ratios, n=4)
        title = "CPU of one sampled request, hello of the example"
        table = Table("", "CPU", "overhead", "of it sending", "spans", "points pushed", title=title)
        for request in requests:
            overhead = _number(request.overhead, "µs") if request.variant != "bare" else ""
            table.add_row(
                request.variant,
                _number(request.cpu, "µs"),
                overhead,
                _number(request.sending, "µs") if overhead else "",
                f"{request.spans:.2f}",
                str(request.pushed),
            )
        console.print(table)
        console.print(
            f"c2cotel / contrib by round: half are from {low:.2f} to {high:.2f}. Both send spans "
            "and metrics over OTLP, and put the trace on log lines.",
            style="dim",
        )
    if statements:
        console.print(_of_statements(statements))
    found = targets(rows, requests, statements)
    if found:
        table = Table("target", "ratio", "at most", "", title="Targets")
        for target in found:
            verdict = "[green]reached" if target.reached else "[red]missed"
            table.add_row(target.name, _ratio(target.ratio), _ratio(target.most), verdict)
        console.print(table)
    return found


def _of_statements(statements: list[Statement]) -> Table:
    title = "CPU of one statement, SELECT by primary key"
    table = Table("", "", "CPU", "overhead", "of it sending", title=title)
    for each in statements:
        measured = each.variant != "bare"
        table.add_row(
            "sampled" if each.sampled else "unsampled",
            each.variant,
            _number(each.cpu, "µs"),
            f"{each.overhead:.1f} µs" if measured else "",
            f"{each.sending:.1f} µs" if measured else "",
        )
    return table


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} {unit}" if unit == "ms" else f"{value:.0f} {unit}".rstrip()


def _ratio(ratio: float) -> str:
    return f"1/{1 / ratio:.1f}" if ratio > 0 else f"{ratio:.2f}"


def main() -> int:
    parser = ArgumentParser(description="What measuring costs, next to the alternatives.")
    parser.add_argument("--quick", action="store_true", help="less of everything, noisier")
    parser.add_argument(
        "--only", choices=(*_STORE_PARTS, "requests", "statements"), help="one part of it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--profile", choices=_VARIANTS, help="only tell where its time goes")
    parser.add_argument(
        "--unsampled", action="store_true", help="with --profile and --only statements"
    )
    arguments = parser.parse_args()
    size = _QUICK if arguments.quick else _FULL
    console = Console()
    if arguments.profile:
        how: tuple[str, dict[str, Any]] = "hello_worker.py", {}
        if arguments.only == "statements":
            how = "sql_worker.py", {"sampled": not arguments.unsampled}
        for name, calls, own, cumulated in profile(arguments.profile, how[0], **how[1])[:150]:
            print(f"{own:8.1f} µs own {cumulated:8.1f} µs {calls:6.1f} x  {name}")
        return 0
    with console.status("…") as status:
        rows = [
            row
            for part, bench in _STORE_PARTS.items()
            if arguments.only in {None, part}
            for row in bench(size, status.update)
        ]
        requests: list[Request] = []
        ratios: list[float] = []
        if arguments.only in {None, "requests"}:
            requests, ratios = bench_requests(size, status.update)
        statements: list[Statement] = []
        if arguments.only in {None, "statements"}:
            statements = bench_statements(size, status.update)
    found = show(console, rows, requests, ratios, statements)
    if arguments.json:
        result = {
            "store": [asdict(row) for row in rows],
            "requests": [asdict(request) for request in requests],
            "statements": [asdict(each) for each in statements],
            "targets": [{**asdict(target), "reached": target.reached} for target in found],
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if all(target.reached for target in found) else 1


if __name__ == "__main__":
    sys.exit(main())
