"""Dashboards to a Grafana, over its HTTP API.

With ``requests``: grafana-client would bring niquests and urllib3-future, which takes the place of
urllib3 in the whole environment at every start of the interpreter.

A dashboard is known by its uid: one that is there is replaced, and stays in its folder unless
another is asked for. Sources: https://grafana.com/docs/grafana/latest/developers/http_api/dashboard/,
https://grafana.com/docs/grafana/latest/developers/http_api/folder/.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, Self
from urllib.parse import quote, urljoin

from c2cotel.boards.core import Board
from c2cotel.boards.exchange import Exchange, PushError

_NOT_FOUND: Final = 404
_CONFLICTS: Final = frozenset((409, 412))
_PAGE: Final = 1000


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
        self._exchange = Exchange(url, token, sleep)
        self._ask = self._exchange.ask
        self.url = self._exchange.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exchange.close()

    def folder(self, title: str) -> Folder | None:
        """The folder at the top that has this *title*."""
        found = []
        for number in range(1, 1000):
            asked = {"limit": _PAGE, "page": number}
            page = self._ask("GET", "/api/folders", list, params=asked)
            if not all(isinstance(one, dict) for one in page):
                raise PushError(self._not_grafana("folders"))
            found += [one for one in page if one.get("title") == title]
            if len(page) < _PAGE:
                break
        if len(found) > 1:
            raise PushError(f"There are {len(found)} folders {title!r}: give one another title.")
        return Folder(self._told(found[0], "uid"), title) if found else None

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
