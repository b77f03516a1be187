"""Print with a MapFish Print server, as an application's page does.

::

    def test_it_prints(print_connection):
        print_connection.wait_ready(app="default")
        request = print_connection.get_example_requests("default")["requestData"]
        assert print_connection.get_pdf("default", request).content.startswith(b"%PDF")

Source: https://mapfish.github.io/mapfish-print-doc/api.html.
"""

import functools
import json
import time
from operator import methodcaller
from typing import Any

import requests

from c2cotel_acceptance import utils
from c2cotel_acceptance.connection import CacheExpected, Connection

# pytest shows the line of the test instead of lines from here.
__tracebackhide__ = methodcaller("errisinstance", (AssertionError, TimeoutError))

_BETWEEN = 0.5  # seconds between two looks at a report


class PrintError(AssertionError):
    """A report is not printed; the text has what the server says about it."""


class PrintConnection(Connection):
    """To the MapFish Print server at *base_url*, which usually ends with ``/print``.

    *origin* is the page that prints: its address is the ``Origin`` and the ``Referer``, by which
    the server may ask others for maps.
    """

    def __init__(self, base_url: str, origin: str, **how: Any) -> None:
        super().__init__(base_url, origin, **how)
        # The second is a misspelling that configurations of c2cwsgiutils' time look for.
        self.session.headers.update({"Referer": origin, "Referrer": origin})

    def wait_ready(self, timeout: float = 60, app: str = "default") -> None:
        """Wait until the server can tell what *app* prints.

        Raises:
            TimeoutError: it could not within *timeout* seconds; the text has its last answer.
        """
        utils.retry_timeout(functools.partial(self.get_capabilities, app), timeout, _BETWEEN)

    def get_apps(self) -> Any:
        """The names of the applications that are configured."""
        return self.get_json("apps.json", cache_expected=CacheExpected.YES)

    def get_capabilities(self, app: str) -> Any:
        """The layouts and formats of *app*."""
        return self.get_json(f"{app}/capabilities.json", cache_expected=CacheExpected.YES)

    def get_example_requests(self, app: str) -> dict[str, Any]:
        """What *app* may be asked to print, by the name of the example."""
        url = f"{app}/exampleRequest.json"
        examples = self._object(url, cache_expected=CacheExpected.YES)
        read = {}
        for name, text in examples.items():
            try:
                read[name] = json.loads(text)
            except TypeError:
                raise PrintError(
                    f"{self.base_url}{url}: the example {name!r} is no text: {text!r}"
                ) from None
            except json.JSONDecodeError as error:
                raise PrintError(
                    f"{self.base_url}{url}: the example {name!r} is broken JSON: {error}"
                ) from None
        return read

    def get_pdf(self, app: str, request: dict[str, Any], timeout: float = 60) -> requests.Response:
        """Let *app* print *request*, wait until it is printed, and return the answer with the PDF.

        Raises:
            PrintError: the server failed, or needs more than *timeout* seconds.
        """
        report = self.post_json(f"{app}/report.pdf", json=request)
        ref = report.get("ref") if isinstance(report, dict) else None
        if not ref:
            raise PrintError(f"{self.base_url}{app}/report.pdf: {report!r} has no 'ref'")
        self._wait_printed(ref, timeout)
        printed = self.get_raw(f"report/{ref}")
        type_ = printed.headers.get("Content-Type", "")
        if type_.partition(";")[0].strip().lower() != "application/pdf":
            self._fail(printed, f"its Content-Type is {type_!r}, expected 'application/pdf'")
        return printed

    def _object(self, url: str, **how: Any) -> dict[str, Any]:
        told = self.get_json(url, **how)
        if not isinstance(told, dict):
            raise PrintError(f"{self.base_url}{url}: {told!r} is not an object")
        return told

    def _wait_printed(self, ref: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not (status := self._object(f"status/{ref}.json")).get("done"):
            if time.monotonic() >= deadline:
                raise PrintError(
                    f"{self.base_url}status/{ref}.json: not done after {timeout:g} s: {status}"
                )
            time.sleep(min(_BETWEEN, timeout))
        if status.get("status") != "finished":
            why = status.get("error") or "no reason is told"
            raise PrintError(
                f"{self.base_url}status/{ref}.json: {status.get('status', 'failed')}: {why}"
            )
