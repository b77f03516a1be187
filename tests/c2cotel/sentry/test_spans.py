"""OpenTelemetry's spans as Sentry's transactions."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from pyramid.response import Response

from c2cotel.sentry.spans import Transactions


def work(_request):
    tracer = trace.get_tracer("t")
    with tracer.start_as_current_span(
        "SELECT t",
        kind=SpanKind.CLIENT,
        attributes={"db.system.name": "postgresql", "db.query.text": "SELECT * FROM t"},
    ):
        pass
    with tracer.start_as_current_span("inner"), tracer.start_as_current_span("innermost"):
        pass
    return Response("ok")


def routes(config):
    config.add_route("work", "/work/{id}")
    config.add_view(work, route_name="work")


def transactions(site):
    site.told()
    return site.receiver.transactions


def test_a_request_is_a_transaction_with_the_ids_that_its_spans_have(on_a_site):
    def visit(site):
        site.get(
            "/work/3?secret=hush",
            headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "X-Request-ID": "the-id"},
        )
        return transactions(site)

    (sent,) = on_a_site(routes, visit, SENTRY_TRACES_SAMPLE_RATE="1", SENTRY_TAG_SERVICE="web")
    assert sent["transaction"] == "GET /work/{id}"
    assert sent["tags"] == {"request_id": "the-id", "service": "web"}
    traced = sent["contexts"]["trace"]
    assert (traced["trace_id"], traced["parent_span_id"]) == ("ab" * 16, "cd" * 8)
    assert (traced["op"], traced["status"]) == ("http.server", "ok")
    assert traced["data"]["http.route"] == "/work/{id}"
    assert "hush" not in repr(sent)
    spans = {span["description"]: span for span in sent["spans"]}
    assert {name: (span["op"], span["status"]) for name, span in spans.items()} == {
        "SELECT * FROM t": ("db", "ok"),
        "inner": ("function", "ok"),
        "innermost": ("function", "ok"),
    }
    assert spans["inner"]["parent_span_id"] == traced["span_id"]
    assert spans["innermost"]["parent_span_id"] == spans["inner"]["span_id"]
    assert sent["start_timestamp"] <= spans["inner"]["start_timestamp"] <= sent["timestamp"]


@pytest.mark.parametrize(
    "environ",
    [{"SENTRY_CLIENT_TRACES_SAMPLE_RATE": "1"}, {"SENTRY_CLIENT_ENABLE_TRACING": "true"}],
    ids="-".join,
)
def test_the_sdks_names_of_it_mean_the_same(on_a_site, environ):
    def visit(site):
        site.get("/work/3")
        return [sent["transaction"] for sent in transactions(site)]

    assert on_a_site(routes, visit, **environ) == ["GET /work/{id}"]


def test_by_default_there_are_none(on_a_site):
    def visit(site):
        site.get("/work/3")
        return transactions(site)

    assert on_a_site(routes, visit) == []


class Ended:
    """A span as a processor sees it."""

    def __init__(self, trace_id, span_id=1, parent=None):
        self.context = trace.SpanContext(trace_id, span_id, is_remote=False)
        self.parent = parent


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_share_of_the_traces_is_sent(share):
    from c2cotel_instrumentation.context import new_trace_id

    processor = Transactions(share)
    for number in range(4000):
        processor.on_start(Ended(new_trace_id(), number + 1))
    assert len(processor._open) == pytest.approx(4000 * share, abs=150)


def test_spans_that_never_end_are_not_kept_for_ever(on_a_site):
    def visit(site):
        tracer = trace.get_tracer("t")
        with tracer.start_as_current_span("root"):
            forgotten = [tracer.start_span(f"s{number}") for number in range(100)]
        (sent,) = transactions(site)
        provider = trace.get_tracer_provider()
        (ours,) = (
            it
            for it in provider._active_span_processor._span_processors
            if isinstance(it, Transactions)
        )
        left = len(ours._open)
        for span in forgotten:
            span.end()
        return sent["transaction"], sent["spans"], left, len(transactions(site))

    assert on_a_site(routes, visit, SENTRY_TRACES_SAMPLE_RATE="1") == ("root", [], 0, 1)


def test_a_transaction_has_at_most_a_thousand_spans(on_a_site):
    def visit(site):
        tracer = trace.get_tracer("t")
        with tracer.start_as_current_span("root"):
            for number in range(1200):
                tracer.start_span(f"s{number}").end()
        (sent,) = transactions(site)
        return len(sent["spans"]), sent["extra"]["spans_dropped"]

    assert on_a_site(routes, visit, SENTRY_TRACES_SAMPLE_RATE="1") == (1000, 200)


class Echo(BaseHTTPRequestHandler):
    """Answers with the tracing headers that it got."""

    def do_GET(self):
        told = [f"{k.lower()}={v}" for k, v in self.headers.items() if "trace" in k.lower()]
        body = "\n".join(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Silent."""


def calls(config):
    def call(request):
        connection = http.client.HTTPConnection("127.0.0.1", int(request.matchdict["port"]))
        connection.request("GET", "/")
        answer = connection.getresponse().read().decode()
        connection.close()
        return Response(answer)

    config.add_route("call", "/call/{port}")
    config.add_view(call, route_name="call")


@pytest.mark.parametrize(
    ("environ", "sent"),
    [
        ({}, False),
        ({"SENTRY_CLIENT_PROPAGATE_TRACES": "false"}, False),
        ({"SENTRY_CLIENT_PROPAGATE_TRACES": "true"}, True),
        ({"SENTRY_CLIENT_TRACE_PROPAGATION_TARGETS": "127.0.0.1"}, True),
        ({"SENTRY_CLIENT_TRACE_PROPAGATION_TARGETS": "other.example"}, False),
    ],
)
def test_sentrys_headers_are_sent_only_if_asked_for_and_with_the_same_trace(
    on_a_site, environ, sent
):
    def visit(site):
        server = HTTPServer(("127.0.0.1", 0), Echo)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        answer = site.get(
            f"/call/{server.server_port}", headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
        )
        server.shutdown()
        thread.join()
        server.server_close()
        return answer.text

    told = on_a_site(calls, visit, **environ)
    assert told.startswith(f"sentry-trace={'ab' * 16}-") if sent else told == ""
