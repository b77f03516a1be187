from collections.abc import Iterator
from uuid import UUID

import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.context.context import Context
from opentelemetry.instrumentation.propagators import (
    get_global_response_propagator,
    set_global_response_propagator,
)
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPNotFound
from pyramid.request import Request
from pyramid.response import Response

from c2cotel_instrumentation.context import current_request_id
from c2cotel_instrumentation.pyramid import PyramidInstrumentor
from c2cotel_instrumentation.request_id import RequestIdPropagator, RequestIdResponsePropagator

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """No set-up: OpenTelemetry as it is without c2cotel's distro; and everything put back."""
    textmap, response = propagate.get_global_textmap(), get_global_response_propagator()
    token = otel_context.attach(Context())
    propagate.set_global_textmap(CompositePropagator([TraceContextTextMapPropagator()]))
    set_global_response_propagator(None)
    yield
    assert otel_context.get_current() == {}
    otel_context.detach(token)
    propagate.set_global_textmap(textmap)
    set_global_response_propagator(response)
    if PyramidInstrumentor().is_instrumented_by_opentelemetry:
        PyramidInstrumentor().uninstrument()


@pytest.fixture
def _instrumented() -> None:
    propagate.set_global_textmap(
        CompositePropagator([TraceContextTextMapPropagator(), RequestIdPropagator()])
    )
    set_global_response_propagator(RequestIdResponsePropagator())
    PyramidInstrumentor().instrument(
        tracer_provider=TracerProvider(shutdown_on_exit=False),
        meter_provider=NoOpMeterProvider(),
    )


def show(request):
    """The id of the request, and the one that its Context gives to spans, logs and calls."""
    return Response(f"{request.c2c_request_id} {current_request_id()}")


def sub(request):
    return request.invoke_subrequest(Request.blank("/show"), use_tweens=True)


def missing(_):
    raise HTTPNotFound


def boom(_):
    raise ZeroDivisionError


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch):
    monkeypatch.delenv("C2C_REQUEST_ID_HEADER", raising=False)
    monkeypatch.delenv("C2C_REQUEST_ID_RESPONSE", raising=False)


def application(**settings):
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    with Configurator(settings=dotted) as config:
        config.include("c2cotel.request_tracking")
        for view in (show, sub, missing, boom):
            config.add_route(view.__name__, f"/{view.__name__}")
            config.add_view(view, route_name=view.__name__)
    return config.make_wsgi_app()


def get(app, path="/show", **headers):
    environ = {f"HTTP_{name}": value for name, value in headers.items()}
    return Request.blank(path, environ=environ).get_response(app)


both = pytest.mark.parametrize("instrumented", [True, False], ids=["instrumented", "bare"])


@pytest.fixture
def _maybe(request, instrumented):
    if instrumented:
        request.getfixturevalue("_instrumented")


@both
@pytest.mark.usefixtures("_maybe")
class TestWithAndWithoutTheInstrumentor:
    def test_the_id_comes_from_the_header_and_goes_back(self):
        answer = get(application(), X_REQUEST_ID="abc")
        assert answer.text == "abc abc"
        assert answer.headers.getall("X-Request-ID") == ["abc"]

    def test_without_a_header_it_is_the_trace_id_as_a_uuid(self):
        answer = get(application(), TRACEPARENT=TRACEPARENT)
        assert answer.text == " ".join(["0af76519-16cd-43dd-8448-eb211c80319c"] * 2)

    def test_without_anything_it_is_new_for_each_request(self):
        app = application()
        one, two = get(app), get(app)
        assert one.text == " ".join([one.headers["X-Request-ID"]] * 2)
        assert UUID(one.headers["X-Request-ID"]) != UUID(two.headers["X-Request-ID"])

    def test_a_bad_one_is_replaced(self):
        answer = get(application(), X_REQUEST_ID="x" * 100_000)
        assert UUID(answer.headers["X-Request-ID"])

    def test_errors_have_it_too(self):
        answer = get(application(), "/missing", X_REQUEST_ID="abc")
        assert (answer.status_code, answer.headers["X-Request-ID"]) == (404, "abc")

    def test_a_subrequest_has_the_id_of_its_request(self):
        assert get(application(), "/sub", X_REQUEST_ID="abc").text == "abc abc"

    def test_it_ends_with_the_request(self):
        app = application()
        with pytest.raises(ZeroDivisionError):
            get(app, "/boom", X_REQUEST_ID="abc")
        assert current_request_id() is None
        assert get(app, X_REQUEST_ID="other").text == "other other"


class TestWithoutTheInstrumentor:
    def test_the_additional_header_goes_first(self):
        app = application(c2c__request_id_header="X-Mine")
        assert get(app, X_MINE="mine", X_REQUEST_ID="other").text == "mine mine"

    def test_the_environment_names_it_too(self, monkeypatch):
        monkeypatch.setenv("C2C_REQUEST_ID_HEADER", "X-Mine")
        assert get(application(), X_MINE="mine").text == "mine mine"

    def test_sending_it_back_can_be_switched_off(self):
        answer = get(application(c2c__request_id_response="false"), X_REQUEST_ID="abc")
        assert answer.text == "abc abc"
        assert "X-Request-ID" not in answer.headers

    def test_another_try_of_the_same_request_keeps_its_id(self):
        from pyramid_retry import RetryableException

        seen = []

        def view(request):
            seen.append((request.c2c_request_id, current_request_id()))
            if len(seen) == 1:
                raise RetryableException
            return Response()

        with Configurator(settings={"retry.attempts": 2}) as config:
            config.include("pyramid_retry")
            config.include("c2cotel.request_tracking")
            config.add_route("view", "/view")
            config.add_view(view, route_name="view")
        answer = get(config.make_wsgi_app(), "/view")
        request_id = answer.headers["X-Request-ID"]
        assert seen == [(request_id, request_id)] * 2

    def test_with_explicit_tweens_the_attribute_still_says_the_id(self):
        app = application(pyramid__tweens="pyramid.tweens.excview_tween_factory")
        answer = get(app, X_REQUEST_ID="abc")
        assert answer.text == "abc None"
        assert "X-Request-ID" not in answer.headers

    def test_a_tween_that_is_listed_explicitly_works(self):
        app = application(pyramid__tweens="c2cotel.request_tracking.views.tween_factory")
        assert get(app, X_REQUEST_ID="abc").headers["X-Request-ID"] == "abc"
