"""A page, done as whoever reads it does it: files are written, commands are run in one shell.

What is different from a reader's terminal: ports are free ones, in commands, files and answers
alike, ``pip install`` finds everything there already, and a command that asks a server which was
started in the background waits until it listens.
"""

import contextlib
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from c2cotel_acceptance.processes import Process
from c2cotel_acceptance.servers import free_port
from c2cotel_acceptance.utils import retry_timeout
from c2cotel_docs import checks
from c2cotel_docs.blocks import Block, Command, Page, agrees, commands

DEADLINE: Final = 60.0
# Of gunicorn, and of c2cotel's configuration of it; both obey PORT.
_DEFAULT_PORTS = ("8000", "8080")
_PORT = re.compile(
    r"(?:(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]|\*):|PORT[=:] ?\"?|--port[= ]|-b :|bind=:"
    r"|^port ?= ?)(\d{4,5})\b",
    re.MULTILINE,
)
_ASKED = re.compile(r"(?:localhost|127\.0\.0\.1):(\d+)")
_LISTENS = "0A"


def run(page: Page, folder: Path, more: Mapping[str, str] | None = None) -> None:
    """Do in the empty *folder* what *page* says, with *more* in the environment.

    Raises:
        BlockError: A block is not what it says, or a command fails, or prints something else.
    """
    ports = ports_of(page)
    for block in page.blocks:
        checks.check(block)
    with Shell(folder, {**_environ(folder, ports), **(more or {})}) as shell:
        follow([block for block in page.blocks if block.not_run is None], shell, ports)


def follow(blocks: Iterable[Block], shell: "Shell", ports: Mapping[str, str]) -> None:
    """Write the files and type the commands of *blocks* in the *shell*, on other *ports*.

    Raises:
        BlockError: A command fails, or prints something else.
    """
    for block in blocks:
        _do(block, shell, ports)


def ports_of(page: Page) -> dict[str, str]:
    """A free port for each that *page* names."""
    named = {port for block in page.blocks for port in _PORT.findall(block.text)}
    default = str(free_port())
    ports = dict.fromkeys(_DEFAULT_PORTS, default)
    return ports | {port: str(free_port()) for port in sorted(named - set(_DEFAULT_PORTS))}


def _environ(folder: Path, ports: Mapping[str, str]) -> dict[str, str]:
    programs = folder / ".programs"
    programs.mkdir()
    pip = programs / "pip"
    stand_in = Path(__file__).with_name("pip_stand_in.py")
    pip.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(stand_in)])} "$@"\n')
    pip.chmod(0o755)
    beside = Path(sys.executable).parent
    return {
        "PATH": f"{programs}:{beside}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PORT": ports[_DEFAULT_PORTS[0]],
        # Its path would be longer than that of a socket may be.
        "GUNICORN_CMD_ARGS": "--no-control-socket",
        # Milliseconds; nobody wants to wait for the usual five seconds.
        "OTEL_BSP_SCHEDULE_DELAY": "300",
        "OTEL_BLRP_SCHEDULE_DELAY": "300",
        # Pyramid's on import, with some versions of setuptools.
        "PYTHONWARNINGS": "ignore:pkg_resources is deprecated",
    }


def _do(block: Block, shell: "Shell", ports: Mapping[str, str]) -> None:
    if block.title is not None:
        _write(block, shell.folder, ports)
    elif block.language == "python":
        name = f"block_{block.line}.py"
        (shell.folder / name).write_text(_moved(block.text, ports), encoding="utf-8")
        _run(block, Command(0, f"python {name}", ()), shell, asked=_moved(block.text, ports))
    elif block.language == "console":
        for command in commands(block):
            moved = Command(
                command.line,
                _moved(command.text, ports),
                tuple(_moved(line, ports) for line in command.output),
            )
            _run(block, moved, shell, asked=moved.text)


def _write(block: Block, folder: Path, ports: Mapping[str, str]) -> None:
    path = (folder / (block.title or "")).resolve()
    if folder.resolve() not in path.parents:
        raise block.error(f"title={block.title!r}: no file below the page's folder", -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_moved(block.text, ports), encoding="utf-8")


def _moved(text: str, ports: Mapping[str, str]) -> str:
    """*text* with the ports that are free here."""
    return re.sub(
        r"(?<![\w.])(\d{4,5})(?![\w]|\.\d)", lambda found: ports.get(found[1], found[1]), text
    )


