"""The switch for programs, as c2cwsgiutils answered it, and for people; and what it refuses."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPBadRequest, HTTPServiceUnavailable
from pyramid.request import Request
from pyramid.response import Response

from c2cotel import broadcast
from c2cotel.db_maintenance import core
from c2cotel.pyramid import pages
from c2cotel.pyramid.answers import error_body, keep_out_of_caches

if TYPE_CHECKING:
    from c2cotel.broadcast.switch import Switch
    from c2cotel.settings import Db

_OK = 200
_UNAVAILABLE = 503
_REFUSAL = "Read-only for maintenance: nothing can be written now, try again later"


def changes(request: Request) -> bool:
    return "readonly" in request.params


def maintenance(request: Request) -> dict[str, Any]:
    """``?readonly=true|false`` switches; without it, only tells, with ``?details=1`` more."""
    switch: Switch[bool] = request.registry.c2c_readonly
    if "readonly" in request.params:
        value = _wanted(request)
        actor = request.c2c_actor
        switch.set(value, actor=actor.name, address=actor.address)
        return {"status": _OK, "readonly": value}
    state = switch.get()
    told = {"status": _OK, "current_readonly": None if state is None else state.value}
    return told | _details(request) if _details_asked(request) else told


def page(request: Request) -> Response:
    """The state, the processes, and the button."""
    switch: Switch[bool] = request.registry.c2c_readonly
    state = switch.get()
    db: Db = request.registry.c2c_settings.settings.db
    return pages.render(
        request,
        "c2cotel.db_maintenance:templates/page.jinja2",
        state=state,
        on=state is not None and state.value,
        since=None if state is None else core.since(state),
        who=None if state is None else core.who(state),
        engines=_engine_names(request),
        refuses=db.readonly_answer == "503",
        retry_after=db.readonly_retry_after,
        # Without Redis, nobody remembers it when the service is started anew.
        remembered=broadcast.broadcaster().reachable is not None,
        processes=_processes(),
    )


class Meanwhile:
    """What requests get during maintenance, see :class:`c2cotel.db.Readonly`."""

    def __init__(self, db: "Db") -> None:
        self._refuses = db.readonly_answer == "503"
        after = db.readonly_retry_after
        self._headers = {"Retry-After": str(after)} if after else {}

    def __call__(self, request: Request, primary: bool) -> None:  # noqa: FBT001 - as declared
        """Refuse *request* if it wants a session on the *primary*, and that is what is set.

        Raises:
            HTTPServiceUnavailable: as said.
        """
        if primary and self._refuses:
            core.applications().refusals.add(1)
            raise self._unavailable()
        if self._headers:
            request.add_response_callback(self._tell)

    def _unavailable(self) -> HTTPServiceUnavailable:
        # Only who has a session comes by here: there is SQLAlchemy.
        from c2cotel.db.read_only import MAINTENANCE

        # With a body, so that it is JSON also where nothing makes JSON of exceptions.
        error = HTTPServiceUnavailable(
            _REFUSAL,
            headers=list(self._headers.items()),
            body=error_body(_REFUSAL, _UNAVAILABLE),
            content_type="application/json",
        )
        setattr(error, MAINTENANCE, True)
        keep_out_of_caches(error)
        return error

    def _tell(self, _: Request, response: Response) -> None:
        """The database's error, as it has been answered."""
        if response.status_int == _UNAVAILABLE:
            for name, value in self._headers.items():
                response.headers.setdefault(name, value)


def _wanted(request: Request) -> bool:
    text = request.params["readonly"]
    if not isinstance(text, str):  # a file
        raise HTTPBadRequest("readonly: expected 'true' or 'false'")
    try:
        return core.wanted(text)
    except ValueError as error:
        raise HTTPBadRequest(str(error)) from error


def _details_asked(request: Request) -> bool:
    text = request.params.get("details", "0")
    if text not in ("0", "1"):
        raise HTTPBadRequest("details: expected 1 or 0")
    return bool(text == "1")


def _details(request: Request) -> dict[str, Any]:
    state = request.registry.c2c_readonly.get()
    begun = None if state is None else core.since(state)
    db: Db = request.registry.c2c_settings.settings.db
    primary, replica = _engine_names(request) or (None, None)
    return {
        "since": None if begun is None else begun.isoformat(timespec="seconds"),
        "actor": None if state is None else state.actor,
        "address": None if state is None else state.address,
        "answer": db.readonly_answer,
        "retry_after": db.readonly_retry_after,
        "primary": primary,
        "replica": replica,
        "processes": [asdict(here) for here in _processes()],
    }


def _engine_names(request: Request) -> tuple[str, str | None] | None:
    """Of the primary and the replica, if there is one."""
    both = core.engines(request.registry)
    if both is None:
        return None
    primary, replica = (str(getattr(engine, "c2c_name", "sqlalchemy")) for engine in both)
    return primary, None if both[0] is both[1] else replica


def _processes() -> list[core.Here]:
    return core.reports(broadcast.ask(core.CHANNEL, timeout=core.TIMEOUT))
