"""The health for load balancers and orchestrators, as c2cwsgiutils told it, and for people."""

import functools
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from pyramid.httpexceptions import HTTPBadRequest
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.draining import draining
from c2cotel.health_check.core import LIVES, Check, Outcome
from c2cotel.health_check.health import Health
from c2cotel.health_check.report import HEALTH_JSON, body, health_body
from c2cotel.health_check.requests import own_request
from c2cotel.pyramid import pages
from c2cotel.pyramid.access import Access
from c2cotel.pyramid.views import authority_of

_ALL = 2**31
_FAILED = 500
_UNAVAILABLE = 503
_ENDING = Check("shutdown", lambda _: None, LIVES, 1.0)


def health_check(request: Request) -> Response:
    """``?max_level=`` (1), ``?checks=`` and ``?group=`` select; ``?trace=1`` makes spans."""
    level = _level(request, LIVES)
    selected = _health(request).checks.selected(level, _text(request, "checks"), _group(request))
    return _answer(request, _run(request, selected), _FAILED)


def live(request: Request) -> Response:
    """The process answers: that is all."""
    return _answer(request, (), _FAILED, short=True)


def ready(request: Request) -> Response:
    """Whether requests may come: what is vital is there, and the service is not about to end."""
    draining().asked()
    if draining().active:
        message = "The service is shutting down"
        outcome = Outcome(
            _ENDING,
            ok=False,
            timing=0.0,
            ended=0.0,
            at=time.time(),
            message=message,
            private=message,
        )
        return _answer(request, (outcome,), _UNAVAILABLE)
    return _answer(request, _run(request, _vital(request)), _UNAVAILABLE)


def startup(request: Request) -> Response:
    """Whether what is vital has been there once, in this process."""
    started, group = _health(request).started, _group(request)
    if group in started:
        return _answer(request, (), _UNAVAILABLE)
    outcomes = _run(request, _vital(request))
    if all(outcome.ok for outcome in outcomes) and len(started) <= len(_health(request).checks):
        started.add(group)
    return _answer(request, outcomes, _UNAVAILABLE)


def page(request: Request) -> Response:
    """All checks, or those up to ``?max_level=``, with what is known of each."""
    level = _level(request, _ALL)
    outcomes = _run(request, _health(request).checks.selected(level))
    return pages.render(
        request,
        "c2cotel.health_check:templates/page.jinja2",
        rows=[_row(outcome) for outcome in outcomes],
        level=None if level == _ALL else level,
        levels=sorted({check.level for check in _health(request).checks}),
        ending=draining().active,
    )


@dataclass(frozen=True)
class _Row:
    """An outcome as it stands on the page."""

    outcome: Outcome
    result: str

    @property
    def text(self) -> str:
        return self.outcome.private or self.outcome.message


def _row(outcome: Outcome) -> _Row:
    result = outcome.details or outcome.result
    if result is None:
        return _Row(outcome, "")
    return _Row(outcome, json.dumps(msgspec.json.decode(result), indent=2, ensure_ascii=False))


def _answer(
    request: Request, outcomes: Sequence[Outcome], failure: int, *, short: bool = False
) -> Response:
    status = 200 if all(outcome.ok for outcome in outcomes) else failure
    details = not short and _may_see_details(request)
    offers = request.accept.acceptable_offers(["application/json", HEALTH_JSON])
    kind = offers[0][0] if offers else "application/json"
    if kind == HEALTH_JSON:
        content = health_body(outcomes, details=details)
    else:
        content = {"status": status} if short else body(status, outcomes, details=details)
    response = Response(msgspec.json.encode(content), status=status, content_type=kind)
    response.vary = ("Accept",)
    return response


def _run(request: Request, checks: Iterable[Check]) -> list[Outcome]:
    return _health(request).engine.run(
        checks, functools.partial(own_request, request), traced=_traced(request)
    )


def _traced(request: Request) -> bool:
    text = _text(request, "trace")
    if text not in (None, "", "0", "1"):
        raise HTTPBadRequest("trace: expected 1 or 0")
    if text == "1":
        authority_of(request).authorise(request, Access.READ)
    return text == "1"


def _vital(request: Request) -> Iterable[Check]:
    return _health(request).checks.selected(LIVES, group=_group(request))


def _may_see_details(request: Request) -> bool:
    if _health(request).development:
        return True
    identity = authority_of(request).identity(request)
    return identity is not None and identity.access >= Access.READ


def _level(request: Request, default: int) -> int:
    text = _text(request, "max_level")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise HTTPBadRequest("max_level: expected a whole number, for example 1")
    return min(int(text[:10]), _ALL)


def _group(request: Request) -> str | None:
    """The group that is asked for; a probe of one that is not there would never fail."""
    group = _text(request, "group") or None
    known = sorted({check.group for check in _health(request).checks if check.group})
    if group is not None and group not in known:
        raise HTTPBadRequest(f"group={group!r}: expected one of {', '.join(known) or 'none'}")
    return group


def _text(request: Request, name: str) -> str | None:
    value: str | None = request.GET.get(name)
    return value


def _health(request: Request) -> Health:
    health: Health = request.registry.c2c_health_check
    return health
