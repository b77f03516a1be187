"""What all hosts together have of jobs, see :mod:`c2cotel.debug.jobs`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from c2cotel.debug.job_records import Job, Left, Part

# Seconds within which every process has said that it has begun.
_BEGINNING: Final = 5.0


@dataclass(frozen=True)
class Found:
    """What there is of one job.

    Attributes:
        parts: One for each process that takes part, in their order.
    """

    job: Job
    parts: tuple[Part, ...]

    @property
    def state(self) -> Literal["running", "done"]:
        return "running" if any(part.state == "running" for part in self.parts) else "done"

    @property
    def left(self) -> float:
        """Seconds until it ends."""
        return max((part.left for part in self.parts if part.state == "running"), default=0.0)

    @property
    def missing(self) -> tuple[Part, ...]:
        """Those that did not finish."""
        return tuple(part for part in self.parts if part.state in ("lost", "failed"))


@dataclass(frozen=True)
class Listing:
    """All there is, newest first; *silent* are the processes that did not answer."""

    jobs: list[Found]
    silent: tuple[str, ...] = ()


def listing(left: Iterable[Left], silent: tuple[str, ...] = ()) -> Listing:
    """Put together what the hosts have *left*."""
    jobs: dict[str, Job] = {}
    parts: dict[str, dict[str, Part]] = {}
    ages: dict[str, float] = {}
    for each in left:
        name = each.job.id
        jobs.setdefault(name, each.job)
        ages[name] = max(ages.get(name, 0.0), each.age)
        known = parts.setdefault(name, {})
        known.update({part.process.token: part for part in each.parts})
    found = [Found(job, tuple(_of(job, parts[name], ages[name]))) for name, job in jobs.items()]
    # By age: the clocks of the hosts differ.
    found.sort(key=lambda each: ages[each.job.id])
    return Listing(found, silent)


def _of(job: Job, known: dict[str, Part], age: float) -> Iterable[Part]:
    for process in job.processes:
        if (part := known.get(process.token)) is not None:
            yield part
        elif age < _BEGINNING:
            yield Part(process=process, left=max(0.0, job.seconds - age))
        else:
            yield Part(process=process, state="lost")
