"""What stands in the headers of proxies: lists, read from their right end, and what is in them.

Whoever is trusted has added at the right; left of it may stand anything, which must not change how
the right end is read. The time to read a header grows with its length only, and no more than its
last 4096 characters are read: a hundred proxies fit in there.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_LONGEST: Final = 4096
_LONGEST_HOST: Final = 260
_HIGHEST_PORT: Final = 65535

_QUOTE_OR_COMMA: Final = re.compile('[",]')
# Possessive repetitions of groups are wrong in Python before 3.11.5.
_PAIR: Final = re.compile(
    r'\s*+(?:([^\s=;,"]++)\s*+=\s*+(?:"([^"\\]*(?:\\.[^"\\]*)*)"\s*+|([^;"]*+)))?(?:;|\Z)',
    re.DOTALL,
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_HIDDEN_PORT: Final = re.compile(r"_[A-Za-z0-9._-]+")
# How a proxy calls the scheme of a WebSocket.
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Node(NamedTuple):
    """Somebody on the way of a request; *address* is written in the one normal form."""

    address: str
    port: str | None = None


def items(text: str) -> Iterator[str]:
    """The items of a list with commas, from its right end; empty ones do not count."""
    for item in reversed(_end(text).split(",")):
        if stripped := item.strip():
            yield stripped


def item(text: str, number: int) -> str | None:
    """The item that is *number* from the right, from 1 on; the last there is, if they are fewer."""
    if "," not in text:
        return text
    found = list(items(text))
    return found[min(max(number, 1), len(found)) - 1] if found else None


def elements(text: str) -> Iterator[dict[str, str]]:
    """The elements of ``Forwarded``, from its right end; empty ones do not count.

    One that cannot be read is empty, and the last: nobody knows where the next would begin.
    """
    backwards = _end(text)[::-1]
    at = 0
    while at <= len(backwards):
        end = _element_end(backwards, at)
        if end < len(backwards) and backwards[end] != ",":
            yield {}
            return
        if element := backwards[at:end][::-1].strip():
            pairs = _pairs(element)
            yield pairs
            if not pairs:
                return
        at = end + 1


def _element_end(backwards: str, at: int) -> int:
    """Where the element that begins at *at* ends: at its comma, or at a quote that nobody closes.

    The text is read backwards: the quotes of what a trusted proxy has added are balanced, whatever
    stands before. A quote after a backslash belongs to the text between the quotes.
    """
    while found := _QUOTE_OR_COMMA.search(backwards, at):
        if found[0] == ",":
            return found.start()
        closing = backwards.find('"', found.end())
        while closing >= 0 and backwards.startswith("\\", closing + 1):
            closing = backwards.find('"', closing + 1)
        if closing < 0:
            return found.start()
        at = closing + 1
    return len(backwards)


def _end(text: str) -> str:
    """As much of *text* as is looked at, from a comma on."""
    return text if len(text) <= _LONGEST else text[-_LONGEST:].partition(",")[2]


def _pairs(element: str) -> dict[str, str]:
    """Names (in lower case) and values; a name that comes twice has its last value."""
    pairs = {}
    at = 0
    while at < len(element):
        found = _PAIR.match(element, at)
        if found is None:
            return {}
        name, quoted, bare = found.groups()
        if name is not None:
            value = bare.strip() if quoted is None else _ESCAPED.sub(r"\1", quoted)
            pairs[name.lower()] = value
        at = found.end()
    return pairs


def node(text: str) -> Node | None:
    """An address of IPv4 or IPv6, with or without brackets, port and zone; None if it is none.

    The zone of an address means nothing to another machine; it is left out.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        separator, port = rest[:1], rest[1:]
        if rest and separator != ":":
            return None
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address, port = text, ""
    if (parsed := parse_address(address)) is None:
        return None
    if _is_port(port):
        return Node(str(parsed), port)
    return Node(str(parsed)) if not port or _HIDDEN_PORT.fullmatch(port) else None


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address without its zone; one of IPv4 that is written as IPv6 is one of IPv4."""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return parsed if mapped is None else mapped


def host(text: str) -> str | None:
    """A name or address, with or without a port, as ``Host`` has it; None if it is none."""
    text = text.strip().strip('"')
    if len(text) > _LONGEST_HOST or not _HOST.fullmatch(text):
        return None
    return text


def scheme(text: str) -> str | None:
    """``http`` or ``https``; None if it is neither."""
    return _SCHEMES.get(text.strip().strip('"').lower())


def port(text: str) -> str | None:
    """The number of a port; None if it is none."""
    text = text.strip().strip('"')
    return text if _is_port(text) else None


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and 0 < int(text) <= _HIGHEST_PORT
