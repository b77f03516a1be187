"""The check of a URL, against real servers that behave and that do not."""

import socket
import socketserver
import threading
import time
from contextlib import contextmanager, suppress

import pytest
import requests
from opentelemetry import context as otel_context
from waitress.server import create_server

from c2cotel.health_check import HealthCheck
from c2cotel_acceptance.servers import free_port
from c2cotel_instrumentation.context import with_request_id


class Dripping:
    """A server that sends a byte now and then, and never ends."""

    def __init__(self, *beginning):
        self._beginning = b"".join(beginning)
        self._end = threading.Event()
        self.broken = threading.Event()
        drip, end, broken = self._drip, self._end, self.broken

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.recv(4096)
                try:
                    self.request.sendall(drip())
                    while not end.wait(0.05):
                        self.request.sendall(b"x")
                except OSError:
                    broken.set()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def _drip(self):
        return self._beginning

    def close(self):
        self._end.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def dripping(*beginning):
    server = Dripping(*beginning)
    try:
        yield server
    finally:
        server.close()


def check(configurator, browse, url, **options):
    config = configurator()
    HealthCheck(config).add_url_check(url, **options)
    return browse(config)


def test_a_url_that_answers_is_named_as_itself(configurator, browse, httpserver):
    httpserver.expect_request("/api/hello").respond_with_data("hello")
    url = httpserver.url_for("/api/hello")
    body = check(configurator, browse, url).get().json
    assert list(body["successes"]) == [url]
    assert "result" not in body["successes"][url]


def test_the_name_has_no_password(configurator, browse, httpserver):
    httpserver.expect_request("/a").respond_with_data("")
    url = httpserver.url_for("/a?token=t&b=1").replace("://", "://me:hunter2@")
    (name,) = check(configurator, browse, url).get().json["successes"]
    assert name == httpserver.url_for("/a?token=REDACTED&b=1")


def test_everything_may_be_a_function_of_the_request(configurator, browse, httpserver):
    httpserver.expect_request(
        "/hello", query_string={"a": "/c2c/health_check"}, headers={"X-Name": "value"}
    ).respond_with_json({"count": 3})
    browser = check(
        configurator,
        browse,
        lambda _: httpserver.url_for("/hello"),
        params=lambda request: {"a": request.path},
        headers=lambda _: {"X-Name": "value"},
        check_cb=lambda request, response: [request.method, response.json()["count"]],
        name="hello",
    )
    assert browser.get().json["successes"]["hello"]["result"] == ["GET", 3]


def test_a_function_gives_its_name(configurator, browse, httpserver):
    def hello_service(_):
        return httpserver.url_for("/")

    httpserver.expect_request("/").respond_with_data("")
    assert list(check(configurator, browse, hello_service).get().json["successes"]) == [
        "hello_service"
    ]


def test_the_request_id_is_sent_along(configurator, browse, httpserver):
    httpserver.expect_request("/", headers={"X-Request-ID": "the-id"}).respond_with_data("")
    browser = check(configurator, browse, httpserver.url_for("/"))
    token = otel_context.attach(with_request_id("the-id"))
    try:
        assert browser.get().status_int == 200
    finally:
        otel_context.detach(token)


def test_an_error_is_told_by_its_status(configurator, browse, httpserver):
    httpserver.expect_request("/").respond_with_data("no", status=503)
    browser = check(configurator, browse, httpserver.url_for("/"), name="hello")
    entry = browser.get().json["failures"]["hello"]
    assert entry["message"] == "The answer is 503 Service Unavailable"
    entry = browser.get(authorised=True).json["failures"]["hello"]
    assert entry["message"] == f"{httpserver.url_for('/')} answers 503 SERVICE UNAVAILABLE"


def test_what_the_callback_raises_is_told(configurator, browse, httpserver):
    def callback(_request, response):
        raise ValueError(f"not {response.text}")

    httpserver.expect_request("/").respond_with_data("enough")
    browser = check(configurator, browse, httpserver.url_for("/"), check_cb=callback, name="a")
    assert browser.get().json["failures"]["a"]["message"] == "not enough"


