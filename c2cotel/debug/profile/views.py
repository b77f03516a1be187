"""Profiles for programs and for people."""

import re
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

from pyramid.httpexceptions import HTTPBadRequest, HTTPConflict, HTTPNotFound, HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.debug.jobs import BusyError, Found, Job, Part
from c2cotel.debug.profile import core
from c2cotel.debug.profile.formats import FORMATS
from c2cotel.debug.profile.merge import Profile, merge
from c2cotel.debug.profile.places import place
from c2cotel.debug.profile.report import report
from c2cotel.pyramid import pages, parameters
from c2cotel_instrumentation.samples import Order, Samples

_ID: Final = re.compile(r"[0-9a-f]{16}")
_TEMPLATES: Final = "c2cotel.debug.profile:templates"
_LONGEST_ROUTE: Final = 500
_SHOWN: Final = 50
_ON_PAGE: Final = 25
_MOST_SHOWN: Final = 1000


def changes(request: Request) -> bool:
    return bool(request.method == "POST")


def profiles(request: Request) -> Response | dict[str, Any]:
    """POST begins one, or with ``stop`` ends one early; GET lists them."""
    if request.method != "POST":
        listing = _profiles(request).jobs.found()
        told = [_summary(request, found) for found in listing.jobs]
        return {"status": 200, "profiles": told, "silent": list(listing.silent)}
    if "stop" in request.params:
        return _stop(request)
    # Before it begins: what is wrong in the question begins nothing.
    to_page = parameters.flag(request, "page")
    job = _start(request)
    page = request.route_path("c2c_debug_profiles_one", id=job.id)
    if to_page:
        raise HTTPSeeOther(page)
    where = request.route_path("c2c_debug_profile_one", id=job.id)
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


def profile(request: Request) -> dict[str, Any]:
    """One profile: who took part, and what is hottest if it has ended."""
    found = _found(request)
    told = {"status": 200, **_summary(request, found)}
    if found.state == "running":
        return told
    gathered = _profiles(request).samples(found)
    route, requests = _scope(request)
    searched = parameters.text(request, "q", longest=_LONGEST_ROUTE) or ""
    limit = parameters.whole(request, "limit", least=1, most=_MOST_SHOWN, default=_SHOWN)
    whole = _merged(request, found.job, gathered.samples)
    said = report(whole, requests=requests, route=route, searched=searched, limit=limit)
    return {
        **told,
        "unreadable": list(gathered.unreadable),
        "thread_seconds": said.all_seconds,
        "shown_seconds": said.seconds,
        "routes": [{"route": name, "seconds": seconds} for name, seconds in said.routes],
        "functions": said.functions,
        "other_functions": said.other_functions,
        "traces": [trace._asdict() for trace in said.traces],
        "other_requests": said.other_requests,
    }


def download(request: Request) -> Response:
    """One profile as a file, of all processes or of ``?process=host/pid``."""
    name = request.matchdict["format"]
    if name not in FORMATS:
        raise HTTPNotFound(f"{name[:80]}: expected one of {', '.join(FORMATS)}")
    found = _found(request)
    if found.state == "running":
        raise HTTPConflict(f"The profile {found.job.id} runs for another {found.left:.0f} s")
    samples = _profiles(request).samples(found).samples
    if not samples:
        raise HTTPNotFound(f"No process has finished the profile {found.job.id}")
    process = parameters.text(request, "process")
    if process is not None and process not in samples:
        raise HTTPBadRequest(
            f"process={process[:80]}: expected one of {', '.join(list(samples)[:_SHOWN])}"
        )
    made = FORMATS[name]
    chosen = samples if process is None else {process: samples[process]}
    whole = _merged(request, found.job, chosen)
    response = Response(
        made.make(whole, f"c2cotel@{version('c2cotel')}"),
        content_type=made.content_type,
        charset="UTF-8" if made.content_type == "text/plain" else None,
    )
    of = "" if process is None else "-" + re.sub(r"[^A-Za-z0-9.]+", "-", process)
    response.content_disposition = (
        f'attachment; filename="profile-{found.job.id}{of}.{made.suffix}"'
    )
    return response


def profiles_page(request: Request) -> Response:
    """Where a profile is ordered, and those that there are."""
    jobs = _profiles(request).jobs
    members = jobs.members()
    return pages.render(
        request,
        f"{_TEMPLATES}/profiles.jinja2",
        listing=jobs.found(members),
        members=members,
        moment=_moment,
        longest=core.LONGEST,
        fastest=core.FASTEST,
        **_addresses(request),
    )


