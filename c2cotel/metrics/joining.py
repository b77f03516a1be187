"""Which run directory a process joins: the one it is told, or one that it makes, and tidies up."""

import atexit
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from c2cotel.metrics import lineage
from c2cotel.metrics.directory import (
    JOIN_TIMEOUT,
    VARIABLE,
    RunDirectory,
    RunDirectoryError,
    read_group,
    remove_if_deserted,
)

LOGGER = logging.getLogger(__name__)

PREFIX = "c2cotel-"

_RUN = re.compile(rf"{PREFIX}(\d+-\d+|run-\w+)")
# A directory without a group that is younger may be one that is being made.
_STALE_AFTER = 60.0
# What a run needs at the least: two slabs of one chunk each.
_LEAST_BYTES = 128 * 1024


def join(environ: MutableMapping[str, str]) -> RunDirectory:
    """Join the directory that *environ* names, or make one and write its name there.

    Made on ``/dev/shm``, else in the runtime directory of the user, else in the temporary
    directory: the first that can be written and has room. Mode 0700.

    Raises:
        RunDirectoryError: none can; the message says why for each that was tried.
    """
    if named := environ.get(VARIABLE):
        try:
            return _join(Path(named).absolute(), temporary=False)
        except OSError as error:
            raise RunDirectoryError(f"{VARIABLE} = {named}: {error.strerror or error}") from error
    refused = []
    for base in _bases(environ):
        _sweep(base)
        try:
            joined = _join(_make_in(base), temporary=True)
        except OSError as error:
            refused.append(f"{base}: {error.strerror or error}")
            continue
        environ[VARIABLE] = str(joined.path)
        return joined
    raise RunDirectoryError("no directory for shared metrics: " + "; ".join(refused))


def shared(environ: MutableMapping[str, str] = os.environ) -> RunDirectory:
    """The directory that this process has joined; the first to ask has it joined.

    It is left when the process ends.

    Raises:
        RunDirectoryError: none can be joined, as with :func:`join`; the next call tries again.
    """
    process = _process()
    known, named = process.directory, environ.get(VARIABLE)
    if known is None or known.left or (named and Path(named).absolute() != known.path):
        known = process.directory = join(environ)
        atexit.register(known.leave)
    return known


class _Process:
    """What this process has joined."""

    directory: RunDirectory | None = None


@cache
def _process() -> _Process:
    return _Process()


def _join(path: Path, *, temporary: bool) -> RunDirectory:
    """Join *path*; if its last process removes it at this moment, make it again."""
    deadline = time.monotonic() + JOIN_TIMEOUT
    while time.monotonic() < deadline:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            # mkdir says so, too, of a directory that has gone when it looks again.
            if path.is_file():
                raise
            continue
        with suppress(FileNotFoundError):
            return RunDirectory(path, temporary=temporary)
    raise RunDirectoryError(f"{path}: is removed again and again")


def _bases(environ: MutableMapping[str, str]) -> Iterator[Path]:
    yield Path("/dev/shm")  # noqa: S108 - a directory of mode 0700 is made in it
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime)
    with suppress(FileNotFoundError):  # a read-only system has none
        yield Path(tempfile.gettempdir())


def _make_in(base: Path) -> Path:
    path = base / f"{PREFIX}{lineage.origin()}"
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_symlink() and path.stat().st_uid == os.getuid():
            return path
        # Somebody else guessed the name: nothing of ours goes in there.
        path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}run-", dir=base))
    probe = path / "probe.tmp"
    try:
        with probe.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _LEAST_BYTES)
        probe.unlink()
    except OSError:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return path


def _sweep(base: Path) -> None:
    """Remove what killed services left behind."""
    for path in base.glob(PREFIX + "*"):
        # Nothing else that begins like this is ours to remove.
        if not _RUN.fullmatch(path.name):
            continue
        try:
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                continue
            group = read_group(path)
            if group is None:
                deserted = time.time() - status.st_mtime > _STALE_AFTER
            else:
                deserted = not lineage.is_alive(group.origin)
            if deserted:
                remove_if_deserted(path)
        except OSError as error:
            LOGGER.debug("%s is left alone: %s", path, error)
