"""Profiles of the processor in all workers: the jobs of them, and what is to be said of one."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from c2cotel.broadcast.agreement import Agreement
from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.debug.jobs import BusyError, End, Found, Job, Jobs
from c2cotel.debug.profile.merge import UnreadableError, read, written
from c2cotel_instrumentation import sampler as sampling
from c2cotel_instrumentation.pyramid import PyramidInstrumentor
from c2cotel_instrumentation.running import Running
from c2cotel_instrumentation.samples import Order, Samples

KIND: Final = "profile"
LONGEST: Final = 60.0
"""Seconds of a profile."""

FASTEST: Final = 200.0
"""Looks in a second."""


class Profiles:
    """Those of this process and of all others."""

    def __init__(
        self, running: Callable[[], Running], *, broadcaster: Broadcaster, agreement: Agreement
    ) -> None:
        self._running = running
        self._sampler: tuple[Running, sampling.Sampler] | None = None
        self.jobs = Jobs(
            KIND, self._begin, title="profile", broadcaster=broadcaster, agreement=agreement
        )

    @property
    def sampler(self) -> sampling.Sampler:
        """That of the requests that are measured now: instrumenting may come later, or again."""
        running = self._running()
        if self._sampler is None or self._sampler[0] is not running:
            self._sampler = running, sampling.Sampler(running)
        return self._sampler[1]

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
        told = {name: getattr(order, name) for name in ("seconds", "hz", "mode", "route")}
        return self.jobs.start(
            told, seconds=order.seconds, pid=pid, host=host, actor=actor, address=address
        )

    def samples(self, found: Found) -> "Gathered":
        """What the processes have sampled that have ended."""
        samples: dict[str, Samples] = {}
        unreadable = []
        for process, body in self.jobs.bodies(found).items():
            try:
                samples[process] = read(body)
            except UnreadableError:
                unreadable.append(process)
        return Gathered(samples, tuple(unreadable))

    def _begin(self, job: Job, end: End) -> "_Work":
        order = msgspec.convert(job.order, Order)
        sampler, running = self.sampler, self._running()

        def on_end(samples: Samples) -> None:
            running.unmark(job.id)
            end.done(written(samples), early=samples.ended_early, summary=_summary(samples))

        # Before: no request is sampled whose span does not say so.
        running.mark(job.id)
        try:
            sampler.start(order, job.id, on_end)
        except BaseException as error:
            running.unmark(job.id)
            match error:
                case sampling.BusyError():
                    raise BusyError(str(error)) from error
                case sampling.UnsupportedError():
                    raise ValueError(str(error)) from error
            raise
        return _Work(sampler, job.id)


@dataclass(frozen=True)
class _Work:
    sampler: sampling.Sampler
    id: str

    def stop(self) -> None:
        current = self.sampler.current
        if current is not None and current.profile_id == self.id:
            self.sampler.stop()


@dataclass(frozen=True)
class Gathered:
    """The samples by the names of the processes; *unreadable* are those that make no sense."""

    samples: dict[str, Samples]
    unreadable: tuple[str, ...] = ()


@functools.cache
def profiles(broadcaster: Broadcaster, agreement: Agreement) -> Profiles:
    """Those of this process; its applications, if it has several, share them."""
    return Profiles(
        lambda: PyramidInstrumentor().running, broadcaster=broadcaster, agreement=agreement
    )


def _summary(samples: Samples) -> dict[str, Any]:
    """What lists show of a process's part."""
    return {
        "seconds": round(samples.seconds, 3),
        "ticks": samples.ticks,
        "late": samples.late,
        "cost": round(samples.cost / samples.seconds, 5) if samples.seconds else 0.0,
        "stacks": len(samples.stacks),
        "truncated": samples.truncated,
        "unmeasured": samples.unmeasured,
        "problem": samples.problem,
    }
