"""``versions.json``: what runs, written by ``c2cotel genversion`` when the image is built.

``{"main": {"git_hash": "abc", "git_tag": "1.0.0"}, "packages": {"pyramid": "2.1"}}``; one of hash
and tag is enough, and what else stands in it is kept.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec


class VersionsError(ValueError):
    """The file is there and cannot be used; the message says why."""


class _Main(msgspec.Struct):
    git_hash: str | None = None
    git_tag: str | None = None


class _Content(msgspec.Struct):
    main: _Main
    packages: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Versions:
    """What the file says; *content* is all of it, as it stands there."""

    content: dict[str, Any]
    git_hash: str | None
    git_tag: str | None


def read(path: Path) -> Versions | None:
    """The versions in *path*, or None if there is no such file.

    Raises:
        VersionsError: It is no file, cannot be read, is no JSON, or says something else.
    """
    try:
        if not path.exists():
            return None
        if not path.is_file():
            raise VersionsError(f"{path} is not a file")
        data = path.read_bytes()
        content: dict[str, Any] = msgspec.json.decode(data)
        main = msgspec.convert(content, _Content).main
    except OSError as error:
        raise VersionsError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.ValidationError as error:
        raise VersionsError(f"{path} is not what genversion writes: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise VersionsError(f"{path} is not JSON: {error}") from error
    if not (main.git_hash or main.git_tag):
        raise VersionsError(f"{path} is not what genversion writes: main has no git_hash")
    return Versions(content, main.git_hash, main.git_tag)
