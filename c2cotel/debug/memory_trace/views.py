"""Memory traces for programs and for people."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from pyramid.httpexceptions import HTTPBadRequest, HTTPConflict, HTTPNotFound, HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.debug.jobs import BusyError, Found, Job, Part, UnknownProcessError
from c2cotel.debug.memory_trace import core
from c2cotel.debug.memory_trace.core import Order
from c2cotel.debug.memory_trace.tracing import summed
from c2cotel.pyramid import pages, parameters

_ID: Final = re.compile(r"[0-9a-f]{16}")
_TEMPLATES: Final = "c2cotel.debug.memory_trace:templates"
_USUAL: Final = Order()


def changes(request: Request) -> bool:
    return bool(request.method == "POST")


def traces(request: Request) -> Response | dict[str, Any]:
    """POST begins one, or with ``stop`` ends one early; GET lists them."""
    if request.method != "POST":
        listing = _traces(request).jobs.found()
        told = [_summary(found) for found in listing.jobs]
        return {"status": 200, "traces": told, "silent": list(listing.silent)}
    if "stop" in request.params:
        return _stop(request)
    # Whatever is wrong is said before anything begins.
    wants_page = parameters.flag(request, "page")
    job = _start(request)
    page = request.route_path("c2c_debug_memory_traces_one", id=job.id)
    if wants_page:
        raise HTTPSeeOther(page)
    where = request.route_path("c2c_debug_memory_trace_one", id=job.id)
    response = Response(status=202, content_type="application/json", headers={"Location": where})
    response.json_body = {
        "status": 202,
        "id": job.id,
        **job.order,
        "processes": [str(process) for process in job.processes],
        "silent": list(job.silent),
        "url": where,
        "page": page,
    }
    return response


def trace(request: Request) -> dict[str, Any]:
    """One trace: who took part; once it has ended, what grew, together and in each process."""
    found = _found(request)
    told = {"status": 200, **_summary(found)}
    if found.state == "running":
        return told
    results = _traces(request).results(found)
    return {**told, "lines": summed(results.items(), _limit(found)), "results": results}


def traces_page(request: Request) -> Response:
    """Where a trace is ordered, and those that there are."""
    jobs = _traces(request).jobs
    return pages.render(
        request,
        f"{_TEMPLATES}/traces.jinja2",
        listing=jobs.found(),
        members=jobs.members(),
        moment=_moment,
        usual=_USUAL,
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
        moment=_moment,
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
    pid, host = _process(request)
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


def _stop(request: Request) -> dict[str, Any]:
    id_ = parameters.required(request, "stop", "0123456789abcdef")
    actor = request.c2c_actor
    jobs = _traces(request).jobs
    if not _ID.fullmatch(id_) or not jobs.stop(id_, actor=actor.name, address=actor.address):
        raise HTTPNotFound(f"stop={id_[:80]}: no such memory trace is running")
    return {"status": 200, "id": id_}


def _process(request: Request) -> tuple[int | None, str | None]:
    """Which process is meant: None for all, its number, and its host if that is said."""
    text = parameters.text(request, "process")
    if text is None or text == "all":
        return None, None
    host, _, number = text.rpartition("/")
    if not re.fullmatch(r"[0-9]{1,9}", number) or (not host and "/" in text):
        raise HTTPBadRequest(
            f"process={text[:80]}: expected all, the number of a process, or host/number"
        )
    return int(number), host or None


def _found(request: Request) -> Found:
    id_ = request.matchdict["id"]
    found = _traces(request).jobs.find(id_) if _ID.fullmatch(id_) else None
    if found is None:
        raise HTTPNotFound(f"There is no memory trace {id_[:80]}: they are kept for 15 minutes")
    return found


def _limit(found: Found) -> int:
    limit = found.job.order.get("limit")
    return limit if isinstance(limit, int) else _USUAL.limit


def _summary(found: Found) -> dict[str, Any]:
    job = found.job
    return {
        "id": job.id,
        "state": found.state,
        "left": round(found.left, 1),
        **job.order,
        "at": job.at,
        "actor": job.actor,
        "address": job.address,
        "processes": [_part(part) for part in found.parts],
        "silent": list(job.silent),
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "process": str(part.process),
        "state": part.state,
        "note": part.note,
        **part.summary,
    }


def _address(request: Request) -> Any:
    """What the templates link to: ``address("traces_one", id=…)``."""

    def address(route: str, **parts: Any) -> str:
        path: str = request.route_path(f"c2c_debug_memory_{route}", **parts)
        return path

    return address


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
