"""Telemetry is set up once a process: each test that does it has a process of its own."""

import os
import pickle
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.instrumentation.propagators import set_global_response_propagator
from opentelemetry.util._once import Once

from c2cotel.otel.distro import C2cDistro

_OURS = ("C2C_", "OTEL_", "LOG_", "GIT_HASH")


def clean_environ(**more: str) -> dict[str, str]:
    """Our environment without what configures telemetry, and with *more*."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    return {**kept, **more}


@pytest.fixture
def in_child(tmp_path) -> Callable[..., Any]:
    """``in_child(function, OTEL_X="…")``: what it returns in a forked process, set up or not."""

    def run(function: Callable[[], Any], /, **environ: str) -> Any:
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 warns of threads in the parent: the child waits for none of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _child(function, {"C2C_RUN_DIR": str(tmp_path / "run"), **environ}, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            told = answer.read()
        os.waitpid(pid, 0)
        result, failure = pickle.loads(told)
        assert not failure, failure
        return result

    return run


def _child(function: Callable[[], Any], environ: dict[str, str], writing: int) -> None:
    try:
        os.environ.clear()
        os.environ.update(environ)
        _forget()
        told = pickle.dumps((function(), None))
    except BaseException:  # noqa: BLE001 - the parent raises it
        told = pickle.dumps((None, traceback.format_exc()))
    try:
        os.write(writing, told)
    finally:
        os._exit(0)


def _forget() -> None:
    """As in a process that has set up nothing."""
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = None, Once()
    metrics._internal._METER_PROVIDER = None
    metrics._internal._METER_PROVIDER_SET_ONCE = Once()
    _logs._internal._LOGGER_PROVIDER = None
    _logs._internal._LOGGER_PROVIDER_SET_ONCE = Once()
    set_global_response_propagator(None)
    C2cDistro().telemetry = None


@dataclass
class Ended:
    """A process that has ended."""

    status: int
    output: str
    errors: list[str]


@pytest.fixture
def instrumented(tmp_path) -> Iterator[Callable[..., Ended]]:
    """``instrumented(code, OTEL_X="…")`` runs it under the real ``opentelemetry-instrument``."""
    script = tmp_path / "script.py"

    def run(code: str, /, **environ: str) -> Ended:
        script.write_text(code)
        done = subprocess.run(
            [Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, script],
            env=clean_environ(**{"C2C_RUN_DIR": str(tmp_path / "run"), **environ}),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr.splitlines())

    return run


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody else will."""
    import socket

    with closing(socket.socket()) as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]
