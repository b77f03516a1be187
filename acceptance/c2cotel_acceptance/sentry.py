"""Receive what an application sends to Sentry.

:class:`SentryReceiver` is a Sentry in this process, as far as its clients see one: it takes
envelopes, and tells what was in them. A client that sends anything else finds it in ``errors``.

Source: https://develop.sentry.dev/sdk/data-model/envelopes/.
"""

import contextlib
import gzip
import json
import re
import socket
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from c2cotel_acceptance.utils import retry_timeout

KEY = "0123456789abcdef0123456789abcdef"

_PATH = re.compile(r"/api/[0-9]+/envelope/")


@dataclass(frozen=True)
class Item:
    """One item of an envelope; *kind* is event, transaction, sessions, client_report and others."""

    kind: str
    payload: Any
    envelope: dict[str, Any]


class SentryReceiver:
    """A Sentry on a free port of localhost, from ``with`` to its end.

    Safe to read while events arrive: each property gives what has come so far. *status* and
    *delay* (seconds) make it a bad one.
    """

    def __init__(self, *, status: int = 200, delay: float = 0.0) -> None:
        self.status = status
        self.delay = delay
        self.errors: list[str] = []
        self.requests = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._items: list[Item] = []
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """For ``SENTRY_URL``."""
        return f"http://{KEY}@127.0.0.1:{self._server.server_port}/42"

    @property
    def items(self) -> list[Item]:
        """Every item so far, in the order of arrival."""
        with self._lock:
            return list(self._items)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [item.payload for item in self.items if item.kind == "event"]

    @property
    def transactions(self) -> list[dict[str, Any]]:
        return [item.payload for item in self.items if item.kind == "transaction"]

    def wait(self, condition: Callable[["SentryReceiver"], Any], timeout: float = 15) -> Any:
        """Wait until *condition* of this receiver is true, and return what it gave.

        Raises:
            TimeoutError: it was not within *timeout* seconds; the text has what did arrive.
        """
        try:
            return retry_timeout(lambda: condition(self), timeout, interval=0.05)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; arrived: {self}") from error

    def clear(self) -> None:
        """Forget what has arrived."""
        with self._lock:
            self._items.clear()
            self.errors.clear()

    def __str__(self) -> str:
        kinds = dict(Counter(item.kind for item in self.items))
        return f"{kinds} in {self.requests} requests, errors {self.errors}"

    def receive(self, path: str, key: str, body: bytes) -> int:
        """Take one envelope; return the HTTP status for it."""
        self._stopped.wait(self.delay)
        with self._lock:
            self.requests += 1
            if self.status != 200:  # noqa: PLR2004 - the HTTP status
                return self.status
            if not _PATH.fullmatch(path):
                self.errors.append(f"{path}: no such path")
                return 404
            if f"sentry_key={KEY}" not in key:
                self.errors.append(f"{path}: without the key")
                return 401
            try:
                self._items += _items(body)
            except ValueError as error:
                self.errors.append(f"{path}: {error}")
                return 400
            return 200

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them, once their connections are closed
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], receiver: SentryReceiver) -> None:
        super().__init__(address, _Handler)
        self.receiver = receiver
        self.connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed breaks its connection: tests do that on purpose."""

    def close_connections(self) -> None:
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = _decoded(body, self.headers.get("Content-Encoding", ""))
        key = self.headers.get("X-Sentry-Auth", "")
        status = self.server.receiver.receive(self.path, key, body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        """Silent: a test's output is the application's."""


def _decoded(body: bytes, encoding: str) -> bytes:
    match encoding:
        case "gzip":
            return gzip.decompress(body)
        case "deflate":
            return zlib.decompress(body)
    return body


def _items(body: bytes) -> Iterator[Item]:
    """What is in an envelope: a line of headers, then for each item a line and its payload.

    Raises:
        ValueError: it is none.
    """
    head, _, rest = body.partition(b"\n")
    envelope = json.loads(head)
    while rest:
        head, _, rest = rest.partition(b"\n")
        if not head:
            continue
        described = json.loads(head)
        if (length := described.get("length")) is None:
            payload, _, rest = rest.partition(b"\n")
        else:
            payload, rest = rest[:length], rest[length:].removeprefix(b"\n")
        is_json = described.get("type") != "attachment"
        yield Item(described["type"], json.loads(payload) if is_json else payload, envelope)
