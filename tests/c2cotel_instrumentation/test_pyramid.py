import io
import logging
import threading
import wsgiref.util
from contextlib import suppress
from uuid import UUID

import pytest
import requests
import sqlalchemy as sa
from gunicorn.http.wsgi import FileWrapper as GunicornFileWrapper
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.instrumentation.propagators import (
    ResponsePropagator,
    TraceResponsePropagator,
    set_global_response_propagator,
)
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode
from pyramid.config import Configurator
from pyramid.exceptions import URLDecodeError
from pyramid.request import Request
from pyramid.response import FileResponse, Response
from pyramid.router import Router
from pyramid.tweens import EXCVIEW
from requests.adapters import BaseAdapter
from waitress.buffers import ReadOnlyFileBasedBuffer

from c2cotel_instrumentation.context import (
    REQUEST_ID_KEY,
    ROUTE_KEY,
    current_request_id,
    is_untraced,
)
from c2cotel_instrumentation.logging import LoggingInstrumentor
from c2cotel_instrumentation.pyramid import PyramidInstrumentor
from c2cotel_instrumentation.request_id import RequestIdResponsePropagator

from .conftest import Telemetry, add_views, application, get

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACE_AS_UUID = "0af76519-16cd-43dd-8448-eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
HELLO = {
    "http.request.method": "GET",
    "http.route": "/hello/{name}",
    "http.response.status_code": 200,
    "url.scheme": "http",
}


class Remembering(BaseAdapter):
    """Answers outgoing calls without a network, and keeps what was sent."""

    def __init__(self):
        super().__init__()
        self.sent = []

    def send(self, request, **_):
        self.sent.append(request.headers)
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url
        return response

    def close(self):
        pass


@pytest.fixture
def outgoing(telemetry):
    """A view that calls another service, as OpenTelemetry's own instrumentor sees it."""
    RequestsInstrumentor().instrument(
        tracer_provider=telemetry.tracer_provider, meter_provider=NoOpMeterProvider()
    )
    adapter = Remembering()

    def view(_):
        with requests.Session() as session:
            session.mount("http://", adapter)
            session.get("http://other.example/")
        return Response("called")

    return adapter, view


def exception_events(span):
    return [event.attributes for event in span.events if event.name == "exception"]


