"""The route of a Pyramid request, as telemetry writes it."""

import sys
from typing import Any


def current_request() -> Any:
    """The request that this thread is answering; None if it is not, or not with Pyramid.

    Pyramid keeps it for each thread, which costs requests nothing. A thread that the application
    has started has none, whatever Context it attaches.
    """
    # A process without Pyramid does not import it to find that out.
    module = sys.modules.get("pyramid.threadlocal")
    return None if module is None else module.get_current_request()


def route_of(request: Any) -> str | None:
    """The pattern of the route that *request* has matched by now, always with a leading slash."""
    route = getattr(request, "matched_route", None)
    if route is None:
        return None
    pattern: str = route.pattern
    return pattern if pattern.startswith("/") else f"/{pattern}"


def current_route() -> str | None:
    """The pattern of the route of :func:`current_request`, if it has matched one by now."""
    return route_of(current_request())
