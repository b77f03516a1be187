"""A call of one of the application's own addresses, made from within a request."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pyramid.httpexceptions import HTTPBadRequest, HTTPException
from pyramid.interfaces import IRoutesMapper
from pyramid.request import Request

from c2cotel.debug.texts import truncated

_LONGEST: Final = 2000
_LONGEST_SHOWN: Final = 80
_GOOD: Final = re.compile(r"/(?!/)[!-~]*")
# What the one who is called may need to know of the client; not the secret of our own views.
_PASSED_ON: Final = (
    *("HTTP_HOST", "HTTP_COOKIE", "HTTP_AUTHORIZATION", "HTTP_ACCEPT", "HTTP_ACCEPT_LANGUAGE"),
    *("HTTP_USER_AGENT", "REMOTE_ADDR", "REMOTE_PORT", "SCRIPT_NAME", "SERVER_NAME"),
    *("SERVER_PORT", "SERVER_PROTOCOL", "wsgi.url_scheme", "wsgi.multithread"),
    *("wsgi.multiprocess", "wsgi.errors"),
)


@dataclass(frozen=True)
class Outcome:
    """What came of a call: its status, and the class of the exception that left it."""

    status: int
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.error}" if self.error else str(self.status)


@dataclass(frozen=True)
class Target:
    """An address that is called by GET, as who asks for this would call it."""

    request: Request
    path: str

    def call(self) -> Outcome:
        """Call it, through all tweens; never fails."""
        subrequest = _request(self.request, self.path)
        try:
            response = self.request.invoke_subrequest(subrequest, use_tweens=True)
        except HTTPException as error:
            return Outcome(error.status_int, type(error).__name__)
        except Exception as error:  # noqa: BLE001 - it is the application's, and is told
            return Outcome(500, type(error).__name__)
        if (close := getattr(response.app_iter, "close", None)) is not None:
            close()
        return Outcome(response.status_int)


def target(request: Request, path: str, unwanted: tuple[str, ...]) -> Target:
    """What *path*, with its query, is the address of here.

    Raises:
        HTTPBadRequest: it is elsewhere, is none, or leads to one of the routes *unwanted*.
    """
    if len(path) > _LONGEST:
        raise HTTPBadRequest(f"path: has {len(path)} characters, expected {_LONGEST} at most")
    parts = None
    if _GOOD.fullmatch(path) and not re.search(r"[\\#]", path):
        try:
            parts = urlsplit(path)
        except ValueError:
            parts = None
    if parts is None or parts.scheme or parts.netloc:
        raise HTTPBadRequest(
            f"path={truncated(path, _LONGEST_SHOWN)}: expected a path of this service with its "
            "query, encoded as in an address, for example /api/hello?name=a"
        )
    try:
        subrequest = _request(request, path)
        found = request.registry.getUtility(IRoutesMapper)(subrequest)
    except UnicodeDecodeError:
        raise HTTPBadRequest("path: is not encoded as UTF-8") from None
    route = found["route"]
    if route is not None and route.name in unwanted:
        raise HTTPBadRequest(
            f"path={truncated(path, _LONGEST_SHOWN)}: leads to this view itself, expected another"
        )
    return Target(request, path)


def _request(request: Request, path: str) -> Request:
    environ = {name: request.environ[name] for name in _PASSED_ON if name in request.environ}
    made = type(request).blank(path, environ=environ)
    made.registry = request.registry
    return made
