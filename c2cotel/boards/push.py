"""Dashboards to a Grafana, over its HTTP API.

With ``requests``: grafana-client would bring niquests and urllib3-future, which takes the place of
urllib3 in the whole environment at every start of the interpreter.

A dashboard is known by its uid: one that is there is replaced, and stays in its folder unless
another is asked for. Sources: https://grafana.com/docs/grafana/latest/developers/http_api/dashboard/,
https://grafana.com/docs/grafana/latest/developers/http_api/folder/.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, Self
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.auth import AuthBase

from c2cotel.boards.core import Board

TIMEOUT: Final = (5.0, 30.0)
"""Seconds to connect, and to wait for an answer."""

_PAUSES: Final = (0.5, 1.0, 2.0)
_LONGEST_PAUSE: Final = 30.0
_PASSING: Final = frozenset((429, 500, 502, 503, 504))
_NOT_FOUND: Final = 404
_UNAUTHORIZED: Final = 401
_CONFLICTS: Final = frozenset((409, 412))
_PAGE: Final = 1000
_LONGEST: Final = 300


class PushError(Exception):
    """Grafana did not do it; the message says why, and never has the token in it.

    Attributes:
        status: Of the answer; 0 if there was none that can be understood.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def concerns_all(self) -> bool:
        """Whether the next dashboard would fare the same."""
        return self.status in (0, _UNAUTHORIZED) or self.status in _PASSING


@dataclass(frozen=True)
class Folder:
    """Where dashboards are; the uid of the top is empty."""

    uid: str
    title: str


@dataclass(frozen=True)
class Outcome:
    """What became of a dashboard.

    Attributes:
        name: Of the dashboard.
        text: What was done, and where it is now; or what went wrong.
        failed: Whether it went wrong.
    """

    name: str
    text: str
    failed: bool = False


