"""Who may look, who may change: what the kernel asks of whoever knows (:mod:`c2cotel.auth`)."""

import ipaddress
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Protocol, TypeAlias

from pyramid.request import Request

# Loopback, link-local and private: RFC 1918, RFC 3927, RFC 4193, RFC 4291.
_NEAR = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)

Means: TypeAlias = Literal["none", "parameter", "header", "cookie"]


class Access(IntEnum):
    """What a view demands; the greater one includes the smaller."""

    PUBLIC = 0
    READ = 1
    CHANGE = 2


@dataclass(frozen=True)
class Actor:
    """Who does something, for the log and the list of changes.

    Attributes:
        name: The login, ``secret`` where all share one, empty for somebody unknown.
        address: Where the request comes from.
        means: How it was shown; a browser sends a cookie also when another site makes it.
    """

    name: str
    address: str
    means: Means = "none"

    def __str__(self) -> str:
        return f"{self.name or 'somebody'} from {self.address or 'an unknown address'}"


@dataclass(frozen=True)
class Identity:
    """Who is logged in, as the console shows it; every text may be anything."""

    login: str
    name: str
    url: str
    access: Access


def client_address(request: Request) -> str:
    """Where a request comes from: the connection's other end, or whom a proxy there names.

    A loopback or private address, or a Unix socket, is a proxy's if it says for whom it asks: the
    last entry of ``X-Forwarded-For``, which it has added itself. Those before it may be anything.
    """
    connected = request.remote_addr or ""
    if connected and not _is_near(connected):
        return connected
    named = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return named if _is_near(named) is not None else connected


def _is_near(address: str) -> bool | None:
    """Whether *address* is loopback or private; None if it is no address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return any(parsed in network for network in _NEAR)


class Authority(Protocol):
    """Decides; ``config.registry.c2c_authority`` is the one of an application."""

    def authorise(self, request: Request, access: Access) -> Actor:
        """Let the request pass, or raise the HTTP exception that answers it.

        Raises:
            HTTPForbidden: nobody known, or somebody without the right; the text says what helps.
            HTTPTooManyRequests: too many wrong tries.
            HTTPServiceUnavailable: whoever knows the rights cannot be asked.
        """

    def identity(self, request: Request) -> Identity | None:
        """Who is logged in, if anybody; never raises."""

    def csrf_token(self, request: Request) -> str | None:
        """What a form has to send along; None without a session."""

    def check_csrf(self, request: Request) -> None:
        """Refuse a change by cookie that no page of ours has asked for.

        Raises:
            HTTPForbidden: the field ``csrf_token`` or the header ``X-CSRF-Token`` is wrong.
        """


class Nobody:
    """The authority of an application without authentication: nothing is open but the public."""

    def authorise(self, request: Request, access: Access) -> Actor:
        from pyramid.httpexceptions import HTTPForbidden

        if access > Access.PUBLIC:
            raise HTTPForbidden("Missing or invalid secret (parameter, X-API-Key header or cookie)")
        return Actor("", client_address(request))

    def identity(self, request: Request) -> None:
        return None

    def csrf_token(self, request: Request) -> None:
        return None

    def check_csrf(self, request: Request) -> None:
        return None
