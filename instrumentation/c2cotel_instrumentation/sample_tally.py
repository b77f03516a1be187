"""Counts what the sampler sees, in bounded memory."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from types import CodeType
from typing import Final

from c2cotel_instrumentation.running import Answering
from c2cotel_instrumentation.samples import CUT, OTHER, Frame, Request, Samples, Stack

MOST_DEPTH: Final = 256
"""Frames of a stack that are looked at; one that is deeper has ``(cut)`` below its outermost."""

MOST_STACKS: Final = 4000
MOST_REQUESTS: Final = 500
# Of all stacks together: what bounds the memory, and the size of the answer (some 5 MB).
_MOST_CELLS: Final = 400_000
_MOST_FRAMES: Final = 20_000
_MOST_THREADS: Final = 100
_LONGEST_TEXT: Final = 200
# Not those within a word, as in ours.
_DIGITS: Final = re.compile(r"(?<![A-Za-z\d])\d+|\d+(?![A-Za-z\d])")

# None in place of the outermost one of a stack that is deeper; nothing at all is OTHER.
Codes = list[CodeType | None]


class _Stack:
    __slots__ = ("codes", "seconds", "ticks")

    def __init__(self, codes: Codes) -> None:
        self.codes = codes
        self.ticks = 0
        self.seconds = 0.0


class _Request:
    __slots__ = ("answering", "seconds", "ticks")

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.ticks = 0
        self.seconds = 0.0


class Tally:
    """Counts stacks and requests."""

    def __init__(self, route: str | None, *, ours: bool) -> None:
        self._route = route
        self._ours = ours
        self._wanted: dict[str | None, bool] = {}
        self._threads: dict[str, str | None] = {}
        self._kinds: set[str] = set()
        # Codes by their addresses. Those that are equal may be of different files, and to hash one
        # is to hash all that it consists of. No address is another code's meanwhile, as the entry
        # keeps its codes.
        self._stacks: dict[tuple[str | None, str, tuple[int, ...]], _Stack] = {}
        self._cells = 0
        self._truncated = False
        self._requests: dict[tuple[str, float], _Request] = {}
        self._many = 4 * MOST_REQUESTS
        self._forgotten = 0

    def wants(self, answering: Answering | None) -> bool:
        """Whether the order is about this route."""
        if self._route is None:
            return True
        route = None if answering is None else answering.route
        wanted = self._wanted.get(route)
        if wanted is None:
            wanted = self._wanted[route] = bool(route and fnmatchcase(route, self._route))
        return wanted

    def kind(self, thread: str) -> str | None:
        """What threads of this name are counted as; None for those that are left out."""
        try:
            return self._threads[thread]
        except KeyError:
            pass
        kind: str | None = None
        if self._ours or not thread.startswith("c2cotel-"):
            kind = _DIGITS.sub("*", thread)[:_LONGEST_TEXT]
            if kind not in self._kinds and len(self._kinds) >= _MOST_THREADS:
                kind = OTHER.function
            self._kinds.add(kind)
        if len(self._threads) > 10 * _MOST_THREADS:  # threads that come and go have new names
            self._threads.clear()
        self._threads[thread] = kind
        return kind

    def add(self, route: str | None, kind: str, codes: Codes, seconds: float) -> None:
        """*codes*, the innermost first, took *seconds*."""
        key = route, kind, tuple(map(id, codes))
        stack = self._stacks.get(key)
        if stack is None:
            stack = self._new(key, codes)
        stack.ticks += 1
        stack.seconds += seconds

    def _new(self, key: tuple[str | None, str, tuple[int, ...]], codes: Codes) -> _Stack:
        if len(self._stacks) >= MOST_STACKS or self._cells >= _MOST_CELLS:
            self._truncated = True
            other = *key[:2], ()
            return self._stacks.setdefault(other, _Stack([]))
        self._cells += len(codes)
        stack = self._stacks[key] = _Stack(codes)
        return stack

    def add_request(
        self, answering: Answering, seconds: float, running: Iterable[Answering]
    ) -> None:
        """A thread that answers this request, one of those that are *running*, took *seconds*."""
        key = answering.request_id, answering.since
        request = self._requests.get(key)
        if request is None:
            if len(self._requests) >= self._many:
                self._forget_ended(running)
            request = self._requests[key] = _Request(answering)
        request.answering = answering  # it may have found its route
        request.ticks += 1
        request.seconds += seconds

    def _forget_ended(self, running: Iterable[Answering]) -> None:
        """Of those that cannot become more, keep only what may be among the most in the end."""
        alive = {(answering.request_id, answering.since) for answering in running}
        ended = [key for key in self._requests if key not in alive]
        ended.sort(key=lambda key: self._requests[key].seconds, reverse=True)
        for key in ended[MOST_REQUESTS:]:
            del self._requests[key]
            self._forgotten += 1
        self._many = max(4 * MOST_REQUESTS, 2 * len(self._requests))

    def into(self, samples: Samples) -> None:
        """Write down what was counted."""
        frames = _Frames(samples.frames)
        # Code that was loaded again, or made again, is the same function.
        same: dict[tuple[str | None, str, tuple[int, ...]], _Stack] = {}
        for (route, kind, _), stack in self._stacks.items():
            indices = tuple(map(frames.index, reversed(stack.codes))) or (frames.other(),)
            total = same.setdefault((route, kind, indices), _Stack([]))
            total.ticks += stack.ticks
            total.seconds += stack.seconds
        samples.stacks = [Stack(*key, stack.ticks, stack.seconds) for key, stack in same.items()]
        samples.stacks.sort(key=lambda stack: stack.seconds, reverse=True)
        samples.truncated = self._truncated
        samples.requests = [
            Request(*request.answering[:4], request.ticks, request.seconds)
            for request in self._requests.values()
        ]
        samples.requests.sort(key=lambda request: request.seconds, reverse=True)
        samples.other_requests = self._forgotten + len(samples.requests[MOST_REQUESTS:])
        del samples.requests[MOST_REQUESTS:]


class _Frames:
    """Fills a list of frames, each of which is there once."""

    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames
        self._places: dict[Frame, int] = {}
        # By address, as above.
        self._codes: dict[int, int] = {}

    def index(self, code: CodeType | None) -> int:
        """The place in the list."""
        place = self._codes.get(id(code))
        if place is None:
            # What is generated while the application runs may have a new name each time.
            if len(self._frames) >= _MOST_FRAMES:
                place = self.other()
            else:
                place = self._place(CUT if code is None else _frame(code))
            self._codes[id(code)] = place
        return place

    def other(self) -> int:
        return self._place(OTHER)

    def _place(self, frame: Frame) -> int:
        place = self._places.setdefault(frame, len(self._frames))
        if place == len(self._frames):
            self._frames.append(frame)
        return place


def _frame(code: CodeType) -> Frame:
    return Frame(
        code.co_qualname[:_LONGEST_TEXT], code.co_filename[-_LONGEST_TEXT:], code.co_firstlineno
    )