class TestSpan:
    def test_it_has_the_route_and_the_stable_attributes(self, telemetry):
        telemetry.instrument()
        get(
            application(),
            "/hello/a%C3%A9%20b?x=1&secret=s3cret",
            HTTP_HOST="shop.example:8080",
            REMOTE_ADDR="192.0.2.7",
            HTTP_USER_AGENT="curl/8",
            HTTP_X_REQUEST_ID="abc",
            SERVER_PROTOCOL="HTTP/1.1",
        )
        span = telemetry.span
        assert (span.name, span.kind) == ("GET /hello/{name}", SpanKind.SERVER)
        assert span.status.status_code is StatusCode.UNSET
        assert span.instrumentation_scope.name == "c2cotel_instrumentation.pyramid"
        assert dict(span.attributes) == {
            "c2c.request.id": "abc",
            "http.request.method": "GET",
            "http.route": "/hello/{name}",
            "http.response.status_code": 200,
            "url.scheme": "http",
            "url.path": "/hello/a%C3%A9%20b",
            "url.query": "x=1&secret=REDACTED",
            "server.address": "shop.example",
            "server.port": 8080,
            "client.address": "192.0.2.7",
            "user_agent.original": "curl/8",
            "network.protocol.version": "1.1",
        }

    def test_an_application_that_knows_its_proxies_is_asked_first(self, telemetry):
        telemetry.instrument()
        app = application()
        app.registry.c2c_prepare_environ = lambda environ: environ.update(
            {"REMOTE_ADDR": "203.0.113.9", "HTTP_HOST": "a.example", "wsgi.url_scheme": "https"}
        )
        get(app, "/hello/x", REMOTE_ADDR="10.0.0.1")
        assert telemetry.span.attributes["client.address"] == "203.0.113.9"
        assert telemetry.span.attributes["server.address"] == "a.example"
        assert telemetry.span.attributes["url.scheme"] == "https"

    def test_an_application_that_fails_there_is_measured_all_the_same(self, telemetry, caplog):
        telemetry.instrument()
        app = application()
        app.registry.c2c_prepare_environ = lambda _: 1 / 0
        assert get(app, "/hello/x", REMOTE_ADDR="10.0.0.1").status_code == 200
        assert telemetry.span.attributes["client.address"] == "10.0.0.1"
        assert "ZeroDivisionError" in caplog.text

    def test_the_route_stays_in_the_environ_for_who_logs_the_request(self, telemetry):
        telemetry.instrument()
        environ = {}
        wsgiref.util.setup_testing_defaults(environ)
        environ["PATH_INFO"] = "/hello/x"
        list(application()(environ, lambda *_: None))
        assert environ[ROUTE_KEY] == "/hello/{name}"

    def test_a_pattern_without_leading_slash_gets_one(self, telemetry):
        telemetry.instrument()
        get(application(), "/plain_500")
        assert telemetry.span.name == "GET /plain_500"
        assert telemetry.span.attributes["http.route"] == "/plain_500"

    def test_an_unmatched_request_is_named_by_its_method_and_is_no_error(self, telemetry):
        telemetry.instrument()
        assert get(application(), "/nowhere").status_code == 404
        assert telemetry.span.name == "GET"
        assert "http.route" not in telemetry.span.attributes
        assert telemetry.span.status.status_code is StatusCode.UNSET

    def test_an_unknown_method_is_no_name(self, telemetry):
        telemetry.instrument()
        get(application(), "/nowhere", REQUEST_METHOD="STEAL")
        assert telemetry.span.name == "HTTP"
        assert telemetry.span.attributes["http.request.method"] == "_OTHER"
        assert telemetry.span.attributes["http.request.method_original"] == "STEAL"
        ((attributes, _),) = telemetry.counted
        assert attributes["http.request.method"] == "_OTHER"

    @pytest.mark.parametrize(
        ("environ", "address", "port"),
        [
            ({"HTTP_HOST": "a.example"}, "a.example", 80),
            ({"HTTP_HOST": "a.example", "wsgi.url_scheme": "https"}, "a.example", 443),
            ({"HTTP_HOST": "[::1]:81"}, "::1", 81),
            ({"HTTP_HOST": "[::1]"}, "::1", 80),
            ({"HTTP_HOST": "user:pw@a.example:1"}, "a.example", 1),
            ({"HTTP_HOST": "a.example:x"}, "a.example", None),
            ({"HTTP_HOST": "a.example:" + "9" * 5000}, "a.example", None),
            ({"HTTP_HOST": "a.example:99999"}, "a.example", None),
            ({"HTTP_HOST": "", "SERVER_NAME": "s", "SERVER_PORT": "6543"}, "s", 6543),
        ],
    )
    def test_the_address_is_the_host_without_its_port(self, telemetry, environ, address, port):
        telemetry.instrument()
        get(application(), "/hello/you", **environ)
        attributes = telemetry.span.attributes
        assert (attributes["server.address"], attributes.get("server.port")) == (address, port)

    def test_it_continues_the_trace_of_the_caller(self, telemetry):
        telemetry.instrument()
        get(application(), "/hello/you", HTTP_TRACEPARENT=TRACEPARENT)
        assert f"{telemetry.span.context.trace_id:032x}" == TRACE

    def test_the_applications_own_name_stays(self, telemetry):
        def view(_):
            trace.get_current_span().update_name("mine")
            return Response()

        telemetry.instrument()
        get(application(view), "/view")
        assert telemetry.span.name == "mine"
        assert telemetry.span.attributes["http.route"] == "/view"

    def test_a_span_of_the_application_is_below_it(self, telemetry):
        def view(_):
            with trace.get_tracer("app", tracer_provider=telemetry.tracer_provider).start_span(
                "in"
            ):
                return Response()

        telemetry.instrument()
        get(application(view), "/view")
        inner, server = telemetry.spans
        assert inner.parent == server.context

    def test_within_a_middlewares_span_it_is_a_part_of_that_one(self, telemetry):
        telemetry.instrument()
        tracer = trace.get_tracer("middleware", tracer_provider=telemetry.tracer_provider)
        with tracer.start_as_current_span("outer", kind=SpanKind.SERVER):
            get(application(), "/hello/you", HTTP_TRACEPARENT=TRACEPARENT)
        inner, outer = telemetry.spans
        assert (inner.parent, inner.kind) == (outer.context, SpanKind.INTERNAL)

    def test_chosen_headers_are_captured(self, telemetry):
        telemetry.instrument(
            captured_request_headers=["X-.*", "Content-Type"],
            captured_response_headers=["content-length"],
            sanitized_headers=["X-Private"],
        )
        get(
            application(),
            "/hello/you",
            HTTP_X_SEEN="1",
            HTTP_X_PRIVATE="2",
            HTTP_OTHER="3",
            CONTENT_TYPE="text/plain",
        )
        captured = {k: v for k, v in telemetry.span.attributes.items() if ".header." in k}
        assert captured == {
            "http.request.header.x_seen": ("1",),
            "http.request.header.x_private": ("[REDACTED]",),
            "http.request.header.content_type": ("text/plain",),
            "http.response.header.content_length": ("9",),
        }

    def test_a_secret_among_the_parameters_of_the_path_is_not_shown(self, telemetry):
        telemetry.instrument()
        get(application(), "/hello/you;secret=s3cret")
        assert telemetry.span.attributes["url.path"] == "/hello/you;secret=REDACTED"


