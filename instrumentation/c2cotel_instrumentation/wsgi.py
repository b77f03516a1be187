"""What a WSGI environ and its answer say, in the words of the HTTP conventions.

Source: https://opentelemetry.io/docs/specs/semconv/http/.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final
from urllib.parse import quote

from opentelemetry.context import attach, detach, get_current
from opentelemetry.context.context import Context
from opentelemetry.instrumentation.propagators import ResponsePropagator
from opentelemetry.propagators.textmap import Setter
from opentelemetry.semconv.attributes import (
    client_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
    user_agent_attributes,
)
from opentelemetry.util.types import AttributeValue

from c2cotel_instrumentation.redaction import redacted_path, redacted_query

Environ = dict[str, Any]
Headers = list[tuple[str, str]]

METHODS: Final = frozenset(
    "CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split()  # noqa: SIM905 - one line
)
# Clients choose what is in a header: nothing longer gets on a span.
LONGEST: Final = 2048

_PORTS: Final = {"http": 80, "https": 443}
_PATH_SAFE: Final = "/~!$&'()*+,;=:@"
_HIGHEST_PORT: Final = 65535


def active_attributes(method: str, scheme: str) -> dict[str, AttributeValue]:
    """The attributes of metrics; not to be changed, they are shared.

    Clients can make up a method, and behind a proxy a scheme. Those do not become time series.
    """
    return _active_attributes(
        method if method in METHODS else "_OTHER", scheme if scheme in _PORTS else None
    )


@cache
def _active_attributes(method: str, scheme: str | None) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {http_attributes.HTTP_REQUEST_METHOD: method}
    if scheme is not None:
        attributes[url_attributes.URL_SCHEME] = scheme
    return attributes


def span_attributes(environ: Environ) -> dict[str, AttributeValue]:
    """What is known of a request before it is answered; no text is longer than ``LONGEST``."""
    method, scheme = environ["REQUEST_METHOD"], environ["wsgi.url_scheme"]
    address, port = _address(environ, scheme)
    attributes: dict[str, AttributeValue] = {
        http_attributes.HTTP_REQUEST_METHOD: method if method in METHODS else "_OTHER",
        url_attributes.URL_SCHEME: scheme[:LONGEST],
        url_attributes.URL_PATH: redacted_path(_quoted(path(environ)))[:LONGEST] or "/",
        server_attributes.SERVER_ADDRESS: address[:LONGEST],
    }
    if port is not None:
        attributes[server_attributes.SERVER_PORT] = port
    if method not in METHODS:
        attributes[http_attributes.HTTP_REQUEST_METHOD_ORIGINAL] = method[:LONGEST]
    if query := environ.get("QUERY_STRING"):
        attributes[url_attributes.URL_QUERY] = redacted_query(query)[:LONGEST]
    if client := environ.get("REMOTE_ADDR"):
        attributes[client_attributes.CLIENT_ADDRESS] = client[:LONGEST]
    if agent := environ.get("HTTP_USER_AGENT"):
        attributes[user_agent_attributes.USER_AGENT_ORIGINAL] = agent[:LONGEST]
    _, _, protocol = environ.get("SERVER_PROTOCOL", "").partition("/")
    if protocol:
        attributes[network_attributes.NETWORK_PROTOCOL_VERSION] = protocol[:LONGEST]
    return attributes


def path(environ: Environ) -> str:
    """The decoded path, with the part that the application is mounted at."""
    decoded: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return decoded


def url(environ: Environ) -> str:
    text = f"{environ['wsgi.url_scheme']}://{_host(environ)}{_quoted(path(environ))}"
    query = environ.get("QUERY_STRING")
    return f"{text}?{query}" if query else text


def headers(environ: Environ) -> Iterable[tuple[str, str]]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield key[5:].replace("_", "-"), value
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            yield key.replace("_", "-"), value


class _ResponseHeaders(Setter[Headers]):
    """Writes into a list of headers what a response propagator sets; the application's own stay."""

    def set(self, carrier: Headers, key: str, value: str) -> None:
        lower = key.lower()
        for index, (name, old) in enumerate(carrier):
            if name.lower() == lower:
                if lower == "access-control-expose-headers":
                    carrier[index] = name, f"{old}, {value}"
                return
        carrier.append((key, value))


_RESPONSE_HEADERS: Final = _ResponseHeaders()


def propagated(propagator: ResponsePropagator, headers: Headers, context: Context) -> Headers:
    # A copy: one response object may answer many requests, and keeps its list.
    headers = list(headers)
    propagator.inject(headers, context, setter=_RESPONSE_HEADERS)
    return headers


def is_file(body: Iterable[bytes], environ: Environ) -> bool:
    """Whether ``wsgi.file_wrapper`` has made *body*: the server knows it and may use sendfile."""
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(wrapper, type):
        return isinstance(body, wrapper)
    # A function may give the file itself back, as uWSGI's does.
    return wrapper is not None and hasattr(body, "read")


class Streamed:
    """A body whose parts are made, and which is closed, within *context*."""

    __slots__ = ("_body", "_context", "_parts")

    def __init__(self, body: Iterable[bytes], context: Context) -> None:
        self._body = body
        self._context = context
        self._parts: Iterator[bytes] | None = None

    def __iter__(self) -> "Streamed":
        return self

    def __next__(self) -> bytes:
        token = attach(self._context)
        try:
            if self._parts is None:
                self._parts = iter(self._body)
            return next(self._parts)
        finally:
            # What a generator has made current within its "with" is there for its next part.
            self._context = get_current()
            detach(token)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            token = attach(self._context)
            try:
                close()
            finally:
                detach(token)


def _host(environ: Environ) -> str:
    host: str = environ.get("HTTP_HOST") or environ.get("SERVER_NAME") or ""
    return host.rpartition("@")[2]


def _address(environ: Environ, scheme: str) -> tuple[str, int | None]:
    """Where the client wanted to go: without port, without the brackets of IPv6; and the port."""
    host = _host(environ)
    address, separator, text = host.rpartition(":")
    if host.startswith("["):
        address, _, text = host[1:].partition("]")
        text = text.removeprefix(":")
    elif not separator:
        address, text = host, ""
    if not text and not environ.get("HTTP_HOST"):
        text = environ.get("SERVER_PORT", "")
    if not text:
        return address, _PORTS.get(scheme)
    # Five characters: int() of a long text is slow, and no port.
    port = int(text) if len(text) <= 5 and text.isascii() and text.isdigit() else None  # noqa: PLR2004
    return address, port if port is not None and port <= _HIGHEST_PORT else None


def _quoted(path: str) -> str:
    # WSGI gives the bytes of the decoded path as latin-1.
    return quote(path, safe=_PATH_SAFE, encoding="latin-1", errors="replace")
