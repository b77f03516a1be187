"""What an access line of gunicorn says, without its secrets, and as attributes of its record.

==============  =========================================================================
``method``      as the client sent it
``path``        without its query, percent-encoded, secrets in its parameters ``REDACTED``
``route``       the pattern of the route, where an application of Pyramid found one
``status``      a number
``duration``    seconds, wall-clock, until the body was sent
``bytes``       of the body
``client_addr`` the client's address, ``""`` for a socket of this host
``user_agent``  only if it has said one
==============  =========================================================================
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from c2cotel_instrumentation.context import ROUTE_KEY
from c2cotel_instrumentation.redaction import (
    HeaderCapture,
    redacted_path,
    redacted_query,
    redacted_url,
)


def add_fields(record: logging.LogRecord) -> bool:
    """A filter that lets everything pass: what the text says, as attributes of the record."""
    atoms = record.args
    if isinstance(atoms, Mapping):
        for name, (atom, read) in _FIELDS.items():
            try:
                value = read(atoms.get(atom))
            except (TypeError, ValueError):
                continue
            if value is not None:
                record.__dict__.setdefault(name, value)
    return True


def _as_text(value: Any) -> str | None:
    # gunicorn escapes quotes for its own format.
    return value.replace('\\"', '"')[:_LONGEST] if isinstance(value, str) else None


def _said(value: Any) -> str | None:
    return None if value == "-" else _as_text(value)


def _as_path(value: Any) -> str | None:
    text = _as_text(value)
    return None if text is None else quote(text, _PATH_SAFE, "latin-1", "replace")[:_LONGEST]


ACCESS: Final = "gunicorn.access"
_LONGEST: Final = 2048
_PATH_SAFE: Final = "/;:@!$&'()*+,=~"
_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "method": ("m", _as_text),
    "path": ("U", _as_path),
    "route": (f"{{{ROUTE_KEY}}}e", _as_text),
    "status": ("s", int),
    "duration": ("D", lambda microseconds: microseconds / 1e6),
    "bytes": ("B", int),
    "client_addr": ("h", _said),
    "user_agent": ("a", _said),
}


def redact(atoms: dict[str, Any]) -> None:
    """Take secrets out of the atoms with parameters: request line, path, query, referer."""
    line, path = atoms.get("r"), atoms.get("U")
    query, referer = atoms.get("q"), atoms.get("f")
    if isinstance(line, str) and ("?" in line or ";" in line):
        request, _, protocol = line.rpartition(" ")
        atoms["r"] = f"{redacted_url(request)} {protocol}"
    if isinstance(path, str):
        atoms["U"] = redacted_path(path)
    if isinstance(query, str):
        atoms["q"] = redacted_query(query)
    if isinstance(referer, str):
        atoms["f"] = redacted_url(referer)


def redacted_details(atoms: Mapping[str, Any]) -> dict[str, Any]:
    """What to show instead for ``{name}i``, ``{name}o`` (headers) and ``{name}e`` (environ)."""
    shown: dict[str, Any] = {}
    for atom, value in atoms.items():
        if atom.startswith("{") and isinstance(value, str):
            name = atom[1:-2].removeprefix("http_").replace("_", "-")
            ((masked,),) = _HEADERS.attributes(((name, value),), len(value) + 10).values()
            shown[atom] = redacted_query(value) if name == "query-string" else redacted_url(masked)
    return shown


_HEADERS: Final = HeaderCapture("", (r"(?s:.*)",))
