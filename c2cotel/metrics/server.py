"""The HTTP server that Prometheus scrapes: every path answers with the metrics of the group."""

import gzip
import logging
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from c2cotel.metrics.scrape import BusyError

LOGGER = logging.getLogger(__name__)

Expose = Callable[[str], tuple[bytes, str]]

# Seconds a client may take to say what it wants, or to take what it asked for.
_CLIENT_TIMEOUT = 10.0
# Seconds until :meth:`MetricsServer.stop` is noticed, at most.
_POLL = 0.1
_COMPRESS_FROM = 1400


class ScrapeHandler(BaseHTTPRequestHandler):
    """Answers a scrape of its :class:`MetricsServer`."""

    server: "MetricsServer"
    timeout = _CLIENT_TIMEOUT
    server_version = "c2cotel"
    sys_version = ""

    def do_GET(self) -> None:
        try:
            body, content_type = self.server.expose(self.headers.get("Accept", ""))
        except BusyError as error:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except Exception:
            # Whatever is wrong with the metrics, the thread has to answer; Prometheus shows "down".
            LOGGER.exception("The metrics cannot be collected.")
            self.send_error(
                HTTPStatus.INTERNAL_SERVER_ERROR, "metrics cannot be collected, see log"
            )
        else:
            self._send(body, content_type)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _send(self, body: bytes, content_type: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        if len(body) > _COMPRESS_FROM and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, compresslevel=1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        LOGGER.debug(format, *args)


class MetricsServer(ThreadingHTTPServer):
    """Listens as soon as it is made, answers once :meth:`start` has been called.

    Raises:
        OSError: the address cannot be bound; somebody else has it, most likely.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, host: str, port: int, expose: Expose) -> None:
        self.expose = expose
        self._connections: set[socket.socket] = set()
        super().__init__((host, port), ScrapeHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = _listen(host, port, self.request_queue_size)
        self.server_address = self.socket.getsockname()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def start(self) -> None:
        threading.Thread(
            target=self.serve_forever, args=(_POLL,), name="c2cotel-metrics", daemon=True
        ).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        LOGGER.debug("%s went away during a scrape", client_address)

    def stop(self) -> None:
        """Let go of the port; what is being answered is answered."""
        self.shutdown()
        self.server_close()

    def abandon(self) -> None:
        """In a forked child: close what was inherited, which leaves the parent's open."""
        for inherited in (self.socket, *self._connections):
            inherited.close()


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    """All interfaces, IPv6 too where there is one, when *host* is empty."""
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=backlog)
