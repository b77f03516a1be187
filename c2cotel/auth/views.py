"""The way to GitHub and back: ``github-login``, ``github-callback``, ``github-logout``.

What belongs to one login (state, PKCE verifier, where it came from) is encrypted, and waits for
ten minutes in a cookie of its own or, with ``C2C_USE_SESSION``, in ``request.session``.
"""

import logging
import secrets
from dataclasses import dataclass
from urllib.parse import urlencode

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden, HTTPFound, HTTPServiceUnavailable
from pyramid.interfaces import ISessionFactory
from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.auth.core import local_target, one_line
from c2cotel.auth.github import RefusedError, UnavailableError, User
from c2cotel.auth.login import GitHubAuthority, login_url
from c2cotel.auth.session import LOGIN_SECONDS, Login
from c2cotel.auth.visits import Cookie, cookie_of
from c2cotel.pyramid.access import Access, client_address
from c2cotel.pyramid.pages import render
from c2cotel.settings import Settings, SettingsError

LOGGER = logging.getLogger(__name__)

_SESSION_KEY = "oauth_state"
_LAST = 10_000  # after everything else that the application configures


@dataclass(frozen=True)
class GitHubViews:
    """The three views of one application."""

    authority: GitHubAuthority
    proxy_url: str | None
    use_session: bool

    def login(self, request: Request) -> Response:
        """Send the browser to GitHub, which sends it back to the callback."""
        jar, github = self.authority.jar, self.authority.github
        login = jar.sessions.begin_login(_target(request))
        response = HTTPFound(
            github.authorization_url(self._redirect_uri(request), login.state, login.verifier)
        )
        self._remember(request, response, jar.sessions.write_login(login))
        return response

    def callback(self, request: Request) -> Response:
        """Log in whom GitHub has sent back, and go on to where the login came from."""
        # Taken away whatever comes: a state is good for one answer.
        remembered = self._take(request)
        state = request.params.get("state", "")
        if remembered is None or not secrets.compare_digest(
            state.encode(errors="replace"), remembered.state.encode()
        ):
            raise HTTPForbidden(
                "This login was not begun in this browser, or more than ten minutes ago: "
                f"begin again at {login_url(request)}"
            )
        user = self._user(request, remembered)
        session = self.authority.jar.sessions.begin(
            user.login, name=user.name, url=user.url, token=user.token
        )
        self.authority.enter(request, session)
        LOGGER.info("%s has logged in from %s", user.login, client_address(request))
        # A redirect would be the next step of a journey that began on GitHub's site: on that, a
        # browser does not send SameSite=Strict cookies. What a page of ours asks for is ours.
        response = render(
            request, "c2cotel.auth:templates/logged_in.jinja2", target=remembered.came_from
        )
        response.headers["Refresh"] = f"0; url={remembered.came_from}"
        return response

    def logout(self, request: Request) -> Response:
        """Forget who was logged in."""
        self.authority.leave(request)
        response = HTTPFound(_target(request))
        self._forget(request, response)
        return response

    def _user(self, request: Request, remembered: Login) -> User:
        """Who GitHub says it is."""
        if error := request.params.get("error"):
            description = request.params.get("error_description", "")
            said = one_line(f"{error}: {description}" if description else error)
            LOGGER.warning("GitHub has ended a login: %s", said)
            raise HTTPForbidden(f"GitHub has ended the login with {said!r}")
        try:
            return self.authority.github.login(
                request.params.get("code", ""), self._redirect_uri(request), remembered.verifier
            )
        except RefusedError as refused:
            LOGGER.warning("GitHub has refused a login: %s", refused)
            raise HTTPForbidden(
                f"GitHub has refused the login with {str(refused)!r}: "
                f"begin again at {login_url(request)}"
            ) from None
        except UnavailableError as unavailable:
            raise HTTPServiceUnavailable(
                f"GitHub does not answer: log in again in {unavailable.retry_after} s "
                f"at {login_url(request)}",
                headers=[("Retry-After", str(unavailable.retry_after))],
            ) from None

    def _redirect_uri(self, request: Request) -> str:
        """The callback, or the page that redirects to it: several applications may share one."""
        callback: str = request.route_url("c2c_github_callback")
        if not self.proxy_url:
            return callback
        separator = "&" if "?" in self.proxy_url else "?"
        return f"{self.proxy_url}{separator}{urlencode({'came_from': callback})}"

    def _remember(self, request: Request, response: Response, text: str) -> None:
        if self.use_session:
            request.session[_SESSION_KEY] = text
        else:
            self._send(request, response, text, LOGIN_SECONDS)

    def _take(self, request: Request) -> Login | None:
        if self.use_session:
            text = request.session.pop(_SESSION_KEY, None)
        else:
            text = cookie_of(request, self._cookie)
            request.add_response_callback(self._forget)
        return self.authority.jar.sessions.read_login(text) if isinstance(text, str) else None

    def _forget(self, request: Request, response: Response) -> None:
        if not self.use_session:
            self._send(request, response, "", 0)

    def _send(self, request: Request, response: Response, text: str, seconds: int) -> None:
        path = request.route_path("c2c_github_callback")
        # Lax: it has to come along from GitHub's site.
        Cookie(self._cookie, path, "Lax").send(request, response, text, seconds)

    @property
    def _cookie(self) -> str:
        return f"{self.authority.jar.name}-login"


def add_to(config: Configurator, authority: GitHubAuthority, settings: Settings) -> None:
    """Serve them.

    Raises:
        SettingsError: at the end of the start, ``use_session`` in an application without sessions.
    """
    views = GitHubViews(authority, settings.auth.github.proxy_url, settings.use_session)
    for path, view in (
        ("github-login", views.login),
        ("github-callback", views.callback),
        ("github-logout", views.logout),
    ):
        config.add_c2c_view(path, view, access=Access.PUBLIC)
    if settings.use_session:
        config.action("c2c_use_session", _check_session, args=(config.registry,), order=_LAST)


def _check_session(registry: Registry) -> None:
    if registry.queryUtility(ISessionFactory) is None:
        raise SettingsError(
            "C2C_USE_SESSION = true: the application has no sessions. "
            "Call config.set_session_factory, or leave it empty for a cookie."
        )


def _target(request: Request) -> str:
    """Where ``came_from`` wants to go if that is here, else the console."""
    target = local_target(request.params.get("came_from"), request.host)
    if target is None:
        try:
            target = request.route_path("c2c_index")
        except KeyError:  # the application is without a console
            target = f"{request.script_name}/"
    return target
