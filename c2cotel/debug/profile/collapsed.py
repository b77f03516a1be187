"""One line a stack, as flame graph tools read them: ``outermost;…;innermost 1234``.

The route is outermost, the number is of microseconds.
Source: https://github.com/brendangregg/FlameGraph#2-fold-stacks.
"""

import re

from c2cotel.debug.profile.merge import NO_ROUTE, Profile
from c2cotel.debug.profile.places import place
from c2cotel_instrumentation.samples import Frame

_MICROSECONDS = 1_000_000
# What separates frames, stacks and numbers; also the line ends that only Unicode knows.
_SEPARATORS = re.compile(r"[\s\x00-\x1f\x7f\x85\u2028\u2029]+")


def collapsed(profile: Profile) -> str:
    """*profile*, the same stacks of several processes and threads put together."""
    names = [
        _plain(
            f"{frame.function} ({place(frame.file)}:{frame.line})" if frame.file else frame.function
        )
        for frame in profile.frames
    ]
    found: dict[str, float] = {}
    for stack in profile.stacks:
        root = _plain(stack.route or NO_ROUTE)
        line = ";".join((root, *(names[frame] for frame in stack.frames)))
        found[line] = found.get(line, 0.0) + stack.seconds
    counted = ((line, round(seconds * _MICROSECONDS)) for line, seconds in found.items())
    return "".join(f"{line} {count}\n" for line, count in counted if count)


def _named(frame: Frame) -> str:
    where = f" ({place(frame.file)}:{frame.line})" if frame.file else ""
    return _plain(frame.function + where)


def _plain(name: str) -> str:
    return _SEPARATORS.sub(" ", name).replace(";", ":").strip() or "?"
