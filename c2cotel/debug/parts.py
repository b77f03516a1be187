"""What jobs of :mod:`c2cotel.debug.jobs` have left on this host, for some minutes.

They are files of the run directory, of mode 0600, so that they survive the worker that wrote them,
and every process of the host can read them:

=====================================  ==========================================================
``job-<kind>-<id>.json``               what was ordered, by whom, and which processes take part
``part-<kind>-<id>-<pid>-<token>.bin`` what one of these has: a line of JSON, then what it found,
                                       compressed
=====================================  ==========================================================

Without a run directory, or without room in it, a process keeps its own in its memory.
"""

import logging
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import structs
from msgspec.json import Decoder

from c2cotel.debug.job_records import JOB, PART, Job, Left, Part, Participant, State
from c2cotel.files import write_aside
from c2cotel.metrics import lineage

LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

KEPT: Final = 900.0
"""Seconds that the parts of a job are kept after its end."""

MOST_JOBS: Final = 20
MOST_BYTES: Final = 16 * 1024 * 1024
"""Bytes that the parts of one kind may take on a host; the oldest job goes first."""

LONGEST: Final = 8 * 1024 * 1024
"""Bytes that a process may leave, before they are compressed."""

OVERDUE: Final = 15.0
"""Seconds after its end that a part may still come."""

# Nobody else reads what is in there.
_MODE: Final = 0o600
_STALE: Final = 60.0
# Samples are repetitive: the greater levels take ten times as long for a fifth less.
_LEVEL: Final = 2


def compressed(data: bytes) -> bytes:
    return zlib.compress(data, _LEVEL)


def expanded(data: bytes) -> bytes:
    """What :func:`compressed` was given.

    Raises:
        ValueError: it is something else, or longer than what a process may leave.
    """
    machine = zlib.decompressobj()
    try:
        found = machine.decompress(data, LONGEST + 1)
    except zlib.error as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if len(found) > LONGEST or not machine.eof:
        raise ValueError("it is not whole, or too long")
    return found


