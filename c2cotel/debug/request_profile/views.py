"""The profiles of requests for programs and for people, and how they are ordered."""

import difflib
import json
import re
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pyramid.httpexceptions import HTTPBadRequest, HTTPNotFound, HTTPNotImplemented
from pyramid.interfaces import IRoutesMapper
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.debug.job_records import ID, Job
from c2cotel.debug.job_views import KEPT_FOR, moment
from c2cotel.debug.jobs import Found
from c2cotel.debug.request_profile import core, recording
from c2cotel.debug.request_profile.orders import LONGEST_ROUTE, MOST, Order
from c2cotel.debug.request_profile.tree import tree
from c2cotel.pyramid import pages, parameters

if TYPE_CHECKING:
    from pyinstrument.session import Session

    from c2cotel.broadcast.switch import State, Switch

_DURATIONS: Final = (("60", "1 minute"), ("300", "5 minutes"), ("900", "15 minutes"))
_TTL: Final = 300.0
_LONGEST_TTL: Final = 3600.0
_NAMED: Final = 5
_TEMPLATES: Final = "c2cotel.debug.request_profile:templates"
_KINDS: Final = {
    "text": ("text/plain", "txt"),
    "json": ("application/json", "json"),
    "speedscope": ("application/json", "speedscope.json"),
}


def changes(request: Request) -> bool:
    return "requests" in request.params


def profiles(request: Request) -> dict[str, Any]:
    """``?requests=5`` orders profiles of the next 5, ``?requests=0`` ends that; else it tells."""
    if changes(request):
        _order(request)
    elif given := [name for name in ("route", "ttl") if name in request.params]:
        raise HTTPBadRequest(f"{given[0]}: only together with requests, for example requests=5")
    listing = _profiles(request).kept.found()
    return {
        "status": 200,
        "ordered": _ordered(request),
        "profiles": [_told(found.job) for found in listing.jobs],
        "silent": list(listing.silent),
    }


def page(request: Request) -> Response:
    """All profiles, and a form that orders more."""
    listing = _profiles(request).kept.found()
    return pages.render(
        request,
        f"{_TEMPLATES}/requests.jinja2",
        ordered=_ordered(request),
        available=recording.available(),
        lacking=recording.LACKING,
        profiles=[_told(found.job) for found in listing.jobs],
        silent=listing.silent,
        durations=_DURATIONS,
        kept_for=KEPT_FOR,
        proposed=f"{_TTL:g}",
        most=MOST,
        routes=_patterns(request),
        moment=moment,
        trace_url=request.registry.c2c_settings.settings.trace_url,
    )


def request_page(request: Request) -> Response:
    """One profile: its calls, as a tree."""
    found, session = _session(request)
    return pages.render(
        request,
        f"{_TEMPLATES}/request.jinja2",
        profile=_told(found.job),
        tree=_rendered(tree, session),
        cpu=session.cpu_time,
        interval=session.min_interval,
        moment=moment,
        kinds=_KINDS,
        trace_url=request.registry.c2c_settings.settings.trace_url,
    )


def download(request: Request) -> Response:
    """One profile as a file: ``?format=text``, ``json`` or ``speedscope``."""
    kind = parameters.choice(request, "format", tuple(_KINDS), default="speedscope")
    found, session = _session(request)
    content_type, extension = _KINDS[kind]
    text = _rendered(_renderer(kind), session)
    response = Response(text, content_type=content_type, charset="UTF-8")
    name = f"request-{found.job.id}.{extension}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _order(request: Request) -> None:
    switch: Switch[dict[str, Any]] = request.registry.c2c_request_profile_switch
    number = parameters.whole(request, "requests", least=0, most=MOST)
    route = parameters.text(request, "route", longest=LONGEST_ROUTE) or ""
    ttl = parameters.number(request, "ttl", least=1, most=_LONGEST_TTL, default=_TTL)
    actor = request.c2c_actor
    if number == 0:
        switch.reset(actor=actor.name, address=actor.address)
        return
    if not recording.available():
        raise HTTPNotImplemented(recording.LACKING)
    order = Order(secrets.token_hex(8), number, route, actor.name)
    known = _patterns(request)
    if route and not any(order.is_for(pattern) for pattern in known):
        near = difflib.get_close_matches(route, known, _NAMED, 0.0)
        raise HTTPBadRequest(
            f"route={route[:80]}: no route of the application is like that; expected for example "
            + (", ".join(near) or "nothing: it has none")
        )
    value = {"id": order.id, "requests": number, "route": route, "actor": actor.name}
    try:
        switch.set(value, ttl=ttl, actor=actor.name, address=actor.address)
    except ValueError as error:
        raise HTTPBadRequest(str(error)) from error


def _ordered(request: Request) -> dict[str, Any] | None:
    """What is to be profiled still, or has been within its time."""
    switch: Switch[dict[str, Any]] = request.registry.c2c_request_profile_switch
    state: State[dict[str, Any]] | None = switch.get()
    if state is None or (now := _profiles(request).ordered) is None:
        return None
    order, taken = now
    return {
        "id": order.id,
        "requests": order.requests,
        "taken": taken,
        "route": order.route,
        "expires_in": state.expires_in,
        "actor": state.actor,
    }


def _profiles(request: Request) -> core.Profiles:
    found: core.Profiles = request.registry.c2c_request_profiles
    return found


def _patterns(request: Request) -> list[str]:
    """Those of the application's routes, not of ours."""
    mapper = request.registry.queryUtility(IRoutesMapper)
    found = {
        each.pattern if each.pattern.startswith("/") else f"/{each.pattern}"
        for each in mapper.get_routes()
        if not each.name.startswith("c2c_")
    }
    return sorted(found)


def _told(job: Job) -> dict[str, Any]:
    """What lists show of a profile."""
    about = job.order
    names = "method", "route", "path", "status", "error", "trace_id", "request_id"
    return {
        "id": job.id,
        "at": job.at,
        "seconds": job.seconds,
        **{name: about.get(name) for name in names},
        "samples": about.get("samples", 0),
        "order": about.get("order"),
        "actor": job.actor,
        "process": ", ".join(map(str, job.processes)),
    }


def _session(request: Request) -> tuple[Found, "Session"]:
    """The profile that is asked for."""
    id_ = request.matchdict["id"]
    kept = _profiles(request).kept
    found = kept.find(id_) if re.fullmatch(ID, id_) else None
    body = next(iter(kept.bodies(found).values()), None) if found is not None else None
    if found is None or body is None:
        raise HTTPNotFound(
            f"There is no profile {id_[:40]!r}: they are kept for {KEPT_FOR}, and 20 of them"
        )
    try:
        return found, recording.read(body)
    except recording.UnavailableError as error:
        raise HTTPNotImplemented(str(error)) from error


def _rendered(function: Callable[["Session"], Any], session: "Session") -> Any:
    try:
        return function(session)
    except RecursionError as error:
        raise HTTPNotImplemented("The calls are too deep to be shown here") from error


def _renderer(kind: str) -> Callable[["Session"], str]:
    from pyinstrument import renderers

    if kind == "text":
        return renderers.ConsoleRenderer(unicode=True).render
    if kind == "json":
        return renderers.JSONRenderer().render
    return lambda session: _without_null(renderers.SpeedscopeRenderer().render(session))


def _without_null(text: str) -> str:
    """Without what speedscope's schema has only as something, or not at all."""
    return json.dumps(
        json.loads(text, object_pairs_hook=lambda pairs: {n: v for n, v in pairs if v is not None})
    )
