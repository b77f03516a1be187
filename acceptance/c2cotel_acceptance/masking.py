"""What a failing test must not tell: its output is read by many, and kept by the CI.

By name: headers, parameters and keys such as ``Authorization``, ``X-API-Key``, ``secret`` and
``password``. By value: what such a header or parameter of the request had is masked wherever the
answer repeats it.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

MASK = "***"
_SHORTEST = 4  # a shorter value would be found in words that have nothing to do with it

_WORDS = (
    r"secret|passw|pwd|token|api[-_]?key|access[-_]?key|private[-_]?key|authorization"
    r"|(?<!allow-)credential|cookie|signature|jwt|\bsession(?:[-_]?id)?\b"
)
_NAME = re.compile(_WORDS, re.IGNORECASE)
# Nothing stands before the words: it would be looked for from each letter of a long one again.
_PAIR = re.compile(
    rf"""((?:{_WORDS})[\w.-]*["']?\s*[:=]\s*)
        ("(?:[^"\\]|\\.)*(?:"|$) | '(?:[^'\\]|\\.)*(?:'|$) | [^\s&,;"'<>{{}}\[\]]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_USER = re.compile(r"(://)[^\s/@?#]*@")
_COOKIE_VALUE = re.compile(r"^([^=;]*=)[^;]*")


def is_secret(name: str) -> bool:
    """Whether the name of a header, parameter or key says that its value is one."""
    return _NAME.search(name) is not None


def header(name: str, value: str) -> str:
    """*value* of the header *name*, without what is secret in it."""
    if name.lower() == "set-cookie":
        return _COOKIE_VALUE.sub(rf"\1{MASK}", value)  # how it is set matters, not to what
    if is_secret(name):
        return MASK
    return text(value)


def text(value: str, secrets: Iterable[str] = ()) -> str:
    """*value* without *secrets*, nor what its own words say to be one."""
    return _PAIR.sub(rf"\1{MASK}", _USER.sub(rf"\1{MASK}@", known(value, secrets)))


def known(value: str, secrets: Iterable[str]) -> str:
    """*value* without *secrets*."""
    for secret in sorted(secrets, key=len, reverse=True):
        value = value.replace(secret, MASK)
    return value


def sent(url: str, headers: Mapping[str, str]) -> frozenset[str]:
    """The secrets that a request was sent with, in each way an answer may repeat them."""
    found = {value.strip() for value in _sent(url, headers)}
    return frozenset(form for value in found if len(value) >= _SHORTEST for form in _written(value))


def _written(value: str) -> set[str]:
    """*value* as it is, in URLs, in JSON, as Python writes it, a header's bytes as UTF-8."""
    try:
        utf8 = value.encode("latin-1").decode()
    except UnicodeError:
        utf8 = value
    quoted = {form for text in (value, utf8) for form in (quote(text), quote_plus(text))}
    return {value, utf8, json.dumps(utf8)[1:-1], repr(value)[1:-1], *quoted}


def _sent(url: str, headers: Mapping[str, str]) -> Iterator[str]:
    parts = urlsplit(url)
    if parts.password:
        yield parts.password
    for name, value in parse_qsl(parts.query, errors="replace"):
        if is_secret(name):
            yield value
    for name, value in headers.items():
        if name.lower() == "cookie":
            yield from _cookies(value)
        elif is_secret(name):
            scheme, _, credentials = value.partition(" ")
            yield from (value, credentials)
            if scheme.lower() == "basic":
                yield _password(credentials)


def _cookies(value: str) -> list[str]:
    try:
        return [morsel.value for morsel in SimpleCookie(value).values()]
    except CookieError:
        return [value]


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials).decode(errors="replace").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
