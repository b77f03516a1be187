"""Files into a folder: all of them or none.

They are written aside first, in the folder itself, so that a full disk or a missing right shows
before anything has changed; then each is renamed in place. If that fails half-way, what was there
before is put back.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path


class WritingError(Exception):
    """The files are not written, and nothing is changed; the message says why."""


def write(folder: Path, files: Mapping[str, str], *, replace: bool = False) -> None:
    """Write *files* (texts by path) into *folder*, which is made if it is not there.

    Raises:
        WritingError: It cannot be, or there are such files already and *replace* is not set.
    """
    with _explained(folder):
        _check(folder, files, replace=replace)
        with contextlib.ExitStack() as undo:
            for place in (folder, *((folder / path).parent for path in files)):
                _make(place, undo)
            with _aside(folder) as aside:
                _put(folder, files, aside)
            undo.pop_all()


def _check(folder: Path, files: Mapping[str, str], *, replace: bool) -> None:
    """What can be known before anything is done."""
    there = [path for path in files if os.path.lexists(folder / path)]
    for path in there:
        if (folder / path).is_dir():
            raise WritingError(f"{folder / path} is a folder: a file should be there.")
    if there and not replace:
        raise WritingError(
            f"{folder} has {_listed(there)} already. Take another folder, or --force to replace."
        )


def _listed(paths: list[str]) -> str:
    few = 3
    if len(paths) <= few + 1:
        return ", ".join(paths)
    return f"{', '.join(paths[:few])} and {len(paths) - few} others"


def _make(folder: Path, undo: contextlib.ExitStack) -> None:
    """Make *folder* and those above it that are not there."""
    if folder.is_dir():
        return
    if os.path.lexists(folder):
        raise WritingError(f"{folder} is a file: a folder should be there.")
    _make(folder.parent, undo)
    folder.mkdir()
    undo.callback(_quietly, folder.rmdir)


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    name = tempfile.mkdtemp(prefix=".c2cotel-", dir=folder)
    try:
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)


def _put(folder: Path, files: Mapping[str, str], aside: Path) -> None:
    # Without their endings: Grafana, which may be reading this folder, looks for *.json.
    written = []
    for number, (path, text) in enumerate(files.items()):
        new, old, target = aside / f"{number}.new", aside / f"{number}.old", folder / path
        new.write_text(text, encoding="utf-8")
        if os.path.lexists(target):
            shutil.copy2(target, old, follow_symlinks=False)
            if not target.is_symlink():
                shutil.copymode(target, new)
        written.append((new, old, target))
    with contextlib.ExitStack() as undo:
        for new, old, target in written:
            # Known before it happens: an interrupt may come just after it.
            undo.callback(_quietly, _restore, new, old, target)
            new.replace(target)
        undo.pop_all()


def _restore(new: Path, old: Path, target: Path) -> None:
    if os.path.lexists(new):  # it never came into place
        return
    if os.path.lexists(old):
        old.replace(target)
    else:
        target.unlink()


def _quietly(do: Callable[..., object], *arguments: object) -> None:
    """Undo as much as can be undone: what made it necessary is what is told."""
    with contextlib.suppress(OSError):
        do(*arguments)


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        # The name of what is written aside says nothing to anybody.
        shown = folder if ".c2cotel-" in str(where) else where
        raise WritingError(f"{shown} cannot be written: {error.strerror or error}.") from error
