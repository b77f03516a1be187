"""What the views of all jobs have in common, see :mod:`c2cotel.debug.jobs`.

A kind of job has an address for programs, where one is begun by POST, and a page with a form that
does the same; each job has an address for programs and a page.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPConflict,
    HTTPError,
    HTTPNotFound,
    HTTPSeeOther,
)
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.debug.job_records import ID
from c2cotel.debug.jobs import Found, Job, Jobs, Part
from c2cotel.debug.parts import KEPT
from c2cotel.pyramid import parameters

KEPT_FOR: Final = f"{KEPT / 60:g} minutes"
"""How long jobs are kept, for people."""

Form = Callable[[Request, HTTPError], Response]
"""The page with the form, as it was filled in, and above it what was wrong."""


@dataclass(frozen=True)
class Views:
    """The views of the jobs of one kind.

    Attributes:
        one: The route of a job for programs; *page*, of its page.
    """

    one: str
    page: str

    def post(
        self, request: Request, jobs: Jobs, start: Callable[[Request], Job], form: Form
    ) -> Response | dict[str, Any]:
        """Begin one; with ``stop``, end one early; with ``page``, lead to its page."""
        if "stop" in request.params:
            return _stop(request, jobs)
        # Before it begins: what is wrong in the question begins nothing.
        to_page = parameters.flag(request, "page")
        try:
            job = start(request)
        except HTTPError as error:
            if to_page:
                return form(request, error)
            raise
        page = request.route_path(self.page, id=job.id)
        if to_page:
            raise HTTPSeeOther(page)
        where = request.route_path(self.one, id=job.id)
        response = Response(
            status=202, content_type="application/json", headers={"Location": where}
        )
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


def changes(request: Request) -> bool:
    """Whether somebody wants one to begin, or to end."""
    return bool(request.method == "POST")


def _stop(request: Request, jobs: Jobs) -> dict[str, Any]:
    id_ = parameters.required(request, "stop", "0123456789abcdef")
    actor = request.c2c_actor
    if not re.fullmatch(ID, id_) or not jobs.stop(id_, actor=actor.name, address=actor.address):
        raise HTTPNotFound(f"stop={id_[:80]}: no such {jobs.title} is running")
    return {"status": 200, "id": id_}


def process(request: Request) -> tuple[int | None, str | None]:
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


def found(request: Request, jobs: Jobs) -> Found:
    """The job that the address names."""
    id_ = request.matchdict["id"]
    known = jobs.find(id_) if re.fullmatch(ID, id_) else None
    if known is None:
        raise HTTPNotFound(f"There is no {jobs.title} {id_[:80]}: they are kept for {KEPT_FOR}")
    return known


def ended(request: Request, jobs: Jobs) -> Found:
    """Likewise, of one that does not run."""
    known = found(request, jobs)
    if known.state == "running":
        raise HTTPConflict(f"The {jobs.title} {known.job.id} runs for another {known.left:.0f} s")
    return known


def told(found: Found) -> dict[str, Any]:
    """What lists show of a job."""
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


def filled(request: Request, **usual: Any) -> dict[str, str]:
    """What to show in the fields of a form: what was sent, else what is *usual*."""
    sent = {name: request.POST.get(name) for name in usual} if request.method == "POST" else {}
    return {
        name: each[:1000] if isinstance(each := sent.get(name), str) else str(default)
        for name, default in usual.items()
    }


def moment(seconds: float) -> datetime:
    """Of a number of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
