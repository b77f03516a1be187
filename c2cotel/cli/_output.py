"""Where the result of a command goes: a file, or standard output."""

import sys
from pathlib import Path
from typing import Any

from c2cotel.cli import FailedError


def print_json(told: Any) -> None:
    """Print *told*, which may have objects of msgspec, dataclasses and paths in it."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())


def plain(text: str) -> str:
    """*text*, which may be a server's, without what a terminal would obey; lines stay lines."""
    return "".join(it if it.isprintable() or it in "\n\t" else ascii(it)[1:-1] for it in text)


def write(path: Path | None, content: bytes) -> None:
    """Write *content* to the file at *path*; to standard output if that is none, or ``-``.

    Raises:
        FailedError: it cannot be written, or not to its end.
    """
    if path is None or str(path) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        return
    try:
        path.write_bytes(content)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise FailedError(f"{path} cannot be written: {reason}") from error
