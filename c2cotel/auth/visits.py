"""A request's way to its session: the cookie read, stored and dropped, pages of ours recognised."""

import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from pyramid.httpexceptions import HTTPForbidden
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.auth.core import bare_host
from c2cotel.auth.session import Session, Sessions
from c2cotel.pyramid.access import Access, Actor, Identity, Means

_MEMO = "_c2c_auth_visit"
_FROM_US = ("same-origin", "none")


@dataclass
class Visit:
    """What is known of who makes a request, found out once for each."""

    session: Session | None = None
    means: Means = "none"
    wait: float = 0.0
    found: dict[str, Any] = field(default_factory=dict, repr=False)


def cookie_of(request: Request, name: str) -> str | None:
    """The cookie *name*; None, too, where the header cannot be read, whosever cookies these are."""
    try:
        text: str | None = request.cookies.get(name)
    except ValueError:
        return None
    return text


@dataclass(frozen=True)
class Cookie:
    """A cookie that no script reads."""

    name: str
    path: str = "/"
    samesite: Literal["Strict", "Lax"] = "Strict"

    def send(self, request: Request, response: Response, value: str, seconds: int) -> None:
        """Put it into *response*; *seconds* 0 takes it away."""
        response.set_cookie(
            self.name,
            value,
            max_age=seconds,
            path=self.path,
            secure=request.scheme == "https",
            httponly=True,
            samesite=self.samesite,
        )


@dataclass(frozen=True)
class Jar:
    """The session cookie of an application."""

    name: str
    sessions: Sessions

    def read(self, request: Request) -> Session | None:
        text = cookie_of(request, self.name)
        return self.sessions.read(text) if text else None

    def renew(self, request: Request, session: Session) -> Session:
        """*session*, for longer where it is time."""
        if (longer := self.sessions.renewed(session)) is None:
            return session
        self.store(request, longer)
        return longer

    def store(self, request: Request, session: Session) -> None:
        """Send the cookie with whatever the request is answered with, also an error."""
        text = self.sessions.write(session)
        self._send(request, text, self.sessions.lifetime)

    def drop(self, request: Request) -> None:
        self._send(request, "", 0)

    def _send(self, request: Request, text: str, seconds: int) -> None:
        def add(request: Request, response: Response) -> None:
            Cookie(self.name).send(request, response, text, seconds)
            # An application's own page may be for every cache: with this cookie it must not be.
            if "no-store" not in response.headers.get("Cache-Control", ""):
                response.headers["Cache-Control"] = "private, no-store"

        request.add_response_callback(add)


class CookieAuthority(ABC):
    """What both authorities do alike; see :class:`c2cotel.pyramid.access.Authority`."""

    def __init__(self, jar: Jar) -> None:
        self.jar = jar

    @abstractmethod
    def authorise(self, request: Request, access: Access) -> Actor:
        """Let the request pass, or raise the HTTP exception that answers it."""

    @abstractmethod
    def identity(self, request: Request) -> Identity | None:
        """Who is logged in, if anybody; never raises."""

    @abstractmethod
    def session(self, request: Request) -> Session | None:
        """Of who is logged in and may look; never raises."""

    @abstractmethod
    def allows(self, request: Request, repository: str | None, right: str | None) -> bool:
        """Whether who is logged in has *right* on *repository*, by default the configured ones."""

    @abstractmethod
    def find(self, request: Request) -> Visit:
        """Look at what the request brings along; once a request, by :meth:`visit`."""

    def visit(self, request: Request) -> Visit:
        """What :meth:`find` has found for this request."""
        # Not an attribute: webob keeps these in the environ, which copies of the request share.
        visit: Visit | None = request.__dict__.get(_MEMO)
        if visit is None:
            visit = request.__dict__[_MEMO] = self.find(request)
        return visit

    def enter(self, request: Request, session: Session) -> None:
        """Somebody has just logged in: he gets his cookie, and is known for this request."""
        self.jar.store(request, session)
        request.__dict__[_MEMO] = Visit(session, "cookie")

    def leave(self, request: Request) -> None:
        """Nobody is logged in any more."""
        self.jar.drop(request)
        request.__dict__[_MEMO] = Visit()

    def csrf_token(self, request: Request) -> str | None:
        session = self.visit(request).session
        return session.csrf if session else None

    def check_csrf(self, request: Request) -> None:
        check_csrf(request, self.visit(request).session)


def check_csrf(request: Request, session: Session | None) -> None:
    """Refuse what a page of ours has not asked for.

    Raises:
        HTTPForbidden: says what is missing.
    """
    if not _from_here(request):
        raise HTTPForbidden("A page of another site has asked for this: use the console's own")
    sent = request.POST.get("csrf_token")
    # A field may be a file, which is neither true nor false.
    given = sent if isinstance(sent, str) else request.headers.get("X-CSRF-Token", "")
    if session is None or not secrets.compare_digest(
        given.encode(errors="replace"), session.csrf.encode()
    ):
        raise HTTPForbidden(
            "The field csrf_token (or the header X-CSRF-Token) is missing or wrong: "
            "load the page again, then repeat this"
        )


def _from_here(request: Request) -> bool:
    """Whether the browser says so, or says nothing: the token decides then."""
    if site := request.headers.get("Sec-Fetch-Site"):
        return site in _FROM_US
    origin = request.headers.get("Origin")
    if not origin or origin == "null":  # "null": of a page that tells nobody where it is from
        return True
    try:
        # Not the scheme: a proxy in front may speak https where we see http.
        return bare_host(urlsplit(origin).netloc) == bare_host(request.host)
    except ValueError:
        return False
