"""Secrets do not reach what a failing test prints."""

import base64
import time

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from c2cotel_acceptance import masking
from c2cotel_acceptance.connection import CheckError, Connection

SITE = "https://site.example"
SECRET = "tr0ub4dor&3 é"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ('{"password": "a\\"b", "c": 1}', '{"password": ***, "c": 1}'),
        ("{'api_key': 'abc'}", "{'api_key': ***}"),
        ('{"token": 12345}', '{"token": ***}'),
        ('{"access_token": "cut in the mid', '{"access_token": ***'),
        ("?secret=abc&x=1", "?secret=***&x=1"),
        ("client_secret=abc\nnext", "client_secret=***\nnext"),
        ("postgresql://me:abc@db/x", "postgresql://***@db/x"),
        ("http://db/x@y", "http://db/x@y"),
        ("Authorization: Bearer", "Authorization: ***"),
        ("the secret of success", "the secret of success"),
        ('{"secrets": {"a": 1}}', '{"secrets": {"a": 1}}'),
        ("Access-Control-Allow-Credentials: true", "Access-Control-Allow-Credentials: true"),
    ],
)
def test_what_a_name_says_to_be_secret_is_masked(told, shown):
    assert masking.text(told) == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("X-API-Key", "abc", "***"),
        ("authorization", "Bearer abc", "***"),
        ("Cookie", "a=b", "***"),
        ("X-CSRF-Token", "abc", "***"),
        ("Set-Cookie", "a=b; HttpOnly; Path=/", "a=***; HttpOnly; Path=/"),
        ("WWW-Authenticate", 'Basic realm="x"', 'Basic realm="x"'),
        ("Access-Control-Allow-Headers", "X-API-Key, session-id", "X-API-Key, session-id"),
        ("Access-Control-Allow-Credentials", "true", "true"),
        ("Location", "/login?token=abc", "/login?token=***"),
    ],
)
def test_headers_are_masked_by_name(name, value, shown):
    assert masking.header(name, value) == shown


@pytest.mark.parametrize(
    "how",
    [
        {"headers": {"X-API-Key": SECRET.encode()}},
        {"params": {"secret": SECRET}},
        {"cookies": {"c2c-auth-jwt": "tr0ub4dor-3"}},
        {"auth": ("me", "tr0ub4dor-3")},
        {"json": {"password": "tr0ub4dor-3"}},
        {"data": {"password": "tr0ub4dor-3"}},
        {"headers": {"Authorization": "Bearer tr0ub4dor-3"}},
    ],
)
def test_a_secret_that_the_answer_repeats_is_masked(server, how):
    def repeat(handler):
        asked = server.asked[-1]
        told = f"{asked[1]} {asked[2]} {asked[3].decode()} tr0ub4dor"
        if "auth" in how:
            told += " you are me with tr0ub4dor-3"
        elif "json" not in how and "data" not in how:
            told += " you said tr0ub4dor-3 or " + SECRET
        handler.send_response(500)
        handler.end_headers()
        handler.wfile.write(told.encode())

    server.act("/a", repeat)
    with Connection(server.url, SITE) as api, pytest.raises(CheckError) as caught:
        api.post("a", **how)
    said = str(caught.value)
    kinds = ("tr0ub4dor-3",) if "tr0ub4dor-3" in str(how) else (SECRET, "tr0ub4dor%26")
    for kind in (*kinds, base64.b64encode(b"me:tr0ub4dor-3").decode()):
        assert kind not in said
    assert "***" in said


def test_a_password_of_the_base_url_is_masked(server):
    server.answer("/a", 500, body=b"you are me:hunter222")
    with Connection(server.url.replace("//", "//me:hunter222@"), SITE) as api:
        with pytest.raises(CheckError) as caught:
            api.get("a")
        assert "hunter222" not in str(caught.value)
        assert server.asked[0][2]["Authorization"].startswith("Basic ")
        with pytest.raises(ValueError, match="not below") as refused:
            api.get("http://other.example/?secret=hunter222")
    assert "hunter222" not in str(refused.value)


def test_secrets_of_a_request_without_an_answer_are_masked(server):
    server.act("/a", lambda handler: handler.connection.close())
    with Connection(server.url, SITE, timeout=0.2) as api:
        server.answer("/slow", delay=30)
        for url, headers in (
            ("slow?secret=hunter222", {}),
            ("a?secret=hunter222", {}),
            ("slow", {"X-API-Key": "hunter222\r\nX: y"}),
        ):
            with pytest.raises(requests.RequestException) as caught:
                api.get(url, headers=headers)
            assert "hunter222" not in str(caught.value)
            assert str(caught.value).startswith("GET http://")


@given(st.text(alphabet="token:='\"\\{ &/@.-x", max_size=300))
def test_masking_takes_any_text(told):
    masking.text(told)
    masking.header("Set-Cookie", told)
    masking.sent("http://a/?" + told, {"Cookie": told, "Authorization": "Basic " + told})


@pytest.mark.alone
@pytest.mark.parametrize("piece", ["x", "token", "://", "token:", '"secret": "', "\\", "secret "])
def test_masking_of_long_texts_does_not_take_long(piece):
    began = time.perf_counter()
    masking.text(piece * (5000 // len(piece)))
    assert time.perf_counter() - began < 0.5
