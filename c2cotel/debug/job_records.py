"""What processes tell each other, and write down, of a job, see :mod:`c2cotel.debug.jobs`."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct
from msgspec.json import Decoder

State = Literal["running", "done", "early", "failed", "lost"]

ID: Final = r"\A[0-9a-f]{16}\Z"
"""What the id of a job looks like."""

_HEXADECIMAL: Final = r"\A[0-9a-f]{1,32}\Z"


class BusyError(RuntimeError):
    """Something of the kind runs already; the text says what, where and by whom."""


class AnnouncedError(BusyError):
    """Something of the kind is about to begin, but may not."""


class UnknownProcessError(ValueError):
    """There is no such process, or several; the text names those that there are."""


class Participant(Struct, frozen=True):
    """A process that takes part; *token* tells it from a later one with the same number."""

    host: str
    pid: Annotated[int, Meta(ge=0)]
    token: Annotated[str, Meta(pattern=_HEXADECIMAL)]

    def __str__(self) -> str:
        return f"{self.host}/{self.pid}"


class Job(Struct, frozen=True, kw_only=True):
    """What was ordered.

    Attributes:
        order: What it is about, for whoever does it.
        seconds: How long it takes.
        at: When it was ordered, in seconds since 1970 by the clock of who was asked to.
        actor: Who ordered it, *address* from where.
        processes: Those that take part.
        silent: Those that did not answer when they were asked to.
    """

    kind: str
    id: Annotated[str, Meta(pattern=ID)]
    order: dict[str, Any]
    seconds: Annotated[float, Meta(ge=0)]
    at: float
    actor: str = ""
    address: str = ""
    processes: tuple[Participant, ...] = ()
    silent: tuple[str, ...] = ()


class Part(Struct, frozen=True, kw_only=True):
    """What one process has of a job.

    Attributes:
        state: ``done``; ``early`` if it was ended before its time; ``failed``, *note* says why;
            ``lost`` if the process did not finish it, for it was killed, or never began.
        began: By the clock of its host, as *ended*.
        size: Bytes of what it found.
        summary: What lists show of it.
        left: Seconds until it ends, while it runs.
        life: The process, so that others can tell whether it is alive.
    """

    process: Participant
    state: State = "running"
    note: str = ""
    began: float = 0.0
    ended: float | None = None
    size: int = 0
    summary: dict[str, Any] = {}
    left: float = 0.0
    life: str = ""


class Left(Struct, frozen=True, kw_only=True):
    """What there is of a job on this host; *age* seconds after it was written down."""

    job: Job
    parts: tuple[Part, ...]
    age: float


# Made when the types are: msgspec 0.22 crashes Python when two threads are the first to use one.
JOB: Final = Decoder(Job)
LEFT: Final = Decoder(list[Left])
PART: Final = Decoder(Part)
