"""Whether a URL answers.

The time it may take is for all of it, however slowly it drips: when it is over, the sockets are
shut, and the thread that reads from them goes on to its end.
"""

import http
import inspect
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from c2cotel.health_check.core import CheckFailedError
from c2cotel.health_check.texts import shown_url
from c2cotel_instrumentation.context import current_request_id

if TYPE_CHECKING:
    import requests

Text: TypeAlias = str | Callable[[Any], str]
Parameters: TypeAlias = Mapping[str, str] | Callable[[Any], Mapping[str, str]] | None
Callback: TypeAlias = Callable[[Any, "requests.Response"], Any]

_FAILED: Final = 400
_PIECE: Final = 65536
_ENOUGH: Final = 1_000_000


def no_more(_request: Any, _response: "requests.Response") -> None:
    """What is checked of an answer besides its status, by default."""


def name_of(url: Text) -> str:
    """What a check of *url* is called if nobody says it."""
    if isinstance(url, str):
        return shown_url(url)
    name: str = getattr(url, "__name__", "")
    return name if name.isidentifier() else "url"


class UrlCheck:
    """Asks *url*, and *callback* about the answer; all may be functions of the request."""

    may_ask_itself: Final = True

    def __init__(  # noqa: PLR0913 - what the seed lets one choose
        self,
        url: Text,
        params: Parameters,
        headers: Parameters,
        callback: Callback,
        *,
        timeout: float,
        id_header: str,
    ) -> None:
        for what, value in (("url", url), ("params", params), ("headers", headers)):
            if inspect.iscoroutinefunction(value):
                raise TypeError(f"The check of a URL: its {what} is a coroutine function.")
        self._url = url
        self._params = params
        self._headers = headers
        self._callback = callback
        self._timeout = timeout
        self._id_header = id_header
        self._sockets = _Sockets()

    def __call__(self, request: Any) -> Any:
        # First of all: what is given up from now on is this run.
        with self._sockets:
            return self._ask(request)

    def _ask(self, request: Any) -> Any:
        import requests

        url = self._url(request) if callable(self._url) else self._url
        params = self._params(request) if callable(self._params) else self._params
        headers = self._headers(request) if callable(self._headers) else self._headers
        sent = dict(headers or {})
        if (request_id := current_request_id()) is not None:
            sent.setdefault(self._id_header, request_id)
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, self._sockets.adapter())
            with session.get(
                url, params=params, headers=sent, timeout=self._timeout, stream=True
            ) as response:
                if response.status_code >= _FAILED:
                    raise CheckFailedError(
                        f"The answer is {_status(response.status_code)}",
                        details=f"{shown_url(response.url)} answers "
                        f"{response.status_code} {response.reason}",
                    )
                if self._callback is no_more:
                    return _read(response)
                # It reads of the answer what it wants.
                return self._callback(request, response)

    def give_up(self) -> None:
        """Break the connections of the check that is running."""
        self._sockets.shut()


def _read(response: "requests.Response") -> None:
    """The answer has to come as far as its end, or as far as is enough."""
    length = 0
    for piece in response.iter_content(_PIECE):
        length += len(piece)
        if length >= _ENOUGH:
            return


def _status(code: int) -> str:
    with suppress(ValueError):
        return f"{code} {http.HTTPStatus(code).phrase}"
    return str(code)


class _Sockets:
    """The sockets of one check, to be shut from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._shut = False

    def __enter__(self) -> None:
        self._shut = False

    def __exit__(self, *_: object) -> None:
        with self._lock:
            while self._open:
                self._open.pop().close()

    def adapter(self) -> "requests.adapters.HTTPAdapter":
        """One whose connections are known here."""
        from requests.adapters import HTTPAdapter

        known = self

        class Adapter(HTTPAdapter):
            def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
                super().init_poolmanager(*args, **kwargs)
                known.watch(self.poolmanager)

            def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
                made = proxy not in self.proxy_manager
                manager = super().proxy_manager_for(proxy, **kwargs)
                if made:
                    known.watch(manager)
                return manager

        return Adapter()

    def watch(self, manager: Any) -> None:
        """Have *manager* make pools whose sockets are known here, of its own kinds (SOCKS)."""
        manager.pool_classes_by_scheme = {
            scheme: self.pool(kind) for scheme, kind in manager.pool_classes_by_scheme.items()
        }

    def pool(self, kind: Any) -> Any:
        """A kind of pool whose connections tell their sockets."""
        known = self

        class Connection(kind.ConnectionCls):  # type: ignore[misc] # a class that is given
            def _new_conn(self) -> socket.socket:
                made: socket.socket = super()._new_conn()
                known.opened(made)
                return made

        class Pool(kind):  # type: ignore[misc] # likewise
            ConnectionCls = Connection

        return Pool

    def opened(self, connection: socket.socket) -> None:
        # A second descriptor: TLS takes the first one over, and this one can be shut in any state.
        mine = connection.dup()
        with self._lock:
            self._open.append(mine)
            if self._shut:
                _shut(mine)

    def shut(self) -> None:
        with self._lock:
            self._shut = True
            for connection in self._open:
                _shut(connection)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
