"""Profiles for programs and for people."""

import re
from importlib.metadata import version
from typing import Any, Final

from pyramid.httpexceptions import HTTPBadRequest, HTTPConflict, HTTPError, HTTPNotFound
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.debug import job_views
from c2cotel.debug.job_views import KEPT_FOR, changes, moment
from c2cotel.debug.jobs import BusyError, Found, Job
from c2cotel.debug.profile import core
from c2cotel.debug.profile.formats import FORMATS
from c2cotel.debug.profile.merge import Profile, merge
from c2cotel.debug.profile.places import place
from c2cotel.debug.profile.report import report
from c2cotel.pyramid import pages, parameters
from c2cotel_instrumentation.samples import Order, Samples

__all__ = ["changes", "download", "profile", "profile_page", "profiles", "profiles_page"]

_VIEWS: Final = job_views.Views("c2c_debug_profile_one", "c2c_debug_profiles_one")
_TEMPLATES: Final = "c2cotel.debug.profile:templates"
_LONGEST_ROUTE: Final = 500
_SHOWN: Final = 50
_ON_PAGE: Final = 25
_MOST_SHOWN: Final = 1000


def profiles(request: Request) -> Response | dict[str, Any]:
    """POST begins one, or with ``stop`` ends one early; GET lists them."""
    if request.method != "POST":
        listing = _profiles(request).jobs.found()
        told = [_summary(request, found) for found in listing.jobs]
        return {"status": 200, "profiles": told, "silent": list(listing.silent)}
    return _VIEWS.post(request, _profiles(request).jobs, _start, _form)


def profile(request: Request) -> dict[str, Any]:
    """One profile: who took part, and what is hottest if it has ended."""
    found = _found(request)
    told = {"status": 200, **_summary(request, found)}
    if found.state == "running":
        return told
    gathered = _profiles(request).samples(found)
    whole = _merged(request, found.job, gathered.samples)
    route, requests = _scope(request, whole)
    searched = parameters.text(request, "q", longest=_LONGEST_ROUTE) or ""
    limit = parameters.whole(request, "limit", least=1, most=_MOST_SHOWN, default=_SHOWN)
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
    found = job_views.ended(request, _profiles(request).jobs)
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
    return _form(request)


def _form(request: Request, error: HTTPError | None = None) -> Response:
    jobs = _profiles(request).jobs
    members = jobs.members()
    return pages.render(
        request,
        f"{_TEMPLATES}/profiles.jinja2",
        listing=jobs.found(members),
        members=members,
        moment=moment,
        kept_for=KEPT_FOR,
        longest=core.LONGEST,
        fastest=core.FASTEST,
        error=error,
        status="200 OK" if error is None else error.status,
        filled=job_views.filled(request, seconds=10, hz=100, mode="wall", process="all", route=""),
        **_addresses(request),
    )


def profile_page(request: Request) -> Response:
    """One profile as tables and as a flame graph."""
    found = _found(request)
    done = found.state != "running"
    gathered = _profiles(request).samples(found) if done else core.Gathered({})
    whole = _merged(request, found.job, gathered.samples)
    route, requests = _scope(request, whole)
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
        moment=moment,
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
    pid, host = job_views.process(request)
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


def _route(request: Request) -> str | None:
    route = parameters.text(request, "route", longest=_LONGEST_ROUTE)
    if route is not None and not route.isprintable():
        raise HTTPBadRequest("route: expected the pattern of a route, for example /api/*")
    return route


def _scope(request: Request, whole: Profile) -> tuple[str | None, bool]:
    """Of which route, else whether of requests only, somebody wants to see something."""
    usual = "requests" if any(whole.routes()) else "all"
    choice = parameters.choice(request, "threads", ("requests", "all"), default=usual)
    return parameters.text(request, "route", longest=_LONGEST_ROUTE), choice == "requests"


def _found(request: Request) -> Found:
    return job_views.found(request, _profiles(request).jobs)


def _merged(request: Request, job: Job, samples: dict[str, Samples]) -> Profile:
    name = f"{pages.service_name(request)} {moment(job.at):%Y-%m-%d %H:%M:%S} UTC"
    return merge(name, samples)


def _summary(request: Request, found: Found) -> dict[str, Any]:
    return {
        **job_views.told(found),
        "downloads": {
            name: request.route_path("c2c_debug_profile_download", id=found.job.id, format=name)
            for name in FORMATS
        },
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