class Parts:
    """The jobs of one kind that this host knows: in *directory*, else in this process."""

    def __init__(self, kind: str, directory: Callable[[], Path | None]) -> None:
        self.kind = kind
        self._directory = directory
        self._life = lineage.of(os.getpid())
        self._pattern = re.compile(
            rf"(?:job-{kind}-(?P<job>[0-9a-f]{{16}})\.json"
            rf"|part-{kind}-(?P<part>[0-9a-f]{{16}})-\d+-(?P<token>[0-9a-f]{{1,32}})\.bin"
            rf"|(?:job|part)-{kind}-.*\.tmp)"
        )
        self._jobs: dict[str, tuple[Job, float]] = {}
        self._mine: dict[str, dict[str, tuple[Part, bytes]]] = {}
        self._unreadable: set[Path] = set()

    @property
    def directory(self) -> Path | None:
        """Where the files are; it may not be known yet when this is made."""
        return self._directory()

    @property
    def place(self) -> str:
        """What the stores of all processes are told apart by; empty for one in the memory."""
        if self.directory is None:
            return ""
        try:
            found = self.directory.stat()
        except OSError:
            return ""
        # Two hosts may have a directory of the same name, but hardly from the same moment.
        return f"{self.directory}:{found.st_dev}:{found.st_ino}:{_made(self.directory)}"

    @property
    def has_own(self) -> bool:
        """Whether this process keeps something that the others of the host cannot read."""
        return bool(self._jobs or self._mine)

    def note(self, job: Job) -> None:
        """Write down what was ordered, if no other process of this host has."""
        if self.directory is not None:
            path = self.directory / f"job-{self.kind}-{job.id}.json"
            try:
                if not path.exists():
                    write_aside(path, msgspec.json.encode(job), _MODE)
            except OSError as error:
                self._complain(error)
            else:
                return
        self._jobs[job.id] = job, time.time()

    def begin(self, job: Job, process: Participant) -> None:
        """Say that *process* has begun; what has not ended when it dies is known to be lost."""
        self._keep(job, Part(process=process, began=time.time(), life=self._life), b"")

    def end(  # noqa: PLR0913 - what is known of the end
        self,
        job: Job,
        process: Participant,
        state: State,
        *,
        began: float,
        body: bytes = b"",
        note: str = "",
        summary: dict[str, Any] | None = None,
    ) -> None:
        """Keep what *process* has found."""
        data = compressed(body) if body else b""
        if len(body) > LONGEST:
            note, state, data = f"it found {len(body)} bytes, {LONGEST} at most", "failed", b""
        elif self._taken(job.id) + len(data) > MOST_BYTES:
            note, state, data = "the others have left no room for what it found", "failed", b""
        part = Part(
            process=process,
            state=state,
            note=note,
            began=began,
            ended=time.time(),
            size=len(body) if data else 0,
            summary=summary or {},
        )
        self._keep(job, part, data)
        self.tidy()

    def left(self, id_: str | None = None) -> list[Left]:
        """What there is, newest first; only of the job *id_* if one is given."""
        self.tidy()
        now = time.time()
        found: dict[str, tuple[Job, float]] = {}
        parts: dict[str, dict[str, Part]] = {}
        for path, match in self._files():
            if id_ is not None and id_ not in (match["job"], match["part"]):
                continue
            if match["job"]:
                if read := self._read(path, JOB, whole=True):
                    found[match["job"]] = read[0], read[1]
            elif match["part"] and (each := self._read(path, PART)):
                parts.setdefault(match["part"], {})[match["token"]] = each[0]
        for name, noted in self._jobs.copy().items():
            found.setdefault(name, noted)
        for name, mine in self._mine.copy().items():
            parts.setdefault(name, {}).update({token: part for token, (part, _) in mine.items()})
        return [
            Left(
                job=job,
                parts=tuple(_now(part, job, now) for part in parts.get(job.id, {}).values()),
                age=max(0.0, now - noted),
            )
            for job, noted in sorted(found.values(), key=lambda each: each[1], reverse=True)
            if id_ is None or job.id == id_
        ]

    def bodies(self, id_: str, tokens: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """What the processes with these *tokens* have found, still compressed."""
        wanted = set(tokens)
        for token, (_, data) in self._mine.get(id_, {}).items():
            if token in wanted:
                wanted.discard(token)
                yield token, data
        for path, match in self._files():
            if match["part"] == id_ and match["token"] in wanted:
                with suppress(OSError):
                    yield match["token"], path.read_bytes().partition(b"\n")[2]

    def drop(self, id_: str) -> None:
        """Forget a job: it was called off."""
        self._jobs.pop(id_, None)
        self._mine.pop(id_, None)
        for path, match in self._files():
            if id_ in (match["job"], match["part"]):
                _remove(path)

    def tidy(self) -> float | None:
        """Remove what is too old or too much; in how many seconds there is something to do."""
        now = time.time()
        ends: dict[str, float] = {}
        sizes: dict[str, int] = {}
        for path, match in self._files():
            try:
                found = path.stat()
            except OSError:
                continue
            if path.suffix == ".tmp":
                if now - found.st_mtime > _STALE:
                    _remove(path)
                continue
            name = match["job"] or match["part"]
            # A clock that was set back keeps nothing for ever.
            ends[name] = max(ends.get(name, 0.0), min(found.st_mtime, now) + KEPT)
            sizes[name] = sizes.get(name, 0) + found.st_size
        for name, (_, noted) in self._jobs.copy().items():
            ends.setdefault(name, noted + KEPT)
        for name, mine in self._mine.copy().items():
            sizes[name] = sizes.get(name, 0) + sum(len(data) for _, data in mine.values())
            for part, _ in mine.values():
                ends[name] = max(ends.get(name, 0.0), (part.ended or part.began) + KEPT)
        room = MOST_BYTES
        for kept, name in enumerate(sorted(ends, key=lambda each: ends[each], reverse=True)):
            room -= sizes.get(name, 0)
            # The newest stays: it may not be over.
            if ends[name] <= now or (kept and (room < 0 or kept >= MOST_JOBS)):
                self.drop(name)
                del ends[name]
        return min(ends.values()) - now if ends else None

    def renew(self) -> None:
        """In a forked child: what its parent keeps for itself is its parent's."""
        self._life = lineage.of(os.getpid())
        self._jobs, self._mine = {}, {}

    def _keep(self, job: Job, part: Part, data: bytes) -> None:
        if self.directory is not None:
            name = f"part-{self.kind}-{job.id}-{part.process.pid}-{part.process.token}.bin"
            try:
                found = msgspec.json.encode(part) + b"\n" + data
                write_aside(self.directory / name, found, _MODE)
            except OSError as error:
                self._complain(error)
            else:
                return
        self._mine.setdefault(job.id, {})[part.process.token] = part, data

    def _complain(self, error: OSError) -> None:
        LOGGER.warning(
            "What this process finds is kept in its memory, and lost with it: %s: %s",
            self.directory,
            error,
        )

    def _read(
        self, path: Path, decoder: Decoder[T], *, whole: bool = False
    ) -> tuple[T, float] | None:
        """What the (first line of the) file says, and when it was written; None if it cannot be."""
        try:
            with path.open("rb") as file:
                data = file.read() if whole else file.readline(LONGEST)
                return decoder.decode(data), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:  # it has been tidied away since
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if path not in self._unreadable:
                self._unreadable.add(path)
                LOGGER.warning("%s is left out, it cannot be read: %s", path, error)
            return None

    def _taken(self, id_: str) -> int:
        taken = sum(len(data) for _, data in self._mine.get(id_, {}).values())
        for path, match in self._files():
            if match["part"] == id_:
                with suppress(OSError):
                    taken += path.stat().st_size
        return taken

    def _files(self) -> Iterator[tuple[Path, re.Match[str]]]:
        if self.directory is None:
            return
        try:
            names = os.listdir(self.directory)  # noqa: PTH208 - many other files are there
        except OSError:
            return
        for name in names:
            if match := self._pattern.fullmatch(name):
                yield self.directory / name, match


def _now(part: Part, job: Job, now: float) -> Part:
    """*part* as it stands at this moment."""
    if part.state != "running":
        return part
    left = part.began + job.seconds - now
    if left < -OVERDUE or (part.life and not lineage.is_alive(part.life)):
        return structs.replace(part, state="lost", life="")
    return structs.replace(part, left=max(0.0, min(left, job.seconds)), life="")


def _made(directory: Path) -> str:
    """When the run of the service began that *directory* is of, as far as one can tell."""
    try:
        return str((directory / "group.json").stat().st_mtime_ns)
    except OSError:
        return ""


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
