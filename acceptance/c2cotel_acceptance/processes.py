"""Programs that a test starts, watches, kills, and never leaves behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from c2cotel_acceptance.utils import retry_timeout

_KILLED_WITHIN = 10.0


class MissingError(RuntimeError):
    """A program or library is not on this machine. The text names the command that brings it."""


def script(name: str) -> str:
    """The path of a program installed next to this Python, or else found on ``PATH``.

    Raises:
        MissingError: it is in neither place.
    """
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        return str(beside)
    if found := shutil.which(name):
        return found
    raise MissingError(
        f"No program {name!r} next to {sys.executable} nor on PATH: pip install 'c2cotel[demo]'"
    )


class Process:
    """One program and all it starts, in a process group of its own.

    Leaving the ``with`` ends the group: *stop_signal* first, SIGKILL to what is left after
    *grace* seconds. Output and errors go to the file *log*.

    Args:
        argv: The program and its arguments.
        log: Where its output goes; appended to.
        env: The whole environment of the program; none means ours.
        cwd: The folder it starts in.
        user: The system user it runs as; only root can choose.
        stop_signal: The signal that asks it to end.
        grace: Seconds it has to do so.
    """

    def __init__(  # noqa: PLR0913 - what a process is started with, all by keyword
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace: float = 15.0,
    ) -> None:
        self.argv = tuple(argv)
        self.log = log
        self.env = env
        self.cwd = cwd
        self.user = user
        self.stop_signal = stop_signal
        self.grace = grace
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it; whether it works is for :meth:`wait_url` to tell."""
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                user=self.user,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        """The first process; also the number of the process group."""
        if self._popen is None:
            raise RuntimeError(f"{self.argv[0]} is not started")
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status of the first process; None while it runs."""
        return self._popen.poll() if self._popen else None

    def output(self) -> str:
        """All it has written so far."""
        return self.log.read_text(errors="replace")

    def children(self, pid: int | None = None) -> list[int]:
        """The living child processes of *pid* (of the first process), oldest first."""
        return children(self.pid if pid is None else pid)

    def members(self) -> list[int]:
        """The living processes of the group, the first one included."""
        return [pid for pid, (_, group) in _processes().items() if group == self.pid]

    def signal(self, number: signal.Signals, pid: int | None = None) -> None:
        """Send *number* to *pid*, by default the first process."""
        os.kill(self.pid if pid is None else pid, number)

    def wait(self, timeout: float) -> int:
        """Wait for the first process to end by itself; return its exit status.

        Raises:
            TimeoutError: it still runs after *timeout* seconds.
        """
        if self._popen is None:
            raise RuntimeError(f"{self.argv[0]} is not started")
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.argv[0]} still runs after {timeout:g} s") from None

    def wait_url(self, url: str, timeout: float = 60) -> None:
        """Wait until *url* answers 200; fail at once, with the output, when the program ends.

        Raises:
            RuntimeError: the program ended, or *timeout* seconds were not enough.
        """

        def answers() -> bool:
            if self.returncode is not None:
                return True
            return requests.get(url, timeout=10).ok

        try:
            retry_timeout(answers, timeout, interval=0.05)
        except TimeoutError as error:
            raise RuntimeError(f"{url}: {error}\n{self.tail()}") from error
        if self.returncode is not None:
            raise RuntimeError(f"{self.argv[0]} ended ({self.returncode}):\n{self.tail()}")

    def tail(self, lines: int = 40) -> str:
        """The end of its output, for an error message."""
        return "\n".join(self.output().splitlines()[-lines:])

    def stop(self) -> float:
        """End it and everything in its group; return the seconds the first process took.

        Harmless when it has ended already.
        """
        if self._popen is None:
            return 0.0
        began = time.monotonic()
        if self._popen.poll() is None:
            self._popen.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(self.grace)
        took = time.monotonic() - began
        self.kill()
        return took

    def kill(self) -> None:
        """SIGKILL to every process of the group, and wait until they are gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait(_KILLED_WITHIN)
        # Living ones only: orphans are reaped by init, in its own time, and zombies do no harm.
        retry_timeout(lambda: not self.members(), _KILLED_WITHIN, interval=0.02)

    def __enter__(self) -> Self:
        return self if self._popen else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def pause(pid: int) -> None:
    """Stop *pid* until it gets SIGCONT; it has stopped, with all its threads, when this returns.

    The signal alone is not enough: one thread has to notice it, and meanwhile the others go on.
    """
    os.kill(pid, signal.SIGSTOP)
    retry_timeout(lambda: _states(pid) <= set("TtZX"), 5, interval=0.002)


def _states(pid: int) -> set[str]:
    found = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            found.add(stat.read_text().rpartition(")")[2].split()[0])
    return found


def children(pid: int) -> list[int]:
    """The living child processes of *pid*, oldest first; none when it is gone."""
    return sorted(child for child, (parent, _) in _processes().items() if parent == pid)


def _processes() -> dict[int, tuple[int, int]]:
    """Every living process: its parent and its group. Zombies do not live."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # The name, in parentheses, may itself hold spaces and parentheses.
        with contextlib.suppress(OSError):
            state, parent, group = stat.read_text().rpartition(")")[2].split()[:3]
            if state not in "ZX":
                found[int(stat.parent.name)] = (int(parent), int(group))
    return found
