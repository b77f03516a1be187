import pytest

from c2cotel_instrumentation.redaction import HeaderCapture, redacted_query


@pytest.mark.parametrize(
    "query",
    [
        "",
        "a=1&b=2",
        "name=design&assign=3",
        "country=ch&code=41",
        "q=100%25",
        "key=1",
        "a;b",
        "=",
        "&&",
    ],
)
def test_a_query_without_secrets_stays_as_it_is(query):
    assert redacted_query(query) == query


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "SECRET",
        "client_secret",
        "token",
        "access_token",
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "signature",
        "X-Amz-Signature",
        "X-Goog-Signature",
        "sig",
        "X-Sig",
        "AWSAccessKeyId",
        "access_key",
        "api_key",
        "apikey",
        "api-key",
        "api+key",
        "X-Amz-Credential",
        "jwt",
        "s%65cret",
        "%73ecret",
        "user[password]",
    ],
)
def test_the_value_of_a_secret_parameter_is_redacted(name):
    assert redacted_query(f"a=1&{name}=x%3Dy=z&b=2") == f"a=1&{name}=REDACTED&b=2"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("secret=", "secret=REDACTED"),
        ("secret=a&secret=b", "secret=REDACTED&secret=REDACTED"),
        ("secret=a;b", "secret=REDACTED"),
        ("a=1;secret=x", "a=REDACTED"),
        ("token:abc", "REDACTED"),
        ("code=abc&state=x", "code=REDACTED&state=x"),
        ("%FF%ZZ=1&secret=%", "%FF%ZZ=1&secret=REDACTED"),
    ],
)
def test_odd_queries_do_not_show_their_secret(query, shown):
    assert redacted_query(query) == shown


HEADERS = [
    ("X-One", "1"),
    ("x-two", "2"),
    ("X-Two", "22"),
    ("Authorization", "Basic x"),
    ("Other", "o"),
]


def test_headers_are_captured_by_name_or_expression_in_any_case():
    capture = HeaderCapture("http.request.header.", ["x-.*"], ["one"])
    assert capture.attributes(HEADERS, 10) == {
        "http.request.header.x_one": ["[REDACTED]"],
        "http.request.header.x_two": ["2", "22"],
    }


def test_credentials_are_never_shown_and_values_are_cut():
    capture = HeaderCapture("h.", ["Authorization", "other"])
    headers = [*HEADERS, ("Other", "x" * 100_000)]
    assert capture.attributes(headers, 10) == {
        "h.authorization": ["[REDACTED]"],
        "h.other": ["o", "x" * 10],
    }


def test_a_bad_expression_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"captured headers: 'x\(' is no regular expression"):
        HeaderCapture("h.", ["x("])
