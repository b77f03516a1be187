"""Set a WSGI environ right by what trusted proxies say."""

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from c2cotel.client_info import headers, servers
from c2cotel.client_info.headers import Node
from c2cotel.client_info.trust import Trust
from c2cotel.settings import ClientInfo
from c2cotel_instrumentation.errors import Complaint
from c2cotel_instrumentation.once import Once

Environ: TypeAlias = dict[str, Any]

LOGGER = logging.getLogger(__name__)

_FORWARDED: Final = "HTTP_FORWARDED"
_FOR: Final = "HTTP_X_FORWARDED_FOR"
_HOST: Final = "HTTP_X_FORWARDED_HOST"
_PROTO: Final = "HTTP_X_FORWARDED_PROTO"
_SCHEME: Final = "HTTP_X_FORWARDED_SCHEME"
_SERVER: Final = "HTTP_X_FORWARDED_SERVER"
_PORT: Final = "HTTP_X_FORWARDED_PORT"
# Where one of these is, so is the proxy that writes it.
_USUAL: Final = (_FOR, _HOST, _PROTO, _SCHEME, _SERVER)
_HEADERS: Final = (_FORWARDED, *_USUAL, _PORT)
_REPLACED: Final = (
    *("REMOTE_ADDR", "REMOTE_PORT", "REMOTE_HOST"),
    *("HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme"),
)


def _original(key: str) -> str:
    return "HTTP_ORIGINAL_" + key.removeprefix("HTTP_").replace(".", "_").upper()


# Where each value is kept; also the names under which a client could send its own.
_ORIGINALS: Final = {key: _original(key) for key in (*_HEADERS, *_REPLACED)}
_LOOKED_AT: Final = frozenset((*_HEADERS, *_ORIGINALS.values(), *servers.KEYS))
# In the environ of a request that has been set right.
_DONE: Final = "c2cotel.client_info"
# Every application has these two; they are not the proxy's port.
_USUAL_PORTS: Final = ("80", "443")


class _Said(NamedTuple):
    """What one kind of headers says, as far as it is believed."""

    client: Node | None = None
    host: str | None = None
    scheme: str | None = None
    server: str | None = None
    port: str | None = None


_NOTHING: Final = _Said()
_REMEMBERED: Final = 1024
_LONGEST_REMEMBERED: Final = 512  # characters, of all headers


