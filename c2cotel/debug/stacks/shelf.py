"""Stacks as they are told: each one, and each of its lines, once; and none of them endless."""

from types import FrameType
from typing import Final

from c2cotel.debug.stacks import sources
from c2cotel.debug.stacks.frames import DEEPEST
from c2cotel.debug.stacks.told import Frame
from c2cotel.debug.texts import masked, printable, truncated

DEEPEST_STACK: Final = 200
"""Frames of a thread that are told; of a process with many threads fewer."""

# Of all threads together: an answer may have 16 MB.
_MOST_FRAMES: Final = 20_000
_LEAST: Final = 10
_LONGEST_FILE: Final = 300
_LONGEST_NAME: Final = 200
_LONGEST_CODE: Final = 160


class Shelf:
    """The stacks of so many *threads*."""

    def __init__(self, threads: int) -> None:
        self.stacks: list[list[int]] = []
        self._deepest = max(_LEAST, min(DEEPEST_STACK, _MOST_FRAMES // max(1, threads)))
        self._known: dict[tuple[int, ...], int] = {}
        self._lines: dict[tuple[str, int, str], int] = {}

    def add(self, frames: list[FrameType]) -> int:
        """The number of the stack with these frames, innermost first."""
        key = tuple(self._line(*line) for line in reversed(self._cut(frames)))
        number = self._known.setdefault(key, len(self.stacks))
        if number == len(self.stacks):
            self.stacks.append(list(key))
        return number

    def position(self, where: int | None, depth: int) -> int | None:
        """Where the frame *where*, from the innermost one, of so many is in the stack."""
        if where is None:
            return None
        if depth <= self._deepest:
            return depth - 1 - where
        inner = self._deepest // 2
        # Between the two halves that are told, one line stands for those that are not.
        outer = self._deepest - inner
        if where < inner:
            return outer + inner - where
        return depth - 1 - where if depth - 1 - where < outer else None

    def frames(self) -> list[Frame]:
        """The frames of all stacks."""
        code = sources.lines((file, line) for file, line, _ in self._lines)
        return [
            Frame(
                file=truncated(printable(file), _LONGEST_FILE),
                line=line,
                function=truncated(printable(function), _LONGEST_NAME),
                code=truncated(printable(masked(code.get((file, line), ""))), _LONGEST_CODE),
            )
            for file, line, function in self._lines
        ]

    def _cut(self, frames: list[FrameType]) -> list[tuple[str, int, str]]:
        depth = len(frames)
        if depth <= self._deepest:
            return [_line(frame) for frame in frames]
        inner = self._deepest // 2
        outer = self._deepest - inner
        more = "at least " if depth == DEEPEST else ""
        return [
            *(_line(frame) for frame in frames[:inner]),
            ("", 0, f"({more}{depth - self._deepest} frames are left out)"),
            *(_line(frame) for frame in frames[-outer:]),
        ]

    def _line(self, file: str, line: int, function: str) -> int:
        return self._lines.setdefault((file, line, function), len(self._lines))


def _line(frame: FrameType) -> tuple[str, int, str]:
    # A frame that is just being entered has no line yet.
    return frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name
