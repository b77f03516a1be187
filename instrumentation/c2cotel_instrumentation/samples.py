"""What a profile is ordered as, and what comes of it; as JSON, tuples are arrays."""

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, get_args

__all__ = ["Frame", "Mode", "Order", "Request", "Samples", "Stack"]

Mode = Literal["wall", "cpu"]

_LONGEST: Final = 600.0
_FASTEST: Final = 1000.0


class Frame(NamedTuple):
    """A function; two of ours, without a file: ``(cut)`` and ``(other)``.

    Attributes:
        function: Its qualified name, ``Report.rows.<locals>.<genexpr>``.
        line: The first one of it, not the one that runs.
    """

    function: str
    file: str
    line: int


CUT: Final = Frame("(cut)", "", 0)
OTHER: Final = Frame("(other)", "", 0)


class Stack(NamedTuple):
    """A stack of one route and one kind of threads.

    Attributes:
        route: The pattern; None outside of requests, and in those that have no route (yet).
        thread: The name of the threads, with ``*`` for its digits.
        frames: Indices in :attr:`Samples.frames`, the outermost first.
    """

    route: str | None
    thread: str
    frames: tuple[int, ...]
    ticks: int
    seconds: float


class Request(NamedTuple):
    """An HTTP request that was seen, as :class:`~c2cotel_instrumentation.running.Answering`."""

    method: str
    route: str | None
    trace_id: str | None
    request_id: str
    ticks: int
    seconds: float


@dataclass(frozen=True)
class Order:
    """What is to be sampled.

    Attributes:
        seconds: For how long, at most 600.
        hz: How often in a second, at most 1000.
        mode: ``wall``, the time of every thread, waiting or not; ``cpu``, the CPU time of those
            that used some.
        route: Only threads that answer a request whose route's pattern matches, ``*`` being any
            text; None for all threads, also outside of requests.
        ours: Also threads that are named ``c2cotel-…``.

    Raises:
        ValueError: One of them is out of range.
    """

    seconds: float
    hz: float = 100.0
    mode: Mode = "wall"
    route: str | None = None
    ours: bool = False

    def __post_init__(self) -> None:
        for name, most in (("seconds", _LONGEST), ("hz", _FASTEST)):
            value = getattr(self, name)
            if not 0 < value <= most:
                raise ValueError(f"{name}={value!r}: expected more than 0, and at most {most:g}.")
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode={self.mode!r}: expected 'wall' or 'cpu'.")


@dataclass
class Samples:
    """A profile of this process.

    Attributes:
        started: Seconds since the epoch.
        seconds: How long it really took.
        ticks: How often the threads were looked at.
        late: Ticks that were left out, as their time had passed.
        cost: CPU seconds of the sampling thread; ``cost / seconds`` is its part of one core.
        ended_early: It was stopped.
        truncated: There were more different stacks than are kept: those that came too late are
            ``(other)`` of their route and kind of threads.
        unmeasured: Threads whose CPU time is not known, so that ``cpu`` leaves them out: those of
            :mod:`_thread` and of C. It is the most there were at a time.
        problem: Why it ended, if sampling failed.
        frames: The functions that :attr:`stacks` are made of.
        stacks: Those with most seconds first.
        requests: Those with most seconds first, 500 at most.
        other_requests: How many more there were.
    """

    profile_id: str
    order: Order
    started: float
    seconds: float = 0.0
    ticks: int = 0
    late: int = 0
    cost: float = 0.0
    ended_early: bool = False
    truncated: bool = False
    unmeasured: int = 0
    problem: str | None = None
    frames: list[Frame] = field(default_factory=list)
    stacks: list[Stack] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    other_requests: int = 0
