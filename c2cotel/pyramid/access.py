"""Who may look, who may change: what the kernel asks of whoever knows (:mod:`c2cotel.auth`)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Protocol, TypeAlias

from pyramid.request import Request

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
    """Where a request comes from: whom trusted proxies name, see :mod:`c2cotel.client_info`."""
    return request.remote_addr or ""


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
