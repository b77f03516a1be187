"""Memory traces in all workers: the jobs of them, and what is to be said of one."""

import os
import weakref
from typing import Any, Final

import msgspec

from c2cotel.broadcast.agreement import Agreement
from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.debug.jobs import BusyError, End, Found, Job, Jobs
from c2cotel.debug.memory_trace.tracing import Tracing

KIND: Final = "memory_trace"
LONGEST: Final = 60.0
"""Seconds of a trace."""

MOST_FRAMES: Final = 25
MOST: Final = 1000
"""Lines of a result."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted; *force* it, whatever it costs."""

    seconds: float = 10.0
    frames: int = 3
    limit: int = 50
    force: bool = False


class Traces:
    """Those of this process and of all others."""

    def __init__(self, *, broadcaster: Broadcaster, agreement: Agreement) -> None:
        self.jobs = Jobs(
            KIND, self._begin, title="memory trace", broadcaster=broadcaster, agreement=agreement
        )
        self._tracing: Tracing | None = None
        renewing = weakref.WeakMethod(self._renew)
        os.register_at_fork(after_in_child=lambda: (method := renewing()) and method())

    def start(
        self,
        order: Order,
        *,
        pid: int | None = None,
        host: str | None = None,
        actor: str = "",
        address: str = "",
    ) -> Job:
        """As :meth:`Jobs.start`, which tells what is raised."""
        return self.jobs.start(
            msgspec.to_builtins(order),
            seconds=order.seconds,
            pid=pid,
            host=host,
            actor=actor,
            address=address,
        )

    def results(self, found: Found) -> dict[str, dict[str, Any]]:
        """What the processes have found that have ended, by their names."""
        bodies = self.jobs.bodies(found)
        read = {process: _read(body) for process, body in bodies.items()}
        return {process: result for process, result in read.items() if result is not None}

    def _begin(self, job: Job, end: End) -> Tracing:
        order = msgspec.convert(job.order, Order)

        def on_end(result: dict[str, Any]) -> None:
            self._tracing = None
            end.done(
                msgspec.json.encode(result),
                early=bool(result["ended"]),
                summary={name: result[name] for name in _SUMMARY},
            )

        def on_failure(text: str) -> None:
            self._tracing = None
            end.failed(text)

        if self._tracing is not None:
            raise BusyError("Another memory trace ends in this process: try again in a moment")
        tracing = Tracing(
            seconds=order.seconds,
            frames=order.frames,
            limit=order.limit,
            forced=order.force,
            on_end=on_end,
            on_failure=on_failure,
        )
        self._tracing = tracing
        return tracing

    def _renew(self) -> None:
        """In a forked child: nobody would ever switch it off there."""
        tracing, self._tracing = self._tracing, None
        if tracing is not None:
            tracing.forget()


_SUMMARY: Final = ("ended", "size", "count", "records", "was_on", "busy", "factor", "frames")


def _read(body: bytes) -> dict[str, Any] | None:
    """The result; None if it is that of another version."""
    try:
        result = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return result if isinstance(result, dict) and "lines" in result else None