class Grafana:
    """A Grafana at *url*, spoken to as who has *token*: a context manager.

    *sleep* waits between tries of what may pass: too many requests, or an error of the server.
    """

    def __init__(self, url: str, token: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._sleep = sleep
        self._session = requests.Session()
        self._session.auth = _Bearer(token)
        self._session.headers["Accept"] = "application/json"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def folder(self, title: str) -> Folder | None:
        """The folder at the top that has this *title*."""
        found = []
        for number in range(1, 1000):
            asked = {"limit": _PAGE, "page": number}
            page = self._ask("GET", "/api/folders", list, params=asked)
            found += [one for one in page if one.get("title") == title]
            if len(page) < _PAGE:
                break
        if len(found) > 1:
            raise PushError(f"There are {len(found)} folders {title!r}: give one another title.")
        return Folder(str(found[0]["uid"]), title) if found else None

    def make_folder(self, title: str) -> Folder:
        """Make a folder of this *title* at the top."""
        try:
            made = self._ask("POST", "/api/folders", dict, json={"title": title})
        except PushError as error:
            # Someone else has just made it; or we have, and the answer was lost.
            there = self.folder(title) if error.status in _CONFLICTS else None
            if there is None:
                raise
            return there
        return Folder(self._told(made, "uid"), title)

    def where(self, uid: str) -> Folder | None:
        """The folder in which the dashboard *uid* is; nothing if it is not there."""
        try:
            found = self._ask("GET", f"/api/dashboards/uid/{quote(uid, safe='')}", dict)
        except PushError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        meta = found.get("meta")
        if not isinstance(meta, dict):
            raise PushError(self._not_grafana("meta"))
        return Folder(str(meta.get("folderUid") or ""), str(meta.get("folderTitle") or ""))

    def save(self, board: Board, folder: Folder) -> str:
        """Put *board* into *folder*, in place of the one with its uid, and return its address."""
        saved = self._ask(
            "POST",
            "/api/dashboards/db",
            dict,
            json={
                "dashboard": {**board.content, "id": None},
                "folderUid": folder.uid,
                "overwrite": True,
                "message": f"c2cotel {version('c2cotel')}",
            },
        )
        if saved.get("status") != "success" or self._told(saved, "uid") != board.uid:
            raise PushError(self._not_grafana("the status success and the dashboard's uid"))
        return urljoin(f"{self.url}/", str(saved.get("url") or f"d/{board.uid}"))

    def _told(self, content: dict[str, Any], key: str) -> str:
        """The text that Grafana answers as *key*."""
        value = content.get(key)
        if not value or not isinstance(value, str):
            raise PushError(self._not_grafana(key))
        return value

    def _not_grafana(self, missing: str) -> str:
        return (
            f"{self.url} answers with JSON that has not {missing}, as Grafana's has. "
            "Is --url the address of Grafana itself?"
        )

    def _ask(self, method: str, path: str, kind: type, **more: Any) -> Any:
        """What Grafana answers: JSON, of this *kind*."""
        for pause in (*_PAUSES, None):
            response = self._send(method, path, **more)
            if pause is None or response.status_code not in _PASSING:
                break
            self._sleep(_pause(response, pause))
        return self._understood(response, kind)

    def _send(self, method: str, path: str, **more: Any) -> requests.Response:
        try:
            # A redirection would lead a POST to a page, or the token elsewhere.
            return self._session.request(
                method, self.url + path, timeout=TIMEOUT, allow_redirects=False, **more
            )
        except requests.Timeout as error:
            raise PushError(f"{self.url} does not answer in time.") from error
        except requests.exceptions.SSLError as error:
            raise PushError(
                f"{self.url} does not speak TLS, or its certificate is not trusted."
            ) from error
        except requests.RequestException as error:
            raise PushError(f"{self.url} cannot be reached: {_reason(error)}.") from error

    def _understood(self, response: requests.Response, expected: type) -> Any:
        status = response.status_code
        if response.is_redirect:
            raise PushError(self._redirected(response))
        content = _json(response)
        if response.ok:
            if not isinstance(content, expected):
                kind = self._shown(response.headers.get("Content-Type", "something"))
                raise PushError(
                    f"{self.url} answers {status} with {kind} where Grafana answers with JSON. "
                    "Is --url the address of Grafana itself?"
                )
            return content
        message = content.get("message") if isinstance(content, dict) else None
        told = self._shown(str(message or response.reason or "nothing"))
        raise PushError(f"{self.url} answers {status}: {told}{_hint(status)}", status)

    def _redirected(self, response: requests.Response) -> str:
        target = urlsplit(urljoin(response.url, response.headers["Location"]))
        place = self._shown(f"{target.scheme}://{target.netloc.rpartition('@')[2]}{target.path}")
        if "login" in target.path.lower():
            return (
                f"{self.url} leads to a login page, {place}: something in front of Grafana does "
                "not let the token through. Give the address of Grafana itself as --url."
            )
        asked = urlsplit(response.url).path.removeprefix(urlsplit(self.url).path)
        return f"{self.url} leads to another place: give --url {place.removesuffix(asked)}"

    def _shown(self, text: str) -> str:
        """*text* of somebody else on one line, without the token."""
        text = text.replace(self._token, "***")
        text = re.sub(r"\s+", " ", text).strip()
        return "".join(one if one.isprintable() else "?" for one in text[:_LONGEST])


def push(
    grafana: Grafana, boards: Iterable[Board], folder: str = "", *, dry_run: bool = False
) -> Iterator[Outcome]:
    """Put *boards* into the *folder* of that title, which is made if it is not there.

    One that fails does not keep the others from being pushed. With *dry_run* everything is asked,
    and nothing is changed.

    Raises:
        PushError: None of those that are left can be pushed.
    """
    target = None
    if folder:
        target = grafana.folder(folder)
        if target is None and not dry_run:
            target = grafana.make_folder(folder)
    for board in boards:
        try:
            yield Outcome(board.name, _pushed(grafana, board, target, folder, dry_run=dry_run))
        except PushError as error:
            if error.concerns_all:
                raise PushError(f"{board.name}: {error}", error.status) from error
            yield Outcome(board.name, str(error), failed=True)


def _pushed(
    grafana: Grafana, board: Board, target: Folder | None, title: str, *, dry_run: bool
) -> str:
    now = grafana.where(board.uid)
    if not dry_run:
        address = grafana.save(board, target or now or Folder("", ""))
        return f"{'replaced' if now else 'new'}  {address}"
    place = title or (now.title if now else "")
    where = f"in the folder {place!r}" if place else "at the top"
    made = ", which would be made" if title and target is None else ""
    return f"would {'be replaced' if now else 'be new'}, {where}{made}"


class _Bearer(AuthBase):
    """As ``auth``, so that neither ~/.netrc nor the URL puts something else in its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _pause(response: requests.Response, otherwise: float) -> float:
    """Seconds to wait before the next try."""
    wished = response.headers.get("Retry-After", "")
    return min(float(wished), _LONGEST_PAUSE) if wished.isdecimal() else otherwise


def _json(response: requests.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        return None


def _reason(error: requests.RequestException) -> str:
    """The innermost reason: what the libraries say around it is about themselves."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        reason = getattr(inner, "reason", None) or next(iter(inner.args), None)
        inner = reason if isinstance(reason, BaseException) else inner.__cause__
    return type(error).__name__


def _hint(status: int) -> str:
    match status:
        case 401:
            return ". Is the token one of this Grafana, and still valid?"
        case 403:
            return ". The token's service account needs the role Editor."
        case 404:
            return ". Is --url the address of Grafana itself?"
    return ""
