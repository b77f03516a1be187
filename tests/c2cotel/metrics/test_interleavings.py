"""Any interleaving of counting, forking, dying, folding gives the totals of a dictionary."""

import json
import math
import os
import select
import signal
import socket
import sys
import tempfile
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from c2cotel.metrics.fold import Folder
from c2cotel.metrics.merge import Merge

BOUNDS = (1.0, 10.0)
SERIES = st.sampled_from([{}, {"a": "x"}, {"a": "y", "b": 1}, {"b": 1, "a": "y"}])
AMOUNTS = st.integers(0, 100).map(float)
RULES = ("sum", "min", "max", "last")
CRASHES = {"os.rename", "os.remove"}


class Instruments:
    """Made before any fork, as an application's are."""

    def __init__(self, meter: Any) -> None:
        self.counter = meter.create_counter("counter")
        self.up_down = meter.create_up_down_counter("up_down")
        self.histogram = meter.create_histogram(
            "histogram", explicit_bucket_boundaries_advisory=BOUNDS
        )
        self.gauges = {name: meter.create_gauge(name, merge=name) for name in (*RULES, "pid")}


def crash_at(number: int) -> None:
    """Die at the *number*-th renaming or removal from now on, as by SIGKILL."""
    left = [number]

    def count(event: str, _: Any) -> None:
        if event in CRASHES:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def obey(host: Any, made: Instruments, address: str) -> None:
    """What a process of the group does until it is killed: what it is told over a socket."""
    from_driver = socket.socket(socket.AF_UNIX)
    from_driver.connect(address)
    from_driver.sendall(b"%d\n" % os.getpid())
    for line in from_driver.makefile("r"):
        what, *details = json.loads(line)
        if what == "add":
            made.counter.add(*details)
        elif what == "record":
            made.histogram.record(*details)
        elif what == "up_down":
            made.up_down.add(*details)
        elif what == "set":
            name, value, attributes = details
            made.gauges[name].set(value, attributes)
        elif what == "fold":
            Folder(host.directory).fold()
        elif what == "fork":
            host.fork(lambda _: obey(host, made, address), hooks=details[0])
        from_driver.sendall(b"done\n")


class Process:
    """The driver's end of one process."""

    def __init__(self, listener: socket.socket) -> None:
        self._socket, _ = listener.accept()
        self._socket.settimeout(20)
        self._lines = self._socket.makefile("r")
        self.pid = int(self._lines.readline())
        self._exited = os.pidfd_open(self.pid)

    def do(self, *what: Any) -> None:
        self._socket.sendall(json.dumps(what).encode() + b"\n")
        assert self._lines.readline() == "done\n"

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        assert select.select([self._exited], [], [], 20)[0]
        os.close(self._exited)
        self._lines.close()
        self._socket.close()