class TestErrors:
    def test_an_exception_that_nobody_answers_is_an_error_and_counts_as_500(self, telemetry):
        telemetry.instrument()
        with pytest.raises(ZeroDivisionError):
            get(application(), "/boom")
        span = telemetry.span
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "ZeroDivisionError: nobody answers this one"
        (event,) = exception_events(span)
        assert event["exception.type"] == "ZeroDivisionError"
        assert 'raise ZeroDivisionError("nobody answers this one")' in event["exception.stacktrace"]
        assert telemetry.counted == [
            (
                {
                    **HELLO,
                    "http.route": "/boom",
                    "http.response.status_code": 500,
                    "error.type": "ZeroDivisionError",
                },
                1,
            )
        ]
        assert span.attributes["http.response.status_code"] == 500
        assert span.attributes["error.type"] == "ZeroDivisionError"

    def test_an_exception_that_a_view_answers_with_500_keeps_its_stack(self, telemetry):
        telemetry.instrument()
        assert get(application(), "/failure").status_code == 500
        (event,) = exception_events(telemetry.span)
        assert 'raise AnsweredError("secret of the house")' in event["exception.stacktrace"]
        assert telemetry.span.status.status_code is StatusCode.ERROR
        assert telemetry.span.attributes["error.type"] == event["exception.type"]
        assert event["exception.type"].endswith("conftest.AnsweredError")

    @pytest.mark.parametrize(("path", "events"), [("/raises_503", 1), ("/returns_503", 0)])
    def test_an_http_exception_of_5xx_is_an_error_raised_or_returned(self, telemetry, path, events):
        telemetry.instrument()
        assert get(application(), path).status_code == 503
        assert telemetry.span.status.status_code is StatusCode.ERROR
        assert len(exception_events(telemetry.span)) == events
        ((attributes, _),) = telemetry.counted
        assert attributes["http.response.status_code"] == 503
        assert attributes["error.type"] == "pyramid.httpexceptions.HTTPServiceUnavailable"

    def test_secrets_in_the_text_of_an_exception_are_not_on_the_span(self, telemetry):
        def view(_):
            with sa.create_engine("sqlite://", poolclass=sa.NullPool).connect() as connection:
                try:
                    connection.execute(sa.text("SELECT :value FROM nowhere"), {"value": "s3cret"})
                except sa.exc.SQLAlchemyError as error:
                    raise LookupError(f"http://h/?secret={'s3cr' + 'et'}: {error}") from error

        telemetry.instrument()
        with pytest.raises(LookupError):
            get(application(view), "/view")
        said = "http://h/?secret=REDACTED (sqlite3.OperationalError) no such table: nowhere"
        (event,) = exception_events(telemetry.span)
        assert telemetry.span.status.description.startswith(f"LookupError: {said}\n")
        assert event["exception.message"].startswith(f"{said}\n")
        for text in (telemetry.span.status.description, *event.values()):
            assert "s3cret" not in text.replace('{"value": "s3cret"}', "")
            assert "[parameters:" not in text

    def test_a_500_without_an_exception_has_the_status_as_its_type(self, telemetry):
        telemetry.instrument()
        get(application(), "/plain_500")
        assert telemetry.span.status.status_code is StatusCode.ERROR
        assert telemetry.span.status.description is None
        assert exception_events(telemetry.span) == []
        assert telemetry.span.attributes["error.type"] == "500"

    @pytest.mark.parametrize(
        ("path", "status"), [("/gone", 400), ("/raises_400", 400), ("/found", 302), ("/none", 404)]
    )
    def test_what_is_not_5xx_is_no_error(self, telemetry, path, status):
        telemetry.instrument()
        assert get(application(), path).status_code == status
        assert telemetry.span.status.status_code is StatusCode.UNSET
        assert telemetry.span.events == ()
        ((attributes, _),) = telemetry.counted
        assert attributes["http.response.status_code"] == status
        assert "error.type" not in attributes

    def test_an_exception_that_cannot_be_printed_ends_the_span_all_the_same(self, telemetry):
        class UnprintableError(Exception):
            def __str__(self):
                raise ValueError

        def view(_):
            raise UnprintableError

        telemetry.instrument()
        with pytest.raises(UnprintableError):
            get(application(view), "/view")
        assert telemetry.span.status.status_code is StatusCode.ERROR
        assert telemetry.span.status.description == "UnprintableError"
        assert telemetry.counted[0][1] == 1

    def test_leaving_by_system_exit_is_counted_too(self, telemetry):
        def view(_):
            raise SystemExit(1)  # as gunicorn's worker does when it is killed for its slowness

        telemetry.instrument()
        with pytest.raises(SystemExit):
            get(application(view), "/view")
        assert telemetry.span.attributes["error.type"] == "SystemExit"


