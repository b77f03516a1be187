"""What pyinstrument sees of one request, and how that is kept.

A recording is a tree of calls and the moments at which each was seen, as JSON: pyinstrument's own
sessions name all frames of the stack at each moment. It is made into a session again for whoever
looks at it.
"""

import functools
import sys
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct
from msgspec.json import Decoder

if TYPE_CHECKING:
    from pyinstrument import Profiler
    from pyinstrument.session import Session

LACKING: Final = "A profile of a request needs pyinstrument: pip install 'c2cotel[debug]'"

INTERVAL: Final = 0.001
"""Seconds between two looks at the stack, at least."""

MOST_SAMPLES: Final = 5000
"""Above that, two that follow each other are made one."""

DEEPEST: Final = 200
"""Frames of a stack; of what is called further in, the last one is the caller."""

_DEEPER: Final = "(deeper)\x00<left out>\x000"
_TEXT_TARGET: Final = 200


class UnavailableError(RuntimeError):
    """There is no profile to be had here; says why."""


class Recorded(Struct, frozen=True, kw_only=True):
    """What has been seen.

    Attributes:
        title: ``GET /hello/{name}``.
        started: In seconds since 1970.
        duration: Seconds, as *cpu*, which all threads of the process have used meanwhile.
        names: Each frame once, as pyinstrument writes it.
        calls: The tree: of each call that by which it was called (-1 for none), and its frame.
        samples: Of each moment the innermost call, and the seconds since the one before.
        stem: The call that began to look.
        paths: Where modules are found; *prefixes* are where those of Python are.
    """

    title: str
    started: float
    duration: float
    cpu: float
    interval: float
    names: list[str]
    calls: list[tuple[int, int]]
    samples: list[tuple[int, float]]
    stem: int
    paths: list[str]
    prefixes: list[str]


_DECODER: Final = Decoder(Recorded)


@dataclass
class Recording:
    """A look at what this thread does, from :func:`begin` to :meth:`stop`.

    Attributes:
        on: Whether what is done now is the request. To set it is no call: none is seen.
    """

    profiler: "Profiler"
    thread: int
    on: bool = False

    def stop(self) -> "Session":
        """Look no more."""
        if threading.get_ident() != self.thread:
            raise UnavailableError("The request was ended by another thread than it began in")
        return self.profiler.stop()


def available() -> bool:
    """Whether pyinstrument is there."""
    return find_spec("pyinstrument") is not None


def begin() -> Recording:
    """Begin to look at what this thread does.

    Raises:
        UnavailableError: pyinstrument is not installed, or something else looks at this thread.
    """
    try:
        kind = _bounded()
    except ImportError as error:
        raise UnavailableError(LACKING) from error
    # It would be replaced, without a word.
    if sys.getprofile() is not None:
        raise UnavailableError("Another profiler looks at this thread")
    # A request has its thread for itself: there is nothing to tell apart by its context.
    profiler = kind(INTERVAL, async_mode="disabled")
    profiler.recording = recording = Recording(profiler, threading.get_ident())
    profiler.start(caller_frame=sys._getframe(1))  # noqa: SLF001 - there is no other way
    return recording


@functools.cache
def _bounded() -> Any:
    from pyinstrument import Profiler

    class Bounded(Profiler):
        """One that keeps so many samples, however long it takes, and none of who looks."""

        recording: Recording

        # What pyinstrument calls for each; if it does not any more, there may be more of them.
        def _sampler_saw_call_stack(self, call_stack: list[str], *rest: Any) -> None:
            if not self.recording.on:
                return
            if len(call_stack) > DEEPEST:
                call_stack = [*call_stack[:DEEPEST], _DEEPER]
            super()._sampler_saw_call_stack(call_stack, *rest)
            records = getattr(getattr(self, "_active_session", None), "frame_records", [])
            if len(records) > MOST_SAMPLES:
                _thin(records)

    return Bounded


def _thin(records: list[tuple[list[str], float]]) -> None:
    """Make each two of *records* one, which has the time of both."""
    pairs = zip(records[::2], records[1::2], strict=False)
    rest = records[len(records) & ~1 :]
    records[:] = [(stack, first + second) for (stack, first), (_, second) in pairs] + rest


def written(session: "Session", title: str) -> bytes:
    """*session* as it is kept."""
    names: dict[str, int] = {}
    calls: dict[tuple[int, int], int] = {}

    def innermost(stack: list[str]) -> int:
        call = -1
        for name in stack:
            step = call, names.setdefault(name, len(names))
            call = calls.setdefault(step, len(calls))
        return call

    samples = [(innermost(stack), seconds) for stack, seconds in session.frame_records]
    recorded = Recorded(
        title=title[:_TEXT_TARGET],
        started=session.start_time,
        duration=session.duration,
        cpu=session.cpu_time,
        interval=session.min_interval,
        stem=innermost(session.start_call_stack),
        names=[name.encode(errors="replace").decode() for name in names],
        calls=list(calls),
        samples=samples,
        paths=list(session.sys_path),
        prefixes=list(session.sys_prefixes),
    )
    return msgspec.json.encode(recorded)


def read(data: bytes) -> "Session":
    """The session of which *data* was written.

    Raises:
        UnavailableError: pyinstrument is not installed, or *data* is something else.
    """
    try:
        from pyinstrument.session import Session
    except ImportError as error:
        raise UnavailableError(LACKING) from error
    try:
        recorded = _DECODER.decode(data)
        stacks = _stacks(recorded)
        records = [(stacks[call], seconds) for call, seconds in recorded.samples]
        stem = stacks[recorded.stem] if recorded.stem >= 0 else []
    except (msgspec.MsgspecError, IndexError, ValueError) as error:
        raise UnavailableError(f"The profile cannot be read: {error}") from error
    return Session(
        frame_records=records,
        start_time=recorded.started,
        duration=recorded.duration,
        min_interval=recorded.interval,
        max_interval=recorded.interval,
        sample_count=len(records),
        start_call_stack=stem,
        target_description=recorded.title,
        cpu_time=recorded.cpu,
        sys_path=recorded.paths,
        sys_prefixes=recorded.prefixes,
    )


def _stacks(recorded: Recorded) -> list[list[str]]:
    """Of each call its whole stack; callers are written before whom they call."""
    stacks: list[list[str]] = []
    for call, (caller, name) in enumerate(recorded.calls):
        if not -1 <= caller < call:
            raise ValueError("a call without a caller")
        stacks.append([*(stacks[caller] if caller >= 0 else ()), recorded.names[name]])
    return stacks