def profile_page(request: Request) -> Response:
    """One profile as tables and as a flame graph."""
    found = _found(request)
    done = found.state != "running"
    gathered = _profiles(request).samples(found) if done else core.Gathered({})
    whole = _merged(request, found.job, gathered.samples)
    route, requests = _scope(request, default=any(name for name in whole.routes()))
    searched = parameters.text(request, "q", longest=_LONGEST_ROUTE) or ""
    return pages.render(
        request,
        f"{_TEMPLATES}/profile.jinja2",
        found=found,
        gathered=gathered,
        whole=whole,
        report=report(whole, requests=requests, route=route, searched=searched, limit=_ON_PAGE),
        searched=searched,
        route=route,
        requests=requests,
        moment=_moment,
        place=place,
        trace_url=request.registry.c2c_settings.settings.trace_url,
        **_addresses(request),
    )


def _profiles(request: Request) -> core.Profiles:
    found: core.Profiles = request.registry.c2c_profiles
    return found


def _start(request: Request) -> Job:
    order = Order(
        seconds=parameters.number(request, "seconds", least=1, most=core.LONGEST, default=10.0),
        hz=parameters.number(request, "hz", least=1, most=core.FASTEST, default=100.0),
        mode=parameters.choice(request, "mode", ("wall", "cpu"), default="wall"),  # type: ignore[arg-type] # one of them
        route=_route(request),
    )
    pid, host = _process(request)
    actor = request.c2c_actor
    try:
        return _profiles(request).start(
            order, pid=pid, host=host, actor=actor.name, address=actor.address
        )
    except BusyError as error:
        raise HTTPConflict(str(error)) from error
    # Also of a process that is not there.
    except ValueError as error:
        raise HTTPBadRequest(f"process={error}" if pid is not None else str(error)) from error


def _stop(request: Request) -> dict[str, Any]:
    id_ = parameters.required(request, "stop", "0123456789abcdef")
    actor = request.c2c_actor
    jobs = _profiles(request).jobs
    if not _ID.fullmatch(id_) or not jobs.stop(id_, actor=actor.name, address=actor.address):
        raise HTTPNotFound(f"stop={id_[:80]}: no such profile is running")
    return {"status": 200, "id": id_}


def _process(request: Request) -> tuple[int | None, str | None]:
    """Which process is meant: None for all, its number, and its host if that is said."""
    text = parameters.text(request, "process")
    if text is None or text == "all":
        return None, None
    host, _, number = text.rpartition("/")
    # Not all digits that Python reads, and not thousands of them.
    if not re.fullmatch(r"[0-9]{1,9}", number) or (not host and "/" in text):
        raise HTTPBadRequest(
            f"process={text[:80]}: expected all, the number of a process, or host/number"
        )
    return int(number), host or None


def _route(request: Request) -> str | None:
    route = parameters.text(request, "route", longest=_LONGEST_ROUTE)
    if route is not None and not route.isprintable():
        raise HTTPBadRequest("route: expected the pattern of a route, for example /api/*")
    return route


def _scope(request: Request, *, default: bool = False) -> tuple[str | None, bool]:
    """Of which route, else whether of requests only, somebody wants to see something."""
    choice = parameters.choice(
        request, "threads", ("requests", "all"), default="requests" if default else "all"
    )
    return parameters.text(request, "route", longest=_LONGEST_ROUTE), choice == "requests"


def _found(request: Request) -> Found:
    id_ = request.matchdict["id"]
    found = _profiles(request).jobs.find(id_) if _ID.fullmatch(id_) else None
    if found is None:
        raise HTTPNotFound(f"There is no profile {id_[:80]}: they are kept for 15 minutes")
    return found


def _merged(request: Request, job: Job, samples: dict[str, Samples]) -> Profile:
    name = f"{pages.service_name(request)} {_moment(job.at):%Y-%m-%d %H:%M:%S} UTC"
    return merge(name, samples)


def _summary(request: Request, found: Found) -> dict[str, Any]:
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
        "downloads": {
            name: request.route_path("c2c_debug_profile_download", id=job.id, format=name)
            for name in FORMATS
        },
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "process": str(part.process),
        "state": part.state,
        "note": part.note,
        **part.summary,
    }


def _addresses(request: Request) -> dict[str, Any]:
    """What the templates link to."""

    def address(route: str, **parts: Any) -> str:
        path: str = request.route_path(f"c2c_debug_{route}", **parts)
        return path

    return {
        "url_of": lambda id_: address("profiles_one", id=id_),
        "scoped": lambda id_, **query: address("profiles_one", id=id_, _query=query),
        "state_of": lambda id_: address("profile_one", id=id_),
        "download": lambda id_, name: address("profile_download", id=id_, format=name),
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
