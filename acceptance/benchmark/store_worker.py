"""The process of one store, and the workers it forks: ``store_worker.py STORE ENDPOINT``."""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stores import ROUTES, STORES, Store, values
from workers import answer, silence

_HISTOGRAMS = 2000
# Of two counters: one has at most 2000.
_COUNTERS = (1020, 1020)


class Forked:
    """A forked worker that does *work* each time it is told to."""

    def __init__(self, store: Store, work: Callable[[], None]) -> None:
        self._store = store
        ours, theirs = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.close(ours[1])
                store.start_worker()
                while os.read(ours[0], 1):
                    work()
                    os.write(theirs[1], b".")
                store.end_worker()
            finally:
                os._exit(0)
        os.close(ours[0])
        os.close(theirs[1])
        self._tell, self._told = ours[1], theirs[0]

    def start(self) -> None:
        os.write(self._tell, b".")

    def wait(self) -> None:
        if not os.read(self._told, 1):
            raise RuntimeError(f"worker {self.pid} has failed")

    def end(self, number: signal.Signals | None = None) -> None:
        """Let it end, or kill it."""
        if number is not None:
            os.kill(self.pid, number)
        os.close(self._tell)
        os.waitpid(self.pid, 0)
        os.close(self._told)
        self._store.see_end_of(self.pid)


def main() -> None:
    kind, endpoint = sys.argv[1:]
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - mkdtemp's name in it
    store = STORES[kind](Path(tempfile.mkdtemp(prefix="c2cotel-bench-", dir=base)), endpoint)
    try:
        answer(
            silence(),
            add=lambda rounds: _nanoseconds(store.add, rounds),
            record=lambda rounds: _nanoseconds(store.record, rounds),
            scrape_counters=lambda times: _scrape(store, "counters", times),
            scrape_histograms=lambda times: _scrape(store, "histograms", times),
            files=lambda workers: _files(store, workers),
            survive=lambda killed, recycled: _survive(store, killed, recycled),
        )
    finally:
        store.leave()


def _nanoseconds(loop: Callable[[int], None], rounds: int) -> float:
    """CPU time of one measurement."""
    loop(10)
    started = time.process_time_ns()
    loop(rounds)
    return (time.process_time_ns() - started) / (rounds * ROUTES)


def _scrape(store: Store, what: str, times: int) -> list[float]:
    """Seconds of each scrape of four workers; every series changes in between."""
    if what == "counters":
        made = [(store.counter(f"c{number}"), n) for number, n in enumerate(_COUNTERS)]
    else:
        made = [(store.histogram("h"), _HISTOGRAMS)]

    def touch() -> None:
        for count, series in made:
            for route in range(series):
                count(1, values(route))

    taken = []
    with _workers(store, touch, 4) as workers:
        for _ in range(times):
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.wait()
            started = time.perf_counter()
            text = store.scrape()
            taken.append(time.perf_counter() - started)
            assert text.count(b"/api/items/1019")
    return taken


@contextlib.contextmanager
def _workers(store: Store, work: Callable[[], None], number: int) -> Iterator[list[Forked]]:
    workers = [Forked(store, work) for _ in range(number)]
    try:
        yield workers
    finally:
        for worker in workers:
            # The pipes' ends are inherited by the later ones: they would not see ours closed.
            worker.end(signal.SIGKILL)


def _files(store: Store, workers: int) -> int:
    def work() -> None:
        store.add(1)
        store.record(1)

    for _ in range(workers):
        worker = Forked(store, work)
        worker.start()
        worker.wait()
        worker.end()
    return store.files()


def _survive(store: Store, killed: int, recycled: int) -> list[float]:
    """How much was counted, and what is said of it; of killed and of recycled workers."""

    def work() -> None:
        for _ in range(1000 // (ROUTES * 2)):
            store.add(2)
            time.sleep(0.025)

    def fresh(number: int) -> list[Forked]:
        workers = [Forked(store, work) for _ in range(number)]
        for worker in workers:
            worker.start()
        return workers

    before = _total(store)
    doomed = fresh(killed)
    for worker in doomed:
        worker.wait()
        worker.end(signal.SIGKILL)
    for worker in reversed(fresh(recycled)):
        worker.wait()
        worker.end()
    store.files()
    return [(killed + recycled) * 1000, _total(store) - before]


def _total(store: Store) -> float:
    with contextlib.suppress(NotImplementedError):
        return sum(
            float(line.rpartition(b" ")[2])
            for line in store.scrape().splitlines()
            if line.startswith(b"adds_total")
        )
    return 0.0


if __name__ == "__main__":
    main()