class TestMetrics:
    def test_each_request_is_counted_once_with_its_route_and_status(self, telemetry):
        telemetry.instrument()
        app = application()
        for _ in range(3):
            get(app, "/hello/you")
        get(app, "/nowhere")
        assert telemetry.counted == [
            (HELLO, 3),
            (
                {
                    "http.request.method": "GET",
                    "http.response.status_code": 404,
                    "url.scheme": "http",
                },
                1,
            ),
        ]

    def test_the_instruments_are_those_of_the_conventions(self, telemetry):
        telemetry.instrument()
        get(application(), "/hello/you")
        (resource,) = telemetry.reader.get_metrics_data().resource_metrics
        (scope,) = resource.scope_metrics
        assert scope.scope.name == "c2cotel_instrumentation.pyramid"
        assert {metric.name: metric.unit for metric in scope.metrics} == {
            "http.server.request.duration": "s",
            "http.server.active_requests": "{request}",
        }
        (duration,) = (m for m in scope.metrics if m.unit == "s")
        assert duration.data.data_points[0].explicit_bounds == (
            *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
        )

    def test_active_requests_go_up_and_down_again(self, telemetry):
        seen = []

        def view(_):
            seen.extend(telemetry.points("http.server.active_requests"))
            return Response()

        telemetry.instrument()
        app = application(view)
        get(app, "/view")
        with pytest.raises(ZeroDivisionError):
            get(app, "/boom")
        attributes = {"http.request.method": "GET", "url.scheme": "http"}
        assert seen == [(attributes, 1)]
        assert telemetry.points("http.server.active_requests") == [(attributes, 0)]

    def test_the_duration_is_wall_clock_time(self, telemetry):
        waiting = threading.Event()

        def view(_):
            waiting.wait(0.05)
            return Response()

        telemetry.instrument()
        get(application(view), "/view")
        (resource,) = telemetry.reader.get_metrics_data().resource_metrics
        (metric,) = (m for m in resource.scope_metrics[0].metrics if m.unit == "s")
        assert 0.05 <= metric.data.data_points[0].sum < 1

    def test_a_scheme_that_the_client_made_up_is_no_label(self, telemetry):
        telemetry.instrument()
        get(application(), "/hello/you", **{"wsgi.url_scheme": "gopher"})
        ((attributes, _),) = telemetry.counted
        assert "url.scheme" not in attributes

    def test_a_subrequest_is_not_a_request(self, telemetry):
        telemetry.instrument()
        get(application(), "/subrequest")
        assert telemetry.span.name == "GET /subrequest"
        assert telemetry.counted == [({**HELLO, "http.route": "/subrequest"}, 1)]

    def test_the_status_is_the_one_that_the_client_gets(self, telemetry):
        telemetry.instrument()
        answer = get(application(), "/conditional", HTTP_IF_NONE_MATCH='"same"')
        assert answer.status_code == 304
        assert telemetry.counted[0][0]["http.response.status_code"] == 304


