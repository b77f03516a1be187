"""What the console tells: this service, its processes, the settings, what has been changed."""

import math
import os
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from c2cotel import otel
from c2cotel.broadcast.agreement import agreement
from c2cotel.broadcast.messages import Process, Replies
from c2cotel.metrics import own
from c2cotel.settings import Loaded, Row, Settings, rows

CHANNEL = "c2c_console_status"
#: Seconds that the processes have to tell how they are; one that is stopped costs no more.
TIMEOUT = 0.6
_REQUESTS = "http.server.request.duration"


@dataclass(frozen=True)
class Service:
    """What runs here. *instance* is that of the group of processes, as in the metrics."""

    name: str
    version: str | None
    git_hash: str | None
    instance: str | None
    host: str


@dataclass(frozen=True)
class Worker:
    """One process of the service; None for what it has not told.

    Attributes:
        age: Seconds since it was started.
        requests: That it has answered.
        memory: Bytes that it has in memory.
        silent: It listens, but has not answered in time: stopped, or too busy.
        here: It is the one that made this page.
    """

    host: str
    pid: int
    age: float | None = None
    requests: int | None = None
    memory: int | None = None
    silent: bool = False
    here: bool = False


@dataclass(frozen=True)
class ChangeRow:
    """One entry of the change log, as it is shown."""

    at: datetime | None
    switch: str
    key: str
    action: str
    before: str | None
    after: str | None
    ttl: float | None
    actor: str
    address: str
    host: str


@dataclass(frozen=True)
class SettingRow:
    """One setting as it is shown: *value* is text, None where it is not set."""

    name: str
    value: str | None
    origin: str
    changed: bool
    environment: tuple[str, ...]
    ini: str | None
    default: str | None
    description: str

    @property
    def text(self) -> str:
        """All that a search looks at."""
        parts = (self.name, self.value, self.origin, *self.environment, self.ini, self.description)
        return " ".join(part for part in parts if part).lower()


def service(settings: Settings, name: str) -> Service:
    """What this process knows of itself."""
    return Service(
        name=name,
        version=otel.told("service.version"),
        git_hash=settings.service.git_hash,
        instance=own.group_instance(),
        host=socket.gethostname(),
    )


def status() -> dict[str, float | None]:
    """How this process is: what it answers to the others."""
    return {"age": _age(), "requests": _requests(), "memory": _memory()}


def _age() -> float | None:
    try:
        # The name of the program, before the bracket, may have blanks: proc_pid_stat(5), field 22.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, LookupError, ValueError):
        return None
    return round(max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started), 1)


def _memory() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, LookupError, ValueError):
        return None


def _requests() -> int | None:
    # Without the instrumentor there are none, which is not the same as no requests.
    return own.measurements(_REQUESTS) if otel.is_on("instrumentor pyramid") else None


def workers(replies: Replies, here: Process) -> list[Worker]:
    """The processes that have answered and those that have not, by host and pid."""
    answered = [
        _worker(process, answer if isinstance(answer, dict) else {}, here)
        for process, answer in zip(replies.answered, replies.answers, strict=False)
    ]
    silent = [Worker(process.host, process.pid, silent=True) for process in replies.silent]
    return sorted(answered + silent, key=lambda worker: (worker.host, worker.pid))


def _worker(process: Process, answer: dict[str, Any], here: Process) -> Worker:
    """What came over the wire may be anything."""
    requests, memory = _number(answer.get("requests")), _number(answer.get("memory"))
    return Worker(
        host=process.host,
        pid=process.pid,
        age=_number(answer.get("age")),
        requests=None if requests is None else int(requests),
        memory=None if memory is None else int(memory),
        here=(process.host, process.pid) == (here.host, here.pid),
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and value >= 0 else None


def redis_state(*, reachable: bool | None) -> str:
    """In one line, for people."""
    if reachable is None:
        return "Redis not configured"
    return "Redis connected" if reachable else "Redis unreachable"


def change_rows(changes: Iterable[Any]) -> list[ChangeRow]:
    """The change log as it is shown, in the same order."""
    return [
        ChangeRow(
            at=_moment(change.at),
            switch=change.switch,
            key=change.key or agreement().ledger.nameless(change.switch),
            action=change.action,
            before=_shown(change.previous),
            after=_shown(change.value),
            ttl=change.ttl,
            actor=change.actor,
            address=change.address,
            host=change.host,
        )
        for change in changes
    ]


def _moment(at: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):  # another host's clock, or a stored oddity
        return None


def setting_rows(loaded: Loaded, searched: str = "") -> list[SettingRow]:
    """The settings in which each word of *searched* is; secrets are masked."""
    words = searched.lower().split()
    shown = [_setting_row(row) for row in rows(loaded)]
    return [row for row in shown if all(word in row.text for word in words)]


def _setting_row(row: Row) -> SettingRow:
    return SettingRow(
        name=row.name,
        value=_shown(row.value),
        origin=row.origin,
        changed=row.origin != "default",
        environment=row.environment,
        ini=row.ini,
        default=_shown(row.default),
        description=row.description.replace("`", ""),
    )


def _shown(value: Any) -> str | None:
    """A value of JSON as a person would write it."""
    if value is None or value in ("", [], {}):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{name}={_shown(item) or ''}" for name, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_shown(item) or "" for item in value)
    return str(value)
