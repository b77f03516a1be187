"""What our own flame graph draws, see ``static/flame.js`` of :mod:`c2cotel.pyramid`.

Functions are lists (name, place, line, package), stacks are lists (process, route, thread, seconds,
indices of the functions, the outermost first).
"""

from typing import Any, Final

from c2cotel.debug.profile.merge import Profile
from c2cotel.debug.profile.places import PYTHON, package, place

MOST: Final = 20_000
"""Stacks; the others are too thin to be seen."""


def flame(profile: Profile, most: int = MOST) -> dict[str, Any]:
    """*profile* for the graph, the rarest stacks put together."""
    frames = [
        [frame.function, place(frame.file), frame.line, package(frame.file)]
        for frame in profile.frames
    ]
    stacks: list[list[Any]] = [
        [stack.process, stack.route, stack.thread, _rounded(stack.seconds), stack.frames]
        for stack in profile.stacks[:most]
    ]
    rest: dict[tuple[int, str | None, str], float] = {}
    for stack in profile.stacks[most:]:
        key = stack.process, stack.route, stack.thread
        rest[key] = rest.get(key, 0.0) + stack.seconds
    if rest:
        frames.append(["(other)", "", 0, PYTHON])
        stacks += [[*key, _rounded(seconds), [len(frames) - 1]] for key, seconds in rest.items()]
    return {"processes": profile.processes, "frames": frames, "stacks": stacks}


def _rounded(seconds: float) -> float:
    return round(seconds, 6)
