"""Login by GitHub, and the right on a repository that everything protected asks for."""

import logging
import re
from typing import NoReturn

from pyramid.httpexceptions import HTTPForbidden, HTTPServiceUnavailable
from pyramid.request import Request

from c2cotel import settings
from c2cotel.auth.github import GitHub, RevokedError, Rights, UnavailableError
from c2cotel.auth.session import Session
from c2cotel.auth.visits import CookieAuthority, Jar, Visit
from c2cotel.pyramid.access import Access, Actor, Identity, client_address
from c2cotel.values import REPOSITORY

LOGGER = logging.getLogger(__name__)

_REPOSITORY = re.compile(REPOSITORY)


class GitHubAuthority(CookieAuthority):
    """Who has the right on the repository; see :class:`c2cotel.pyramid.access.Authority`."""

    def __init__(self, configured: settings.GitHub, jar: Jar, github: GitHub) -> None:
        super().__init__(jar)
        self.github = github
        self._repository = configured.repository or ""
        self._right = configured.access_type
        self._told_public = False

    def authorise(self, request: Request, access: Access) -> Actor:
        if access is Access.PUBLIC:
            return Actor("", client_address(request))
        visit = self.visit(request)
        if visit.session is None:
            raise HTTPForbidden(f"Log in with GitHub first: {login_url(request)}")
        try:
            granted = self._access(request, visit.session)
        except RevokedError:
            raise HTTPForbidden(
                f"GitHub has ended this login: log in again at {login_url(request)}"
            ) from None
        except UnavailableError as error:
            _raise_unavailable(error)
        if granted < access:
            raise HTTPForbidden(
                f"{visit.session.login} needs the right {self._needed(visit, access)} "
                f"on {self._repository}"
            )
        return Actor(visit.session.login, client_address(request), "cookie")

    def identity(self, request: Request) -> Identity | None:
        session = self.visit(request).session
        if session is None:
            return None
        try:
            access = self._access(request, session)
        except RevokedError:
            return None
        except UnavailableError:
            access = Access.PUBLIC
        return Identity(session.login, session.name, session.url, access)

    def session(self, request: Request) -> Session | None:
        session = self.visit(request).session
        try:
            may_look = session is not None and self._access(request, session) >= Access.READ
        except (RevokedError, UnavailableError):
            return None
        return session if may_look else None

    def allows(self, request: Request, repository: str | None, right: str | None) -> bool:
        session = self.visit(request).session
        wanted = repository or self._repository
        if session is None or not _REPOSITORY.fullmatch(wanted):
            return False
        try:
            return (right or self._right) in self._rights(request, session, wanted).names
        except (RevokedError, UnavailableError):
            return False

    def find(self, request: Request) -> Visit:
        session = self.jar.read(request)
        return Visit(self.jar.renew(request, session), "cookie") if session else Visit()

    def _access(self, request: Request, session: Session) -> Access:
        rights = self._rights(request, session, self._repository)
        if self._right in rights.names:
            if rights.public and self._right == "pull":
                self._tell_public()
            return Access.CHANGE
        # Everybody on GitHub may pull from a public repository: that opens nothing here.
        return Access.READ if "pull" in rights.names and not rights.public else Access.PUBLIC

    def _needed(self, visit: Visit, access: Access) -> str:
        rights = visit.found.get(self._repository)
        public = isinstance(rights, Rights) and rights.public
        return self._right if public or access is Access.CHANGE else "pull"

    def _rights(self, request: Request, session: Session, repository: str) -> Rights:
        """Asked for once a request: all that it does sees the same."""
        visit = self.visit(request)
        if repository not in visit.found:
            try:
                visit.found[repository] = self.github.rights(session.token, repository)
            except RevokedError:
                visit.session = None
                self.jar.drop(request)
                raise
            except UnavailableError as error:
                visit.found[repository] = error.retry_after
        found: Rights | int = visit.found[repository]
        if isinstance(found, int):
            raise UnavailableError(found)
        return found

    def _tell_public(self) -> None:
        if not self._told_public:
            self._told_public = True
            LOGGER.warning(
                "%s is public and C2C_AUTH_GITHUB_ACCESS_TYPE is pull: "
                "everybody with a login on GitHub may change things here",
                self._repository,
            )


def login_url(request: Request) -> str:
    """Where a login begins."""
    try:
        url: str = request.route_url("c2c_github_login")
    except KeyError:  # of a registry without our routes
        return "the console"
    return url


def _raise_unavailable(error: UnavailableError) -> NoReturn:
    raise HTTPServiceUnavailable(
        f"GitHub cannot be asked now what you may do here: try again in {error.retry_after} s",
        headers=[("Retry-After", str(error.retry_after))],
    ) from None