class Interleaving(RuleBasedStateMachine):
    """Hypothesis chooses what happens next; after each step the merge must agree."""

    host_in: Any

    def __init__(self) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory()
        path = Path(self._temporary.name)
        self._context = self.host_in(path / "run")
        self.host = self._context.__enter__()
        self.made = Instruments(self.host.meter)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(20)
        self.listener.bind(str(path / "socket"))
        self.listener.listen(64)
        self.address = str(path / "socket")
        self.merge = Merge(self.host.path)
        self.processes: list[Process] = []
        # The plain dictionaries.
        self.totals: Counter[Any] = Counter()
        self.of_living: dict[int, Counter[Any]] = defaultdict(Counter)
        self.gauges: dict[int, dict[Any, float]] = defaultdict(dict)
        self.last: dict[Any, float] = {}

    @initialize()
    def begin(self) -> None:
        self.host.fork(lambda _: obey(self.host, self.made, self.address))
        self.processes.append(Process(self.listener))

    def any(self, number: int) -> Process:
        return self.processes[number % len(self.processes)]

    @rule(number=st.integers(0, 9), attributes=SERIES, amount=AMOUNTS)
    def add(self, number, attributes, amount):
        self.any(number).do("add", amount, attributes)
        self.totals["counter", key(attributes)] += amount

    @rule(number=st.integers(0, 9), attributes=SERIES, amount=AMOUNTS)
    def record(self, number, attributes, amount):
        self.any(number).do("record", amount, attributes)
        bucket = sum(amount > bound for bound in BOUNDS)
        self.totals["histogram", key(attributes), bucket] += 1
        self.totals["histogram", key(attributes), "sum"] += amount

    @rule(number=st.integers(0, 9), attributes=SERIES, amount=AMOUNTS)
    def up_and_down(self, number, attributes, amount):
        process = self.any(number)
        process.do("up_down", amount - 50, attributes)
        self.of_living[process.pid][key(attributes)] += amount - 50

    @rule(
        number=st.integers(0, 9),
        attributes=SERIES,
        amount=AMOUNTS,
        name=st.sampled_from((*RULES, "pid")),
    )
    def set(self, number, attributes, amount, name):
        process = self.any(number)
        process.do("set", name, amount, attributes)
        self.gauges[process.pid][name, key(attributes)] = amount
        if name == "last":
            self.last[key(attributes)] = amount

    @precondition(lambda self: len(self.processes) < 6)
    @rule(number=st.integers(0, 9), hooks=st.booleans())
    def fork(self, number, hooks):
        self.any(number).do("fork", hooks)
        child = Process(self.listener)
        self.processes.append(child)
        # One that was forked without hooks and measures nothing holds its parent's slab.
        child.do("add", 1.0, {})
        self.totals["counter", ()] += 1.0

    @precondition(lambda self: self.processes)
    @rule(number=st.integers(0, 9))
    def die(self, number):
        process = self.processes.pop(number % len(self.processes))
        process.kill()
        self.of_living.pop(process.pid, None)
        self.gauges.pop(process.pid, None)
        if not self.processes:
            self.begin()

    @rule(number=st.integers(0, 9))
    def fold(self, number):
        self.any(number).do("fold")

    @rule(step=st.integers(0, 5))
    def fold_that_dies(self, step):
        def fold(_: Any) -> None:
            crash_at(step)
            Folder(self.host.directory).fold()

        self.host.fork(fold).join()

    @rule(size=st.integers(0, 200))
    def writing_that_dies(self, size):
        (self.host.path / "folded.slab.99999.tmp").write_bytes(b"C2CSLAB1" * size)
        (self.host.path / "slab-99999-1.tmp").write_bytes(b"")

    @invariant()
    def merge_agrees(self) -> None:
        for merge in (self.merge, Merge(self.host.path)):
            assert self.merged(merge) == self.expected()
            assert merge.unreadable == set()

    def merged(self, merge: Merge) -> dict[Any, float]:
        found = {}
        for name, series in self.host.merged(merge).items():
            for attributes, value in series.items():
                if name == "histogram":
                    *buckets, total = value
                    found |= {(name, attributes, n): count for n, count in enumerate(buckets)}
                    found[name, attributes, "sum"] = total
                elif not name.startswith("c2c."):
                    found[name, attributes] = value
        return {k: v for k, v in found.items() if v != 0 or k[0] in (*RULES, "pid")}

    def expected(self) -> dict[Any, float]:
        expected: dict[Any, float] = {k: v for k, v in self.totals.items() if v}
        up_down: Counter[Any] = Counter()
        for counts in self.of_living.values():
            up_down.update(counts)
        expected |= {("up_down", k): v for k, v in up_down.items() if v}
        several: dict[Any, list[float]] = defaultdict(list)
        for pid, values in self.gauges.items():
            for (name, attributes), value in values.items():
                if name == "pid":
                    expected[name, key(dict(attributes) | {"pid": pid})] = value
                elif name != "last":
                    several[name, attributes].append(value)
        merges = {"sum": math.fsum, "min": min, "max": max}
        expected |= {k: merges[k[0]](values) for k, values in several.items()}
        return expected | {("last", k): v for k, v in self.last.items()}

    def teardown(self) -> None:
        for process in self.processes:
            process.kill()
        self.listener.close()
        self._context.__exit__(None, None, None)
        self._temporary.cleanup()


def key(attributes: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(attributes.items()))


def test_any_interleaving_gives_the_totals_of_a_plain_dictionary(host_in):
    run_state_machine_as_test(
        type("Machine", (Interleaving,), {"host_in": staticmethod(host_in)}),
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