class TestRequestId:
    def test_it_comes_from_the_header_and_goes_back(self, telemetry):
        telemetry.instrument()
        answer = get(application(), "/hello/you", HTTP_X_REQUEST_ID="abc")
        assert answer.headers["X-Request-ID"] == "abc"

    def test_without_one_it_is_the_trace_id(self, telemetry):
        telemetry.instrument()
        answer = get(application(), "/hello/you", HTTP_TRACEPARENT=TRACEPARENT)
        assert answer.headers["X-Request-ID"] == TRACE_AS_UUID
        assert telemetry.span.attributes["c2c.request.id"] == TRACE_AS_UUID

    def test_the_application_finds_it_in_the_context_and_in_the_environ(self, telemetry):
        seen = []

        def view(request):
            seen.extend((current_request_id(), request.environ[REQUEST_ID_KEY]))
            return Response()

        telemetry.instrument()
        answer = get(application(view), "/view")
        assert seen == [answer.headers["X-Request-ID"]] * 2

    @pytest.mark.parametrize("provider", ["unsampled", "disabled", "no-op"])
    def test_it_works_without_tracing(self, telemetry, provider, monkeypatch):
        if provider == "disabled":
            monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        tracer_provider = {
            "unsampled": TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False),
            "disabled": TracerProvider(shutdown_on_exit=False),
            "no-op": NoOpTracerProvider(),
        }[provider]
        PyramidInstrumentor().instrument(
            tracer_provider=tracer_provider, meter_provider=telemetry.meter_provider
        )
        app = application()
        answers = [get(app, "/hello/you").headers["X-Request-ID"] for _ in range(2)]
        assert len({UUID(answer) for answer in answers}) == 2
        assert get(app, "/hello/you", HTTP_X_REQUEST_ID="a").headers["X-Request-ID"] == "a"
        traced = get(app, "/hello/you", HTTP_TRACEPARENT=TRACEPARENT)
        assert traced.headers["X-Request-ID"] == TRACE_AS_UUID
        assert telemetry.counted == [(HELLO, 4)]

    def test_it_goes_out_with_calls_to_other_services(self, telemetry, outgoing):
        adapter, view = outgoing
        telemetry.instrument()
        get(application(view), "/view", HTTP_X_REQUEST_ID="abc")
        (headers,) = adapter.sent
        assert headers["X-Request-ID"] == "abc"
        client, server = telemetry.spans
        assert headers["traceparent"].split("-")[2] == f"{client.context.span_id:016x}"
        assert client.parent == server.context

    def test_it_is_in_threads_that_attach_the_context(self, telemetry, caplog):
        def view(_):
            context = otel_context.get_current()

            def work():
                token = otel_context.attach(context)
                logging.getLogger("test.thread").warning("in a thread")
                otel_context.detach(token)

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            return Response()

        LoggingInstrumentor().instrument()
        telemetry.instrument()
        get(application(view), "/view", HTTP_X_REQUEST_ID="abc")
        (record,) = (r for r in caplog.records if r.name == "test.thread")
        assert record.request_id == "abc"
        assert record.trace_id == f"{telemetry.span.context.trace_id:032x}"
        assert record.span_id == f"{telemetry.span.context.span_id:016x}"

    def test_it_is_gone_after_the_request(self, telemetry):
        telemetry.instrument()
        app = application()
        get(app, "/hello/you")
        with pytest.raises(ZeroDivisionError):
            get(app, "/boom")
        assert current_request_id() is None

    def test_an_id_that_the_application_sends_itself_stays(self, telemetry):
        telemetry.instrument()
        app = application(lambda _: Response(headers={"x-request-id": "mine"}))
        assert get(app, "/view").headers.getall("X-Request-ID") == ["mine"]

    def test_one_response_object_for_many_requests_gets_each_its_own(self, telemetry):
        response = Response()
        telemetry.instrument()
        app = application(lambda _: response)
        for request_id in ("a", "b"):
            answer = get(app, "/view", HTTP_X_REQUEST_ID=request_id)
            assert answer.headers.getall("X-Request-ID") == [request_id]

    def test_the_response_propagator_may_come_later_and_may_go(self, telemetry):
        set_global_response_propagator(None)
        telemetry.instrument()
        app = application(lambda _: Response(headers={"Access-Control-Expose-Headers": "A"}))
        assert "X-Request-ID" not in get(app, "/view").headers
        set_global_response_propagator(TraceResponsePropagator())
        headers = get(app, "/view").headers
        assert headers["traceresponse"].startswith("00-")
        assert headers["Access-Control-Expose-Headers"] == "A, traceresponse"
        set_global_response_propagator(RequestIdResponsePropagator())
        assert "X-Request-ID" in get(app, "/view").headers


class Closing:
    """A body that notes where it is made and closed."""

    def __init__(self, parts=(b"a", b"b")):
        self.parts, self.seen = iter(parts), []

    def __iter__(self):
        self.seen.append(("iter", current_request_id()))
        return self

    def __next__(self):
        self.seen.append(("next", current_request_id()))
        return next(self.parts)

    def close(self):
        self.seen.append(("close", current_request_id()))


def served(app, **environ):
    """What *app* gives to its server."""
    environ = Request.blank("/view", environ={"HTTP_X_REQUEST_ID": "abc", **environ}).environ
    return app(environ, lambda *_: None)


