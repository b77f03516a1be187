"""The run directory: where the processes of one service on one host find each other.

The first process makes it and exports its name as ``C2C_RUN_DIR``, so that forked workers, a
USR2 successor and subprocesses share it. Its name is that of the process all others were forked
from (:mod:`c2cotel.metrics.lineage`), so that gunicorn's workers find each other also when the
application is the first to set up telemetry, which is after the fork. Every living process holds
a shared ``flock`` on the file ``presence``; whoever can take it exclusively knows that nobody is
alive in there.

===================  =================================================================
``presence``         shared lock of every living process
``setup``            exclusive lock while a process joins or leaves
``fold``, ``serve``  exclusive locks of whoever folds or serves at the moment
``group.json``       identity and start time of this run of the service
``*.slab``           one process's numbers each, see :mod:`c2cotel.metrics.slab`
``folded.slab``      the numbers of the processes that have ended
``*.sock``           where one process each hears broadcasts, see :mod:`c2cotel.broadcast`
``agreed.json``      the values that all processes agree on, and ``changes.jsonl`` their history;
                     ``agree`` is the lock of both
``claim-…``          requests that a process profiles, see :mod:`c2cotel.debug.request_profile`
``job-…, part-…``    profiles and the like, see :mod:`c2cotel.debug.parts`
``collect``          there since a process has had numbers of prometheus_client to ask for
===================  =================================================================

An ``flock`` belongs to the open file description, which ``fork`` shares: a child must close
what it inherited, or its dead parent would look alive. :meth:`RunDirectory.renew` does.
"""

import errno
import fcntl
import json
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from c2cotel.files import write_aside
from c2cotel.forking import at_fork
from c2cotel.metrics import lineage

LOGGER = logging.getLogger(__name__)

VARIABLE = "C2C_RUN_DIR"

JOIN_TIMEOUT = 2.0
# Seconds a fork waits for another thread that is about to take or release a lock.
_FREEZE_TIMEOUT = 1.0
_OWN = re.compile(
    r"collect|(group\.json|folded\.slab|agreed\.json|changes\.jsonl)(\.\d+\.tmp)?"
    r"|\d+-\d+\.slab|slab-\d+-\d+\.tmp|probe\.tmp"
    r"|\d+-\d+\.[0-9a-f]{16}\.sock(\.tmp)?"
    r"|claim-[0-9a-f]{16}-\d+"
    r"|(job|part)-[a-z_]+-[0-9a-f]{16}(-\d+-[0-9a-f]+)?\.(json|bin)(\.\d+\.tmp)?"
)


class RunDirectoryError(OSError):
    """No directory could be made or joined; the message says which were tried and why not."""


@dataclass(frozen=True)
class Group:
    """One run of the service, whatever processes come and go in it.

    Attributes:
        instance: A UUID, the ``service.instance.id`` of the merged metrics.
        started: Wall-clock time in nanoseconds, from which cumulative values count.
        temporary: Whether the last process to leave removes the directory.
        origin: The process that all others were forked from, see :func:`lineage.origin`.
    """

    instance: str
    started: int
    temporary: bool
    origin: str


