import asyncio
import gc
import json
import logging
import pickle
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.util import Retry

from c2cotel_instrumentation.context import with_request_id
from c2cotel_instrumentation.requests import RequestsInstrumentor

from .conftest import Telemetry as Base

DURATION = "http.client.request.duration"
LOGGER = "c2cotel_instrumentation.requests"


@dataclass
class Telemetry(Base):
    def instrument(self, **options):
        RequestsInstrumentor().instrument(
            **{"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}
            | options
        )

    @property
    def durations(self):
        return self.points(DURATION)

    @property
    def seconds(self):
        """The sum of all durations."""
        data = self.reader.get_metrics_data()
        (resource,) = data.resource_metrics
        ((metric,),) = (scope.metrics for scope in resource.scope_metrics)
        return sum(point.sum for point in metric.data.data_points)


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture(autouse=True)
def unwrapped():
    """The instrumentor of a test is gone after it."""
    methods = (
        requests.Session.send,
        HTTPAdapter.send,
        requests.Response.iter_content,
        requests.PreparedRequest.copy,
    )
    yield
    instrumentor = RequestsInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    assert methods == (
        requests.Session.send,
        HTTPAdapter.send,
        requests.Response.iter_content,
        requests.PreparedRequest.copy,
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, what, *rest = self.path.partition("?")[0].split("/")
        getattr(self, what)(*rest)

    do_POST = do_BREW = do_HEAD = do_GET  # noqa: N815 - as http.server calls them

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def status(self, status):
        self.answer(int(status), b"x", X_Kind="a", X_Token="hunter2")

    def headers_seen(self):
        self.server.seen.append(dict(self.headers.items()))

    def echo(self):
        self.headers_seen()
        self.answer(200, json.dumps(dict(self.headers.items())).encode())

    def redirect(self, times):
        self.headers_seen()
        self.answer(302, b"on", Location=f"/redirect/{int(times) - 1}" if times > "1" else "/echo")

    def digest(self):
        self.headers_seen()
        if "Authorization" in self.headers:
            self.answer(200, b"in")
        else:
            self.answer(401, WWW_Authenticate='Digest realm="r", nonce="n", qop="auth"')

    def busy(self, times):
        self.server.tries += 1
        self.answer(503 if self.server.tries <= int(times) else 200)

    def broken(self):
        self.answer(200, b"half", length=1000, Connection="close")
        self.close_connection = True

    def slow(self):
        """The headers, and when the test says so, the body."""
        self.answer(200, b"", length=1)
        self.wfile.flush()
        self.server.go_on.wait(10)
        self.wfile.write(b"x")

    def silent(self):
        self.server.go_on.wait(10)
        self.close_connection = True


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.seen, server.tries, server.go_on = [], 0, threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def to(server, status, method="GET", **more):
    """The attributes of the duration."""
    attributes = {
        "http.request.method": method,
        "server.address": "127.0.0.1",
        "server.port": server.server_port,
        "url.scheme": "http",
        "http.response.status_code": status,
    }
    return attributes | more


def test_an_exchange_has_a_span_and_a_duration(server, telemetry):
    telemetry.instrument()
    assert requests.get(f"{server.url}/status/200?page=3", timeout=5).text == "x"

    span = telemetry.span
    assert (span.name, span.kind, span.status.status_code) == (
        "GET",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert span.instrumentation_scope.name == "c2cotel_instrumentation.requests"
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.full": f"{server.url}/status/200?page=3",
        "server.address": "127.0.0.1",
        "server.port": server.server_port,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }
    assert telemetry.durations == [(to(server, 200), 1)]


@pytest.mark.parametrize("status", ["404", "503"])
def test_an_answer_that_is_an_error_is_one(server, telemetry, status):
    telemetry.instrument()
    requests.get(f"{server.url}/status/{status}", timeout=5)

    assert telemetry.span.status.status_code is StatusCode.ERROR
    assert telemetry.span.attributes["error.type"] == status
    assert telemetry.span.events == ()
    assert telemetry.durations == [(to(server, int(status)) | {"error.type": status}, 1)]


def test_a_connection_that_cannot_be_made_is_measured(closed_port, telemetry):
    telemetry.instrument()
    with pytest.raises(requests.ConnectionError) as raised:
        requests.get(f"http://127.0.0.1:{closed_port}/a?secret=hunter2", timeout=5)

    assert raised.value.request.url.endswith("/a?secret=hunter2")
    error = "requests.exceptions.ConnectionError"
    (attributes, count), *more = telemetry.durations
    assert not more
    assert (attributes["error.type"], attributes["server.port"], count) == (error, closed_port, 1)
    assert "http.response.status_code" not in attributes
    span = telemetry.span
    assert span.attributes["error.type"] == error
    assert span.status.status_code is StatusCode.ERROR
    assert span.events[0].name == "exception"
    assert "hunter2" not in span.to_json()


def test_a_timeout_is_measured_by_the_clock_on_the_wall(server, telemetry):
    telemetry.instrument()
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{server.url}/silent", timeout=0.05)

    assert telemetry.span.attributes["error.type"] == "requests.exceptions.ReadTimeout"
    assert 0.05 <= telemetry.seconds < 5


def test_the_duration_has_the_body_in_it(server, telemetry):
    telemetry.instrument()
    threading.Timer(0.1, server.go_on.set).start()
    requests.get(f"{server.url}/slow", timeout=5)

    span = telemetry.span
    assert 0.05 <= telemetry.seconds < 5
    assert span.end_time - span.start_time >= 50_000_000


def test_a_streamed_answer_is_measured_until_its_headers_are_there(server, telemetry):
    telemetry.instrument()
    with requests.get(f"{server.url}/slow", timeout=5, stream=True) as response:
        assert len(telemetry.spans) == 1
        assert telemetry.durations == [(to(server, 200), 1)]
        server.go_on.set()
        assert list(response.iter_content(10)) == [b"x"]
    assert telemetry.durations == [(to(server, 200), 1)]


def test_a_body_that_breaks_off_is_a_failure(server, telemetry):
    telemetry.instrument()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(f"{server.url}/broken", timeout=5)

    error = "requests.exceptions.ChunkedEncodingError"
    assert telemetry.durations == [(to(server, 200) | {"error.type": error}, 1)]
    assert telemetry.span.attributes["http.response.status_code"] == 200
    assert telemetry.span.attributes["error.type"] == error


def test_each_redirect_is_an_exchange_of_its_own(server, telemetry):
    telemetry.instrument()
    tracer = telemetry.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("view") as view:
        response = requests.get(f"{server.url}/redirect/2", timeout=5)

    assert [past.status_code for past in response.history] == [302, 302]
    *spans, last = telemetry.spans
    assert last.name == "view"
    assert [
        (
            span.attributes["url.full"].removeprefix(server.url),
            span.attributes["http.response.status_code"],
            span.attributes.get("http.request.resend_count"),
        )
        for span in spans
    ] == [("/redirect/2", 302, None), ("/redirect/1", 302, 1), ("/echo", 200, 2)]
    assert {span.parent.span_id for span in spans} == {view.get_span_context().span_id}
    # Each has told the server about itself, not about the one before.
    assert [headers["traceparent"].split("-")[2] for headers in server.seen] == [
        f"{span.context.span_id:016x}" for span in spans
    ]
    assert telemetry.durations == [(to(server, 302), 2), (to(server, 200), 1)]


def test_too_many_redirects_leave_no_span_open(server, telemetry):
    telemetry.instrument()
    with requests.Session() as session:
        session.max_redirects = 1
        with pytest.raises(requests.TooManyRedirects):
            session.get(f"{server.url}/redirect/5", timeout=5)
    assert len(telemetry.spans) == 2
    assert telemetry.durations == [(to(server, 302), 2)]


def test_a_redirect_that_is_not_followed_is_one_exchange(server, telemetry):
    telemetry.instrument()
    with requests.Session() as session:
        first = session.get(f"{server.url}/redirect/1", timeout=5, allow_redirects=False)
        assert len(telemetry.spans) == 1
        session.send(first.next, timeout=5)
    assert telemetry.spans[1].attributes["http.request.resend_count"] == 1


def test_the_attempts_of_an_authentication_are_exchanges(server, telemetry):
    telemetry.instrument()
    auth = HTTPDigestAuth("me", "hunter2")
    assert requests.get(f"{server.url}/digest", auth=auth, timeout=5).text == "in"

    first, second = telemetry.spans
    assert first.attributes["http.response.status_code"] == 401
    assert second.attributes["http.response.status_code"] == 200
    assert second.attributes["http.request.resend_count"] == 1
    assert server.seen[1]["traceparent"].split("-")[2] == f"{second.context.span_id:016x}"


def test_what_urllib3_tries_again_is_counted_on_one_span(server, telemetry):
    telemetry.instrument()
    with requests.Session() as session:
        retry = Retry(3, status_forcelist=[503], backoff_factor=0)
        session.mount("http://", HTTPAdapter(max_retries=retry))
        session.get(f"{server.url}/busy/2", timeout=5)
    assert telemetry.span.attributes["http.request.resend_count"] == 2
    assert telemetry.durations == [(to(server, 200), 1)]


def test_a_request_that_is_sent_often_is_not_sent_again(server, telemetry):
    telemetry.instrument()
    prepared = requests.Request("GET", f"{server.url}/echo").prepare()
    with requests.Session() as session:
        for _ in range(2):
            session.send(prepared, timeout=5)
    assert "traceparent" not in prepared.headers
    assert all("http.request.resend_count" not in span.attributes for span in telemetry.spans)


def test_a_response_sent_once_more_by_a_hook_has_fresh_headers(server, telemetry):
    def again(response, **kwargs):
        _ = response.content
        return response.connection.send(response.request, **kwargs)

    telemetry.instrument()
    requests.get(f"{server.url}/echo", timeout=5, hooks={"response": again})
    _, second = telemetry.spans
    assert second.attributes["http.request.resend_count"] == 1
    assert server.seen[1]["traceparent"].split("-")[2] == f"{second.context.span_id:016x}"


def test_a_hook_that_raises_is_no_failure_of_the_server(server, telemetry):
    telemetry.instrument()
    with pytest.raises(requests.HTTPError):
        requests.get(
            f"{server.url}/status/404",
            timeout=5,
            hooks={"response": lambda response, **_: response.raise_for_status()},
        )
    assert telemetry.durations == [(to(server, 404) | {"error.type": "404"}, 1)]
    assert telemetry.span.events == ()


def test_a_hook_may_read_the_body(server, telemetry):
    telemetry.instrument()
    read = []
    hook = {"response": lambda response, **_: read.append(response.text)}
    assert requests.get(f"{server.url}/status/200", timeout=5, hooks=hook).text == "x"
    assert read == ["x"]
    assert telemetry.durations == [(to(server, 200), 1)]


def test_requests_within_hooks_are_told_apart(server, telemetry):
    def other(_response, **_):
        requests.get(f"{server.url}/status/404", timeout=5)

    telemetry.instrument()
    requests.get(f"{server.url}/status/200", timeout=5, hooks={"response": other})
    assert telemetry.durations == [
        (to(server, 404) | {"error.type": "404"}, 1),
        (to(server, 200), 1),
    ]
    assert all("http.request.resend_count" not in span.attributes for span in telemetry.spans)


def test_a_head_request_has_no_body_to_wait_for(server, telemetry):
    telemetry.instrument()
    requests.head(f"{server.url}/status/200", timeout=5)
    assert telemetry.durations == [(to(server, 200, "HEAD"), 1)]


def test_a_method_of_somebodys_own_is_no_series(server, telemetry):
    telemetry.instrument()
    requests.request("BREW", f"{server.url}/status/200", timeout=5)
    assert telemetry.span.name == "HTTP"
    assert telemetry.span.attributes["http.request.method"] == "_OTHER"
    assert telemetry.span.attributes["http.request.method_original"] == "BREW"
    assert telemetry.durations == [(to(server, 200, "_OTHER"), 1)]


def test_secrets_of_the_url_are_not_shown(server, telemetry):
    telemetry.instrument()
    host = server.url.removeprefix("http://")
    requests.get(f"http://tok3n@{host}/echo?api_key=hunter2&a=1#token=x", timeout=5)
    requests.get(f"http://me:hunter2@{host}/echo", timeout=5)
    first, second = (span.attributes["url.full"] for span in telemetry.spans)
    assert first == (f"http://REDACTED:REDACTED@{host}/echo?api_key=REDACTED&a=1#token=REDACTED")
    assert second == f"http://REDACTED:REDACTED@{host}/echo"


def test_a_long_url_is_cut(server, telemetry):
    telemetry.instrument()
    requests.get(f"{server.url}/echo?q={'x' * 5000}", timeout=5)
    assert len(telemetry.span.attributes["url.full"]) == 2048


def test_servers_beyond_a_number_share_a_series(telemetry):
    telemetry.instrument()

    class Nowhere(HTTPAdapter):
        def get_connection_with_tls_context(self, *_args, **_kwargs):
            raise requests.ConnectionError("not today")

    with requests.Session() as session:
        session.mount("http://", Nowhere())
        for number in range(110):
            with pytest.raises(requests.ConnectionError):
                session.get(f"http://host{number}/", timeout=5)
    series = telemetry.durations
    assert len(series) == 101
    (others,) = [it for it in series if it[0]["server.address"] == "_OTHER"]
    assert others[1] == 10
    assert telemetry.spans[-1].attributes["server.address"] == "host109"


def test_the_standard_port_is_told(telemetry, closed_port):
    telemetry.instrument()
    proxies = {"https": f"http://127.0.0.1:{closed_port}"}
    with pytest.raises(requests.ConnectionError):
        requests.get("https://Example.COM/", timeout=5, proxies=proxies)
    ((attributes, _),) = telemetry.durations
    assert attributes["server.address"] == "example.com"
    assert attributes["server.port"] == 443
    assert attributes["url.scheme"] == "https"


def test_the_trace_and_the_request_id_go_along(server, telemetry):
    telemetry.instrument()
    token = otel_context.attach(with_request_id("my-id"))
    response = requests.get(f"{server.url}/echo", timeout=5)
    otel_context.detach(token)
    span = telemetry.span.context
    assert response.json()["X-Request-ID"] == "my-id"
    sent = response.json()["traceparent"]
    assert sent.startswith(f"00-{span.trace_id:032x}-{span.span_id:016x}-")
    # What was sent is what the response knows of.
    assert response.request.headers["x-request-id"] == "my-id"


def test_what_the_caller_has_set_stays(server, telemetry):
    telemetry.instrument()
    mine = {"x-request-id": "mine", "Traceparent": f"00-{'1' * 32}-{'2' * 16}-00"}
    token = otel_context.attach(with_request_id("not-mine"))
    seen = requests.get(f"{server.url}/echo", timeout=5, headers=mine).json()
    otel_context.detach(token)
    assert {name: seen[name] for name in mine} == mine
    assert "tracestate" not in seen


def test_without_a_trace_nothing_but_the_request_id_goes_along(server):
    telemetry = Telemetry(sampler=ALWAYS_OFF)
    telemetry.instrument()
    token = otel_context.attach(with_request_id("my-id"))
    seen = requests.get(f"{server.url}/echo", timeout=5).json()
    otel_context.detach(token)
    assert seen["X-Request-ID"] == "my-id"
    assert telemetry.spans == ()
    assert telemetry.durations == [(to(server, 200), 1)]


def test_a_propagator_that_fails_is_told_of_once(server, telemetry, caplog):
    class Failing(TextMapPropagator):
        fields = frozenset()

        def extract(self, carrier, context=None, getter=None):
            return context

        def inject(self, carrier, context=None, setter=None):
            raise ZeroDivisionError

    telemetry.instrument()
    propagate.set_global_textmap(Failing())
    for _ in range(2):
        assert requests.get(f"{server.url}/status/200", timeout=5).ok
    assert telemetry.durations == [(to(server, 200), 2)]
    assert len(caplog.records) == 1


def test_headers_are_captured_without_their_secrets(server, telemetry):
    telemetry.instrument(
        captured_request_headers=["x-.*", "Authorization"],
        captured_response_headers=["x-.*"],
        sanitized_headers=["x-private"],
    )
    headers = {"X-Mine": b"1", "X-Private": "2", "Authorization": "Basic hunter2"}
    requests.get(f"{server.url}/status/200", timeout=5, headers=headers)
    attributes = telemetry.span.attributes
    assert attributes["http.request.header.x_mine"] == ("1",)
    assert attributes["http.request.header.x_private"] == ("[REDACTED]",)
    assert attributes["http.request.header.authorization"] == ("[REDACTED]",)
    assert attributes["http.response.header.x_kind"] == ("a",)
    assert attributes["http.response.header.x_token"] == ("[REDACTED]",)


def test_excluded_urls_are_counted_but_have_no_span(server, telemetry):
    telemetry.instrument(excluded_urls=["/echo$"])
    token = otel_context.attach(with_request_id("my-id"))
    seen = requests.get(f"{server.url}/echo", timeout=5).json()
    otel_context.detach(token)
    assert seen["X-Request-ID"] == "my-id"
    assert telemetry.spans == ()
    assert telemetry.durations == [(to(server, 200), 1)]


def test_an_expression_that_is_none_is_an_error_that_names_it(telemetry):
    with pytest.raises(ValueError, match=r"excluded_urls: '\(' is no regular expression"):
        telemetry.instrument(excluded_urls=["("])


def test_what_is_suppressed_is_left_alone(server, telemetry, caplog):
    telemetry.instrument()
    with suppress_instrumentation():
        assert requests.get(f"{server.url}/echo").json().get("traceparent") is None  # noqa: S113
    assert telemetry.spans == ()
    assert telemetry.durations == []
    assert caplog.records == []


# Timeouts


def test_a_request_without_a_timeout_is_warned_of_once_for_each_line(server, telemetry, caplog):
    telemetry.instrument()
    for _ in range(3):
        line = sys._getframe().f_lineno + 1
        requests.get(f"{server.url}/status/200?token=hunter2")  # noqa: S113
    with requests.Session() as session:
        session.post(f"{server.url}/status/200")
    first, second = caplog.records
    assert (first.name, first.levelno) == (LOGGER, logging.WARNING)
    assert first.getMessage() == (
        f"{__file__}:{line}: GET to 127.0.0.1 is sent without a timeout: it waits for as long as "
        "the other side keeps it waiting. Give it timeout=…, or all of them a default with "
        "C2C_REQUESTS_DEFAULT_TIMEOUT. Said once for this line."
    )
    assert second.getMessage().startswith(f"{__file__}:{line + 2}: POST to 127.0.0.1")


def test_lines_without_end_are_not_all_remembered(telemetry, caplog):
    telemetry.instrument()
    with requests.Session() as session:
        session.mount("http://", Refusing())
        for number in range(1010):
            code = compile("session.get(url)", f"<made {number}>", "exec")
            with pytest.raises(requests.ConnectionError):
                exec(code, {"session": session, "url": "http://h/"})  # noqa: S102
    assert len(caplog.records) == 1000


class Refusing(HTTPAdapter):
    """Keeps the timeout that it was asked to use."""

    def __init__(self):
        super().__init__()
        self.timeouts = []

    def send(self, request, *args, **kwargs):
        # It is no caller, although its code is not in requests.
        return super().send(request, *args, **kwargs)

    def get_connection_with_tls_context(self, *_args, **_kwargs):
        self.timeouts.append(sys._getframe(1).f_locals["timeout"])
        raise requests.ConnectionError("not today")


def get(adapter, **options):
    with requests.Session() as session:
        session.mount("http://", adapter)
        with pytest.raises(requests.ConnectionError):
            session.get("http://h/", **options)


@pytest.mark.parametrize(
    ("given", "used"),
    [({}, 7.5), ({"timeout": 2}, 2), ({"timeout": None}, 7.5), ({"timeout": (None, None)}, "own")],
)
def test_the_default_timeout_is_for_those_without_one(telemetry, caplog, given, used):
    telemetry.instrument(default_timeout=7.5)
    adapter = Refusing()
    get(adapter, **given)
    assert adapter.timeouts == [(None, None) if used == "own" else used]
    assert caplog.records == []


def test_the_default_timeout_also_reaches_an_adapter_that_is_called_directly(telemetry):
    telemetry.instrument(default_timeout=7.5)
    adapter = Refusing()
    prepared = requests.Request("GET", "http://h/").prepare()
    for arguments in ((), (False,), (False, None), (False, None, True)):
        with pytest.raises(requests.ConnectionError):
            adapter.send(prepared, *arguments)
    assert adapter.timeouts == [7.5] * 4


def test_a_default_timeout_ends_a_request(server, telemetry):
    telemetry.instrument(default_timeout=0.05)
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{server.url}/silent")  # noqa: S113


def test_the_default_timeout_may_be_set_later(telemetry):
    telemetry.instrument()
    RequestsInstrumentor().default_timeout = 3
    adapter = Refusing()
    get(adapter)
    assert adapter.timeouts == [3]


# Its surroundings


def test_threads_may_share_a_request(server, telemetry):
    telemetry.instrument()
    prepared = requests.Request("GET", f"{server.url}/echo").prepare()

    def send(number):
        token = otel_context.attach(with_request_id(f"id-{number}"))
        try:
            with requests.Session() as session:
                return number, session.send(prepared, timeout=5).json()["X-Request-ID"]
        finally:
            otel_context.detach(token)

    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(send, range(100)))
    assert sent == [(number, f"id-{number}") for number in range(100)]
    parents = {headers["traceparent"] for headers in server.seen}
    assert len(parents) == len(telemetry.spans) == 100
    assert telemetry.durations == [(to(server, 200), 100)]


def test_a_response_can_be_pickled(server, telemetry):
    telemetry.instrument()
    response = pickle.loads(pickle.dumps(requests.get(f"{server.url}/status/200", timeout=5)))
    assert response.text == "x"


def test_tasks_do_not_meet(server, telemetry):
    telemetry.instrument()

    async def main():
        await asyncio.gather(
            *(
                asyncio.to_thread(requests.get, f"{server.url}/redirect/1", timeout=5)
                for _ in range(10)
            )
        )

    asyncio.run(main())
    counts = [span.attributes.get("http.request.resend_count") for span in telemetry.spans]
    assert sorted(counts, key=str) == [1] * 10 + [None] * 10


def test_nothing_is_kept_of_an_exchange(server, telemetry):
    telemetry.instrument()
    response = requests.get(f"{server.url}/redirect/1", timeout=5)
    assert "_c2cotel_exchange" not in response.__dict__
    del response
    gc.collect()
    from c2cotel_instrumentation.exchanges import UNREAD, Exchange

    assert UNREAD.get() is None
    assert [it for it in gc.get_objects() if type(it) is Exchange] == []


def test_a_session_made_before_is_measured_and_left_alone_afterwards(server, telemetry, caplog):
    with requests.Session() as session:
        telemetry.instrument()
        session.get(f"{server.url}/status/200", timeout=5)
        RequestsInstrumentor().uninstrument()
        assert "traceparent" not in session.get(f"{server.url}/echo").json()
    assert telemetry.durations == [(to(server, 200), 1)]
    assert caplog.records == []


def test_somebody_elses_wrapper_around_ours_stays(server, telemetry, monkeypatch):
    telemetry.instrument()
    ours, calls = HTTPAdapter.send, []

    def theirs(self, request, **kwargs):
        calls.append(request.url)
        return ours(self, request, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(HTTPAdapter, "send", theirs)
        RequestsInstrumentor().uninstrument()
        requests.get(f"{server.url}/echo", timeout=5)
    assert calls == [f"{server.url}/echo"]
    assert telemetry.durations == []
    # It had no chance to take ours away then.
    HTTPAdapter.send = ours.__wrapped__
    RequestsInstrumentor._wrappings._made.clear()


@pytest.mark.parametrize("first", ["import requests", ""])
def test_requests_may_be_imported_before_or_after(server, first):
    code = f"""
{first}
import sys
from c2cotel_instrumentation.requests import RequestsInstrumentor
assert bool({first!r}) == ("requests" in sys.modules)
RequestsInstrumentor().instrument(default_timeout=5)
import requests
from c2cotel_instrumentation.context import with_request_id
from c2cotel_instrumentation.request_id import RequestIdPropagator
from opentelemetry import context, propagate
propagate.set_global_textmap(RequestIdPropagator())
context.attach(with_request_id("my-id"))
print(requests.get("{server.url}/echo").json()["X-Request-ID"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "my-id\n"


def test_a_forked_process_goes_on(server):
    program = f"""
import os, requests
from c2cotel_instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
RequestsInstrumentor().instrument(tracer_provider=TracerProvider(shutdown_on_exit=False))
requests.get("{server.url}/echo", timeout=5)
if pid := os.fork():
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
assert "traceparent" in requests.get("{server.url}/echo", timeout=5).json()
os._exit(0)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
