"""An HTTP server in this process that takes what an application posts, and tells it to a test."""

import contextlib
import gzip
import socket
import sys
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from c2cotel_acceptance.utils import retry_timeout

_ALL = "0.0.0.0"  # noqa: S104 - every address of this machine, if that is asked for


class Receiver(ABC):
    """On a free port of localhost, or on *port* of *host*, from ``with`` to its end.

    *status* and *delay* (seconds) make it a bad one. What it could not understand is in *errors*.
    """

    # What it answers with, whatever the status.
    answer = b""
    content_type = "application/octet-stream"

    def __init__(
        self, *, status: int = 200, delay: float = 0.0, port: int = 0, host: str = "127.0.0.1"
    ) -> None:
        self.status = status
        self.delay = delay
        self.errors: list[str] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def address(self) -> str:
        """``HOST:PORT`` by which this machine reaches it."""
        host = str(self._server.server_address[0])
        return f"{'127.0.0.1' if host == _ALL else host}:{self.port}"

    @abstractmethod
    def take(self, path: str, headers: Message, body: bytes) -> int:
        """Take one *body*; return the HTTP status for it. One at a time is asked."""

    def receive(self, path: str, headers: Message, body: bytes) -> int:
        self._stopped.wait(self.delay)
        with self._lock:
            return self.take(path, headers, body)

    def wait(self, condition: Callable[[Self], Any], timeout: float = 15) -> Any:
        """Wait until *condition* of this receiver is true, and return what it gave.

        Raises:
            TimeoutError: it was not within *timeout* seconds; the text has what did arrive.
        """
        try:
            return retry_timeout(lambda: condition(self), timeout, interval=0.05)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; arrived: {self}") from error

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

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
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
        """Say what went wrong, but for a client that is killed: tests do that on purpose."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def close_connections(self) -> None:
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = _decoded(body, self.headers.get("Content-Encoding", ""))
        self.send_response(receiver.receive(self.path, self.headers, body))
        self.send_header("Content-Type", receiver.content_type)
        self.send_header("Content-Length", str(len(receiver.answer)))
        self.end_headers()
        self.wfile.write(receiver.answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        """Silent: a test's output is the application's."""


def _decoded(body: bytes, encoding: str) -> bytes:
    match encoding:
        case "gzip":
            return gzip.decompress(body)
        case "deflate":
            return zlib.decompress(body)
    return body
