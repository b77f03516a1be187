"""What a profile says to somebody who reads it: routes, functions, traces."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from c2cotel.debug.profile.merge import Merged, Profile, hottest
from c2cotel.debug.profile.places import place
from c2cotel_instrumentation.samples import Frame, Request


class Trace(NamedTuple):
    """A trace that was seen; *share* is of all requests that were."""

    trace_id: str
    method: str
    route: str | None
    request_id: str
    requests: int
    seconds: float
    share: float


@dataclass(frozen=True)
class Report:
    """What a profile says, of some of its stacks.

    Attributes:
        seconds: Of the stacks that were chosen; shares are of these.
        all_seconds: Of all stacks.
        routes: Each with its seconds, most first; None where there is no route.
        functions: The hottest ones.
    """

    seconds: float
    all_seconds: float
    routes: list[tuple[str | None, float]]
    functions: list[dict[str, Any]]
    other_functions: int
    traces: list[Trace]
    other_requests: int

    def share(self, seconds: float) -> float:
        """In percent of what was chosen."""
        return 100 * seconds / self.seconds if self.seconds else 0.0


def report(
    profile: Profile,
    *,
    requests: bool = False,
    route: str | None = None,
    searched: str = "",
    limit: int = 50,
) -> Report:
    """What *profile* says; only of *requests*, or of one *route*.

    Of functions, only those that have all words of *searched* in their name or file.
    """
    chosen = list(_chosen(profile.stacks, requests, route))
    words = searched.lower().split()
    functions = [each for each in hottest(profile, chosen) if _has(each.frame, words)]
    traces = _traces(each for each in profile.requests if route in (None, each.route))
    seen = sum(trace.seconds for trace in traces)
    return Report(
        seconds=sum(stack.seconds for stack in chosen),
        all_seconds=profile.seconds,
        routes=list(profile.routes().items()),
        functions=[
            {**function.frame._asdict(), "own": function.own, "total": function.total}
            for function in functions[:limit]
        ],
        other_functions=len(functions[limit:]),
        traces=[
            trace._replace(share=trace.seconds / seen if seen else 0.0) for trace in traces[:limit]
        ],
        other_requests=profile.other_requests + sum(each.requests for each in traces[limit:]),
    )


def _chosen(stacks: Iterable[Merged], requests: bool, route: str | None) -> Iterable[Merged]:  # noqa: FBT001
    for stack in stacks:
        if route is not None:
            if stack.route == route:
                yield stack
        elif stack.route is not None or not requests:
            yield stack


def _has(frame: Frame, words: Sequence[str]) -> bool:
    text = f"{frame.function} {place(frame.file)}".lower()
    return all(word in text for word in words)


def _traces(requests: Iterable[Request]) -> list[Trace]:
    """Requests of one trace together, as its longest; those without one by their request id."""
    found: dict[str, Trace] = {}
    longest: dict[str, float] = {}
    for request in requests:
        key = request.trace_id or f"request {request.request_id}"
        known = found.get(key)
        if known is None or request.seconds > longest[key]:
            longest[key] = request.seconds
            found[key] = Trace(
                request.trace_id or "",
                request.method,
                request.route,
                request.request_id,
                1 + (known.requests if known else 0),
                request.seconds + (known.seconds if known else 0.0),
                0.0,
            )
        else:
            found[key] = known._replace(
                requests=known.requests + 1, seconds=known.seconds + request.seconds
            )
    return sorted(found.values(), key=lambda each: each.seconds, reverse=True)