def _run(block: Block, command: Command, shell: "Shell", *, asked: str) -> None:
    if not command.in_background:
        shell.wait_for_ports(_ASKED.findall(asked))
    try:
        status, printed = shell.run(command.text)
    except (TimeoutError, ChildProcessError) as error:
        raise block.error(f"$ {command.text}\n{error}", command.line) from None
    if status:
        said = f"$ {command.text}\nends with status {status}, and printed\n{printed}"
        raise block.error(said + shell.background(), command.line)
    if not command.in_background and not agrees(command.output, printed):
        shown = "\n".join(command.output)
        said = f"$ {command.text}\nis shown to print\n{shown}\nand printed\n{printed}"
        raise block.error(said + shell.background(), command.line)


class Shell(Process):
    """A bash that runs one command after the other, in *folder* and with *environ*.

    Each has *deadline* seconds.
    """

    def __init__(
        self, folder: Path, environ: Mapping[str, str], deadline: float = DEADLINE
    ) -> None:
        argv = ["bash", "--noprofile", "--norc"]
        self.folder = folder
        self._own = folder / ".shell"
        self._own.mkdir()
        self._deadline = deadline
        self._count = 0
        self._busy = False
        self._in_background: list[Path] = []
        super().__init__(argv, log=self._own / "log", env=environ, cwd=folder)

    def start(self) -> Self:
        """Start it; it waits for commands."""
        with self.log.open("ab") as errors:
            self._popen = subprocess.Popen(  # noqa: S603 - bash, as above
                self.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
                bufsize=0,
            )
        return self

    def run(self, command: str, timeout: float | None = None) -> tuple[int, str]:
        """The exit status of *command*, and what it printed.

        Raises:
            TimeoutError: It still runs after *timeout* seconds (the shell's deadline by default).
            ChildProcessError: It has ended the shell.
        """
        self._count += 1
        script, output = (self._own / f"{self._count}{suffix}" for suffix in (".sh", ".out"))
        script.write_text(f"{command}\n", encoding="utf-8")
        if command.rstrip().endswith("&"):
            self._in_background.append(output)
        # Sourced in braces: directory, variables and jobs are those of the next command, too.
        status = self._told(
            f"{{ . {script}; }} >{output} 2>&1 </dev/null; echo $?", timeout or self._deadline
        )
        return status, output.read_text(encoding="utf-8", errors="replace")

    def _told(self, line: str, timeout: float) -> int:
        """What the shell answers to *line*: one line with a number."""
        if self._popen is None or self._popen.stdin is None or self._popen.stdout is None:
            raise RuntimeError("The shell is not started")
        with contextlib.suppress(BrokenPipeError):
            self._popen.stdin.write(f"{line}\n".encode())
        self._busy = not select.select([self._popen.stdout], [], [], timeout)[0]
        if self._busy:
            raise TimeoutError(f"still runs after {timeout:g} s\n{self.background()}")
        answer = self._popen.stdout.readline()
        if not answer:
            raise ChildProcessError(f"has ended the shell\n{self.tail()}")
        return int(answer)

    def background(self) -> str:
        """The last lines of what runs beside, for a message."""
        texts = (path.read_text(encoding="utf-8", errors="replace") for path in self._in_background)
        return "".join(f"--- in the background\n{text[-4000:]}" for text in texts if text)

    def wait_for_ports(self, ports: list[str], timeout: float = 20.0) -> None:
        """Wait until somebody listens on *ports*, or nothing runs in the background any more."""
        with contextlib.suppress(TimeoutError):
            retry_timeout(
                lambda: set(ports) <= listening() or self.members() == [self.pid],
                timeout,
                interval=0.05,
            )

    def stop(self) -> float:
        """Ask what runs in the background to end, then end what is left."""
        if not self._busy:
            with contextlib.suppress(TimeoutError, ChildProcessError):
                self.run("kill $(jobs -p); wait", timeout=30.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            retry_timeout(lambda: not self.members(), 5.0, interval=0.02)
        self.kill()
        if self._popen is not None:
            for pipe in (self._popen.stdin, self._popen.stdout):
                if pipe is not None:
                    pipe.close()
        return 0.0


def listening() -> set[str]:
    """The TCP ports of this machine on which somebody listens."""
    return set(_listening())


def _listening() -> Iterator[str]:
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                _, address, _, state, *_ = line.split()
                if state == _LISTENS:
                    yield str(int(address.rpartition(":")[2], 16))