class Proxies:
    """The proxies in front of an application, as its settings name them."""

    def __init__(self, client_info: ClientInfo) -> None:
        self._believes = Trust(client_info.trusted_proxies).believes
        self._named = frozenset(map(_key, client_info.proxy_headers))
        self._any = _key("*") in self._named
        self._written = tuple(key for key in _HEADERS if self._any or key in self._named)
        forced = {
            "REMOTE_ADDR": client_info.force_remote_addr,
            "HTTP_HOST": client_info.force_host,
            "SERVER_NAME": client_info.force_server_name,
            "wsgi.url_scheme": client_info.force_proto,
        }
        self._forced = {key: value for key, value in forced.items() if value is not None}
        self._failed = Complaint(LOGGER, "Headers of proxies could not be read; they are ignored.")
        self._new = Once()
        # Who asks once asks again, through the same proxies.
        self._remembered = functools.lru_cache(_REMEMBERED)(self._read)

    def prepare(self, environ: Environ) -> None:
        """Set *environ* right, unless that has been done; never raises."""
        if self._forced or not environ.keys().isdisjoint(_LOOKED_AT):
            self._prepare(environ)

    def _prepare(self, environ: Environ) -> None:
        if _DONE in environ:
            return
        environ[_DONE] = True
        try:
            values = self._values(environ)
        except Exception as error:  # noqa: BLE001 - whatever comes in a header, the request goes on
            self._failed(error)
            values = dict(self._forced)
        for name in _ORIGINALS.values():
            environ.pop(name, None)
        for key in _HEADERS:
            if key in environ:
                environ[_ORIGINALS[key]] = environ.pop(key)
        for key, value in values.items():
            _replace(environ, key, value)

    def _values(self, environ: Environ) -> dict[str, str | None]:
        """The new values of *environ*; None for what is not there any more."""
        peer = environ.get("REMOTE_ADDR") or ""
        said = _NOTHING
        if self._believes(peer):
            said = self._said(environ)
            if taken := servers.taken_away(environ, _HEADERS):
                self._complain(servers.WAITRESS_TAKES, taken, peer or "a Unix socket")
        scheme = said.scheme
        if scheme is None and not self._any:
            # What no proxy writes does not count because gunicorn believes it.
            scheme = servers.scheme_of_connection(environ)
        values: dict[str, str | None] = {
            "HTTP_HOST": said.host,
            "SERVER_NAME": said.server,
            "SERVER_PORT": said.port,
            "wsgi.url_scheme": scheme,
        }
        values = {key: value for key, value in values.items() if value is not None}
        if said.client is not None:
            values["REMOTE_ADDR"] = said.client.address
        values |= self._forced
        if (client := values.get("REMOTE_ADDR", peer)) != peer:
            values["REMOTE_PORT"] = said.client.port if said.client else None
            if "REMOTE_ADDR" in self._forced:
                values["REMOTE_PORT"] = None
            if "REMOTE_HOST" in environ:
                values["REMOTE_HOST"] = client
        return values

    def _said(self, environ: Environ) -> _Said:
        texts = tuple([environ.get(key) or "" for key in self._written])
        # Nobody shall fill the memory.
        short = len("".join(texts)) <= _LONGEST_REMEMBERED
        return self._remembered(texts) if short else self._read(texts)

    def _read(self, texts: tuple[str, ...]) -> _Said:
        """What is believed of *texts*, the headers that the proxies write."""
        written = dict(zip(self._written, texts, strict=True))
        usual = self._x_forwarded(written)
        if not (text := written.get(_FORWARDED)):
            return usual
        standard = self._forwarded(text)
        if _FORWARDED not in self._named and any(map(written.get, _USUAL)):
            if _differ(standard, usual):
                self._complain(
                    "Forwarded = %.100r says otherwise than X-Forwarded-*: it does not count, as a "
                    "client may have written it. Name in C2C_PROXY_HEADERS what the proxies write",
                    text,
                )
            return usual
        if standard.client and usual.client and standard.client.address != usual.client.address:
            self._complain(
                "Forwarded names %s as the client and X-Forwarded-For %s: the latter is believed. "
                "Name in C2C_PROXY_HEADERS what the proxies write",
                standard.client.address,
                usual.client.address,
            )
            return usual
        return _Said._make(first or second for first, second in zip(standard, usual, strict=True))

    def _forwarded(self, text: str) -> _Said:
        client = host = scheme = server = port = None
        for element in headers.elements(text):
            # Left of it stands what is nearer to the client: that one knows better.
            host = self._understood(headers.host, "Forwarded host", element.get("host")) or host
            scheme = (
                self._understood(headers.scheme, "Forwarded proto", element.get("proto")) or scheme
            )
            if (by := headers.node(element.get("by", ""))) is not None:
                server, port = _as_name(by.address), by.port or port
            if (named := headers.node(element.get("for", ""))) is None:
                break
            client = named
            if not self._believes(client.address):
                break
        return _Said(client, host, scheme, server, port)

    def _x_forwarded(self, written: Mapping[str, str]) -> _Said:
        client, hops = None, 0
        for item in headers.items(written.get(_FOR, "")):
            hops += 1
            if (named := headers.node(item)) is None:
                break
            client = named
            if not self._believes(client.address):
                break

        def at(key: str, understand: Callable[[str], str | None]) -> str | None:
            """What the proxy has said that also named the client, if each has added its word."""
            text = written.get(key)
            return self._understood(understand, key, headers.item(text, hops)) if text else None

        server, port = at(_SERVER, headers.host), at(_PORT, headers.port)
        host = at(_HOST, headers.host)
        if host is not None and port is not None:
            if _PORT in self._named:
                host = _with_port(host, port)
            elif _with_port(host, port) != host:
                self._complain(
                    "X-Forwarded-Port = %r does not count, as few proxies write it: a client may "
                    "have. If yours do, name it in C2C_PROXY_HEADERS, for example "
                    "*,x-forwarded-port",
                    port,
                )
        return _Said(
            client,
            host or server,
            at(_PROTO, headers.scheme) or at(_SCHEME, headers.scheme),
            None if server is None else _without_port(server),
            port if _PORT in self._named else None,
        )

    def _understood(
        self, understand: Callable[[str], str | None], name: str, text: str | None
    ) -> str | None:
        if not text:
            return None
        value = understand(text)
        if value is None:
            name = name.removeprefix("HTTP_").replace("_", "-").title()
            self._complain(f"{name} = %.100r is nothing that can be used: it is ignored", text)
        return value

    def _complain(self, message: str, *values: str) -> None:
        """Say it once: clients may send it with every request."""
        if self._new(message):
            LOGGER.warning("%s. Further ones are not logged.", message % values)


def _key(name: str) -> str:
    """The key in the environ of the header called *name*."""
    return "HTTP_" + name.upper().replace("-", "_")


def _differ(one: _Said, other: _Said) -> bool:
    """Whether *one* says what *other* does not, of who asks and for what."""
    if one.client and (other.client is None or one.client.address != other.client.address):
        return True
    return any(
        told is not None and told != known
        for told, known in ((one.host, other.host), (one.scheme, other.scheme))
    )


def _replace(environ: Environ, key: str, value: str | None) -> None:
    old = environ.get(key)
    if old == value:
        return
    if old is not None:
        environ[_ORIGINALS[key]] = old
    if value is None:
        del environ[key]
    else:
        environ[key] = value


def _as_name(address: str) -> str:
    """As RFC 3875 has ``SERVER_NAME``, of which URLs are made."""
    return f"[{address}]" if ":" in address else address


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]


def _without_port(host: str) -> str:
    return host.rpartition(":")[0] if _has_port(host) else host


def _with_port(host: str, port: str) -> str:
    return host if _has_port(host) or port in _USUAL_PORTS else f"{host}:{port}"
