"""The requests that are profiled: from outside of every tween until there is a response.

A body that is streamed is made after that, for whoever takes it, and is no part of the profile. A
request that is tried again is one with all its tries.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, time
from typing import Any, Final

from opentelemetry.trace import get_current_span
from pyramid.interfaces import IRoutesMapper
from pyramid.registry import Registry
from pyramid.request import Request

from c2cotel.client_info import Environ
from c2cotel.debug.request_profile import core, recording
from c2cotel.debug.request_profile.orders import Claims
from c2cotel.debug.request_profile.recording import Recording, UnavailableError
from c2cotel.pyramid.policies import Policy
from c2cotel.pyramid.visitors import may_look
from c2cotel_instrumentation import wsgi
from c2cotel_instrumentation.context import REQUEST_ID_KEY
from c2cotel_instrumentation.errors import Complaint, type_name
from c2cotel_instrumentation.once import Once
from c2cotel_instrumentation.redaction import redacted_path
from c2cotel_instrumentation.routes import route_of

LOGGER = logging.getLogger(__name__)

ID_HEADER: Final = "X-C2C-Profile-Id"
ERROR_HEADER: Final = "X-C2C-Profile-Error"

_KEY: Final = "HTTP_X_C2C_PROFILE"
_YES: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
# In the environ of a request that has been looked at: an application in it passes it on.
_SEEN: Final = "c2cotel.debug.request_profile"
_LONGEST: Final = 500
_SERVER_ERROR: Final = 500


def around(policy: Policy, registry: Registry) -> Policy:
    """*policy*, with a profile of the requests that are to have one."""
    profiles: core.Profiles = registry.c2c_request_profiles
    watch = _Watch(policy, registry, profiles)

    # All that a request costs which nobody wants to profile.
    def execution_policy(environ: Environ, router: Any) -> Any:
        if profiles.waiting is None and _KEY not in environ:
            return policy(environ, router)
        return watch.answer(environ, router)

    return execution_policy


@dataclass(frozen=True)
class _Wish:
    """Why a request is profiled: by its header, or as *number* of what is ordered."""

    claims: Claims | None = None
    number: int = -1


class _Router:
    """The router as a policy sees it, which tells what request it has made."""

    def __init__(self, router: Any) -> None:
        self._router = router
        self.request: Request | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._router, name)

    def invoke_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True  # pyinstrument leaves such frames out
        self.request = request
        return self._router.invoke_request(request, *args, **kwargs)


class _Watch:
    """What is done with the requests of one application while some of them are wanted."""

    def __init__(self, policy: Policy, registry: Registry, profiles: core.Profiles) -> None:
        self._policy = policy
        self._registry = registry
        self._profiles = profiles
        self._new = Once()
        self._complain = Complaint(
            LOGGER, "A request could not be profiled; it goes on. Further ones are not logged."
        )

    def answer(self, environ: Environ, router: Any) -> Any:
        """What the policy answers, with a profile if that is wanted."""
        __tracebackhide__ = True
        wish = self._quietly(self._wish, environ)
        if wish is None:
            return self._policy(environ, router)
        looking = self._quietly(self._begin, wish)
        if not isinstance(looking, Recording):
            response = self._policy(environ, router)
            if looking and wish.claims is None:
                self._quietly(_say, response, ERROR_HEADER, looking)
            return response
        return self._recorded(environ, router, wish, looking)

    def _recorded(self, environ: Environ, router: Any, wish: _Wish, looking: Recording) -> Any:
        __tracebackhide__ = True
        seen, at, start = _Router(router), time(), perf_counter()
        response: Any = None
        error: BaseException | None = None
        try:
            looking.on = True
            response = self._policy(environ, seen)
        except BaseException as escaped:
            error = escaped
            raise
        finally:
            looking.on = False
            seconds = perf_counter() - start
            about = self._quietly(_about, environ, seen.request, response, error)
            id_ = self._quietly(self._keep, wish, looking, about or {}, at, seconds)
        if id_ and wish.claims is None:
            self._quietly(_say, response, ID_HEADER, id_)
        return response

    def _quietly(self, function: Callable[..., Any], *args: Any) -> Any:
        """What *function* gives; None if it fails, which is none of the request's business."""
        try:
            return function(*args)
        except Exception as error:  # noqa: BLE001 - as said
            self._complain(error)
            return None

    def _wish(self, environ: Environ) -> _Wish | None:
        if _SEEN in environ:
            return None
        environ[_SEEN] = True
        if environ.get(_KEY, "").strip().lower() in _YES and may_look(environ, self._registry):
            return _Wish()
        claims = self._profiles.waiting
        if claims is None or not self._may_be_for(claims, environ):
            return None
        number = self._profiles.take(claims)
        return None if number is None else _Wish(claims, number)

    def _may_be_for(self, claims: Claims, environ: Environ) -> bool:
        """Whether it is of such a route, as far as its path tells."""
        mapper = self._registry.queryUtility(IRoutesMapper)
        path = _text(environ.get("PATH_INFO", "")) or "/"
        routes = [] if mapper is None else mapper.get_routes()
        route = next((each for each in routes if each.match(path) is not None), None)
        return _fits(claims, route)

    def _begin(self, wish: _Wish) -> Recording | str:
        """Begin to look; else a text that says why not."""
        try:
            return recording.begin()
        except UnavailableError as error:
            if wish.claims is not None:
                wish.claims.give_back(wish.number)
            if self._new(str(error)):
                LOGGER.warning("A request is not profiled: %s", error)
            return str(error)

    def _keep(
        self, wish: _Wish, looking: Recording, about: dict[str, Any], at: float, seconds: float
    ) -> str | None:
        session = looking.stop()
        claims = wish.claims
        if claims is not None and not _fits(claims, about.pop("matched", None)):
            claims.give_back(wish.number)
            return None
        about.pop("matched", None)
        id_ = secrets.token_hex(8)
        about |= {"order": claims.order.id if claims else None, "samples": session.sample_count}
        title = f"{about.get('method', '')} {about.get('route') or about.get('path', '')}".strip()
        body = recording.written(session, title)
        actor = claims.order.actor if claims else ""
        self._profiles.kept.keep(id_, about, body, at=at, seconds=seconds, actor=actor)
        get_current_span().set_attribute(core.PROFILE_ID, id_)
        return id_


