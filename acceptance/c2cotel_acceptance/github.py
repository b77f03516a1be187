"""A GitHub for tests: one OAuth application, some users, what they may do with repositories.

It answers over real HTTP, and is as strict as GitHub or stricter: a code is good once, for the
``redirect_uri`` and the PKCE challenge that it was asked with; the client's secret must be right.

    with FakeGitHub() as github:
        github.add("octocat", {"camptocamp/c2cotel": "push"})
        github.signed_in = "octocat"
        start_application(environ=github.environ("camptocamp/c2cotel"))

Source: https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps.
"""

import base64
import hashlib
import html
import json
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

import requests

if TYPE_CHECKING:
    from pytest_httpserver import HTTPServer
    from werkzeug import Request, Response

# Each right has those before it.
RIGHTS = ("pull", "triage", "push", "maintain", "admin")


@dataclass
class User:
    """Somebody with a login; *rights* maps a repository to the greatest right on it."""

    login: str
    name: str | None = None
    url: str = ""
    rights: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Grant:
    """What a code was given for."""

    login: str
    redirect_uri: str
    challenge: str


class FakeGitHub:
    """A GitHub on a free port of this host.

    Attributes:
        users: By login.
        public: Repositories that everybody may pull from.
        signed_in: The login of whoever uses the browser, None for somebody who declines.
        asks: Whether the browser shows a page with a button first, as for a new application.
        status: Answer everything but the page with this status, if it is not 0.
        headers: With these headers besides.
        requests: What came, ``"GET /user"``, in order.
        code: The last code that was given.
    """

    def __init__(
        self,
        client_id: str = "c2c-client-id",
        client_secret: str = "c2c-client-secret",  # noqa: S107 - of a fake
        host: str = "127.0.0.1",
    ) -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self.users: dict[str, User] = {}
        self.public: set[str] = set()
        self.signed_in: str | None = None
        self.asks = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.requests: list[str] = []
        self.code = ""
        self._host = host
        self._port = 0
        self._grants: dict[str, _Grant] = {}
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()
        self._server: HTTPServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; after a :meth:`stop`, on the same port."""
        from pytest_httpserver import HTTPServer

        class Server(HTTPServer):
            def thread_target(self) -> None:
                assert self.server is not None  # noqa: S101 - as in the method this replaces
                # Each test stops one: werkzeug would look for that every half second.
                self.server.serve_forever(poll_interval=0.01)

        self._server = Server(self._host, self._port, threaded=True)
        for method, path, answer in (
            ("GET", r"/login/oauth/authorize", self._authorize),
            ("POST", r"/login/oauth/access_token", self._access_token),
            ("GET", r"/api/user", self._user),
            ("GET", r"/api/repos/[^/]+/[^/]+", self._repository),
        ):
            self._server.expect_request(re.compile(path), method=method).respond_with_handler(
                answer
            )
        # Such as the icon that browsers want; not an error of the test.
        self._server.expect_request(re.compile(".*")).respond_with_data("", 404)
        self._server.start()
        self._port = self._server.port

    def stop(self) -> None:
        """Be away: nothing listens on the port any more."""
        if self._server is not None and self._server.is_running():
            self._server.stop()
        self._server = None

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    def environ(self, repository: str, access_type: str = "push") -> dict[str, str]:
        """The variables of an application that logs in here."""
        return {
            "C2C_AUTH_GITHUB_REPOSITORY": repository,
            "C2C_AUTH_GITHUB_ACCESS_TYPE": access_type,
            "C2C_AUTH_GITHUB_CLIENT_ID": self.client_id,
            "C2C_AUTH_GITHUB_CLIENT_SECRET": self.client_secret,
            "C2C_AUTH_GITHUB_SECRET": "the-secret-of-the-cookies",
            "C2C_AUTH_GITHUB_AUTH_URL": f"{self.url}/login/oauth/authorize",
            "C2C_AUTH_GITHUB_TOKEN_URL": f"{self.url}/login/oauth/access_token",
            "C2C_AUTH_GITHUB_USER_URL": f"{self.url}/api/user",
            "C2C_AUTH_GITHUB_REPO_URL": f"{self.url}/api/repos",
        }

    def add(
        self,
        login: str,
        rights: Mapping[str, str] | None = None,
        *,
        name: str | None = None,
        url: str | None = None,
    ) -> User:
        """A user; who adds one uses the browser from now on."""
        address = f"https://github.com/{login}" if url is None else url
        user = self.users[login] = User(login, name, address, dict(rights or {}))
        self.signed_in = login
        return user

    @staticmethod
    def send_back(address: str) -> str:
        """Where the browser is sent to by the page of GitHub at *address*, for who has none."""
        response = requests.get(address, allow_redirects=False, timeout=5)
        return response.headers["Location"]

    def revoke(self, login: str) -> None:
        """Forget all tokens of *login*."""
        with self._lock:
            self._tokens = {token: who for token, who in self._tokens.items() if who != login}

    @property
    def tokens(self) -> list[str]:
        """All tokens that are good."""
        return list(self._tokens)

    def _authorize(self, request: "Request") -> "Response":
        from werkzeug import Response

        self.requests.append("GET authorize")
        asked = request.args
        if asked.get("client_id") != self.client_id:
            return Response("There is no such application", 404)
        back = asked.get("redirect_uri", "")
        if self.signed_in is None:
            said = {"error": "access_denied", "error_description": "The user has denied it"}
            return self._back(back, {**said, "state": asked.get("state", "")})
        if self.asks and "agreed" not in asked:
            query = html.escape(urlencode({**asked.to_dict(), "agreed": "1"}))
            link = f'<a id="agree" href="?{query}">Authorize</a>'
            return Response(f"<!DOCTYPE html><title>GitHub</title>{link}", mimetype="text/html")
        self.code = secrets.token_hex(10)
        challenge = asked["code_challenge"] if asked.get("code_challenge_method") == "S256" else ""
        with self._lock:
            self._grants[self.code] = _Grant(self.signed_in, back, challenge)
        return self._back(back, {"code": self.code, "state": asked.get("state", "")})

    def _back(self, redirect_uri: str, query: Mapping[str, str]) -> "Response":
        from werkzeug import Response

        separator = "&" if "?" in redirect_uri else "?"
        location = f"{redirect_uri}{separator}{urlencode(query)}"
        return Response("", 302, headers={"Location": location})

    def _access_token(self, request: "Request") -> "Response":
        self.requests.append("POST access_token")
        if self.status:
            return self._broken()
        form = request.form
        if (form.get("client_id"), form.get("client_secret")) != (
            self.client_id,
            self.client_secret,
        ):
            return self._refused("incorrect_client_credentials")
        with self._lock:
            grant = self._grants.pop(form.get("code", ""), None)
        if grant is None or not grant.challenge:
            return self._refused("bad_verification_code")
        if grant.redirect_uri != form.get("redirect_uri"):
            return self._refused("redirect_uri_mismatch")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != grant.challenge:
            return self._refused("bad_verification_code")
        token = f"gho_{secrets.token_hex(18)}"
        with self._lock:
            self._tokens[token] = grant.login
        return self._json({"access_token": token, "scope": "repo", "token_type": "bearer"})

    def _refused(self, error: str) -> "Response":
        """As GitHub does: an error with the status of a success."""
        return self._json({"error": error, "error_description": f"It is {error}."})

    def _user(self, request: "Request") -> "Response":
        self.requests.append("GET user")
        user = self._who(request)
        if self.status or user is None:
            return self._broken()
        return self._json({"login": user.login, "name": user.name, "html_url": user.url})

    def _repository(self, request: "Request") -> "Response":
        name = request.path.removeprefix("/api/repos/")
        self.requests.append(f"GET {name}")
        user = self._who(request)
        if self.status or user is None:
            return self._broken()
        public = name in self.public
        right = user.rights.get(name, "pull" if public else "")
        if not right:
            return self._json({"message": "Not Found"}, 404)
        given = RIGHTS[: RIGHTS.index(right) + 1]
        permissions = {each: each in given for each in RIGHTS}
        return self._json({"full_name": name, "private": not public, "permissions": permissions})

    def _who(self, request: "Request") -> User | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in ("bearer", "token"):
            return None
        return self.users.get(self._tokens.get(token, ""))

    def _broken(self) -> "Response":
        return self._json({"message": "Bad credentials"}, self.status or 401)

    def _json(self, body: Any, status: int = 200) -> "Response":
        from werkzeug import Response

        return Response(
            json.dumps(body), status, headers=self.headers, content_type="application/json"
        )
