"""Broadcasters: several in the process of the test, or one each in real processes."""

import logging
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.broadcast.messages import Process
from c2cotel.redis import Connections, connect
from c2cotel.settings import Redis
from c2cotel_acceptance.servers import Valkey, valkey
from c2cotel_acceptance.utils import retry_timeout
from c2cotel_instrumentation.context import current_request_id

from .service import Service

PATIENCE = 20.0
PREFIX = "p_"


def connections(url: str | None) -> Connections | None:
    return connect(Redis(url=url, pubsub_retry_delay=0.1)) if url else None


def subscribe_samples(broadcaster: Broadcaster) -> None:
    """What every process of these tests answers."""
    calls: list[Any] = []

    def count(**params: Any) -> int:
        calls.append(params)
        return len(calls)

    def fail(**_: Any) -> None:
        raise ValueError("no such thing at redis://me:hunter2@redis")

    def slow(seconds: float) -> str:
        threading.Event().wait(seconds)
        return "at last"

    broadcaster.subscribe("who", lambda **params: {"token": broadcaster.process.token, **params})
    broadcaster.subscribe("count", count)
    broadcaster.subscribe("counted", lambda: len(calls))
    broadcaster.subscribe("fail", fail)
    broadcaster.subscribe("odd", object)
    broadcaster.subscribe("slow", slow)
    broadcaster.subscribe("request", current_request_id)
    broadcaster.subscribe("nested", lambda: len(broadcaster.ask("who").answers))
    broadcaster.subscribe("descriptors", lambda: len(list(Path("/proc/self/fd").iterdir())))


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.levelname} {record.getMessage()}")


class Member:
    """A process with a broadcaster; what is called here is done there."""

    process: Process

    def __init__(self, prepare: Callable[[], Broadcaster]) -> None:
        (self._down, say), (hear, up) = os.pipe(), os.pipe()
        self.pid = _fork()
        if self.pid == 0:
            _live(prepare, self._down, up, (say, hear))
        os.close(self._down)
        os.close(up)
        self._say, self._hear = os.fdopen(say, "wb"), os.fdopen(hear, "rb")

    def say(self, name: str, *args: Any) -> None:
        pickle.dump((name, args), self._say)
        self._say.flush()

    def hear(self) -> Any:
        assert select.select([self._hear], [], [], PATIENCE)[0], "the other process is silent"
        return pickle.load(self._hear)

    def __call__(self, name: str, *args: Any) -> Any:
        self.say(name, *args)
        return self.hear()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def end(self) -> None:
        self.kill()
        with suppress(BrokenPipeError):
            self._say.close()
        self._hear.close()


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of fork in a process with threads; that this works is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _live(prepare: Callable[[], Broadcaster], down: int, up: int, others: tuple[int, ...]) -> None:
    """In the child; never returns."""
    try:
        for descriptor in others:
            os.close(descriptor)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        records = Records()
        logging.getLogger().addHandler(records)
        broadcaster = prepare()
        with os.fdopen(down, "rb") as hear, os.fdopen(up, "wb") as say:
            while True:
                name, args = pickle.load(hear)
                pickle.dump(_do(broadcaster, records, name, args), say)
                say.flush()
    except EOFError:
        pass
    except BaseException:  # noqa: BLE001 - it must not go on as a second pytest
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(0)


def _do(broadcaster: Broadcaster, records: Records, name: str, args: tuple[Any, ...]) -> Any:
    special: dict[str, Callable[..., Any]] = {
        "process": lambda: broadcaster.process,
        "reachable": lambda: broadcaster.reachable,
        "logs": lambda: records.texts,
        "subscribe": lambda channel, answer: broadcaster.subscribe(channel, lambda **_: answer),
        "run": lambda command: subprocess.Popen(command, close_fds=False).pid,
        "fork": _fork_sleeping,
    }
    return special.get(name, getattr(broadcaster, name, None))(*args)


def _fork_sleeping() -> int:
    """A child that has let go of what it inherited, and sleeps."""
    hear, say = os.pipe()
    pid = _fork()
    if pid == 0:
        os.write(say, b"!")
        threading.Event().wait(60)
        os._exit(0)
    assert select.select([hear], [], [], PATIENCE)[0], "the child is silent"
    os.close(hear)
    os.close(say)
    return pid


@pytest.fixture
def directory() -> Iterator[Path]:
    # The address of a socket has 108 bytes; tmp_path, named after the test, may take them all.
    with TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _not_gunicorn(not_gunicorn: None) -> None:
    """As it says."""


@pytest.fixture
def member(directory: Path) -> Iterator[Callable[..., Member]]:
    """Makes processes that listen."""
    members: list[Member] = []

    def make(path: Path | None = directory, url: str | None = None, host: str = "here") -> Member:
        def prepare() -> Broadcaster:
            broadcaster = Broadcaster(host=host)
            subscribe_samples(broadcaster)
            broadcaster.start(path, connections(url), PREFIX)
            return broadcaster

        members.append(Member(prepare))
        members[-1].process = members[-1]("process")
        return members[-1]

    yield make
    for each in members:
        each.end()


@pytest.fixture
def asker(directory: Path) -> Iterator[Callable[..., Broadcaster]]:
    """Makes broadcasters in this process; to each other they are several processes."""
    with ExitStack() as stack:

        def make(
            path: Path | None = directory, url: str | None = None, host: str = "here", **more: Any
        ) -> Broadcaster:
            broadcaster = Broadcaster(host=host, **more)
            subscribe_samples(broadcaster)
            redis = connections(url)
            broadcaster.start(path, redis, PREFIX)
            if redis is not None:
                stack.callback(redis.close)
            stack.callback(broadcaster.stop)
            return broadcaster

        yield make


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Makes processes that have a switch."""
    running = Service(tmp_path)
    yield running
    running.end()


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[Valkey]:
    """One that a test may stop and kill."""
    with valkey() as server:
        if server.process is None:
            pytest.skip("A Redis that was not started here is not stopped here.")
        yield server


def eventually(what: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    return retry_timeout(what, timeout, interval=0.02)


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() - self._began


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., Any]:
    return eventually