def _fits(claims: Claims, route: Any) -> bool:
    """Whether requests of *route*, None for none, are ordered; those of operators never are."""
    if route is None:
        return claims.order.is_for(None)
    pattern = route.pattern if route.pattern.startswith("/") else f"/{route.pattern}"
    return not str(route.name).startswith("c2c_") and claims.order.is_for(pattern)


def _about(
    environ: Environ, request: Request | None, response: Any, error: BaseException | None
) -> dict[str, Any]:
    """What is known of a request that is over."""
    trace_id = get_current_span().get_span_context().trace_id
    status = _SERVER_ERROR if error is not None else getattr(response, "status_int", None)
    method = environ.get("REQUEST_METHOD", "")
    if error is None and status is not None and status >= _SERVER_ERROR:
        error = getattr(request, "exception", None)
    return {
        "method": method if method in wsgi.METHODS else "HTTP",
        "route": route_of(request),
        "path": redacted_path(_text(wsgi.path(environ)))[:_LONGEST],
        "status": status,
        "error": None if error is None else type_name(error),
        "trace_id": f"{trace_id:032x}" if trace_id else None,
        "request_id": environ.get(REQUEST_ID_KEY) or getattr(request, "c2c_request_id", None),
        "matched": getattr(request, "matched_route", None),
    }


def _text(path: str) -> str:
    """*path* as it was meant: WSGI takes what is UTF-8 for Latin-1."""
    return path.encode("latin-1", "replace").decode(errors="replace")


def _say(response: Any, name: str, value: str) -> None:
    response.headers[name] = value