def test_nobody_there_is_told_by_its_kind(configurator, browse):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{holder.getsockname()[1]}/"
        entry = check(configurator, browse, url, name="a").get().json["failures"]["a"]
    assert entry["message"] == "ConnectionError"


@pytest.mark.alone
@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param((b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",), id="body"),
        pytest.param((b"HTTP/1.1 200 OK\r\nX-Drip: ",), id="header"),
        pytest.param((), id="nothing said"),
    ],
)
def test_a_url_that_drips_is_late_and_its_thread_goes_on(configurator, browse, beginning):
    with dripping(*beginning) as server:
        browser = check(configurator, browse, server.url, timeout=0.3, name="drip")
        began = time.monotonic()
        entry = browser.get().json["failures"]["drip"]
        assert time.monotonic() - began < 2
        assert entry["message"].startswith("No result after 0.3")
        # The socket has been shut: the server notices, and the check may be run again.
        assert server.broken.wait(10)
        engine = browser.registry.c2c_health_check.engine
        while engine._running:
            assert time.monotonic() - began < 10
            time.sleep(0.01)


def test_a_proxy_that_drips_is_given_up_too(configurator, browse, monkeypatch):
    with dripping(b"HTTP/1.1 200 OK\r\nX-Drip: ") as server:
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        url = "http://behind.invalid/"
        browser = check(configurator, browse, url, timeout=0.3, name="drip")
        assert "drip" in browser.get().json["failures"]
        assert server.broken.wait(10)


class Endless(Dripping):
    """A server whose answer has no end, and comes quickly."""

    def _drip(self):
        return self._beginning + b"x" * 2_000_000


def test_a_long_answer_is_read_until_it_is_enough(configurator, browse):
    server = Endless(b"HTTP/1.1 200 OK\r\n\r\n")
    try:
        browser = check(configurator, browse, server.url, timeout=5, name="long")
        assert browser.get().json["successes"].keys() == {"long"}
    finally:
        server.close()


def test_an_answer_that_breaks_off_is_a_failure(configurator, browse):
    with dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n") as server:
        browser = check(configurator, browse, server.url, timeout=5, name="broken")
        entry = browser.get().json["failures"]["broken"]
    assert entry["message"] == "ChunkedEncodingError"


@pytest.mark.alone
def test_a_url_that_is_silent_fails_in_time(configurator, browse):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        browser = check(configurator, browse, url, timeout=0.3, name="silent")
        began = time.monotonic()
        assert browser.get().status_int == 500
        assert time.monotonic() - began < 2


@contextmanager
def serving(config, port, threads):
    server = create_server(config.make_wsgi_app(), host="127.0.0.1", port=port, threads=threads)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        # A pull of a thread that answers may run the thunk, and close the pipe, before ours.
        with suppress(OSError):
            server.trigger.pull_trigger(lambda: server.asyncore.close_all(server._map))
        thread.join(10)
        server.task_dispatcher.shutdown()
        assert not thread.is_alive()


def test_a_check_may_ask_its_own_server_while_many_ask_for_the_check(configurator):
    """With few threads: most callers must not keep one while they wait."""
    config, port = configurator(), free_port()
    config.add_route("hello", "/hello")
    config.add_view(lambda _: {"hello": 1}, route_name="hello", renderer="json")
    health = HealthCheck(config)
    health.add_url_check(f"http://127.0.0.1:{port}/hello", name="hello", timeout=2)
    health.add_custom_check("slow", lambda _: time.sleep(0.2))
    statuses = []

    def ask(url):
        with requests.Session() as session:
            statuses.extend(session.get(url, timeout=20).status_code for _ in range(5))

    with serving(config, port, threads=4) as base:
        url = f"{base}/c2c/health_check"
        assert requests.get(url, timeout=20).status_code == 200
        callers = [threading.Thread(target=ask, args=(url,)) for _ in range(12)]
        began = time.monotonic()
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert statuses == [200] * 60
        assert time.monotonic() - began < 10
