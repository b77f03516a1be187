"""The file format of speedscope, https://www.speedscope.app/.

Source: https://github.com/jlfwong/speedscope/wiki/Importing-from-custom-sources, and the schema
https://www.speedscope.app/file-format-schema.json.
"""

from collections.abc import Iterable
from typing import Any

from c2cotel.debug.profile.merge import NO_ROUTE, Merged, Profile
from c2cotel_instrumentation.samples import Frame

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def speedscope(profile: Profile, exporter: str) -> dict[str, Any]:
    """*profile* with all processes together first, then each; the routes are outermost."""
    routes = {route: len(profile.frames) + n for n, route in enumerate(profile.routes())}
    groups = [(profile.name, profile.stacks)]
    if len(profile.processes) > 1:
        groups += [
            (name, [stack for stack in profile.stacks if stack.process == number])
            for number, name in enumerate(profile.processes)
        ]
    return {
        "$schema": _SCHEMA,
        "name": profile.name,
        "exporter": exporter,
        "activeProfileIndex": 0,
        "shared": {
            "frames": [
                *(_frame(frame) for frame in profile.frames),
                *({"name": route or NO_ROUTE} for route in routes),
            ]
        },
        "profiles": [_sampled(name, stacks, routes) for name, stacks in groups],
    }


def _sampled(name: str, stacks: Iterable[Merged], routes: dict[str | None, int]) -> dict[str, Any]:
    stacks = list(stacks)
    return {
        "type": "sampled",
        "name": name,
        "unit": "seconds",
        "startValue": 0,
        "endValue": sum(stack.seconds for stack in stacks),
        "samples": [[routes[stack.route], *stack.frames] for stack in stacks],
        "weights": [stack.seconds for stack in stacks],
    }


def _frame(frame: Frame) -> dict[str, Any]:
    # Ours, "(other)", have none.
    where = {"file": frame.file, "line": frame.line} if frame.file else {}
    return {"name": frame.function, **where}
