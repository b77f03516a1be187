"""The console and its two pages, for people and for programs."""

from dataclasses import asdict, dataclass
from typing import Any

from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPError,
    HTTPForbidden,
    HTTPSeeOther,
    HTTPServiceUnavailable,
    HTTPTooManyRequests,
)
from pyramid.request import Request
from pyramid.response import Response

from c2cotel import broadcast
from c2cotel.broadcast.agreement import agreement
from c2cotel.index import core, html
from c2cotel.pyramid import pages
from c2cotel.pyramid.access import Access, Identity
from c2cotel.pyramid.console import Entry, Form, console_of
from c2cotel.pyramid.views import authority_of

_FEW = 10
_TEMPLATES = "c2cotel.index:templates"


@dataclass(frozen=True)
class Shown:
    """One entry as it stands on the page; without *address* it can only be named."""

    title: str
    route: str
    address: str
    section: str
    description: str
    form: Form | None
    changes: bool
    public: bool


def changes(_: Request) -> bool:
    """Nothing on these pages does: POST is for logging in."""
    return False


def console(request: Request) -> Response | dict[str, Any]:
    """The page; ``secret`` logs in, an empty one logs out."""
    if _for_programs(request):
        authority_of(request).authorise(request, Access.READ)
        return _told(request)
    refusal = None
    if "secret" in request.params:
        refusal = _log_in(request)
        if request.method == "POST" and refusal is None:
            # Seen by GET, the page can be loaded again without sending the secret again.
            return HTTPSeeOther(request.route_path("c2c_index"))
    return _page(request, refusal)


def settings(request: Request) -> Response | list[dict[str, Any]]:
    """All settings, or those that have ``?q=`` somewhere."""
    loaded = request.registry.c2c_settings
    searched = _text(request, "q")
    rows = core.setting_rows(loaded, searched)
    if _for_programs(request):
        return [asdict(row) for row in rows]
    return _render(
        request,
        "settings",
        rows=rows,
        searched=searched,
        # One of a part stops nothing here, and may be meant for the ini.
        problems=[str(problem) for problem in loaded.problems if not problem.part],
        warnings=loaded.warnings,
    )


def change_log(request: Request) -> Response | list[dict[str, Any]]:
    """The last changes, newest first."""
    rows = core.change_rows(agreement().changes())
    if _for_programs(request):
        return [asdict(row) for row in rows]
    return _render(request, "changes", changes=rows)


def _log_in(request: Request) -> HTTPError | None:
    """Log in, or out; what the page says of it if that failed. The authority sets the cookie."""
    if not isinstance(request.params["secret"], str):
        raise HTTPBadRequest("secret: expected a text")
    refusal = _refused(request)
    return refusal if request.params["secret"] else None


def _no_access(request: Request) -> HTTPError | None:
    """Why somebody who is logged in may not look; None if nobody is."""
    return _refused(request) if authority_of(request).identity(request) is not None else None


def _refused(request: Request) -> HTTPError | None:
    try:
        authority_of(request).authorise(request, Access.READ)
    except (HTTPForbidden, HTTPTooManyRequests, HTTPServiceUnavailable) as refusal:
        return refusal
    return None


def _page(request: Request, refusal: HTTPError | None) -> Response:
    reader = _reader(request)
    if reader is None and refusal is None:
        refusal = _no_access(request)
    response = _render(
        request,
        "console",
        # A wrong secret is said on the page, which is there all the same, as c2cwsgiutils had it.
        status="200 OK" if isinstance(refusal, HTTPForbidden | None) else refusal.status,
        refusal="" if refusal is None else str(refusal),
        done=_done(request),
        groups=_groups(request, reader),
        may_read=reader is not None,
        may_change=reader is not None and reader.access >= Access.CHANGE,
        secret_login=bool(request.registry.c2c_settings.settings.secret),
        github_login=pages.address(request, "c2c_github_login", came_from=request.path),
        **_added(reader),
        **(_state(request) if reader is not None else {}),
    )
    if refusal is not None and "Retry-After" in refusal.headers:
        response.headers["Retry-After"] = refusal.headers["Retry-After"]
    return response


def _reader(request: Request) -> Identity | None:
    """Who is logged in, if that one may look at everything."""
    identity = authority_of(request).identity(request)
    return identity if identity is not None and identity.access >= Access.READ else None


def _state(request: Request) -> dict[str, Any]:
    """What is known of the service and its processes; asks them."""
    loaded = request.registry.c2c_settings
    broadcaster = broadcast.broadcaster()
    replies = broadcast.ask(core.CHANNEL, timeout=core.TIMEOUT)
    return {
        "about": core.service(loaded.settings, pages.service_name(request)),
        "workers": core.workers(replies, broadcaster.process),
        "redis": core.redis_state(reachable=broadcaster.reachable),
        "reachable": broadcaster.reachable,
        "changes": core.change_rows(agreement().changes(_FEW)),
        "notices": console_of(request.registry).told(),
    }


def _told(request: Request) -> dict[str, Any]:
    """The page for programs."""
    state = _state(request)
    return {
        "service": asdict(state["about"]),
        "workers": [asdict(worker) for worker in state["workers"]],
        "notices": state["notices"],
        "redis": {"configured": state["reachable"] is not None, "reachable": state["reachable"]},
        "views": [
            {
                "title": entry.title,
                "url": entry.address,
                "section": entry.section,
                "description": entry.description,
                "public": entry.public,
                "changes": entry.changes,
                "parameters": [field.name for field in entry.form.fields] if entry.form else [],
            }
            for entry in _entries(request)
        ],
        "changes": [asdict(row) for row in state["changes"]],
    }


def _entries(request: Request) -> list[Shown]:
    return [
        shown
        for entry in console_of(request.registry).entries
        if (shown := _shown(request, entry)) is not None
    ]


def _shown(request: Request, entry: Entry) -> Shown | None:
    address = pages.address(request, entry.route)
    if address is None:
        return None
    return Shown(
        title=entry.title,
        route=entry.route,
        address=address,
        section=entry.section,
        description=entry.description,
        form=entry.form,
        changes=entry.access is Access.CHANGE
        or (entry.form is not None and entry.form.method == "post"),
        public=entry.access is Access.PUBLIC,
    )


def _groups(request: Request, reader: Identity | None) -> list[tuple[str, list[Shown]]]:
    """The entries that may be seen, by section, both in the order in which they came."""
    groups: dict[str, list[Shown]] = {}
    for entry in _entries(request):
        if reader is not None or entry.public:
            groups.setdefault(entry.section or "Views", []).append(entry)
    return list(groups.items())


def _done(request: Request) -> str | None:
    """The title of what a form of this page has just done; only of what there is."""
    route = request.GET.get("done")
    return next((entry.title for entry in _entries(request) if entry.route == route), None)


def _added(reader: Identity | None) -> dict[str, Any]:
    """What the application adds, as it is now: it may assign these anew at any time."""
    from c2cotel import index

    return {
        "added_title": html.pieces(index.additional_title),
        "added": html.pieces(index.additional_auth if reader is not None else None)
        + html.pieces(index.additional_noauth),
    }


def _render(request: Request, page: str, **context: Any) -> Response:
    return pages.render(request, f"{_TEMPLATES}/{page}.jinja2", **context)


def _for_programs(request: Request) -> bool:
    wanted: str = request.GET.get("format", "html")
    if wanted not in ("html", "json"):
        raise HTTPBadRequest(f"format={wanted!r}: expected 'html' or 'json'")
    return wanted == "json"


def _text(request: Request, name: str) -> str:
    return str(request.GET.get(name, "")).strip()
