"""The profiler for programs, as c2cwsgiutils answered them, and for people."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pyramid.httpexceptions import HTTPBadRequest, HTTPConflict
from pyramid.request import Request
from pyramid.response import Response

from c2cotel import broadcast
from c2cotel.broadcast.switch import checked_ttl
from c2cotel.pyramid import pages
from c2cotel.sql_profiler import core

if TYPE_CHECKING:
    from c2cotel.broadcast.switch import State, Switch

T = TypeVar("T")

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
_NUMBERS = ("sample_rate", "min_duration")
_FLAGS = ("analyze", "values")
_RULES = (*_NUMBERS, "route", *_FLAGS)
_DURATIONS = (
    ("300", "5 minutes"),
    ("900", "15 minutes"),
    ("3600", "1 hour"),
    ("86400", "1 day"),
    ("never", "until switched off"),
)
_PROPOSED = "900"
_SHOWN = 50
# Seconds that the page waits for a process.
_PATIENCE = 3.0


def changes(request: Request) -> bool:
    return "enable" in request.params


def profiler(request: Request) -> dict[str, Any]:
    """``?enable=1`` switches it on, with ``&ttl=`` and its rules; ``?enable=0`` off.

    Without it, it only tells; with ``&details=1``, also the rules and what has been found.
    """
    switch: Switch[dict[str, Any]] = request.registry.c2c_sql_profiler
    enable = _flag(request, "enable")
    given = [name for name in ("ttl", *_RULES) if name in request.params]
    if given and not enable:
        raise HTTPBadRequest(f"{given[0]}: only together with enable=1")
    if enable:
        _switch_on(request, switch)
    elif enable is not None:
        actor = request.c2c_actor
        switch.reset(actor=actor.name, address=actor.address)
    state = switch.get()
    told = {"status": 200, "enabled": state is not None}
    return {**told, **_details(state)} if _flag(request, "details") else told


def page(request: Request) -> Response:
    """The statements of all processes that took the most time, and a form that switches."""
    switch: Switch[dict[str, Any]] = request.registry.c2c_sql_profiler
    report = _report()
    logger = logging.getLogger("c2cotel.sql_profiler")
    return pages.render(
        request,
        "c2cotel.sql_profiler:templates/page.jinja2",
        state=switch.get(),
        available=core.profiler().available,
        report=report,
        durations=_DURATIONS,
        proposed=_PROPOSED,
        moment=_moment,
        trace_url=request.registry.c2c_settings.settings.trace_url,
        logged=logger.isEnabledFor(logging.INFO),
        log_levels=pages.address(request, "c2c_logging_page", name=logger.name),
    )


def _switch_on(request: Request, switch: "Switch[dict[str, Any]]") -> None:
    if not core.profiler().available:
        raise HTTPConflict(
            "The profiler cannot be switched on here: its instrumentor sql_profiler is off, see "
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
        )
    ttl = _text(request, "ttl")
    rules: dict[str, Any] = {}
    for name in _NUMBERS:
        if (text := _text(request, name)) is not None:
            rules[name] = _checked(core.checked_number, name, text)
    for name in _FLAGS:
        rules[name] = _flag(request, name) or False
    rules["route"] = (_text(request, "route") or "").strip()
    value = _checked(core.check, "", rules)
    seconds = None if ttl is None else _checked(checked_ttl, ttl)
    actor = request.c2c_actor
    switch.set(value, ttl=seconds, actor=actor.name, address=actor.address)


def _report() -> core.Report:
    replies = broadcast.ask(core.CHANNEL, {"limit": 2 * _SHOWN}, timeout=_PATIENCE)
    return core.report(replies, _SHOWN)


def _details(state: "State[dict[str, Any]] | None") -> dict[str, Any]:
    report = _report()
    return {
        "available": core.profiler().available,
        "rules": None if state is None else state.value,
        "expires_in": None if state is None else state.expires_in,
        "actor": None if state is None else state.actor,
        "processes": report.processes,
        "silent": list(report.silent),
        "statements": [{**asdict(each), "mean": each.mean} for each in report.statements],
        "other_statements": report.other_statements,
        "other_calls": report.others.calls,
        "other_total": report.others.total,
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _flag(request: Request, name: str) -> bool | None:
    """Whether the parameter *name* says yes; None if it is not there."""
    text = _text(request, name)
    if text is None:
        return None
    if text.lower() in _TRUE:
        return True
    # An empty one is a checkbox that nobody has ticked; to switch takes a word.
    if text.lower() in _FALSE and (text or name != "enable"):
        return False
    raise HTTPBadRequest(f"{name}={text[:80]!r}: expected 1 or 0")


def _text(request: Request, name: str) -> str | None:
    value = request.params.get(name)
    if value is not None and not isinstance(value, str):  # a file
        raise HTTPBadRequest(f"{name}: expected a text")
    return value


def _checked(check: Callable[..., T], *arguments: Any) -> T:
    try:
        return check(*arguments)
    except ValueError as error:
        raise HTTPBadRequest(str(error)) from error
