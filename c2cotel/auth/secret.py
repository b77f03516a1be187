"""One secret for everybody: as parameter, header or cookie, in this order."""

import logging
import math

from pyramid.httpexceptions import HTTPForbidden, HTTPTooManyRequests
from pyramid.request import Request

from c2cotel.auth.attempts import Attempts
from c2cotel.auth.core import one_line
from c2cotel.auth.session import Session
from c2cotel.auth.visits import CookieAuthority, Jar, Visit
from c2cotel.pyramid.access import Access, Actor, Identity, Means, client_address
from c2cotel.settings import Secret

LOGGER = logging.getLogger(__name__)

# c2cwsgiutils' own words, which clients compare.
MISSING = "Missing or invalid secret (parameter, X-API-Key header or cookie)"
LOGIN = "secret"


class SecretAuthority(CookieAuthority):
    """Who knows the secret may do everything; see :class:`c2cotel.pyramid.access.Authority`."""

    def __init__(self, secret: Secret, jar: Jar, attempts: Attempts | None = None) -> None:
        super().__init__(jar)
        self._secret = secret
        self._attempts = attempts or Attempts()
        # An application may have keys of its own under our names. They lock nobody out of our
        # views, nor, in the header, who gives ours as a parameter; and each of them is one try.
        self._elsewhere = {"parameter": Attempts(), "header": Attempts()}

    def authorise(self, request: Request, access: Access) -> Actor:
        if access is Access.PUBLIC:
            return Actor("", client_address(request))
        visit = self.visit(request)
        if visit.wait:
            raise HTTPTooManyRequests(
                "Too many wrong secrets came from this address: try again in "
                f"{math.ceil(visit.wait)} s",
                headers=[("Retry-After", str(math.ceil(visit.wait)))],
            )
        if visit.session is None:
            raise HTTPForbidden(MISSING)
        return Actor(LOGIN, client_address(request), visit.means)

    def identity(self, request: Request) -> Identity | None:
        if self.visit(request).session is None:
            return None
        return Identity(LOGIN, "", "", Access.CHANGE)

    def session(self, request: Request) -> Session | None:
        return self.visit(request).session

    def allows(self, request: Request, repository: str | None, right: str | None) -> bool:
        """Whether the secret is known: there are no rights on repositories here."""
        return self.session(request) is not None

    def find(self, request: Request) -> Visit:
        # Named so that reporters of errors, which show variables, leave it out.
        secret, means = _given(request)
        if secret is None:
            session = self.jar.read(request)
            if session is None:
                return Visit()
            return Visit(self.jar.renew(request, session), "cookie")
        if not secret:
            self.jar.drop(request)
            return Visit()
        return self._compare(request, secret, means)

    def _compare(self, request: Request, secret: str, means: Means) -> Visit:
        where = client_address(request)
        ours = _is_ours(request)
        attempts = self._attempts if ours else self._elsewhere[means]
        if wait := attempts.wait(where):
            return Visit(wait=wait)
        if not self._secret.matches(secret):
            if seconds := attempts.failed(where, None if ours else secret):
                LOGGER.log(
                    logging.WARNING if ours else logging.INFO,
                    "Wrong secrets from %s: more are refused for %.0f s",
                    one_line(where, 64) or "an unknown address",
                    seconds,
                )
            return Visit()
        attempts.succeeded(where)
        if (session := self.jar.read(request)) is not None:
            return Visit(self.jar.renew(request, session), means)
        session = self.jar.sessions.begin(LOGIN)
        self.jar.store(request, session)
        return Visit(session, means)


def _given(request: Request) -> tuple[str | None, Means]:
    """The secret that the request brings along, empty for a logout."""
    if (secret := _parameter(request)) is not None:
        return secret, "parameter"
    if secret := request.headers.get("X-API-Key"):
        return _as_sent(secret), "header"
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    # In an application's own views this header is the application's: its tokens are no guesses.
    if scheme.lower() == "bearer" and secret.strip() and _is_ours(request):
        return _as_sent(secret.strip()), "header"
    return None, "none"


def _as_sent(header: str) -> str:
    """What a client has sent in UTF-8: WSGI reads every header as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except ValueError:
        return header


def _parameter(request: Request) -> str | None:
    for place in ("GET", "POST"):
        try:
            secret = getattr(request, place).get("secret")
        except Exception:  # noqa: BLE001, S112 - webob's, of a body that holds no secret
            continue
        if isinstance(secret, str):
            return secret
    return None


def _is_ours(request: Request) -> bool:
    route = getattr(request, "matched_route", None)
    return route is not None and str(route.name).startswith("c2c_")
