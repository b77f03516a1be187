"""What GitHub is asked: who has come back with a code, and what a token may do with a repository.

OAuth 2 with PKCE: https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps.
Answers about rights are kept for ``auth.github.cache_ttl`` seconds in each process, by the hash of
the token; that somebody has none, and that GitHub did not answer, for a few.
"""

import hashlib
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from c2cotel import settings
from c2cotel.auth.core import one_line, text_of

LOGGER = logging.getLogger(__name__)

# Seconds to connect, and to wait for the answer.
_TIMEOUT = (1.5, 3.5)
_RETRY_SECONDS = 5
_LONGEST_PAUSE = 60
# Who has just been given the right shall not wait for long.
_NO_RIGHT_SECONDS = 30.0
_KEPT = 1024

_OK, _UNAUTHORIZED, _FORBIDDEN, _TOO_MANY, _SERVER_ERRORS = 200, 401, 403, 429, 500


class UnavailableError(Exception):
    """GitHub does not answer, or not now: try again in *retry_after* seconds."""

    def __init__(self, retry_after: int = _RETRY_SECONDS) -> None:
        super().__init__("GitHub does not answer")
        self.retry_after = retry_after


class RevokedError(Exception):
    """GitHub does not know the token, or no longer."""


class RefusedError(Exception):
    """GitHub does not accept the code of a login."""


@dataclass(frozen=True)
class User:
    """Somebody of GitHub, all texts as GitHub has them."""

    login: str
    name: str
    url: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class Rights:
    """What somebody may do with a repository: some of pull, triage, push, maintain, admin."""

    names: frozenset[str] = frozenset()
    public: bool = False


@dataclass(frozen=True)
class _Kept:
    answer: Rights | UnavailableError
    until: float


