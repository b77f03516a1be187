"""A real Chromium that looks at pages, as the person in front of it would.

Playwright drives the browser that the system has: nothing is downloaded.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c2cotel_acceptance.processes import MissingError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TIMEOUT = 10_000  # milliseconds


def program() -> str:
    """The path of a Chromium: ``C2C_ACCEPTANCE_CHROMIUM``, or else one found on ``PATH``.

    Raises:
        MissingError: there is none.
    """
    if given := os.environ.get("C2C_ACCEPTANCE_CHROMIUM"):
        return given
    for name in _PROGRAMS:
        if found := shutil.which(name):
            return found
    raise MissingError(
        "No Chromium on this machine: apt-get install -y --no-install-recommends chromium"
    )


@dataclass
class Visit:
    """A page, and all that went wrong on it."""

    page: "Page"
    folder: Path
    errors: list[str] = field(default_factory=list)
    """What a script failed with, what the page's policy refused, and what did not come, with its
    address."""

    def heard(self, message: "ConsoleMessage") -> None:
        """Keep an error of the browser's console."""
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url', '')}".strip())

    def screenshot(self, name: str) -> Path:
        """Keep what is on the whole page as ``{folder}/{name}.png``."""
        path = self.folder / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def violations(self) -> list[str]:
        """What axe-core finds to be a serious or critical fault in accessibility.

        Raises:
            MissingError: axe is not installed.
        """
        try:
            from axe_playwright_python.sync_playwright import (  # type: ignore[import-untyped] # it has none
                Axe,
            )
        except ImportError as error:
            raise MissingError("This needs axe: pip install axe-playwright-python") from error
        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [
            f"{fault['impact']} {fault['id']}: {fault['help']}: "
            + json.dumps([node["html"] for node in fault["nodes"]])
            for fault in found
            if fault["impact"] in ("serious", "critical")
        ]


@dataclass(frozen=True)
class Chromium:
    """A running browser; screenshots go to *folder*."""

    browser: "Browser"
    folder: Path

    @contextlib.contextmanager
    def visit(self, **options: Any) -> Iterator[Visit]:
        """An empty page of somebody never seen before: no cookie, no cache.

        *options* are those of playwright's ``new_context``: ``java_script_enabled``,
        ``viewport``, ``color_scheme``, ``is_mobile``…
        """
        context: BrowserContext = self.browser.new_context(**options)
        try:
            context.set_default_timeout(_TIMEOUT)
            visit = Visit(context.new_page(), self.folder)
            visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
            visit.page.on("console", visit.heard)
            yield visit
        finally:
            context.close()


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Chromium]:
    """A Chromium without a window, from ``with`` to its end.

    Raises:
        MissingError: there is none, or playwright is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingError("This needs playwright: pip install playwright") from error
    executable = program()
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        # Its sandbox does not work for root, nor in most containers.
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            yield Chromium(browser, folder)
        finally:
            browser.close()
