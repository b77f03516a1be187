"""The files that a profile can be had as."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from c2cotel.debug.profile.collapsed import collapsed
from c2cotel.debug.profile.flame import flame
from c2cotel.debug.profile.merge import Profile
from c2cotel.debug.profile.pstats import pstats
from c2cotel.debug.profile.speedscope import speedscope


class Format(NamedTuple):
    """How a profile can be had: as *make* makes it, in a file that ends with *suffix*."""

    make: Callable[[Profile, str], bytes]
    suffix: str
    content_type: str


def details(profile: Profile) -> dict[str, Any]:
    """All of it, as JSON: *frames* are lists (function, file, line), *stacks* are lists (index of
    the process, route, thread, indices of the frames, samples, seconds), *requests* are lists
    (method, route, trace id, request id, samples, seconds).
    """
    return {
        "name": profile.name,
        "processes": [
            {
                "process": name,
                "started": each.started,
                "seconds": each.seconds,
                "ticks": each.ticks,
                "late": each.late,
                "cost": each.cost,
                "ended_early": each.ended_early,
                "truncated": each.truncated,
                "problem": each.problem,
            }
            for name, each in zip(profile.processes, profile.samples, strict=True)
        ],
        "frames": profile.frames,
        "stacks": profile.stacks,
        "requests": profile.requests,
        "other_requests": profile.other_requests,
    }


FORMATS: Final = {
    "speedscope": Format(
        lambda profile, exporter: msgspec.json.encode(speedscope(profile, exporter)),
        "speedscope.json",
        "application/json",
    ),
    "collapsed": Format(
        lambda profile, _: collapsed(profile).encode(errors="replace"),
        "collapsed.txt",
        "text/plain",
    ),
    "pstats": Format(lambda profile, _: pstats(profile), "pstats", "application/octet-stream"),
    "json": Format(
        lambda profile, _: msgspec.json.encode(details(profile)), "json", "application/json"
    ),
    "flame": Format(
        lambda profile, _: msgspec.json.encode(flame(profile)), "flame.json", "application/json"
    ),
}
