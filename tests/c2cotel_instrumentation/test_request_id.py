import logging
from uuid import RFC_4122, UUID

import pytest
from opentelemetry.context.context import Context
from requests.structures import CaseInsensitiveDict

from c2cotel_instrumentation.context import (
    ENVIRON_GETTER,
    current_request_id,
    is_untraced,
    new_trace_id,
    with_request_id,
    without_tracing,
)
from c2cotel_instrumentation.request_id import (
    DEFAULT_HEADERS,
    RequestIdPropagator,
    RequestIdResponsePropagator,
    clean,
    from_trace_id,
    new_request_id,
)

propagator = RequestIdPropagator()


def extracted(**headers: str) -> str | None:
    environ = {"HTTP_" + name: value for name, value in headers.items()}
    return current_request_id(propagator.extract(environ, None, ENVIRON_GETTER))


@pytest.mark.parametrize("header", DEFAULT_HEADERS)
def test_each_of_the_usual_headers_gives_the_id(header):
    assert extracted(**{header.upper().replace("-", "_"): "abc"}) == "abc"


def test_the_first_header_of_the_list_wins():
    headers = {h.upper().replace("-", "_"): str(n) for n, h in enumerate(DEFAULT_HEADERS)}
    assert extracted(**headers) == "0"
    del headers["X_REQUEST_ID"]
    assert extracted(**headers) == "1"


@pytest.mark.parametrize(
    "value",
    [
        "Root=1-67891233-abcdef012345678912345678",
        "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad;Sampled=1",
        "Self=1-67891234-12456789abcdef012345678a; Root=1-67891233-abcdef012345678912345678",
    ],
)
def test_of_amazon_s_header_the_root_is_the_id(value):
    assert extracted(X_AMZN_TRACE_ID=value) == "1-67891233-abcdef012345678912345678"


@pytest.mark.parametrize("value", ["Parent=1;Sampled=1", "Root=;Sampled=1", "Root=a b"])
def test_without_a_root_amazon_s_header_gives_no_id(value):
    assert extracted(X_AMZN_TRACE_ID=value) is None


def test_in_another_header_root_is_nothing_special():
    assert extracted(X_REQUEST_ID="Root=1-2") == "Root=1-2"


def test_an_empty_header_is_not_there():
    assert extracted(X_REQUEST_ID="", X_VARNISH="12") == "12"


def test_without_any_header_there_is_no_id():
    assert extracted() is None


def test_an_additional_header_goes_first_and_is_the_one_sent_on():
    mine = RequestIdPropagator(("X-Mine", *DEFAULT_HEADERS))
    environ = {"HTTP_X_MINE": "mine", "HTTP_X_REQUEST_ID": "other"}
    context = mine.extract(environ, None, ENVIRON_GETTER)
    carrier: dict[str, str] = {}
    mine.inject(carrier, context)
    assert carrier == {"X-Mine": "mine"}
    assert mine.fields == {"X-Mine"}


def test_a_propagator_without_headers_is_refused():
    with pytest.raises(ValueError, match="Name at least one"):
        RequestIdPropagator(())


def test_what_is_in_the_context_already_stays():
    context = propagator.extract({"HTTP_X_REQUEST_ID": "a"}, Context({"k": 1}), ENVIRON_GETTER)
    assert context["k"] == 1


@pytest.mark.parametrize(
    "value",
    ["a", "0" * 128, "7F000001:819E_00", "Root=1-67891233-abcdef012345678912345678", "a+/=@b."],
)
def test_ids_of_proxies_and_services_are_taken(value):
    assert clean(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0" * 129,
        "x" * 100_000,
        "a b",
        "a\nb",
        "a\r\nSet-Cookie: b",
        "é",
        "';--",
        "a*/",
        "\x00",
        "٣",
    ],
)
def test_ids_that_could_do_harm_are_dropped(value):
    assert clean(value) is None


def test_a_bad_id_is_replaced_and_said_at_debug_level_cut_short(caplog):
    with caplog.at_level(logging.DEBUG, "c2cotel_instrumentation.request_id"):
        assert extracted(X_REQUEST_ID="x" * 100_000, X_VARNISH="12") is None
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert len(record.getMessage()) < 250
    assert "(100000 characters)" in record.getMessage()


def test_nothing_is_sent_outside_of_a_request():
    carrier: dict[str, str] = {}
    propagator.inject(carrier, Context())
    RequestIdResponsePropagator().inject(carrier, Context())
    assert carrier == {}


def test_a_header_that_the_caller_has_set_stays():
    carrier = CaseInsensitiveDict({"x-request-id": "mine"})
    propagator.inject(carrier, with_request_id("other", Context()))
    assert dict(carrier) == {"x-request-id": "mine"}


def test_the_client_gets_the_id():
    carrier: dict[str, str] = {}
    RequestIdResponsePropagator().inject(carrier, with_request_id("abc", Context()))
    assert carrier == {"X-Request-ID": "abc"}


def test_a_trace_id_and_its_request_id_are_the_same_but_for_the_dashes():
    assert (
        from_trace_id(0x1234567890ABCDEF1234567890ABCDEF) == "12345678-90ab-cdef-1234-567890abcdef"
    )
    assert from_trace_id(1) == "00000000-0000-0000-0000-000000000001"


def test_a_new_id_is_a_random_uuid():
    one, two = UUID(new_request_id()), UUID(new_request_id())
    assert one != two
    assert (one.version, one.variant) == (4, two.variant)
    assert clean(str(one)) == str(one)


def test_a_new_trace_id_is_a_random_uuid_too():
    ids = [UUID(int=new_trace_id()) for _ in range(100)]
    assert len(set(ids)) == 100
    assert {(one.version, one.variant) for one in ids} == {(4, RFC_4122)}


def test_the_getter_lists_the_headers_of_an_environ():
    assert ENVIRON_GETTER.keys({"HTTP_X_A": "1", "PATH_INFO": "/"}) == ["x-a"]


def test_the_getter_does_not_remember_names_without_end():
    for number in range(1000):
        assert ENVIRON_GETTER.get({f"HTTP_UBERCTX_{number}": "1"}, f"uberctx-{number}") == ["1"]
    assert len(ENVIRON_GETTER._names) <= 64


def test_a_context_is_untraced_only_where_it_was_marked():
    context = Context()
    assert not is_untraced(context)
    assert is_untraced(without_tracing(context))
    assert not is_untraced(context)
