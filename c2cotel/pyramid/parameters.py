"""The parameters of a view, read as what they have to be.

Each function takes the request and the parameter's name. What cannot be is a 400 that says the
name, what was found and what would do; an empty parameter counts as one that is not there.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

from pyramid.httpexceptions import HTTPBadRequest
from pyramid.request import Request

T = TypeVar("T")

_TRUE = ("1", "true", "t", "yes", "y", "on")
_FALSE = ("0", "false", "f", "no", "n", "off")
# Of what the client sent, so much is said back.
_LONGEST = 80


def text(request: Request, name: str, *, longest: int = 1000) -> str | None:
    """The parameter as it is, without blanks around it."""
    value = request.params.get(name)
    if value is None:
        return None
    if not isinstance(value, str):  # a file
        raise HTTPBadRequest(f"{name}: expected a text")
    value = value.strip()
    if len(value) > longest:
        raise HTTPBadRequest(f"{name}: has {len(value)} characters, expected {longest} at most")
    return value or None


def required(request: Request, name: str, example: str, *, longest: int = 1000) -> str:
    """Likewise, of one that has to be there; *example* is what it could look like."""
    value = text(request, name, longest=longest)
    if value is None:
        raise HTTPBadRequest(f"{name} is missing: write for example {name}={example}")
    return value


def flag(request: Request, name: str, *, default: bool = False) -> bool:
    """Whether it says yes; one without a value (``&backrefs``) does."""
    if name not in request.params:
        return default
    value = text(request, name)
    if value is None or value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise HTTPBadRequest(f"{name}={value[:_LONGEST]}: expected 1 or 0")


def number(
    request: Request, name: str, *, least: float, most: float, default: float | None = None
) -> float:
    """A number from *least* to *most*; without a *default* it has to be there."""
    value = text(request, name)
    if value is None:
        return _default(name, default, f"a number from {least:g} to {most:g}")
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not least <= found <= most:
        raise HTTPBadRequest(
            f"{name}={value[:_LONGEST]}: expected a number from {least:g} to {most:g}"
        )
    return found


def whole(request: Request, name: str, *, least: int, most: int, default: int | None = None) -> int:
    """A whole number from *least* to *most*; without a *default* it has to be there."""
    value = text(request, name)
    if value is None:
        return _default(name, default, f"a whole number from {least} to {most}")
    try:
        found: int | None = int(value)
    # Python refuses thousands of digits, too.
    except ValueError:
        found = None
    if found is None or not least <= found <= most:
        raise HTTPBadRequest(
            f"{name}={value[:_LONGEST]}: expected a whole number from {least} to {most}"
        )
    return found


def choice(request: Request, name: str, choices: Sequence[str], *, default: str) -> str:
    """One of *choices*."""
    value = text(request, name)
    if value is None:
        return default
    if value not in choices:
        raise HTTPBadRequest(f"{name}={value[:_LONGEST]}: expected one of {', '.join(choices)}")
    return value


def _default(name: str, default: T | None, expected: str) -> T:
    if default is None:
        raise HTTPBadRequest(f"{name} is missing: expected {expected}")
    return default
