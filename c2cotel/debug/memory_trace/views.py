"""Memory traces for programs and for people."""

from typing import Any, Final

from pyramid.httpexceptions import HTTPBadRequest, HTTPConflict, HTTPError
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.debug import job_views
from c2cotel.debug.job_views import KEPT_FOR, changes, moment, told
from c2cotel.debug.jobs import BusyError, Found, Job, UnknownProcessError
from c2cotel.debug.memory_trace import core
from c2cotel.debug.memory_trace.core import Order
from c2cotel.debug.memory_trace.tracing import summed
from c2cotel.pyramid import pages, parameters

__all__ = ["changes", "trace", "trace_page", "traces", "traces_page"]

_VIEWS: Final = job_views.Views("c2c_debug_memory_trace_one", "c2c_debug_memory_traces_one")
_TEMPLATES: Final = "c2cotel.debug.memory_trace:templates"
_USUAL: Final = Order()


def traces(request: Request) -> Response | dict[str, Any]:
    """POST begins one, or with ``stop`` ends one early; GET lists them."""
    if request.method != "POST":
        listing = _traces(request).jobs.found()
        known = [told(found) for found in listing.jobs]
        return {"status": 200, "traces": known, "silent": list(listing.silent)}
    return _VIEWS.post(request, _traces(request).jobs, _start, _form)


def trace(request: Request) -> dict[str, Any]:
    """One trace: who took part; once it has ended, what grew, together and in each process."""
    found = _found(request)
    summary = {"status": 200, **told(found)}
    if found.state == "running":
        return summary
    results = _traces(request).results(found)
    return {**summary, "lines": summed(results.items(), _limit(found)), "results": results}


def traces_page(request: Request) -> Response:
    """Where a trace is ordered, and those that there are."""
    return _form(request)


def _form(request: Request, error: HTTPError | None = None) -> Response:
    jobs = _traces(request).jobs
    return pages.render(
        request,
        f"{_TEMPLATES}/traces.jinja2",
        listing=jobs.found(),
        members=jobs.members(),
        moment=moment,
        kept_for=KEPT_FOR,
        error=error,
        status="200 OK" if error is None else error.status,
        filled=job_views.filled(
            request,
            seconds=f"{_USUAL.seconds:g}",
            frames=_USUAL.frames,
            limit=_USUAL.limit,
            process="all",
            force="",
        ),
        longest=int(core.LONGEST),
        most_frames=core.MOST_FRAMES,
        most=core.MOST,
        address=_address(request),
    )


def trace_page(request: Request) -> Response:
    """One trace as a table."""
    found = _found(request)
    results = _traces(request).results(found) if found.state != "running" else {}
    return pages.render(
        request,
        f"{_TEMPLATES}/trace.jinja2",
        found=found,
        results=results,
        lines=summed(results.items(), _limit(found)),
        moment=moment,
        address=_address(request),
    )


def _traces(request: Request) -> core.Traces:
    found: core.Traces = request.registry.c2c_memory_traces
    return found


def _start(request: Request) -> Job:
    order = Order(
        seconds=parameters.number(
            request, "seconds", least=1, most=core.LONGEST, default=_USUAL.seconds
        ),
        frames=parameters.whole(
            request, "frames", least=1, most=core.MOST_FRAMES, default=_USUAL.frames
        ),
        limit=parameters.whole(request, "limit", least=1, most=core.MOST, default=_USUAL.limit),
        force=parameters.flag(request, "force"),
    )
    pid, host = job_views.process(request)
    actor = request.c2c_actor
    try:
        return _traces(request).start(
            order, pid=pid, host=host, actor=actor.name, address=actor.address
        )
    except UnknownProcessError as error:
        raise HTTPBadRequest(f"process={error}") from error
    # It could be done, but not now, or at no price that anybody has agreed to.
    except (BusyError, ValueError) as error:
        raise HTTPConflict(str(error)) from error


def _found(request: Request) -> Found:
    return job_views.found(request, _traces(request).jobs)


def _limit(found: Found) -> int:
    limit = found.job.order.get("limit")
    return limit if isinstance(limit, int) else _USUAL.limit


def _address(request: Request) -> Any:
    """What the templates link to: ``address("traces_one", id=…)``."""

    def address(route: str, **parts: Any) -> str:
        path: str = request.route_path(f"c2c_debug_memory_{route}", **parts)
        return path

    return address
