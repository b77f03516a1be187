"""What ``c2cotel stats-db`` is to tell, told by a stand-in: the command is not built yet.

OpenTelemetry's own SDK and exporter, with the instruments of the catalogue, as the command will
have them; a thousand tables, of which some grow. It is there for one scrape each time that it is
run, as the command. When there is the command, it takes this place.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

from c2cotel_boards import catalogue

TABLES: Final = 1000
_SCHEMAS: Final = ("public", "archive")
Labels = dict[str, str]
_Values = Iterable[tuple[float, Labels]]
_STARTED: Final = time.time()


def _tables() -> Iterator[tuple[int, Labels]]:
    for number in range(TABLES):
        schema = _SCHEMAS[number % len(_SCHEMAS)]
        yield number, {"schema": schema, "table": f"table_{number:03}"}


def _indexes() -> Iterator[tuple[int, Labels]]:
    for number, table in _tables():
        for column in ("id", "name"):
            yield number, {**table, "index": f"{table['table']}_{column}"}


def _of_tables(value: Callable[[int], float]) -> Callable[[], _Values]:
    return lambda: ((value(number), labels) for number, labels in _tables())


def _of_indexes(value: Callable[[int], float]) -> Callable[[], _Values]:
    return lambda: ((value(number), labels) for number, labels in _indexes())


def _forks() -> _Values:
    for number, labels in _indexes():
        yield 8192.0 * number, {**labels, "fork": "main"}
        yield 24576.0, {**labels, "fork": "fsm"}


def _grown() -> float:
    return time.time() - _STARTED


_ALL: Final[dict[str, Callable[[], _Values]]] = {
    "size": lambda: [(1e9 + 1e6 * _grown(), {})],
    "table.rows": _of_tables(lambda number: 100.0 * number),
    "table.dead_rows": _of_tables(lambda number: 30.0 * number),
    "table.size": _of_tables(lambda number: 8192.0 * number * (1 + (number % 7) * _grown())),
    "table.scans": _of_tables(lambda number: 5 + (number % 3) * _grown()),
    "index.size": _forks,
    "index.scans": _of_indexes(lambda number: float(number % 5)),
    "index.entries_read": _of_indexes(lambda number: 20.0 * (number % 5)),
    "index.rows_fetched": _of_indexes(lambda number: 10.0 * (number % 5)),
    "extra": lambda: [(float(len(name)), {"metric": name}) for name in ("users", "sessions")],
    "statistics.time": lambda: [(time.time(), {})],
    "statistics.duration": lambda: [(1.5, {})],
    "statistics.failures": lambda: [(0.0, {})],
}


def _observe(name: str) -> Callable[[CallbackOptions], Iterator[Observation]]:
    values = _ALL[name.removeprefix("c2c.database.")]

    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for value, labels in values():
            yield Observation(value, {"db.namespace": "app", **labels})

    return observe


def told() -> bytes:
    """What a run tells Prometheus."""
    registry = CollectorRegistry()
    provider = MeterProvider([PrometheusMetricReader(registry=registry)], shutdown_on_exit=False)
    meter = provider.get_meter("c2cotel.stats_db")
    for metric in catalogue.STATISTICS:
        meter.create_observable_gauge(metric.name, [_observe(metric.name)], metric.unit)
    text: bytes = generate_latest(registry)
    provider.shutdown()
    return text


class Runs:
    """Runs of the command; *address* is where each is scraped once, and nobody answers between.

    Attributes:
        text: What the last one has told.
    """

    def __init__(self) -> None:
        self.text = b""
        self._scraped = threading.Event()
        self._scraped.set()
        runs = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                over = runs._scraped.is_set()
                self.send_response(503 if over else 200)
                self.end_headers()
                if not over:
                    self.wfile.write(runs.text)
                    runs._scraped.set()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.address = f"127.0.0.1:{self._server.server_port}"

    def run(self) -> None:
        """Run the command once, and wait until it has been scraped."""
        self.text = told()
        self._scraped.clear()
        assert self._scraped.wait(10)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
