"""What requests and statements cost bare, with c2cotel, and with contrib on the SDK.

Each variant runs in a process of its own, and the three take turns; their spans go to a receiver
here. A round is some turns and then the sending of their spans. Its overheads are compared within
it, so that what the machine does meanwhile is on both sides of the ratio. Turns are short, and
their median is taken, so that what falls on some of them only is in none. A process is some percent
faster or slower than the next one of its kind, all its life: there are several of each.
"""

import operator
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from workers import Worker, clean_environ

from c2cotel_acceptance import servers, telemetry
from c2cotel_acceptance.processes import script

VARIANTS = ("bare", "c2cotel", "contrib")
REQUEST, STATEMENT = "hello_worker.py", "sql_worker.py"

_APP = Path(__file__).parents[1] / "app"
_STABLE = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http,database"}
# Of each round, and of each turn: the spans of a round fill less than a batch, so all are sent when
# it is over.
_TURNS = 20
_TIMES = {REQUEST: 6, STATEMENT: 20}

Progress = Callable[[str], None]


class CountingReceiver(telemetry.OtlpReceiver):
    """Counts the spans and the points of each service, and keeps no more of them: there are many.

    *counted* has them by name of the service, and ``spans`` or ``points``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[tuple[str, str]] = Counter()

    def take(self, path: str, headers: Message, body: bytes) -> int:
        if path != "/v1/traces":
            status = super().take(path, headers, body)
            self.counted.update(
                (point.resource["service.name"], "points") for point in self._points
            )
            self._points.clear()
            return status
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {pair.key: pair.value.string_value for pair in group.resource.attributes}
            for scope in group.scope_spans:
                self.counted[service["service.name"], "spans"] += len(scope.spans)
        return 200


@dataclass(frozen=True)
class Size:
    """How much is done."""

    rounds: int
    starts: int  # of each variant's process, in which the rounds are divided
    measurements: int  # of the stores, by tens, in each round
    scrapes: int


@dataclass(frozen=True)
class Cost:
    """What one request or statement of a variant takes, µs of CPU, medians."""

    variant: str
    cpu: float
    overhead: float
    sending: float  # of it, sending the spans
    spans: float
    points: int  # of metrics, pushed in the whole run


@dataclass(frozen=True)
class Comparison:
    """The variants side by side, and by round what c2cotel adds as a part of what contrib does."""

    what: str
    costs: list[Cost]
    ratios: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def compare_requests(size: Size, progress: Progress) -> list[Comparison]:
    return _compare(REQUEST, size, progress, {"a request": {}})


def compare_statements(size: Size, progress: Progress) -> list[Comparison]:
    asked = {"a sampled statement": {"sampled": True}, "an unsampled statement": {"sampled": False}}
    return _compare(STATEMENT, size, progress, asked)


def profile(variant: str, program: str, **how: Any) -> list[list[Any]]:
    """Where the time of *variant* goes, by function."""
    with _surroundings() as (environs, _), _started(program, environs) as workers:
        worker = workers[variant]
        worker.ask("begin", **how)
        worker.ask("call", times=100)
        rows: list[list[Any]] = worker.ask("profile", times=200)
        worker.ask("end")
        return rows


def _compare(
    program: str, size: Size, progress: Progress, asked: Mapping[str, Mapping[str, Any]]
) -> list[Comparison]:
    """Compare what *program* is *asked*: how, by what it is."""
    progress("starting PostgreSQL")
    with _surroundings() as (environs, receiver):
        found = [_Measuring(what, how, _TIMES[program], receiver) for what, how in asked.items()]
        for start in range(size.starts):
            with _started(program, environs) as workers:
                for measuring in found:
                    progress(f"{measuring.what}, processes {start + 1} of {size.starts}")
                    measuring.measure(workers, size.rounds // size.starts)
    return [measuring.result() for measuring in found]


class _Measuring:
    """Asks workers in turn for a number of *times* what *how* says; *receiver* gets the spans."""

    def __init__(
        self, what: str, how: Mapping[str, Any], times: int, receiver: CountingReceiver
    ) -> None:
        self.what = what
        self._how = how
        self._times = times
        self._receiver = receiver
        self._counted: Counter[tuple[str, str]] = Counter()
        # By turn, and by round; each for one time.
        self._turns: dict[str, list[float]] = {name: [] for name in VARIANTS}
        self._flushes: dict[str, list[float]] = {name: [] for name in VARIANTS}

    def measure(self, workers: dict[str, Worker], rounds: int) -> None:
        for worker in workers.values():
            worker.ask("begin", **self._how)
            worker.ask("call", times=100)
            worker.ask("end")
            worker.ask("flush")
        before = self._receiver.counted.copy()
        for _ in range(rounds):
            self._go_round(workers)
        self._counted += self._receiver.counted - before

    def _go_round(self, workers: dict[str, Worker]) -> None:
        for worker in workers.values():
            worker.ask("begin", **self._how)
        for _ in range(_TURNS):
            for name, worker in workers.items():
                self._turns[name].append(worker.ask("call", times=self._times) / self._times)
        for name, worker in workers.items():
            worker.ask("end")
            self._flushes[name].append(worker.ask("flush") / self._times / _TURNS)

    def result(self) -> Comparison:
        """What was found.

        Raises:
            RuntimeError: a variant's spans have not arrived, so its failures were measured.
        """
        times = len(self._turns["bare"]) * self._times
        costs = []
        for name in VARIANTS:
            spans = self._counted[name, "spans"] / times
            if name != "bare" and self._how.get("sampled", True) and spans < 1:
                raise RuntimeError(
                    f"{name}: {spans:.2f} spans of {self.what} have arrived. "
                    "What it takes to fail is no measure."
                )
            sending = statistics.median(self._flushes[name])
            cpu = statistics.median(self._turns[name]) + sending
            overhead = statistics.median(self._more(name)) + sending
            points = self._counted[name, "points"]
            costs.append(Cost(name, cpu, overhead, sending, spans, points))
        ours, contrib = (self._overheads(name) for name in VARIANTS[1:])
        return Comparison(self.what, costs, list(map(operator.truediv, ours, contrib)))

    def _more(self, name: str) -> list[float]:
        """What each turn takes more than the bare one beside it."""
        return list(map(operator.sub, self._turns[name], self._turns["bare"]))

    def _overheads(self, name: str) -> list[float]:
        """Of each round; a single turn that something else has disturbed does not count."""
        rounds = zip(*[iter(self._more(name))] * _TURNS, strict=True)
        return [
            statistics.median(turns) + sending
            for turns, sending in zip(rounds, self._flushes[name], strict=True)
        ]


@contextmanager
def _surroundings() -> Iterator[tuple[dict[str, dict[str, str]], CountingReceiver]]:
    """The environment of each variant, and who receives what it sends."""
    with servers.postgres() as database, CountingReceiver() as receiver:
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
        environs = {
            name: bare if name == "bare" else {**sending, "OTEL_SERVICE_NAME": name}
            for name in VARIANTS
        }
        yield environs, receiver


@contextmanager
def _started(
    program: str, environs: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, Worker]]:
    wrappers = {"c2cotel": [script("opentelemetry-instrument")]}
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                Worker(program, name, env=environ, wrapper=wrappers.get(name, []))
            )
            for name, environ in environs.items()
        }
