"""The samples of all processes as one profile.

Seconds add up: of a profile of ten seconds, two processes with five threads each have a hundred
seconds of wall-clock time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import msgspec
from msgspec.json import Decoder

from c2cotel.debug.parts import LONGEST
from c2cotel_instrumentation.samples import OTHER, Frame, Request, Samples, Stack

# Made at once: msgspec 0.22 crashes Python when two threads are the first to use a type.
_SAMPLES: Final = Decoder(Samples)
NO_ROUTE: Final = "(no request)"


class Merged(NamedTuple):
    """A stack of one process; *frames* are indices in :attr:`Profile.frames`."""

    process: int
    route: str | None
    thread: str
    frames: tuple[int, ...]
    ticks: int
    seconds: float


@dataclass
class Profile:
    """What several processes have sampled.

    Attributes:
        name: What it is called in other tools.
        processes: Their names, to which :attr:`Merged.process` is the index.
        samples: What each has sampled, in the same order.
        requests: Of all, those with most seconds first.
    """

    name: str
    processes: list[str] = field(default_factory=list)
    samples: list[Samples] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    stacks: list[Merged] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    other_requests: int = 0

    @property
    def seconds(self) -> float:
        """Of all threads together."""
        return sum(stack.seconds for stack in self.stacks)

    @property
    def ticks(self) -> int:
        return sum(each.ticks for each in self.samples)

    @property
    def late(self) -> int:
        return sum(each.late for each in self.samples)

    @property
    def unmeasured(self) -> int:
        """Threads whose time of the processor is not known."""
        return sum(each.unmeasured for each in self.samples)

    @property
    def cost(self) -> float:
        """The part of one core that sampling took, of the process where it was most."""
        return max((each.cost / each.seconds for each in self.samples if each.seconds), default=0.0)

    def routes(self) -> dict[str | None, float]:
        """The seconds of each route, most first."""
        found: dict[str | None, float] = {}
        for stack in self.stacks:
            found[stack.route] = found.get(stack.route, 0.0) + stack.seconds
        return dict(sorted(found.items(), key=lambda each: each[1], reverse=True))


class UnreadableError(ValueError):
    """The samples of a process are not what they should be."""


def read(data: bytes) -> Samples:
    """What :func:`written` was given, in this process or in another one.

    Raises:
        UnreadableError: it is something else.
    """
    try:
        samples = _SAMPLES.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(str(error)) from error
    known = len(samples.frames)
    if any(not 0 <= frame < known for stack in samples.stacks for frame in stack.frames):
        raise UnreadableError("a stack has a frame that is not in the list")
    return samples


def written(samples: Samples) -> bytes:
    """*samples* as JSON; if that is too long, the rarest stacks are put together."""
    data = msgspec.json.encode(samples)
    while len(data) > LONGEST:
        samples = _fewer(samples, len(samples.stacks) // 2)
        data = msgspec.json.encode(samples)
    return data


def _fewer(samples: Samples, most: int) -> Samples:
    """*samples* with *most* stacks; the others are ``(other)`` of their route."""
    frames: dict[Frame, int] = {}

    def index(frame: Frame) -> int:
        return frames.setdefault(frame, len(frames))

    kept = [
        stack._replace(frames=tuple(index(samples.frames[frame]) for frame in stack.frames))
        for stack in samples.stacks[:most]
    ]
    others: dict[tuple[str | None, str], Stack] = {}
    for stack in samples.stacks[most:]:
        key = stack.route, stack.thread
        known = others.get(key, Stack(*key, (index(OTHER),), 0, 0.0))
        others[key] = known._replace(
            ticks=known.ticks + stack.ticks, seconds=known.seconds + stack.seconds
        )
    return replace(samples, truncated=True, frames=list(frames), stacks=[*kept, *others.values()])


def merge(name: str, parts: Mapping[str, Samples]) -> Profile:
    """One profile of what the processes, by their names, have sampled."""
    profile = Profile(name)
    frames: dict[Frame, int] = {}
    for number, (process, samples) in enumerate(parts.items()):
        profile.processes.append(process)
        profile.samples.append(samples)
        places = [frames.setdefault(frame, len(frames)) for frame in samples.frames]
        profile.stacks += (
            Merged(
                number,
                stack.route,
                stack.thread,
                tuple(places[frame] for frame in stack.frames),
                stack.ticks,
                stack.seconds,
            )
            for stack in samples.stacks
        )
        profile.requests += samples.requests
        profile.other_requests += samples.other_requests
    profile.frames = list(frames)
    profile.stacks.sort(key=lambda each: each.seconds, reverse=True)
    profile.requests.sort(key=lambda each: each.seconds, reverse=True)
    return profile


class Function(NamedTuple):
    """How long a function was on a stack (*total*), and at its end (*own*), in seconds."""

    frame: Frame
    own: float
    total: float


def hottest(profile: Profile, stacks: Iterable[Merged]) -> list[Function]:
    """The functions in *stacks*, those with most time of their own first."""
    own = [0.0] * len(profile.frames)
    total = [0.0] * len(profile.frames)
    for stack in stacks:
        if stack.frames:
            own[stack.frames[-1]] += stack.seconds
        # One that calls itself is on the stack several times, but not longer.
        for frame in set(stack.frames):
            total[frame] += stack.seconds
    found = [
        Function(frame, own[index], total[index])
        for index, frame in enumerate(profile.frames)
        if total[index]
    ]
    return sorted(found, key=lambda each: (-each.own, -each.total, each.frame))
