"""What measuring costs, next to the alternatives: ``make bench``.

Three tables in one run: the metrics store beside OpenTelemetry's SDK and prometheus_client's
multiprocess mode; and the CPU that a request of the example's hello, and one statement of many in
a request, take bare, with c2cotel and with contrib's instrumentation on the SDK. Each side runs in
a process of its own, and all take turns, so that whatever else the machine does falls on all of
them. Medians are shown. The exit status is 1 if a target is missed.
"""

import json
import statistics
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console
from rich.table import Table
from variants import (
    REQUEST,
    STATEMENT,
    VARIANTS,
    Comparison,
    Progress,
    Size,
    compare_requests,
    compare_statements,
    profile,
)
from workers import Worker, clean_environ

from c2cotel_acceptance import telemetry

_STORES = ("c2cotel", "sdk", "prometheus_client")
_MERGING = ("c2cotel", "prometheus_client")
ADD, RECORD = "counter.add", "histogram.record"
# What c2cotel may add, as a part of what contrib does.
_MOST = {"a request": 1 / 3, "a sampled statement": 1 / 2, "an unsampled statement": 1 / 4}


_FULL = Size(rounds=25, starts=5, measurements=200, scrapes=7)
_QUICK = Size(rounds=9, starts=3, measurements=200, scrapes=1)


@dataclass(frozen=True)
class Target:
    """A ratio that is not to be exceeded."""

    name: str
    ratio: float
    most: float

    @property
    def reached(self) -> bool:
        return self.ratio <= self.most


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
_COMPARISONS = {"requests": compare_requests, "statements": compare_statements}


# The result


def targets(rows: list[Row], comparisons: list[Comparison]) -> list[Target]:
    found = []
    for row in rows:
        if row.what not in {ADD, RECORD}:
            continue
        ours, sdk, client = (row.sides[name] or 0.0 for name in _STORES)
        found.append(Target(f"{row.what} / SDK", ours / sdk, 1 / 6))
        found.append(Target(f"{row.what} / prometheus_client", ours / client, 1 / 2))
    return [
        *found,
        *(
            Target(f"overhead of {each.what} / contrib", each.ratio, _MOST[each.what])
            for each in comparisons
        ),
    ]


def show(console: Console, rows: list[Row], comparisons: list[Comparison]) -> list[Target]:
    if rows:
        console.print(_of_stores(rows))
        console.print(
            "5 attributes; the SDK's workers push every second, its default is 60.", style="dim"
        )
    if comparisons:
        console.print(_of_comparisons(comparisons))
        console.print(
            "hello of the example; SELECT by primary key. Both send spans, and points of metrics, "
            "over OTLP, and put the trace on log lines.",
            style="dim",
        )
    found = targets(rows, comparisons)
    if found:
        console.print(_of_targets(found))
    for each in comparisons:
        low, _, high = statistics.quantiles(each.ratios, n=4)
        half = f"half of the rounds are from {low:.2f} to {high:.2f}"
        console.print(f"c2cotel / contrib, {each.what}: {half}.", style="dim")
    return found


def _of_stores(rows: list[Row]) -> Table:
    table = Table("", "c2cotel", "OTel SDK", "prometheus_client", title="The metrics store")
    for row in rows:
        table.add_row(row.what, *(_number(row.sides[name], row.unit) for name in _STORES))
    return table


def _of_comparisons(comparisons: list[Comparison]) -> Table:
    heads = ("", "", "CPU", "overhead", "of it sending", "spans", "points")
    table = Table(*heads, title="CPU of a request, and of a statement in one")
    for each in comparisons:
        for cost in each.costs:
            measured = cost.variant != "bare"
            table.add_row(
                "" if measured else each.what,
                cost.variant,
                _number(cost.cpu, "µs"),
                f"{cost.overhead:.1f} µs" if measured else "",
                f"{cost.sending:.1f} µs" if measured else "",
                f"{cost.spans:.2f}",
                str(cost.points),
            )
    return table


def _of_targets(targets: list[Target]) -> Table:
    table = Table("target", "ratio", "at most", "", title="Targets")
    for target in targets:
        verdict = "[green]reached" if target.reached else "[red]missed"
        table.add_row(target.name, _ratio(target.ratio), _ratio(target.most), verdict)
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
    parser.add_argument("--only", choices=(*_STORE_PARTS, *_COMPARISONS), help="one part of it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--profile", choices=VARIANTS, help="only tell where its time goes")
    parser.add_argument(
        "--unsampled", action="store_true", help="with --profile and --only statements"
    )
    arguments = parser.parse_args()
    size = _QUICK if arguments.quick else _FULL
    console = Console()
    if arguments.profile:
        how: tuple[str, dict[str, Any]] = REQUEST, {}
        if arguments.only == "statements":
            how = STATEMENT, {"sampled": not arguments.unsampled}
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
        comparisons = [
            comparison
            for part, compare in _COMPARISONS.items()
            if arguments.only in {None, part}
            for comparison in compare(size, status.update)
        ]
    found = show(console, rows, comparisons)
    if arguments.json:
        result = {
            "store": [asdict(row) for row in rows],
            "comparisons": [asdict(each) for each in comparisons],
            "targets": [{**asdict(target), "reached": target.reached} for target in found],
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if all(target.reached for target in found) else 1


if __name__ == "__main__":
    sys.exit(main())
