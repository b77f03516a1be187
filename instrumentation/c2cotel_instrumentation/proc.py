"""What the kernel says of the process that asks.

Source: https://man7.org/linux/man-pages/man5/proc.5.html.
"""

import os
import resource
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_SELF: Final = Path("/proc/self")
_SMAPS: Final = _SELF / "smaps"
# Of the fields that follow the name of the program in ``stat``.
_THREADS: Final = 17
_STARTED: Final = 19
# Fields of the first line of a mapping, before its name.
_BEFORE_NAME: Final = 5


def has_memory() -> bool:
    return (_SELF / "statm").exists()


def has_memory_map() -> bool:
    return _SMAPS.exists()


def resident() -> int:
    """Bytes of physical memory."""
    return int(_statm()[1]) * resource.getpagesize()


def virtual() -> int:
    """Bytes of virtual memory."""
    return int(_statm()[0]) * resource.getpagesize()


def threads() -> int:
    """Threads; without ``/proc`` those that Python knows."""
    stat = _stat()
    return int(stat[_THREADS]) if stat else threading.active_count()


def started() -> float:
    """When this process started, on the monotonic clock; now, where nobody tells."""
    now = time.monotonic()
    if not (stat := _stat()):
        return now
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return now - max(0.0, since_boot - int(stat[_STARTED]) / os.sysconf("SC_CLK_TCK"))


def cpus() -> int:
    """How many CPUs this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        return os.cpu_count() or 1


def open_files() -> int:
    """Open file descriptors."""
    # Linux >= 6.2 tells the number as a size; elsewhere one of those listed is that of listing.
    with suppress(OSError):
        if size := (_SELF / "fd").stat().st_size:
            return size
    return len(os.listdir("/dev/fd")) - 1  # noqa: PTH208 - names are enough, there may be thousands


def file_limit() -> int | None:
    """How many file descriptors may be open; None: as many as one likes."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit


def memory_map() -> dict[str, int]:
    """Bytes of the proportional set size, by kind of mapping."""
    return by_kind(_SMAPS.read_bytes())


def by_kind(smaps: bytes) -> dict[str, int]:
    """The same of the content of a file ``smaps``."""
    found: dict[str, int] = {}
    # Each mapping ends with this line: the loop goes once per mapping, not per line.
    for mapping in smaps.split(b"\nVmFlags:"):
        size_at, pss_at = mapping.find(b"\nSize:"), mapping.find(b"\nPss:")
        if size_at < 0 or pss_at < 0:
            continue
        header = mapping[:size_at].rpartition(b"\n")[2].split(None, _BEFORE_NAME)
        kind = _kind(header[_BEFORE_NAME] if len(header) > _BEFORE_NAME else b"")
        kibibytes = int(mapping[pss_at + 5 : pss_at + 40].split(None, 1)[0])
        found[kind] = found.get(kind, 0) + kibibytes * 1024
    return found


def _kind(name: bytes) -> str:
    if not name or name.startswith(b"[anon"):
        return "anonymous"
    if name.startswith(b"["):
        if name == b"[heap]":
            return "heap"
        return "stack" if name.startswith(b"[stack") else "kernel"
    if name.startswith((b"/dev/shm/", b"/memfd:", b"/SYSV", b"/dev/zero", b"/run/shm/")):
        return "shared"
    if name.startswith(b"/dev/"):
        return "device"
    base = name.removesuffix(b" (deleted)").rpartition(b"/")[2]
    return "library" if base.endswith(b".so") or b".so." in base else "file"


def _statm() -> list[bytes]:
    return (_SELF / "statm").read_bytes().split()


def _stat() -> list[bytes]:
    """The fields after the name of the program; none without ``/proc``."""
    try:
        return (_SELF / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []
