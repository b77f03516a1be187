"""A request and its answer, as the person whose test fails wants to see them."""

import codecs
import os
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import requests

from c2cotel_acceptance import masking

_MOST = 1000  # characters of a body
_MOST_OF_HEADER = 300
_MOST_HEADERS = 50
_MOST_BINARY = 100  # bytes
_TRACE_PARTS = 4
_TRACE_DIGITS = 32


class CheckError(AssertionError):
    """An answer is not what the test expects; the text shows both sides, *response* has it."""

    def __init__(self, message: str, response: requests.Response) -> None:
        super().__init__(message)
        self.response = response


def request_id(response: requests.Response) -> str | None:
    """The id by which the application's log lines and spans are found, if it tells it."""
    return response.headers.get("X-Request-ID") or None


def trace_id(response: requests.Response) -> str | None:
    """The trace that the request belongs to, as 32 hexadecimal digits.

    It is told by ``traceresponse`` (https://www.w3.org/TR/trace-context-2/), or else by an
    ``X-Request-ID`` that is one, with or without the dashes of a UUID, or else by the
    ``traceparent`` of the request itself.
    """
    sent = response.request.headers.get("traceparent") if response.request else None
    for told in (response.headers.get("traceresponse"), request_id(response), sent):
        if told and (found := _trace_in(as_text(told))):
            return found
    return None


def _trace_in(told: str) -> str | None:
    parts = told.strip().lower().split("-")
    id_ = parts[1] if len(parts) == _TRACE_PARTS else "".join(parts)
    is_one = len(id_) == _TRACE_DIGITS and not id_.strip("0123456789abcdef") and id_.strip("0")
    return id_ if is_one else None


def failure(response: requests.Response, problem: str, trace_url: str | None = None) -> CheckError:
    """*problem*, and all of the exchange that helps to find its cause.

    *trace_url* is where a trace is looked at, with ``{trace_id}`` in it; without it,
    ``C2C_TRACE_URL``. Reads no more of a body that is not read yet than it shows, and closes it.
    """
    secrets = _secrets(response)
    try:
        lines = [
            masking.text(f"{_line(response.request)} answered {_status(response)}: {problem}"),
            *map(masking.text, _redirects(response)),
            "Request:",
            *_headers(response.request.headers),
            *_indented(_sent_body(response.request, secrets)),
            f"Answer, after {response.elapsed.total_seconds():.3f} s:",
            *_headers(response.headers),
            *_indented(_body(response, secrets)),
            *_found_by(response, trace_url or os.environ.get("C2C_TRACE_URL")),
        ]
    finally:
        response.close()
    return CheckError(masking.known("\n".join(lines), secrets), response)


def _secrets(response: requests.Response) -> frozenset[str]:
    found: set[str] = set()
    for one in (*(hop.request for hop in response.history), response.request):
        headers = {name: as_text(value) for name, value in one.headers.items()}
        found |= masking.sent(one.url or "", headers)
    return frozenset(found)


def _line(request: requests.PreparedRequest) -> str:
    return f"{request.method} {request.url}"


def _status(response: requests.Response) -> str:
    return f"{response.status_code} {as_text(response.reason or '')}".rstrip()


def _redirects(response: requests.Response) -> Iterator[str]:
    for hop in response.history:
        to = hop.headers.get("Location", "nowhere")
        yield f"  redirected by {_line(hop.request)}: {_status(hop)}, to {to}"


def _headers(headers: Mapping[str, str | bytes]) -> Iterator[str]:
    for number, (name, value) in enumerate(headers.items()):
        if number == _MOST_HEADERS:
            yield f"    … and {len(headers) - number} more headers"
            return
        shown = masking.header(name, as_text(value))
        cut = f"{shown[:_MOST_OF_HEADER]}…" if len(shown) > _MOST_OF_HEADER else shown
        yield f"    {name}: {cut}"


def _sent_body(request: requests.PreparedRequest, secrets: frozenset[str]) -> str:
    body: Any = request.body  # an iterator, too
    if not body:
        return ""
    content = body.encode() if isinstance(body, str) else body
    if not isinstance(content, bytes):
        return "(a stream)"
    return _beginning(content, len(content), "utf-8", secrets)


def _body(response: requests.Response, secrets: frozenset[str]) -> str:
    # What is masked is often longer than its mask, so more is read than is shown.
    wanted = 4 * _MOST + max(map(len, secrets), default=0)
    if isinstance(response._content, bytes):  # noqa: SLF001 - asking for .content would read all of it
        content, total = response.content[:wanted], len(response.content)
    else:
        try:
            content, total = next(response.iter_content(wanted), b""), None
        except (requests.RequestException, RuntimeError) as error:
            return f"(unreadable: {error})"
    if not content:
        return "(no body)"
    return _beginning(content, total, response.encoding, secrets)


def _beginning(
    content: bytes, total: int | None, encoding: str | None, secrets: frozenset[str]
) -> str:
    """What can be shown of *content*, the beginning of a body of *total* bytes (None: unknown)."""
    size = "a body of unknown length" if total is None else f"{total} bytes"
    text = _decoded(content, encoding)
    if text is None:
        some = content[:_MOST_BINARY]
        return f"(binary: {size}, beginning with {some!r})"
    shown = masking.text(text, secrets)
    if len(shown) <= _MOST and (total is None or total <= len(content)):
        return shown
    return f"{shown[:_MOST]}…\n(the first {_MOST} characters of {size})"


def _decoded(content: bytes, encoding: str | None) -> str | None:
    """*content* as text, or None when it looks like none; it may end within a character."""
    if b"\0" in content[:_MOST_BINARY] and not (encoding or "").lower().startswith("utf-16"):
        return None
    for name in ("utf-8", encoding or "utf-8"):
        try:
            return codecs.getincrementaldecoder(name)("strict").decode(content)
        except (UnicodeError, LookupError):
            continue
    printable = sum(byte >= ord(" ") or byte in b"\t\r\n" for byte in content)
    most = printable >= len(content) * 0.9
    return content.decode("utf-8", "backslashreplace") if most else None


def _indented(text: str) -> list[str]:
    return ["", *textwrap.indent(text, "    ").splitlines(), ""] if text else []


def _found_by(response: requests.Response, trace_url: str | None) -> Iterator[str]:
    if id_ := request_id(response):
        yield f"Request id, in the application's log lines: {as_text(id_)}"
    else:
        yield "The answer has no X-Request-ID, by which its log lines would be found."
    if trace := trace_id(response):
        yield f"Trace: {trace}"
        if trace_url:
            yield "  " + trace_url.replace("{trace_id}", quote(trace))
        else:
            yield "  (C2C_TRACE_URL=https://…/{trace_id} makes this a link)"


def as_text(value: str | bytes) -> str:
    """A header's value, which may be either."""
    return value.decode("latin-1") if isinstance(value, bytes) else value
