"""Processes that answer questions: what is compared runs apart, one side in each.

Questions and answers are lines of JSON. A worker's own output goes nowhere.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

_HERE = Path(__file__).parent
_CONFIGURING = ("C2C_", "OTEL_", "PROMETHEUS_", "LOG_", "GIT_HASH")


def clean_environ(**more: str) -> dict[str, str]:
    """Our environment without what configures telemetry, and with *more*."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_CONFIGURING)}
    return {**kept, **more}


class Worker:
    """A script of this folder in a process of its own, from the ``with`` to its end."""

    def __init__(
        self, script: str, *arguments: str, env: Mapping[str, str], wrapper: Sequence[str] = ()
    ) -> None:
        self._process = subprocess.Popen(
            [*wrapper, sys.executable, str(_HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )

    def ask(self, question: str, **parameters: Any) -> Any:
        """Put *question* and wait for the answer.

        Raises:
            RuntimeError: the process has ended; what it has said about it is on stderr.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([question, parameters]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r}: ended without an answer to {question}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def silence() -> TextIO:
    """In the worker: discard what is printed from now on; gives where the answers go."""
    told = os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    return told


def answer(told: TextIO, **answers: Callable[..., Any]) -> None:
    """In the worker: answer until there are no more questions."""
    for line in sys.stdin:
        question, parameters = json.loads(line)
        told.write(json.dumps(answers[question](**parameters)) + "\n")
        told.flush()
