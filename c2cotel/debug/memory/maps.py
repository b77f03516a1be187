"""The memory of a process as the kernel sees it.

Source: https://man7.org/linux/man-pages/man5/proc.5.html.
"""

import re
import resource
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

_PROC: Final = Path("/proc")
_HEADER: Final = re.compile(rb"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)")
_FIELDS: Final = {b"Size": "size_kb", b"Rss": "rss_kb", b"Pss": "pss_kb"}


def dump_memory_maps(pid: str | int = "self") -> list[dict[str, Any]]:
    """The mapped files of a process, that with the largest proportional set size first.

    Those of one name together, in kB; without those of which nothing is in memory. Empty where
    there is no ``/proc``, or no such process.
    """
    try:
        smaps = (_PROC / str(pid) / "smaps").read_bytes()
    except OSError:
        return []
    return mappings(smaps)


def mappings(smaps: bytes) -> list[dict[str, Any]]:
    """The same of the content of a file ``smaps``."""
    found: dict[str, dict[str, Any]] = {}
    current: dict[str, Any] = {}
    for line in smaps.splitlines():
        if header := _HEADER.fullmatch(line):
            name = header[1].decode(errors="backslashreplace") or "[anonymous]"
            current = found.setdefault(name, {"name": name, "size_kb": 0, "rss_kb": 0, "pss_kb": 0})
            continue
        label, _, value = line.partition(b":")
        if (key := _FIELDS.get(label)) is not None and current:
            current[key] += int(value.split()[0])
    ranked = sorted(found.values(), key=lambda each: (-each["pss_kb"], each["name"]))
    return [each for each in ranked if each["pss_kb"] > 0]


@dataclass(frozen=True)
class MemoryInfo:
    """Bytes of each kind, by the names of ``psutil``."""

    rss: int
    vms: int
    shared: int
    text: int
    lib: int
    data: int
    dirty: int

    @classmethod
    def read(cls) -> "MemoryInfo":
        """That of this process.

        Raises:
            OSError: there is no ``/proc``.
        """
        pages = map(int, (_PROC / "self" / "statm").read_bytes().split())
        size, resident, *others = (number * resource.getpagesize() for number in pages)
        return cls(resident, size, *others)

    def since(self, before: "MemoryInfo") -> dict[str, int]:
        """How many kB there are more than *before*."""
        return {
            f"{field.name}_kb": (getattr(self, field.name) - getattr(before, field.name)) // 1024
            for field in fields(self)
        }
