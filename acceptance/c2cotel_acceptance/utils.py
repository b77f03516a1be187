"""Wait until something is true, and say what was missing when it never became so."""

import time
from collections.abc import Callable
from typing import TypeVar

import requests

_T = TypeVar("_T")


def retry_timeout(what: Callable[[], _T], timeout: float = 60, interval: float = 0.5) -> _T:
    """Call *what* until it returns something true, at most *timeout* seconds; return that.

    Exceptions count as "not yet". *interval* is the pause between two calls, in seconds.

    Raises:
        TimeoutError: it never was true. Caused by the last exception of *what*, if any.
    """
    deadline = time.monotonic() + timeout
    while True:
        problem: Exception | None = None
        try:
            if result := what():
                return result
        except Exception as error:  # noqa: BLE001 - any failure may pass; the last one is told
            problem = error
        if time.monotonic() >= deadline:
            told = f": {type(problem).__name__}: {problem}" if problem else ""
            raise TimeoutError(f"Still not so after {timeout:g} s{told}") from problem
        time.sleep(interval)


def wait_url(url: str, timeout: float = 60) -> None:
    """Wait until a GET of *url* answers 200.

    Raises:
        TimeoutError: it did not within *timeout* seconds; the text has the last answer.
    """

    def answers() -> bool:
        response = requests.get(url, timeout=max(1.0, min(10.0, timeout)))
        if response.status_code != requests.codes.ok:
            raise ConnectionError(f"{url} answers {response.status_code}: {response.text[:200]}")
        return True

    retry_timeout(answers, timeout, interval=0.1)
