"""The levels for programs, as c2cwsgiutils answered them, and for people."""

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pyramid.httpexceptions import HTTPBadRequest
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.broadcast.switch import checked_ttl
from c2cotel.logging_level import core
from c2cotel.pyramid import pages

if TYPE_CHECKING:
    from c2cotel.broadcast.switch import Switch

T = TypeVar("T")

_DURATIONS = (
    ("900", "15 minutes"),
    ("3600", "1 hour"),
    ("28800", "8 hours"),
    ("86400", "1 day"),
    ("never", "until reset"),
)
_PROPOSED = "3600"
_MOST_ROWS = 300


def changes(request: Request) -> bool:
    return "level" in request.params or "reset" in request.params


def level(request: Request) -> dict[str, Any]:
    """``?name=`` tells one level, with ``&level=`` sets it, with ``&reset=1`` takes that back.

    Without a name: all overrides. ``&ttl=`` is how many seconds the override lasts.
    """
    switch: Switch[str] = request.registry.c2c_logging_level
    name, wanted = _text(request, "name"), _text(request, "level")
    reset, ttl = _text(request, "reset"), _text(request, "ttl")
    if name is None:
        if changes(request):
            raise HTTPBadRequest("name: missing; empty for the root logger")
        states = switch.states()
        return {"status": 200, "overrides": {key: state.value for key, state in states.items()}}
    key = _checked(core.checked_name, name)
    actor = request.c2c_actor
    if wanted is not None:
        if reset is not None:
            raise HTTPBadRequest("reset: not together with level")
        value = _checked(lambda text: core.check(key, text), wanted)
        seconds = None if ttl is None else _checked(checked_ttl, ttl)
        switch.set(value, key=key, ttl=seconds, actor=actor.name, address=actor.address)
    elif ttl is not None:
        raise HTTPBadRequest("ttl: only together with level")
    elif reset is not None:
        if reset != "1":
            raise HTTPBadRequest("reset: expected 1")
        switch.reset(key=key, actor=actor.name, address=actor.address)
    now = core.levels().level(key)
    return {"status": 200, "name": name, "level": now.level, "effective_level": now.effective}


def page(request: Request) -> Response:
    """The tree of loggers, or those with ``?q=`` in their name; ``?name=`` is to be changed."""
    switch: Switch[str] = request.registry.c2c_logging_level
    search, name = (_text(request, "q") or "").strip(), _text(request, "name")
    states = switch.states()
    levels = core.levels()
    key = None if name is None else _checked(core.checked_name, name)
    return pages.render(
        request,
        "c2cotel.logging_level:templates/page.jinja2",
        search=search,
        tree=levels.tree(states, search, _MOST_ROWS),
        chosen=None if key is None else levels.row(key, states.get(key)),
        overrides=states,
        levels=core.level_names(),
        durations=_DURATIONS,
        proposed=_PROPOSED,
        process=f"{os.getpid()} on {socket.gethostname()}",
    )


def _text(request: Request, name: str) -> str | None:
    value = request.params.get(name)
    if value is not None and not isinstance(value, str):  # a file
        raise HTTPBadRequest(f"{name}: expected a text")
    return value


def _checked(check: Callable[[str], T], text: str) -> T:
    try:
        return check(text)
    except ValueError as error:
        raise HTTPBadRequest(str(error)) from error
