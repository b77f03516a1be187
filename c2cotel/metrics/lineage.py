"""Which process a process was forked from.

gunicorn's workers are forks of one master. When nothing of ours ran before the fork, that is all
they have in common; Linux tells it: a process that was forked and has not executed another program
since bears a flag. Elsewhere each process is its own origin.

Source: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, ``PF_FORKNOEXEC`` of
``<linux/sched.h>``.
"""

import os
from pathlib import Path
from typing import NamedTuple

_FORKED_ONLY = 0x40
# Ended, and not yet asked for by its parent: a zombie.
_ENDED = frozenset("ZX")


class _Stat(NamedTuple):
    parent: int
    flags: int
    started: int


def origin() -> str:
    """The process that this one was forked from, directly or not: ``<pid>-<start time>``.

    This process itself, if it was started as a program. The start time (in clock ticks since
    boot) tells it from another process that gets the same pid later.
    """
    pid = os.getpid()
    while (stat := _stat(pid)) is not None and stat.flags & _FORKED_ONLY:
        # A daemon's parent is gone, and init has adopted it: that one is another program.
        if _program(stat.parent) != _program(pid):
            break
        pid = stat.parent
    return of(pid)


def of(pid: int) -> str:
    """The same form for any process."""
    stat = _stat(pid)
    return f"{pid}-{stat.started if stat else 0}"


def is_alive(process: str) -> bool:
    """Whether the process that :func:`of` gave this for is still there."""
    pid = int(process.partition("-")[0])
    if _stat(pid) is not None:
        return of(pid) == process
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name of the program stands in parentheses, and may contain some.
    fields = text.rpartition(")")[2].split()
    if fields[0] in _ENDED:
        return None
    return _Stat(int(fields[1]), int(fields[6]), int(fields[19]))


def _program(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return None
