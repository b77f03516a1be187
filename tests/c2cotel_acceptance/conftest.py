"""A real HTTP server that does what a test tells it to, however wrong."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from c2cotel_acceptance.connection import Connection

SITE = "https://site.example"
RIGHT = {
    "Content-Type": "application/json",
    "Cache-Control": "max-age=0, must-revalidate, no-cache, no-store",
    "Access-Control-Allow-Origin": "*",
    "X-Request-ID": "0af76519-16cd-43dd-8448-eb211c80319c",
}


class Server(ThreadingHTTPServer):
    """Answers each path as :meth:`answer` said; keeps what it was asked in *asked*."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, 0), Handler)
        self.asked = []
        self.ended = threading.Event()
        self._answers = {}

    @property
    def url(self) -> str:
        host = "[::1]" if self.address_family == socket.AF_INET6 else "127.0.0.1"
        return f"http://{host}:{self.server_port}"

    def answer(self, path="/", status=200, body=b'{"hello": true}', without=(), delay=0, **headers):
        """As is right, but for what is told; *without* names headers that are left out."""
        told = RIGHT | {name.replace("_", "-"): value for name, value in headers.items()}
        told = {name: value for name, value in told.items() if name not in without}

        def write(handler):
            self.ended.wait(delay)
            handler.send_response(status)
            for name, value in told.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.act(path, write)

    def act(self, path, how):
        """Answer *path* with *how* of the handler."""
        self._answers[path] = how

    def handle_one(self, handler, body):
        self.asked.append((handler.command, handler.path, dict(handler.headers), body))
        path = handler.path.partition("?")[0]
        self._answers.get(path, lambda handler: handler.send_error(404))(handler)

    def handle_error(self, request, client_address):
        """Silent: a client that has read enough closes the connection."""

    def serve(self):
        with self:
            self.serve_forever(poll_interval=0.02)


class Handler(BaseHTTPRequestHandler):
    def handle_any(self):
        length = int(self.headers.get("Content-Length", 0))
        self.server.handle_one(self, self.rfile.read(length))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any  # noqa: N815 - the base class calls these

    def log_message(self, *_):
        pass


def _serving(address):
    server = Server(address)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.ended.set()
    server.shutdown()
    thread.join()


@pytest.fixture
def server():
    yield from _serving("127.0.0.1")


@pytest.fixture
def server6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("There is no IPv6 on this machine")
    yield from _serving("::1")


@pytest.fixture
def api(server, monkeypatch):
    monkeypatch.delenv("C2C_TRACE_URL", raising=False)
    with Connection(server.url, SITE, timeout=10) as connection:
        yield connection
