"""What an answer has to be like: its status, what caches and what other sites may do with it.

Each check returns what is wrong, or None.
"""

from enum import Enum

import requests

from c2cotel_acceptance import exchange

Statuses = int | tuple[int, ...]


class CacheExpected(Enum):
    """What an answer has to say to caches."""

    NO = 0
    """``Cache-Control`` has ``no-cache``."""
    YES = 1
    """It has a ``max-age`` above 0, and neither ``no-cache`` nor ``no-store``."""
    DONT_CARE = 2


def statuses(expected: Statuses) -> tuple[int, ...]:
    """Those that are right.

    Raises:
        TypeError: *expected* has something else in it, which no status would ever equal.
    """
    found = expected if isinstance(expected, tuple) else (expected,)
    if not found or not all(isinstance(one, int) for one in found):
        raise TypeError(
            f"expected_status={expected!r}: not a status. Write for example 200, or (200, 404)"
        )
    return found


def refuse_unknown(expected: object) -> None:
    """Only what :class:`CacheExpected` has.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(expected, CacheExpected):
        raise TypeError(f"cache_expected={expected!r}: expected CacheExpected.NO, YES or DONT_CARE")


def status_problem(response: requests.Response, statuses: tuple[int, ...]) -> str | None:
    if response.status_code in statuses:
        return None
    return f"expected {' or '.join(str(int(status)) for status in statuses)}"


def cache_problem(response: requests.Response, expected: CacheExpected) -> str | None:
    told = response.headers.get("Cache-Control")
    if expected is CacheExpected.DONT_CARE:
        return None
    if told is None:
        return f"it has no Cache-Control, so each cache decides; expected {_WANTED[expected]}"
    directives = dict(_directive(part) for part in told.split(","))
    if expected is CacheExpected.NO:
        right = "no-cache" in directives
    else:
        age = directives.get("max-age", "")
        kept = age.isascii() and age.isdigit() and int(age) > 0
        right = kept and not {"no-cache", "no-store"} & directives.keys()
    return None if right else f"its Cache-Control is {told!r}; expected {_WANTED[expected]}"


_WANTED = {
    CacheExpected.NO: "no-cache in it (or say cache_expected=CacheExpected.YES)",
    CacheExpected.YES: "a max-age above 0, without no-cache or no-store",
}


def _directive(part: str) -> tuple[str, str]:
    name, _, value = part.strip().partition("=")
    return name.strip().lower(), value.strip().strip('"')


def cors_problem(response: requests.Response) -> str | None:
    """Why a page of the origin cannot read it; https://fetch.spec.whatwg.org/#cors-check."""
    origin = exchange.as_text(response.request.headers.get("Origin", ""))
    allowed = response.headers.get("Access-Control-Allow-Origin")
    credentials = response.headers.get("Access-Control-Allow-Credentials")
    expected = origin if credentials == "true" else "*"
    if allowed == expected:
        return None
    if allowed is None:
        return (
            f"it has no Access-Control-Allow-Origin, so a page of {origin} cannot read it; "
            f"expected {expected!r} (or say cors=False)"
        )
    said = "with" if credentials == "true" else "without"
    seen = f" (it is {credentials!r})" if credentials not in (None, "true") else ""
    return (
        f"its Access-Control-Allow-Origin is {allowed!r}; {said} Access-Control-Allow-Credentials: "
        f"true{seen}, expected {expected!r}"
    )
