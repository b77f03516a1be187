"""Files as short as they can be told, and whose they are."""

import os
import sys
from functools import lru_cache
from typing import Final

PYTHON: Final = "python"
"""The package of what comes with Python itself."""

_INSTALLED: Final = ("site-packages", "dist-packages")
# Of a file of whom nothing is known, so many parts tell enough.
_FEW: Final = 3


@lru_cache(maxsize=4096)
def package(file: str) -> str:
    """Whose code a file is: a distribution's, Python's, or the application's package."""
    if not file or file.startswith("<"):
        return PYTHON
    if (below := _installed(file) or _imported(file)) is not None:
        return _stem(below.partition("/")[0])
    if _is_pythons(file):
        return PYTHON
    *_, folder, name = ["", *file.split("/")]
    return folder or _stem(name)


def place(file: str) -> str:
    """Below where it is imported from, else its last parts."""
    if not file or file.startswith("<"):
        return file
    below = _installed(file) or _imported(file)
    return below if below is not None else "/".join(file.split("/")[-_FEW:])


def _installed(file: str) -> str | None:
    for name in _INSTALLED:
        _, found, below = file.rpartition(f"/{name}/")
        if found and below:
            return below
    return None


def _imported(file: str) -> str | None:
    """*file* below the longest entry of ``sys.path`` that it is in; None for Python's own."""
    if _is_pythons(file):
        return None
    best = ""
    for entry in sys.path:
        base = os.path.abspath(entry).rstrip("/") + "/"  # noqa: PTH100 - of texts, thousands of them
        if file.startswith(base) and len(base) > max(len(best), 1):
            best = base
    return file[len(best) :] or None if best else None


def _is_pythons(file: str) -> bool:
    return "/lib/python3" in file and not any(name in file for name in _INSTALLED)


def _stem(name: str) -> str:
    return name.partition(".")[0] or name
