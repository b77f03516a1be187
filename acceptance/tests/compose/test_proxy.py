"""The composition's HAProxy, in front of two servers that answer as the applications would.

What is replaced is where things are: Docker's name server by one of ours, ports by free ones.
"""

import contextlib
import re
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from c2cotel_acceptance.processes import Process
from c2cotel_acceptance.servers import free_port
from c2cotel_acceptance.utils import retry_timeout

from .conftest import ACCEPTANCE, tool

ADDRESSES = ("127.0.0.2", "127.0.0.3")
CLIENT = "127.0.0.1"


class Names(socketserver.BaseRequestHandler):
    """Tells both addresses whatever the name: https://www.rfc-editor.org/rfc/rfc1035."""

    def handle(self):
        asked, sock = self.request
        end = asked.index(b"\0", 12) + 1
        is_address = asked[end : end + 2] == b"\0\1"
        addresses = ADDRESSES if is_address else ()
        answers = [
            b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + bytes(map(int, address.split(".")))
            for address in addresses
        ]
        counts = b"\0\1" + len(answers).to_bytes(2, "big") + b"\0\0\0\0"
        question = asked[12 : end + 4]
        sock.sendto(
            asked[:2] + b"\x85\x80" + counts + question + b"".join(answers), self.client_address
        )


class Application(BaseHTTPRequestHandler):
    """Tells who it is, and who it believes to be asked by."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        ready = self.server.ready
        status = 503 if self.path == "/c2c/health/ready" and not ready else 200
        body = f"{self.server.server_address[0]} {self.headers.get_all('X-Forwarded-For')}".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def applications():
    port = free_port("0.0.0.0")  # noqa: S104 - free on every address of this machine
    with contextlib.ExitStack() as stack:
        started = []
        for address in ADDRESSES:
            server = ThreadingHTTPServer((address, port), Application)
            server.daemon_threads = True
            server.ready = True
            started.append(stack.enter_context(serving(server)))
        yield started


@pytest.fixture
def proxy(applications, tmp_path):
    """The two addresses of the proxy: for everybody, and for its own health check."""
    program = tool("haproxy")
    public, health = free_port(), free_port()
    with serving(socketserver.UDPServer(("127.0.0.1", 0), Names)) as names:
        text = (ACCEPTANCE / "compose" / "haproxy.cfg").read_text()
        for said, here in {
            "127.0.0.11:53": f"127.0.0.1:{names.server_address[1]}",
            "app:8080": f"app:{applications[0].server_port}",
            "bind :8080": f"bind 127.0.0.1:{public}",
            "127.0.0.1:8081": f"127.0.0.1:{health}",
        }.items():
            assert text.count(said) == 1
            text = text.replace(said, here)
        config = tmp_path / "haproxy.cfg"
        config.write_text(text)
        with Process([program, "-db", "-f", str(config)], log=tmp_path / "log") as process:
            process.wait_url(f"http://127.0.0.1:{health}/")
            yield f"http://127.0.0.1:{public}", f"http://127.0.0.1:{health}/"


def answering(url):
    """Who answers ten requests, one after the other; each of them has to succeed."""
    found = set()
    for _ in range(10):
        answer = requests.get(f"{url}/api/ping", timeout=10)
        assert answer.status_code == 200, answer.text
        found.add(answer.text.split()[0])
    return found


def test_whoever_is_ready_is_asked_and_who_ends_is_left_alone(proxy, applications):
    url, health = proxy
    retry_timeout(lambda: answering(url) == set(ADDRESSES), 30, 0.1)
    applications[0].ready = False
    retry_timeout(lambda: answering(url) == {ADDRESSES[1]}, 30, 0.1)
    assert requests.get(health, timeout=10).status_code == 200
    applications[1].ready = False
    retry_timeout(lambda: requests.get(health, timeout=10).status_code == 503, 30, 0.1)
    assert requests.get(f"{url}/api/ping", timeout=30).status_code == 503
    applications[0].ready = True
    retry_timeout(lambda: answering(url) == {ADDRESSES[0]}, 30, 0.1)


def test_what_a_client_says_of_its_address_is_replaced(proxy):
    url, _ = proxy
    answer = requests.get(f"{url}/", headers={"X-Forwarded-For": "192.0.2.1"}, timeout=10)
    assert re.search(r"\[.*\]", answer.text)[0] == f"['{CLIENT}']"


def test_metrics_of_a_view_are_not_for_everybody(proxy):
    url, _ = proxy
    assert requests.get(f"{url}/c2c/metrics", timeout=10).status_code == 403