def lock(descriptor: int, operation: int) -> bool:
    """Try an ``flock`` without waiting; tells whether it was obtained."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class RunDirectory:
    """A joined run directory. Made by :func:`c2cotel.metrics.joining.join`."""

    def __init__(self, path: Path, *, temporary: bool) -> None:
        self.path = path
        self._presence: int | None = None
        self._held: set[int] = set()
        # A child closes what is in _held: no other thread forks while that is not the truth.
        self._changing = threading.RLock()
        self._process = os.getpid()
        at_fork(self._freeze, self._thaw, self._after_fork)
        with self._alone():
            self._presence = self._open("presence")
            alone = lock(self._presence, fcntl.LOCK_EX)
            group = read_group(path)
            # A single worker that is recycled leaves nobody behind but its master.
            if group is None or (alone and not lineage.is_alive(group.origin)):
                self._empty()
                group = Group(str(uuid.uuid4()), time.time_ns(), temporary, lineage.origin())
                write_aside(path / "group.json", json.dumps(asdict(group)).encode())
            lock(self._presence, fcntl.LOCK_SH)
        self.group = group

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Exclude others that join or leave; waits at most two seconds."""
        deadline = time.monotonic() + JOIN_TIMEOUT
        while (held := self.hold("setup")) is None:
            if time.monotonic() > deadline:
                raise RunDirectoryError(f"{self.path}: another process keeps it locked")
            time.sleep(0.01)
        try:
            # Whoever had it before may have removed the directory, and another one made it anew.
            if not os.path.samestat(os.fstat(held), (self.path / "setup").stat()):
                raise FileNotFoundError(errno.ENOENT, "it has just been removed", str(self.path))
            yield
        finally:
            self.release(held)

    def _open(self, name: str) -> int:
        return os.open(self.path / name, os.O_RDWR | os.O_CREAT, 0o600)

    def _empty(self) -> None:
        for path in own_files(self.path):
            path.unlink(missing_ok=True)

    def _freeze(self) -> None:
        self._changing.acquire(timeout=_FREEZE_TIMEOUT)

    def _thaw(self) -> None:
        with suppress(RuntimeError):  # it was not to be had in time
            self._changing.release()

    def _after_fork(self) -> None:
        try:
            self.renew()
        except OSError as error:
            LOGGER.warning("Process %d cannot join %s: %s", os.getpid(), self.path, error)

    def check_process(self) -> None:
        """Where at-fork hooks do not run: renew if this process was forked meanwhile."""
        if self._process != os.getpid():
            self._after_fork()

    def _let_go(self) -> None:
        self._changing = threading.RLock()
        while self._held:
            os.close(self._held.pop())

    def renew(self) -> None:
        """In a forked child: let go of the parent's locks and say that this process is here.

        Raises:
            OSError: the directory has gone, or no descriptor is left.
        """
        self._process = os.getpid()
        self._let_go()
        inherited, self._presence = self._presence, None
        if inherited is None:
            return
        try:
            self._presence = self._open("presence")
            lock(self._presence, fcntl.LOCK_SH)
        finally:
            # Only now: without a moment in which nobody is present.
            os.close(inherited)

    def hold(self, name: str) -> int | None:
        """Take the lock file *name* without waiting; gives what :meth:`release` wants, or ``None``.

        A process forked meanwhile does not inherit it.
        """
        with self._changing:
            descriptor = self._open(name)
            self._held.add(descriptor)
            if lock(descriptor, fcntl.LOCK_EX):
                return descriptor
            self.release(descriptor)
        return None

    def release(self, held: int) -> None:
        """Let go of a lock of :meth:`hold`."""
        with self._changing:
            if held in self._held:
                self._held.discard(held)
                os.close(held)

    @property
    def left(self) -> bool:
        """Whether this process has let go of it."""
        return self._presence is None

    def leave(self) -> None:
        """Let go; the last process to leave removes a directory that was made for this run."""
        presence, self._presence = self._presence, None
        if presence is None:
            return
        os.close(presence)
        ended = self.group.origin == lineage.of(os.getpid())
        if self.group.temporary and (ended or not lineage.is_alive(self.group.origin)):
            remove_if_deserted(self.path)


def remove_if_deserted(path: Path) -> None:
    """Remove a directory in which nobody is present."""
    descriptors: list[int] = []
    try:
        for name in ("setup", "presence"):
            descriptors.append(os.open(path / name, os.O_RDWR | os.O_CREAT, 0o600))
            if not lock(descriptors[-1], fcntl.LOCK_EX):
                return
        shutil.rmtree(path, ignore_errors=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def read_group(path: Path) -> Group | None:
    """What ``group.json`` says, or ``None`` if there is none that this version can read."""
    try:
        return Group(**json.loads((path / "group.json").read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def own_files(path: Path) -> list[Path]:
    """What of a run may lie in *path*; nothing else there is ours to remove."""
    return [entry for entry in path.iterdir() if _OWN.fullmatch(entry.name)]
