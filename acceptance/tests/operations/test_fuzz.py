"""Whatever is sent to the views of the console, there is an answer, in time, and no failure."""

import string
import time
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

LONGEST = 3.0  # seconds, on a slow machine; most take a hundredth of it


@pytest.fixture
def operator(shared):
    return shared("no-redis")


NAMES = st.sampled_from(
    [
        *("name", "level", "ttl", "reset", "secret", "back", "csrf_token", "format", "search"),
        *("details", "limit", "q", "page", "came_from", "code", "state", "error", "sort"),
    ]
) | st.text(max_size=20)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            *("", "DEBUG", "debug", "NOTSET", "WARN", "-1", "0", "1e999", "nan", "3600", "never"),
            *("json", "html", "/c2c", "//evil.example", "\r\nSet-Cookie: a=b", "\0", "%00", "%"),
            *("<img src=x onerror=alert(1)>", "{{7*7}}", "${7*7}", "' OR 1=1 --", "../../etc"),
            *("x" * 3000, "\ud83d\ude00", "a.b.c.d", "root", ".", "..", "c2cotel", "10" * 300),
        ]
    ),
    st.integers().map(str),
    st.floats().map(str),
)
PATHS = st.sampled_from(
    [
        *("", "/", "/logging/level", "/logging", "/versions.json", "/settings", "/changes"),
        *("/logging/loggers", "/logging/tree", "/static/c2c.css", "/static/x", "/github-login"),
        *("/github-callback", "/github-logout", "/login", "/logout", "/health_check"),
    ]
) | st.text(string.ascii_letters + string.punctuation, max_size=20).map(lambda text: f"/{text}")
ACCEPTS = st.sampled_from(["*/*", "text/html", "application/json", "image/*;q=x", ",,;", ""])


def check(operator, verb, path, **how):
    began = time.monotonic()
    answer = operator.ask(verb, path, **how)
    assert answer.status_code < 500, answer.text
    assert time.monotonic() - began < LONGEST
    assert "onerror=" not in answer.text.replace("&lt;img src=x onerror=", "")
    assert answer.headers.get("Set-Cookie", "").count("a=b") == 0


# The same on every run: a finding of this one is a test to write.
bounded = settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def quoted(path):
    return f"/c2c{quote(path)}"


@seed(1)
@bounded
@given(path=PATHS, params=st.dictionaries(NAMES, TEXTS, max_size=5), accept=ACCEPTS)
def test_get(operator, path, params, accept):
    # The header opens the view, so that the parameters are read; a secret that is given is wrong.
    params.pop("secret", None)
    check(operator, "GET", quoted(path), params=_encodable(params), headers={"Accept": accept})


@seed(2)
@bounded
@given(
    path=PATHS,
    params=st.dictionaries(NAMES, TEXTS, max_size=3),
    data=st.dictionaries(NAMES, TEXTS, max_size=5),
    accept=ACCEPTS,
)
def test_post(operator, path, params, data, accept):
    for given_ in (params, data):
        given_.pop("secret", None)
    check(
        operator,
        "POST",
        quoted(path),
        params=_encodable(params),
        data=_encodable(data),
        headers={"Accept": accept},
    )


@seed(3)
@settings(bounded, max_examples=80)
@given(
    path=PATHS,
    body=st.binary(max_size=200),
    kind=st.sampled_from(
        [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/x-www-form-urlencoded; charset=nonsense",
            "multipart/form-data; boundary=x",
            "multipart/form-data",
            "application/json",
            "text/plain",
            "",
        ]
    ),
)
def test_bodies(operator, path, body, kind):
    check(operator, "POST", quoted(path), data=body, headers={"Content-Type": kind})


@seed(4)
@settings(bounded, max_examples=80)
@given(query=st.binary(max_size=60), cookie=st.binary(max_size=60), path=PATHS)
def test_bytes(operator, query, cookie, path):
    """What no client would send."""
    clean = bytes(byte for byte in cookie if byte > 32 and byte not in b"\x7f")
    check(
        operator,
        "GET",
        f"{quoted(path)}?{quote_from_bytes(query, safe='&=')}",
        headers={"Cookie": b"c2c-auth-jwt=" + clean},
    )


def test_the_application_still_serves_and_has_logged_no_failure(operator):
    assert operator.ask("GET", "/api/ping").status_code == 200
    assert not operator.told("Traceback")
    assert len(operator.service.workers()) == 4


def _encodable(params):
    """Lone surrogates cannot be sent."""
    return {
        name.encode(errors="replace"): text.encode(errors="replace")
        for name, text in params.items()
    }
