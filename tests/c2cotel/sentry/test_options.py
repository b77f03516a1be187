"""What SENTRY_CLIENT_* and SENTRY_TAG_* mean."""

import pytest

from c2cotel.sentry.options import client_options, tags
from c2cotel.settings import SettingsError


def option(name, text):
    return client_options({f"SENTRY_CLIENT_{name}": text})


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("ENVIRONMENT", "prod", {"environment": "prod"}),
        ("RELEASE", "latest", {"release": "latest"}),
        (
            "IGNORE_EXCEPTIONS",
            "SystemExit, ValueError",
            {"ignore_errors": ["SystemExit", "ValueError"]},
        ),
        ("WITH_LOCALS", "f", {"include_local_variables": False}),
        ("DEFAULT_INTEGRATIONS", "1", {"default_integrations": True}),
        ("SEND_DEFAULT_PII", "true", {"send_default_pii": True}),
        ("DEBUG", "off", {"debug": False}),
        ("ATTACH_STACKTRACE", "t", {"attach_stacktrace": True}),
        ("PROPAGATE_TRACES", "true", {"propagate_traces": True}),
        ("AUTO_ENABLING_INTEGRATIONS", "yes", {"auto_enabling_integrations": True}),
        ("AUTO_SESSION_TRACKING", "0", {"auto_session_tracking": False}),
        ("ENABLE_TRACING", "true", {"enable_tracing": True}),
        ("MAX_BREADCRUMBS", "20", {"max_breadcrumbs": 20}),
        ("SHUTDOWN_TIMEOUT", "2.5", {"shutdown_timeout": 2.5}),
        ("TRANSPORT_QUEUE_SIZE", "1000", {"transport_queue_size": 1000}),
        ("SAMPLE_RATE", "0.25", {"sample_rate": 0.25}),
        ("TRACES_SAMPLE_RATE", "1", {"traces_sample_rate": 1.0}),
        ("MAX_REQUEST_BODY_SIZE", "Never", {"max_request_body_size": "never"}),
        (
            "TRACE_PROPAGATION_TARGETS",
            "a.example,b",
            {"trace_propagation_targets": ["a.example", "b"]},
        ),
        ("MAX_VALUE_LENGTH", "4096", {"max_value_length": 4096}),
        ("HTTP_PROXY", "http://proxy:3128", {"http_proxy": "http://proxy:3128"}),
        (
            "SPOTLIGHT",
            "http://localhost:8969/stream",
            {"spotlight": "http://localhost:8969/stream"},
        ),
        ("ENVIRONMENT", "  ", {}),
    ],
)
def test_an_option_has_the_type_that_the_sdk_wants(name, text, expected):
    assert option(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "DEBUG",
            "maybe",
            "SENTRY_CLIENT_DEBUG = 'maybe': neither true nor false. Write true or false.",
        ),
        (
            "SAMPLE_RATE",
            "2",
            "SENTRY_CLIENT_SAMPLE_RATE = '2': not a number from 0 to 1. Write for example 0.1.",
        ),
        (
            "SHUTDOWN_TIMEOUT",
            "nan",
            (
                "SENTRY_CLIENT_SHUTDOWN_TIMEOUT = 'nan': not a number of at least 0. "
                "Write for example 0.5."
            ),
        ),
        (
            "MAX_BREADCRUMBS",
            "-1",
            (
                "SENTRY_CLIENT_MAX_BREADCRUMBS = '-1': not a whole number of at least 0. "
                "Write for example 100."
            ),
        ),
        (
            "MAX_REQUEST_BODY_SIZE",
            "huge",
            (
                "SENTRY_CLIENT_MAX_REQUEST_BODY_SIZE = 'huge': not one of those known. "
                "Write one of never, small, medium, always."
            ),
        ),
        (
            "ENVIROMENT",
            "prod",
            (
                "SENTRY_CLIENT_ENVIROMENT: sentry-sdk has no option 'enviroment'. "
                "Is SENTRY_CLIENT_ENVIRONMENT meant?"
            ),
        ),
        (
            "BEFORE_SEND",
            "f",
            (
                "SENTRY_CLIENT_BEFORE_SEND: this option cannot be given as text. "
                "Call sentry_sdk.init in the code."
            ),
        ),
        ("DSN", "https://secret@x/1", "SENTRY_CLIENT_DSN is not read. Write SENTRY_URL."),
    ],
)
def test_one_that_cannot_be_used_is_an_error_with_its_name(name, text, said):
    with pytest.raises(SettingsError) as raised:
        option(name, text)
    assert str(raised.value) == said


def test_all_that_cannot_be_used_are_named_at_once():
    with pytest.raises(SettingsError) as raised:
        client_options({"SENTRY_CLIENT_DEBUG": "x", "SENTRY_CLIENT_SAMPLE_RATE": "y"})
    assert [line.split(" ")[0] for line in str(raised.value).splitlines()] == [
        "SENTRY_CLIENT_DEBUG",
        "SENTRY_CLIENT_SAMPLE_RATE",
    ]


def test_tags_are_in_lower_case_and_as_long_as_sentry_takes_them():
    environ = {
        "SENTRY_TAG_Service": "web",
        "SENTRY_TAG_LONG": "two\nlines " + "x" * 300,
        "SENTRY_TAG_EMPTY": " ",
        "SENTRY_TAG_": "nothing",
        "OTHER": "x",
    }
    found = tags(environ)
    assert sorted(found) == ["long", "service"]
    assert found["service"] == "web"
    assert found["long"].startswith("two lines xxx")
    assert len(found["long"]) == 200