class TestBody:
    def test_it_is_made_and_closed_within_the_request(self, telemetry):
        body = Closing()
        telemetry.instrument()
        answer = served(application(lambda _: Response(app_iter=body)))
        assert list(answer) == [b"a", b"b"]
        answer.close()
        assert body.seen == [
            ("iter", "abc"),
            ("next", "abc"),
            ("next", "abc"),
            ("next", "abc"),
            ("close", "abc"),
        ]
        assert current_request_id() is None

    def test_what_is_logged_and_traced_there_belongs_to_the_request(self, telemetry, caplog):
        def parts():
            tracer = trace.get_tracer("app", tracer_provider=telemetry.tracer_provider)
            with tracer.start_as_current_span("parts"):
                logging.getLogger("test.body").warning("one")
                yield b"a"
                logging.getLogger("test.body").warning("two")
                yield b"b"

        LoggingInstrumentor().instrument()
        telemetry.instrument()
        assert list(served(application(lambda _: Response(app_iter=parts())))) == [b"a", b"b"]
        server, below = telemetry.spans
        assert (server.name, below.name, below.parent) == ("GET /view", "parts", server.context)
        records = [r for r in caplog.records if r.name == "test.body"]
        # What a generator has made current stays so in its next part, and in no one else's.
        ids = ("abc", f"{below.context.span_id:016x}")
        assert [(r.request_id, r.span_id) for r in records] == [ids, ids]

    def test_two_bodies_made_in_turns_do_not_mix(self, telemetry):
        def parts(_):
            def generate():
                for _ in range(2):
                    yield current_request_id().encode()

            return Response(app_iter=generate())

        telemetry.instrument()
        app = application(parts)
        one, two = (iter(served(app, HTTP_X_REQUEST_ID=name)) for name in ("one", "two"))
        assert [next(one), next(two), next(one), next(two)] == [b"one", b"two"] * 2

    def test_an_exception_in_it_reaches_the_server(self, telemetry):
        def parts():
            yield b"a"
            raise ZeroDivisionError

        telemetry.instrument()
        answer = served(application(lambda _: Response(app_iter=parts())))
        assert next(iter(answer)) == b"a"
        with pytest.raises(ZeroDivisionError):
            next(answer)
        answer.close()
        assert current_request_id() is None
        assert telemetry.counted[0][0]["http.response.status_code"] == 200

    def test_what_cannot_be_closed_needs_not(self, telemetry):
        telemetry.instrument()
        answer = served(application(lambda _: Response(app_iter=iter([b"a"]))))
        assert list(answer) == [b"a"]
        answer.close()

    def test_a_body_without_a_part_is_closed_once(self, telemetry):
        body = Closing()
        telemetry.instrument()
        served(application(lambda _: Response(app_iter=body))).close()
        assert body.seen == [("close", "abc")]

    def test_it_has_the_id_where_the_request_is_not_traced(self, telemetry):
        body = Closing()
        telemetry.instrument(excluded_urls=["view"])
        list(served(application(lambda _: Response(app_iter=body))))
        assert body.seen[0] == ("iter", "abc")

    @pytest.mark.parametrize("body", [[b"a", b"b"], (b"a", b"b")])
    def test_what_is_made_already_passes_as_it_is(self, telemetry, body):
        telemetry.instrument()
        assert served(application(lambda _: Response(app_iter=body))) is body

    @pytest.mark.parametrize(
        "wrapper", [GunicornFileWrapper, wsgiref.util.FileWrapper, ReadOnlyFileBasedBuffer]
    )
    def test_the_server_s_own_file_wrapper_passes_as_it_is(self, telemetry, wrapper):
        """It is what servers send with sendfile."""
        made = []

        def view(request):
            response = FileResponse(__file__, request)
            made.append(response.app_iter)
            return response

        telemetry.instrument()
        answer = served(application(view), **{"wsgi.file_wrapper": wrapper})
        assert answer is made[0]
        assert type(answer) is wrapper
        answer.close()

    def test_so_does_the_file_of_a_wrapper_that_is_a_function(self, telemetry):
        """UWSGI gives the file back and remembers that it was asked for it."""
        file = io.BytesIO(b"a")
        telemetry.instrument()
        app = application(lambda r: Response(app_iter=r.environ["wsgi.file_wrapper"](file)))
        answer = served(app, **{"wsgi.file_wrapper": lambda file, *_: file})
        assert answer is file


class TestExcludedUrls:
    @pytest.mark.parametrize(
        "pattern",
        ["health", "^/hello/health$", "^http://localhost/hello/health", "hello/.*,?", r"\?a=1$"],
    )
    def test_the_expressions_are_searched_in_the_path_and_in_the_url(self, telemetry, pattern):
        telemetry.instrument(excluded_urls=["^/nothing", pattern])
        get(application(), "/hello/health?a=1", HTTP_HOST="localhost")
        assert telemetry.spans == ()
        assert telemetry.counted == [(HELLO, 1)]

    def test_others_are_traced(self, telemetry):
        telemetry.instrument(excluded_urls=["^/hello/health$"])
        get(application(), "/hello/healthy")
        assert len(telemetry.spans) == 1

    def test_nothing_below_has_a_span_but_the_request_id_goes_out(self, telemetry, outgoing):
        adapter, view = outgoing
        telemetry.instrument(excluded_urls=["^/view"])
        answer = get(application(view), "/view")
        assert telemetry.spans == ()
        (headers,) = adapter.sent
        assert headers["X-Request-ID"] == answer.headers["X-Request-ID"]
        _, trace_id, _, flags = headers["traceparent"].split("-")
        assert UUID(headers["X-Request-ID"]).hex == trace_id
        assert UUID(trace_id).version == 4
        assert flags == "00"
        assert telemetry.counted == [({**HELLO, "http.route": "/view"}, 1)]

    def test_the_callers_trace_goes_on_unsampled(self, telemetry, outgoing):
        adapter, view = outgoing
        telemetry.instrument(excluded_urls=["^/view"])
        get(application(view), "/view", HTTP_TRACEPARENT=TRACEPARENT, HTTP_X_REQUEST_ID="abc")
        (headers,) = adapter.sent
        _, trace_id, _, flags = headers["traceparent"].split("-")
        assert (trace_id, flags) == (TRACE, "00")
        assert headers["X-Request-ID"] == "abc"
        assert telemetry.spans == ()

    def test_samplers_can_see_that_the_context_is_untraced(self, telemetry):
        seen = []

        def view(_):
            seen.append(is_untraced())
            return Response()

        telemetry.instrument(excluded_urls=["view.excluded"])
        app = application(view)
        get(app, "/view?excluded")
        get(app, "/view")
        assert seen == [True, False]

    def test_an_exception_there_passes_and_is_counted(self, telemetry):
        telemetry.instrument(excluded_urls=["boom"])
        with pytest.raises(ZeroDivisionError):
            get(application(), "/boom")
        assert telemetry.counted[0][0]["error.type"] == "ZeroDivisionError"

    def test_a_bad_expression_is_an_error_that_names_it(self, telemetry):
        with pytest.raises(ValueError, match=r"excluded_urls: '\(' is no regular expression"):
            telemetry.instrument(excluded_urls=["("])
        assert not PyramidInstrumentor().is_instrumented_by_opentelemetry


