"""The calls of a request as a page shows them: what took long, and who called it.

What pyinstrument writes as HTML has scripts in it, which the pages' content security policy does
not let through.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pyinstrument.frame import Frame
    from pyinstrument.session import Session

MOST: Final = 1500
"""Calls on a page; those beyond are counted."""

# Part of the whole from which on the calls below are shown without being asked for.
_OPEN: Final = 0.05
_ITSELF: Final = "[self]"


@dataclass
class Call:
    """A function with what it called.

    Attributes:
        function: With its class, if that is known.
        where: File and line, empty for what is no function.
        seconds: With what it called.
        share: Of the whole.
        own: Whether it is of the application, and not of a library.
        passed: How many that only called one other have been left out before it.
    """

    function: str
    where: str
    seconds: float
    share: float
    own: bool
    passed: int = 0
    calls: list["Call"] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.share >= _OPEN


@dataclass(frozen=True)
class Tree:
    """All calls; *left_out* are those that are too many."""

    root: Call | None
    left_out: int

    def steps(self) -> Iterator[tuple[Literal["open", "leaf", "close"], Call]]:
        """The tree in the order of its lines: templates that call themselves end too early."""
        waiting: list[tuple[Literal["open", "close"], Call]] = []
        if self.root is not None:
            waiting.append(("open", self.root))
        while waiting:
            what, call = waiting.pop()
            if what == "close":
                yield "close", call
            elif call.calls:
                yield "open", call
                waiting.append(("close", call))
                waiting.extend(("open", each) for each in reversed(call.calls))
            else:
                yield "leaf", call


def tree(session: "Session") -> Tree:
    """What *session* has seen, without what took less than a hundredth."""
    from pyinstrument.renderers import JSONRenderer

    frame = JSONRenderer().preprocess(session.root_frame())
    if frame is None:
        return Tree(None, 0)
    whole = frame.time or 1.0
    # That is where we look from.
    root = Call("The request", "", frame.time, 1.0, own=False)
    found = [(frame, root)]
    count, left_out = 1, 0
    # The widest first, so that what is left out is deep down.
    for parent, call in found:
        for child in sorted(parent.children, key=lambda each: each.time, reverse=True):
            shown, passed = _shown(child)
            if count >= MOST:
                left_out += 1
                continue
            made = _call(shown, whole, passed)
            call.calls.append(made)
            found.append((shown, made))
            count += 1
    return Tree(root, left_out)


def _shown(frame: "Frame") -> tuple["Frame", int]:
    """*frame*, or the first one below it that is the application's, or where calls part."""
    passed = 0
    while not frame.is_application_code and len(frame.children) == 1:
        below = frame.children[0]
        if below.is_synthetic:
            break
        frame, passed = below, passed + 1
    return frame, passed


def _call(frame: "Frame", whole: float, passed: int = 0) -> Call:
    name = frame.function
    if frame.is_synthetic:
        name = "itself" if name == _ITSELF else name.strip("[]").replace("-", " ")
    elif frame.class_name:
        name = f"{frame.class_name}.{name}"
    where = ""
    if not frame.is_synthetic and frame.file_path_short and frame.line_no:
        where = f"{frame.file_path_short}:{frame.line_no}"
    return Call(
        function=name,
        where=where,
        seconds=frame.time,
        share=frame.time / whole,
        own=bool(frame.is_application_code),
        passed=passed,
    )
