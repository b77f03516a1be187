"""Who may see and change things: nobody, who knows a secret, or who has a right on GitHub.

It is decided once, at the start:

* ``C2C_SECRET``: who sends it, as parameter ``secret``, header ``X-API-Key``, or header
  ``Authorization: Bearer``, may do everything. A cookie then stands for it; ``secret=`` (empty)
  takes it away. After five wrong ones in a row, their address has to wait, each time longer. With
  the application's own views, that is apart: five different ones, parameter and header by itself.
* ``C2C_AUTH_GITHUB_REPOSITORY``, ``_CLIENT_ID``, ``_CLIENT_SECRET`` and ``_SECRET``: who logs in
  with GitHub and has the right of ``C2C_AUTH_GITHUB_ACCESS_TYPE`` on the repository may do
  everything; ``pull`` on a private one is enough to look. Both are asked for with every request,
  and remembered for ``C2C_AUTH_GITHUB_CACHE_TTL`` seconds.
* neither: the protected views answer 403.

The cookie is encrypted with a key made of ``C2C_AUTH_GITHUB_SECRET`` (and of ``C2C_SECRET``: a new
one ends all logins). While that is changed, ``C2C_AUTH_GITHUB_PREVIOUS_SECRET`` is still read.
The address that has to wait is the client's where a proxy with a private address names it in
``X-Forwarded-For``, else the connection's. Each process counts for itself.

An application asks in its own views: :func:`is_auth`, :func:`auth_view` and :func:`check_access`.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any, TypedDict

from pyramid.config import Configurator
from pyramid.request import Request

from c2cotel.auth.choice import authority_for, authority_of, settings_in
from c2cotel.auth.core import (
    SHORT_SECRET,
    authentication_type,
    missing_for_github,
    text_of,
)
from c2cotel.auth.core import AuthenticationType as AuthenticationType
from c2cotel.auth.login import GitHubAuthority
from c2cotel.auth.names import *  # noqa: F403 - constants, which c2cwsgiutils has here
from c2cotel.auth.secret import SecretAuthority
from c2cotel.auth.visits import CookieAuthority
from c2cotel.pyramid.access import Access
from c2cotel.pyramid.settings import settings_of
from c2cotel.settings import SettingsError, load

LOGGER = logging.getLogger(__name__)

_BOOLEANS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off", ""), False),
}


class AuthConfig(TypedDict, total=False):
    """A right on a repository of GitHub; what is missing is as configured."""

    github_repository: str | None
    github_access_type: str | None


class UserDetails(TypedDict, total=False):
    """Somebody of GitHub; *token* is what GitHub lets the application ask with in his name."""

    login: str
    name: str
    url: str
    token: str


def auth_type(settings: Mapping[str, Any] | None) -> AuthenticationType | None:
    """How an application with these *settings* of Pyramid, and this environment, authenticates."""
    return authentication_type(load(ini=settings or {}).settings)


def is_enabled(
    config: Configurator, env_name: str | None = None, config_name: str | None = None
) -> bool:
    """Whether the environment's *env_name*, else the ini's *config_name*, says so.

    Raises:
        SettingsError: it says neither true nor false.
    """
    source, text = env_name, os.environ.get(env_name or "", "").strip()
    if not text and config_name:
        source, text = config_name, str(config.registry.settings.get(config_name) or "").strip()
    if (enabled := _BOOLEANS.get(text.lower())) is None:
        raise SettingsError(f"{source} = {text!r}: neither true nor false. Write true or false.")
    return enabled


def get_expected_secret(request: Request) -> str:
    """``C2C_SECRET``, empty without one."""
    return text_of(settings_in(request.registry).secret)


def is_auth_user(request: Request) -> tuple[bool, UserDetails]:
    """Whether somebody is logged in who may look, and who, if GitHub told; never raises."""
    authority = authority_of(request.registry)
    session = authority.session(request) if isinstance(authority, CookieAuthority) else None
    if session is None:
        return False, {}
    if isinstance(authority, SecretAuthority):
        return True, {}
    return True, {
        "login": session.login,
        "name": session.name,
        "url": session.url,
        "token": session.token,
    }


def is_auth(request: Request) -> bool:
    """Whether somebody is logged in who may look; False, too, while GitHub cannot be asked."""
    return is_auth_user(request)[0]


def auth_view(request: Request) -> None:
    """Let only those pass who may look.

    Raises:
        HTTPForbidden: nobody is logged in, or without the right.
        HTTPTooManyRequests: too many wrong secrets came from this address.
        HTTPServiceUnavailable: GitHub cannot be asked.
    """
    authority_of(request.registry).authorise(request, Access.READ)


def check_access(request: Request, repo: str | None = None, access_type: str | None = None) -> bool:
    """Whether who is logged in has the right *access_type* on *repo*, by default as configured.

    With ``C2C_SECRET``: whether the secret is known. False while GitHub cannot be asked.
    """
    authority = authority_of(request.registry)
    return isinstance(authority, CookieAuthority) and authority.allows(request, repo, access_type)


def check_access_config(request: Request, auth_config: AuthConfig) -> bool:
    """The same, from a dictionary."""
    return check_access(
        request, auth_config.get("github_repository"), auth_config.get("github_access_type")
    )


def includeme(config: Configurator) -> None:
    """Decide who may what, and serve the way to GitHub and back if that is how.

    Raises:
        SettingsError: a login by GitHub is half set up; names each variable that lacks.
    """
    settings = settings_of(config)
    if lacking := missing_for_github(settings):
        raise SettingsError(f"{lacking}. Set that too, or nothing of it.")
    if 0 < len(text_of(settings.secret)) < SHORT_SECRET:
        LOGGER.warning(
            "C2C_SECRET has fewer than %d characters and can be guessed: choose a longer one",
            SHORT_SECRET,
        )
    authority = config.registry.c2c_authority = authority_for(settings)
    if isinstance(authority, GitHubAuthority):
        from c2cotel.auth import views

        views.add_to(config, authority, settings)