class GitHub:
    """GitHub, as the OAuth application of *configured*."""

    def __init__(
        self, configured: settings.GitHub, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._configured = configured
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._away_until: float | None = None

    def authorization_url(self, redirect_uri: str, state: str, verifier: str) -> str:
        """The page of GitHub where somebody agrees, and is sent to *redirect_uri* from."""
        with self._session(redirect_uri=redirect_uri) as session:
            url: str
            url, _ = session.create_authorization_url(
                self._configured.auth_url, state=state, code_verifier=verifier
            )
        return url

    def login(self, code: str, redirect_uri: str, verifier: str) -> User:
        """Who has got *code* from GitHub.

        Raises:
            RefusedError: GitHub did not give this code for this login, or has seen it before.
            UnavailableError: GitHub does not answer.
        """
        token = self._token(code, redirect_uri, verifier)
        response, user = self._get(self._configured.user_url, token)
        if response.status_code != _OK:
            raise RefusedError(f"GitHub answers {response.status_code} to who this is")
        login = user.get("login")
        if not isinstance(login, str) or not login:
            raise self._away("tells nobody's login")
        name, url = user.get("name"), user.get("html_url")
        return User(
            login=one_line(login),
            name=one_line(name) if isinstance(name, str) and name else one_line(login),
            # It becomes a link: no javascript: there.
            url=url if isinstance(url, str) and re.match(r"https?://[!-~]{1,500}$", url) else "",
            token=token,
        )

    def rights(self, token: str, repository: str) -> Rights:
        """What the owner of *token* may do with *repository*, ``owner/name``.

        Raises:
            RevokedError: nobody owns this token any more.
            UnavailableError: GitHub does not answer, and has not in the last minutes.
        """
        key = (hashlib.sha256(token.encode()).hexdigest(), repository.lower())
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and self._clock() < kept.until:
                self._kept.move_to_end(key)
                return _answer(kept.answer)
        return _answer(self._keep(key, self._ask_rights(token, repository)))

    def _keep(
        self, key: tuple[str, str], answer: Rights | UnavailableError
    ) -> Rights | UnavailableError:
        ttl = self._configured.cache_ttl
        if isinstance(answer, UnavailableError):
            ttl = answer.retry_after
        elif self._configured.access_type not in answer.names:
            ttl = min(ttl, _NO_RIGHT_SECONDS)
        with self._lock:
            self._kept[key] = _Kept(answer, self._clock() + ttl)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return answer

    def _ask_rights(self, token: str, repository: str) -> Rights | UnavailableError:
        response, body = self._get(f"{self._configured.repo_url.rstrip('/')}/{repository}", token)
        if response.status_code == _UNAUTHORIZED:
            raise RevokedError
        if (pause := _pause(response)) is not None:
            LOGGER.warning("GitHub wants no more questions of one user for %d s", pause)
            return UnavailableError(pause)
        given = body.get("permissions")
        if not isinstance(given, dict):
            return Rights()
        names = frozenset(str(name) for name, granted in given.items() if granted is True)
        return Rights(names, public=body.get("private") is False)

    def _token(self, code: str, redirect_uri: str, verifier: str) -> str:
        import requests
        from authlib.integrations.base_client import (
            OAuthError,
        )

        self._raise_while_away()
        try:
            with self._session(redirect_uri=redirect_uri) as session:
                token = session.fetch_token(
                    self._configured.token_url,
                    code=code,
                    code_verifier=verifier,
                    grant_type="authorization_code",
                    timeout=_TIMEOUT,
                    # The secret goes to the configured address only.
                    allow_redirects=False,
                )
        except OAuthError as error:
            raise RefusedError(one_line(error.description or error.error)) from None
        except (requests.RequestException, ValueError) as error:
            raise self._away(f"gives no token ({_cause(error)})") from None
        self._is_back()
        if not isinstance(access := token.get("access_token"), str) or not access:
            raise RefusedError("GitHub answers without a token")
        return access

    def _get(self, url: str, token: str) -> tuple[Any, dict[str, Any]]:
        """The response, and what it says if all is well."""
        import requests

        self._raise_while_away()
        headers = {"Accept": "application/vnd.github+json", "User-Agent": "c2cotel"}
        try:
            with self._session(token={"access_token": token, "token_type": "bearer"}) as session:
                response = session.get(url, headers=headers, timeout=_TIMEOUT)
                body = response.json() if response.status_code == _OK else {}
        except requests.RequestException as error:
            raise self._away(f"cannot be asked ({_cause(error)})") from None
        if response.status_code >= _SERVER_ERRORS:
            raise self._away(f"answers {response.status_code}")
        if not isinstance(body, dict):
            raise self._away("answers something else than was asked")
        self._is_back()
        return response, body

    def _session(self, **options: Any) -> Any:
        from authlib.integrations.requests_client import OAuth2Session

        return OAuth2Session(
            client_id=self._configured.client_id,
            client_secret=text_of(self._configured.client_secret),
            scope=self._configured.scope,
            token_endpoint_auth_method="client_secret_post",  # noqa: S106 - the way it is sent
            code_challenge_method="S256",
            **options,
        )

    def _raise_while_away(self) -> None:
        """Ask nothing for a while after a failure: each question may hold a thread for seconds."""
        until = self._away_until
        if until is not None and (left := until - self._clock()) > 0:
            raise UnavailableError(max(1, round(left)))

    def _away(self, what: str) -> UnavailableError:
        with self._lock:
            news, self._away_until = self._away_until is None, self._clock() + _RETRY_SECONDS
        if news:
            LOGGER.error("GitHub %s: who has logged in with it is refused until it does", what)
        return UnavailableError()

    def _is_back(self) -> None:
        with self._lock:
            news, self._away_until = self._away_until is not None, None
        if news:
            LOGGER.warning("GitHub answers again")


def _answer(kept: Rights | UnavailableError) -> Rights:
    if isinstance(kept, UnavailableError):
        raise UnavailableError(kept.retry_after)
    return kept


def _cause(error: Exception) -> str:
    """The class is enough: texts of requests have URLs in them."""
    return type(error).__name__


def _pause(response: Any) -> int | None:
    """Seconds that GitHub wants to be left alone for, if that is what it says.

    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    if response.status_code not in (_FORBIDDEN, _TOO_MANY):
        return None
    wanted = response.headers.get("Retry-After", "")
    if wanted.isdecimal():
        return max(1, min(int(wanted[:6]), _LONGEST_PAUSE))
    limited = response.headers.get("X-RateLimit-Remaining") == "0"
    return _LONGEST_PAUSE if limited or response.status_code == _TOO_MANY else None
