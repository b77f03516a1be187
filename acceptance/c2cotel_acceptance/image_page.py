"""Photograph a page in a real Chromium, within a deadline."""

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from c2cotel_acceptance import browser

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request, Response

# pytest shows the line of the test instead of lines from here.
__tracebackhide__ = methodcaller("errisinstance", (TimeoutError, ConnectionError))

_LAST_PICTURE = 2_000  # milliseconds
_TOLD = 5
_SECRET = re.compile(
    r"(?i)([?&#][^=&#]*(?:secret|token|passw|key|signature|auth)[^=&#]*=)[^&#\s\"']*"
)
_USER = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True)
class Look:
    """How a page is looked at."""

    url: str
    width: int
    height: int
    sleep: int = 0
    """Milliseconds between the page being loaded and the picture."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent to the server of *url* only."""
    media: Sequence[Mapping[str, str]] = ()
    """Media features, each with its name and value."""
    timeout: float = 60.0
    """Seconds, *sleep* not counted."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of playwright's ``new_context``."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"A window of {self.width}x{self.height} pixels shows nothing")
        for feature in self.media:
            if set(feature) != {"name", "value"}:
                raise ValueError(
                    f"media has {dict(feature)}: expected a name and a value, for example "
                    "{'name': 'prefers-color-scheme', 'value': 'dark'}"
                )


def photograph(look: Look, path: Path, chromium: browser.Chromium | None = None) -> str:
    """Write what is in the window to *path*; return what a message about the picture should add.

    Without *chromium*, one is started and ended.

    Raises:
        TimeoutError: the page was not there in time. The text says what did not come; what was
            there of the page is in *path*.
        ConnectionError: the browser could not open the address.
        MissingError: no Chromium, or no playwright.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if chromium:
        return _visit(chromium, look, path)
    # playwright takes a thread without an event loop, and one browser's driver in a thread: the
    # caller's may have either.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_visit_alone, look, path).result()


def _visit_alone(look: Look, path: Path) -> str:
    with browser.chromium(path.parent) as chromium:
        return _visit(chromium, look, path)


def _visit(chromium: browser.Chromium, look: Look, path: Path) -> str:
    options = {
        "viewport": {"width": look.width, "height": look.height},
        # The same in Geneva and in CI.
        "locale": "en-US",
        "timezone_id": "UTC",
        **look.options,
    }
    with chromium.visit(**options) as visit:
        traffic = _Traffic(look.url, visit.errors)
        for event in ("request", "requestfinished", "requestfailed", "response"):
            visit.page.on(event, getattr(traffic, event))
        _emulate(visit.page, look.media)
        if look.headers:
            _send_headers(visit.page, look)
        _shoot(visit.page, look, path, traffic)
    return str(traffic)


def _shoot(page: "Page", look: Look, path: Path, traffic: "_Traffic") -> None:
    from playwright.sync_api import Error
    from playwright.sync_api import TimeoutError as Late

    deadline = time.monotonic() + look.timeout + look.sleep / 1000

    def left() -> float:
        """Milliseconds; not 0, which means no limit to playwright."""
        return max(1.0, (deadline - time.monotonic()) * 1000)

    try:
        page.goto(look.url, timeout=look.timeout * 1000)
        page.wait_for_timeout(look.sleep)
        page.screenshot(path=path, animations="disabled", caret="hide", timeout=left())
    except Late as error:
        if traffic.status is not None:
            with contextlib.suppress(Error):
                page.screenshot(path=path, timeout=_LAST_PICTURE)
        there = f"\n  what was there: {path}" if path.exists() else ""
        raise TimeoutError(
            f"{masked(look.url)} is not there after {look.timeout:g} s.{there}{traffic}"
        ) from error
    except Error as error:
        said = masked(str(error).split("\n", 1)[0])
        raise ConnectionError(f"{masked(look.url)} cannot be shown: {said}{traffic}") from error


def _emulate(page: "Page", media: Sequence[Mapping[str, str]]) -> None:
    if not media:
        return
    features = [dict(feature) for feature in media]
    page.context.new_cdp_session(page).send("Emulation.setEmulatedMedia", {"features": features})
    for feature in features:
        query = f"({feature['name']}: {feature['value']})"
        if not page.evaluate("query => matchMedia(query).matches", query):
            raise ValueError(f"media has {feature}: this Chromium knows no {query}")


def _send_headers(page: "Page", look: Look) -> None:
    """Add the headers to what goes where the page comes from.

    Not with playwright's routes: these send them wherever the server redirects, too.
    """
    from playwright.sync_api import Error

    parts = urlsplit(look.url)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    session = page.context.new_cdp_session(page)

    def go_on(paused: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in paused["request"]["headers"].items()}
        headers |= {name.lower(): value for name, value in look.headers.items()}
        listed = [{"name": name, "value": value} for name, value in headers.items()]
        # The page may be gone meanwhile.
        with contextlib.suppress(Error):
            session.send(
                "Fetch.continueRequest", {"requestId": paused["requestId"], "headers": listed}
            )

    session.on("Fetch.requestPaused", go_on)
    session.send("Fetch.enable", {"patterns": [{"urlPattern": f"{origin}/*"}]})


class _Traffic:
    """What a page asked for, and what went wrong with that."""

    def __init__(self, url: str, errors: list[str]) -> None:
        self.url = url
        self.status: int | None = None
        self._errors = errors
        self._pending: dict[Request, None] = {}
        self._failed: list[str] = []

    def request(self, request: "Request") -> None:
        self._pending[request] = None

    def requestfinished(self, request: "Request") -> None:
        self._pending.pop(request, None)

    def requestfailed(self, request: "Request") -> None:
        self._pending.pop(request, None)
        self._failed.append(f"{request.url} ({request.failure})")

    def response(self, response: "Response") -> None:
        request = response.request
        if request.is_navigation_request() and request.frame.parent_frame is None:
            self.status = response.status
        elif not response.ok:
            self._failed.append(f"{response.url} ({response.status})")

    def __str__(self) -> str:
        lines = [] if self.status is None else [f"{self.url} answered {self.status}"]
        lines += _some("still awaited", [request.url for request in self._pending])
        lines += _some("did not come", self._failed)
        # What did not come is in the console, too, without its address.
        errors = [error for error in self._errors if not error.startswith("Failed to load")]
        lines += _some("error on the page", errors)
        return masked("".join(f"\n  {line}" for line in lines))


def _some(what: str, found: list[str]) -> list[str]:
    told = [f"{what}: {one}" for one in found[:_TOLD]]
    return told + ([f"{what}: {len(found) - _TOLD} more"] if found[_TOLD:] else [])


def masked(text: str) -> str:
    """*text* without the secrets that are in its addresses."""
    return _SECRET.sub(r"\1…", _USER.sub("", text))
