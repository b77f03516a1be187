"""Real processes that count in a run directory of the test's own."""

import ctypes
import os
import pickle
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from c2cotel.metrics.directory import RunDirectory
from c2cotel.metrics.fold import Folder
from c2cotel.metrics.joining import join
from c2cotel.metrics.merge import Merge
from c2cotel.metrics.provider import Meter, MeterProvider
from c2cotel.metrics.store import Store

PATIENCE = 20.0


class Channel:
    """Python objects over a pair of pipes."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = os.fdopen(reading, "rb")
        self._writing = os.fdopen(writing, "wb")

    def say(self, value: Any) -> None:
        pickle.dump(value, self._writing)
        self._writing.flush()

    def hear(self) -> Any:
        assert select.select([self._reading], [], [], PATIENCE)[0], "the other process is silent"
        return pickle.load(self._reading)

    def speaks(self, seconds: float) -> bool:
        return bool(select.select([self._reading], [], [], seconds)[0])

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._writing.close()
        self._reading.close()


class Child:
    """A forked process that runs one function; ``say`` and ``hear`` speak with it."""

    def __init__(self, function: Callable[[Channel], Any], fork: Callable[[], int]) -> None:
        (down, say), (hear, up) = os.pipe(), os.pipe()
        self.pid = fork()
        if self.pid == 0:
            _run(function, Channel(down, up), (say, hear))
        os.close(down)
        os.close(up)
        self.exited = os.pidfd_open(self.pid)
        self._channel = Channel(hear, say)
        self.say, self.hear = self._channel.say, self._channel.hear
        self.speaks = self._channel.speaks

    def ask(self, value: Any) -> Any:
        self.say(value)
        return self.hear()

    def kill(self) -> None:
        """By the OOM killer, so to speak."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.join()

    def join(self) -> None:
        if self.exited is not None:
            gone = select.select([self.exited], [], [], PATIENCE)[0]
            os.close(self.exited)
            self.exited = None
            self._channel.close()
            assert gone, "the process does not end"
            with suppress(ChildProcessError):  # a grandchild, or reaped already
                os.waitpid(self.pid, 0)


def _run(function: Callable[[Channel], Any], channel: Channel, others: tuple[int, ...]) -> None:
    """In the child; never returns."""
    status = 1
    try:
        for descriptor in others:
            os.close(descriptor)
        # What pytest does at a signal or a timeout is not for a child.
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        function(channel)
        channel.close()
        status = 0
    except BaseException:  # noqa: BLE001 - it must not go on as a second pytest
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(status)


def fork_with_hooks() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of fork in a process with threads; that this works is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def fork_without_hooks() -> int:
    """As a C program that embeds Python does. PyDLL: the child has the GIL."""
    return int(ctypes.PyDLL(None).fork())


class Host:
    """The first process of a group, which is the test, and those forked from it."""

    def __init__(self, directory: RunDirectory | None, **options: Any) -> None:
        self.directory = directory
        self.store = Store(directory, **options)
        self.provider = MeterProvider(self.store)
        self.children: list[Child] = []

    @property
    def path(self) -> Path:
        assert self.directory is not None
        return self.directory.path

    @property
    def meter(self) -> Meter:
        return self.provider.get_meter("tests")

    def fork(self, function: Callable[[Channel], Any], *, hooks: bool = True) -> Child:
        child = Child(function, fork_with_hooks if hooks else fork_without_hooks)
        self.children.append(child)
        return child

    def orphan(self, function: Callable[[], Any], *, hooks: bool = True) -> int:
        """Fork one that outlives this process, until the test ends; its pid."""

        def run(channel: Channel) -> None:
            channel.say(function())
            signal.alarm(60)
            signal.pause()

        # Without hooks a child may hang in Python itself: the mutex within the GIL was another
        # thread's when it was forked. If it is of ours, all of them hang.
        for _ in range(1 if hooks else 4):
            child = self.fork(run, hooks=hooks)
            if child.speaks(PATIENCE if hooks else PATIENCE / 4):
                break
            child.kill()
        child.hear()
        return child.pid

    def ended(self, function: Callable[[], Any]) -> None:
        """Have a process run *function* to its end."""
        child = self.fork(lambda channel: channel.say(function()))
        child.hear()
        child.join()

    def fold(self) -> int:
        assert self.directory is not None
        return Folder(self.directory, self.store.max_series).fold()

    def merged(self, merge: Merge | None = None) -> dict[str, dict[tuple[Any, ...], Any]]:
        """Instrument, attributes and number of every series; of a histogram all its numbers."""
        path = self.directory.path if self.directory else None
        merge = merge or Merge(path, self.store.max_series, self.store.private_image)
        merged: dict[str, dict[tuple[Any, ...], Any]] = {}
        for family, rows in merge.read():
            width = family.description.doubles
            series = merged.setdefault(family.description.name, {})
            for row in rows:
                single = width == 1 or family.description.is_gauge
                series[row.key] = row.values[0] if single else row.values
        return merged

    def slabs(self) -> list[str]:
        return sorted(p.name for p in self.path.iterdir() if p.name.endswith(".slab"))

    def close(self) -> None:
        for child in self.children:
            child.kill()
        if self.store.slab is not None:
            self.store.slab.close()
        if self.directory is not None:
            self.directory.leave()


@pytest.fixture(autouse=True)
def _no_run_directory(monkeypatch, tmp_path):
    """Nothing of a test is made in /dev/shm, also if it forgets to say where."""
    monkeypatch.setenv("C2C_RUN_DIR", str(tmp_path / "run"))


@contextmanager
def hosting(path: Path, **options: Any) -> Iterator[Host]:
    host = Host(join({"C2C_RUN_DIR": str(path)}), **options)
    try:
        yield host
    finally:
        host.close()


@pytest.fixture
def host_in():
    return hosting


@pytest.fixture
def host(tmp_path) -> Iterator[Host]:
    with hosting(tmp_path / "run") as made:
        yield made


@pytest.fixture
def small_host(tmp_path) -> Iterator[Host]:
    """One where an instrument has at most ten series."""
    with hosting(tmp_path / "run", max_series=10) as made:
        yield made


def wait_until(condition: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)
    return result


@pytest.fixture
def eventually():
    return wait_until