class Mine(Configurator):
    """A Configurator of the application."""

    def make_wsgi_app(self):
        self.add_route("more", "/more")
        return super().make_wsgi_app()


def passing(handler, _):
    return handler


class TestApplications:
    @pytest.mark.parametrize(
        "make",
        [
            Mine,
            lambda: Configurator(settings=None),
            lambda: Configurator(None, None, {}),
            lambda: Configurator(settings={"pyramid.tweens": f"{__name__}.passing"}),
            lambda: Configurator(settings={"pyramid.tweens": EXCVIEW}),
        ],
        ids=["subclass", "none", "positional", "explicit", "explicit-excview"],
    )
    def test_any_configurator_will_do(self, telemetry, make):
        telemetry.instrument()
        config = make()
        add_views(config)
        get(config.make_wsgi_app(), "/hello/you")
        assert telemetry.span.name == "GET /hello/{name}"
        assert telemetry.counted == [(HELLO, 1)]

    def test_instrumenting_twice_measures_once(self, telemetry, caplog):
        telemetry.instrument()
        telemetry.instrument()
        get(application(), "/hello/you")
        assert len(telemetry.spans) == 1
        assert telemetry.counted == [(HELLO, 1)]
        assert "already instrumented" in caplog.text

    def test_an_application_made_before_is_measured_too(self, telemetry):
        app = application()
        telemetry.instrument()
        get(app, "/hello/you")
        assert telemetry.counted == [(HELLO, 1)]

    def test_uninstrument_restores_the_router(self, telemetry):
        methods = Router.__call__, Router.invoke_request
        telemetry.instrument()
        app = application()
        PyramidInstrumentor().uninstrument()
        assert (Router.__call__, Router.invoke_request) == methods
        assert "X-Request-ID" not in get(app, "/hello/you").headers
        assert telemetry.spans == ()

    def test_it_can_be_instrumented_again(self, telemetry):
        Telemetry().instrument()
        app = application()
        PyramidInstrumentor().uninstrument()
        telemetry.instrument()
        get(app, "/hello/you")
        assert telemetry.counted == [(HELLO, 1)]

    def test_somebody_who_wrapped_later_is_left_in_place(self, telemetry):
        telemetry.instrument()
        ours, calls = Router.__call__, []

        def theirs(*args):
            calls.append(args)
            return ours(*args)

        Router.__call__ = theirs
        try:
            PyramidInstrumentor().uninstrument()
            get(application(), "/hello/you")
            assert (len(calls), telemetry.counted) == (1, [])
            telemetry.instrument()
            get(application(), "/hello/you")
            assert (len(calls), telemetry.counted) == (2, [(HELLO, 1)])
        finally:
            Router.__call__ = ours

    def test_pyramid_retry_is_one_request_with_the_last_outcome(self, telemetry):
        from pyramid_retry import RetryableException

        attempts = []

        def view(request):
            attempts.append(current_request_id())
            if len(attempts) < 3:
                raise RetryableException
            return Response(str(request.environ["retry.attempt"]))

        telemetry.instrument()
        with Configurator(settings={"retry.attempts": 3}) as config:
            config.include("pyramid_retry")
            config.add_route("view", "/view")
            config.add_view(view, route_name="view")
        answer = get(config.make_wsgi_app(), "/view")
        assert (answer.text, telemetry.span.name) == ("2", "GET /view")
        assert attempts == [answer.headers["X-Request-ID"]] * 3
        assert telemetry.counted == [({**HELLO, "http.route": "/view"}, 1)]
        assert telemetry.span.events == ()

    def test_an_application_in_an_application_is_one_request(self, telemetry):
        from pyramid.wsgi import wsgiapp2

        telemetry.instrument()
        inner = application()
        with Configurator() as config:
            config.add_route("mounted", "/mounted/*subpath")
            config.add_view(wsgiapp2(inner), route_name="mounted")
        assert get(config.make_wsgi_app(), "/mounted/hello/you").text == "hello you"
        assert telemetry.span.name == "GET /mounted/*subpath"
        assert len(telemetry.counted) == 1

    def test_pyramid_is_not_imported_for_a_process_that_does_not_use_it(self):
        import subprocess
        import sys

        program = (
            "import sys\n"
            "from c2cotel_instrumentation.pyramid import PyramidInstrumentor\n"
            "PyramidInstrumentor().instrument()\n"
            "assert 'pyramid' not in sys.modules\n"
            "PyramidInstrumentor().uninstrument()\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True)


class Broken(TextMapPropagator):
    fields = frozenset()

    def extract(self, carrier, context=None, getter=None):
        raise RuntimeError("propagator")

    def inject(self, carrier, context=None, setter=None):
        pass


class BrokenResponse(ResponsePropagator):
    def inject(self, carrier, context=None, setter=None):
        raise RuntimeError("response propagator")


class BrokenTracerProvider(trace.TracerProvider):
    def get_tracer(self, *_, **__):
        return BrokenTracer()


class BrokenTracer(trace.NoOpTracer):
    def start_span(self, *_, **__):
        raise RuntimeError("tracer")


def ours(caplog):
    return [r for r in caplog.records if r.name == "c2cotel_instrumentation.pyramid"]


class TestNothingOfOursReachesTheApplication:
    def test_a_broken_propagator_costs_the_trace_of_the_caller_only(self, telemetry, caplog):
        propagate.set_global_textmap(Broken())
        telemetry.instrument()
        app = application()
        for _ in range(3):
            assert get(app, "/hello/you").text == "hello you"
        (record,) = ours(caplog)
        assert record.levelno == logging.ERROR
        assert record.exc_info[0] is RuntimeError
        assert telemetry.counted == [(HELLO, 3)]
        assert len(telemetry.spans) == 3

    def test_a_broken_response_propagator_costs_the_header_only(self, telemetry, caplog):
        set_global_response_propagator(BrokenResponse())
        telemetry.instrument()
        assert get(application(), "/hello/you").text == "hello you"
        assert len(ours(caplog)) == 1
        assert telemetry.counted == [(HELLO, 1)]

    def test_a_broken_tracer_leaves_the_request_untouched(self, telemetry, caplog):
        PyramidInstrumentor().instrument(
            tracer_provider=BrokenTracerProvider(), meter_provider=telemetry.meter_provider
        )
        app = application()
        assert get(app, "/hello/you").text == "hello you"
        with pytest.raises(ZeroDivisionError):
            get(app, "/boom")
        assert len(ours(caplog)) == 1

    def test_a_request_class_without_what_we_look_for_is_served(self, telemetry, caplog):
        class Odd(Request):
            @property
            def matched_route(self):
                raise RuntimeError("odd")

        telemetry.instrument()
        with Configurator() as config:
            config.set_request_factory(Odd)
            config.add_notfound_view(lambda _: Response("none", status=404))
        assert get(config.make_wsgi_app(), "/").text == "none"
        assert len(ours(caplog)) == 1
        assert len(telemetry.spans) == 1

    @pytest.mark.parametrize(
        "traceparent",
        ["", "00", "x" * 100_000, TRACEPARENT[:-1], f"00-{'0' * 32}-{'0' * 16}-01", "é"],
    )
    def test_a_malformed_traceparent_begins_a_new_trace(self, telemetry, caplog, traceparent):
        telemetry.instrument()
        get(application(), "/hello/you", HTTP_TRACEPARENT=traceparent)
        assert telemetry.span.parent is None
        assert ours(caplog) == []

    def test_a_request_id_of_100_kb_is_replaced_by_the_trace_id(self, telemetry, caplog):
        telemetry.instrument()
        answer = get(application(), "/hello/you", HTTP_X_REQUEST_ID="x" * 100_000)
        assert UUID(answer.headers["X-Request-ID"]).int == telemetry.span.context.trace_id
        assert ours(caplog) == []

    @pytest.mark.parametrize("value", ["x" * 100_000, "\xff\xfe", "\x00\r\n", "%ZZ&=;,:[]@", " "])
    def test_hostile_headers_are_cut_and_do_no_harm(self, telemetry, caplog, value):
        telemetry.instrument(
            captured_request_headers=[".*"], excluded_urls=["^/never$"], sanitized_headers=["x"]
        )
        names = [
            "HOST",
            "USER_AGENT",
            "TRACEPARENT",
            "TRACESTATE",
            "BAGGAGE",
            "X_REQUEST_ID",
            "COOKIE",
        ]
        environ = {
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "REQUEST_METHOD": value,
            "PATH_INFO": "/" + value,
            "SCRIPT_NAME": "",
            "QUERY_STRING": value,
            "SERVER_NAME": "s",
            "SERVER_PORT": value,
            "SERVER_PROTOCOL": "HTTP/" + value,
            "REMOTE_ADDR": value,
            **{f"HTTP_{name}": value for name in names},
        }
        with suppress(UnicodeDecodeError, URLDecodeError):  # Pyramid's own opinion of it
            application()(environ, lambda *_: None)
        assert ours(caplog) == []
        assert telemetry.span.name == "HTTP"
        lengths = [
            len(part)
            for attribute in telemetry.span.attributes.values()
            for part in (attribute if isinstance(attribute, tuple) else (str(attribute),))
        ]
        assert max(lengths) <= 2048
