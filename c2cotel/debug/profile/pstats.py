"""What :mod:`cProfile` would have written: for :class:`pstats.Stats`, SnakeViz and others.

Calls cannot be sampled: where those tools show numbers of calls, there are numbers of samples.
Source: https://docs.python.org/3/library/profile.html; the layout is that of
:meth:`cProfile.Profile.create_stats`.
"""

import marshal
from typing import TypeAlias

from c2cotel.debug.profile.merge import Profile
from c2cotel_instrumentation.samples import Frame

# File, line, function.
_Key: TypeAlias = tuple[str, int, str]
# Calls, those that are not recursive, own seconds, seconds with what it calls.
_Numbers: TypeAlias = tuple[int, int, float, float]

_NOTHING: _Numbers = (0, 0, 0.0, 0.0)


def pstats(profile: Profile) -> bytes:
    """*profile*, as a file of ``python -m cProfile -o``."""
    keys = [_key(frame) for frame in profile.frames]
    functions: dict[_Key, _Numbers] = {}
    callers: dict[_Key, dict[_Key, _Numbers]] = {}
    for stack in profile.stacks:
        path = [keys[frame] for frame in stack.frames]
        last = len(path) - 1
        seen: set[_Key | tuple[_Key, _Key]] = set()
        # From its end: the innermost of a function that calls itself is the one with own time.
        for depth in range(last, -1, -1):
            key = path[depth]
            own = stack.seconds if depth == last else 0.0
            if key not in seen:
                seen.add(key)
                known = functions.get(key, _NOTHING)
                functions[key] = _sum(known, stack.ticks, own, stack.seconds)
            if depth and (edge := (path[depth - 1], key)) not in seen:
                seen.add(edge)
                calls = callers.setdefault(key, {})
                known = calls.get(edge[0], _NOTHING)
                calls[edge[0]] = _sum(known, stack.ticks, own, stack.seconds)
    return marshal.dumps(
        {key: (*numbers, callers.get(key, {})) for key, numbers in functions.items()}
    )


def _key(frame: Frame) -> _Key:
    # As cProfile has what is no file.
    return frame.file or "~", frame.line, frame.function


def _sum(known: _Numbers, ticks: int, own: float, total: float) -> _Numbers:
    return known[0] + ticks, known[1] + ticks, known[2] + own, known[3] + total
