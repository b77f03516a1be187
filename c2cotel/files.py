"""Files that others read at any moment."""

import os
from pathlib import Path


def write_aside(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write *data* under another name, then rename it to *path*: readers see all or nothing.

    *mode* is as that of :func:`os.open`: what the umask takes away is not given.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    aside.unlink(missing_ok=True)
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
