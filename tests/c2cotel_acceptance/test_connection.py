"""A connection to a real server: what it sends, what it gives, and how each check fails."""

import gzip
import json

import pytest
import requests

from c2cotel_acceptance.connection import CacheExpected, CheckError, Connection, check_response

SITE = "https://site.example"


def failure(ask, *args, **kwargs):
    with pytest.raises(CheckError) as caught:
        ask(*args, **kwargs)
    return str(caught.value)


# What is sent and given


@pytest.mark.parametrize(
    ("method", "verb"),
    [
        ("get_json", "GET"),
        ("post_json", "POST"),
        ("post_files", "POST"),
        ("put_json", "PUT"),
        ("patch_json", "PATCH"),
    ],
)
def test_json_is_given_as_what_it_says(server, api, method, verb):
    server.answer("/a", Content_Type="application/problem+json; charset=utf-8")
    assert getattr(api, method)("a") == {"hello": True}
    [(command, path, headers, _)] = server.asked
    assert (command, path, headers["Origin"]) == (verb, "/a", SITE)


@pytest.mark.parametrize("method", ["get", "post"])
def test_text_is_given(server, api, method):
    server.answer("/a", body="né".encode(), Content_Type="text/plain; charset=utf-8")
    assert getattr(api, method)("a") == "né"


@pytest.mark.parametrize("method", ["get", "get_json", "post", "post_json", "put_json"])
def test_no_content_gives_none(server, api, method):
    server.answer("/a", 204, body=b"", without=("Content-Type",))
    assert getattr(api, method)("a", expected_status=204) is None


def test_deleting_expects_no_content(server, api):
    server.answer("/a", 204, body=b"")
    assert api.delete("a").status_code == 204
    server.answer("/a", 200)
    assert "answered 200 OK: expected 204" in failure(api.delete, "a")


def test_a_preflight_is_the_callers(server, api):
    server.answer("/a", without=("Access-Control-Allow-Origin",))
    api.options("a", headers={"Access-Control-Request-Method": "GET"})
    assert "Origin" not in server.asked[0][2]
    assert "no Access-Control-Allow-Origin" in failure(api.options, "a", cors=True)
    assert server.asked[1][2]["Origin"] == SITE


def test_files_and_json_are_sent(server, api):
    server.answer("/a")
    api.post_files("a", data={"name": "x"}, files={"file": ("a.txt", b"content")})
    api.post_json("a", json={"a": 1})
    (_, _, headers, form), (_, _, _, document) = server.asked
    assert headers["Content-Type"].startswith("multipart/form-data")
    assert b"content" in form
    assert json.loads(document) == {"a": 1}


def test_headers_of_a_request_win_over_those_of_the_session(server, api):
    server.answer("/a")
    api.session.headers["X-Kind"] = "session"
    api.get("a", headers={"x-kind": "request"})
    api.get("a")
    assert [headers.get("X-Kind") or headers["x-kind"] for _, _, headers, _ in server.asked] == [
        "request",
        "session",
    ]


def test_an_origin_of_the_test_is_sent_and_expected(server, api):
    server.answer(
        "/a",
        Access_Control_Allow_Origin="https://other.example",
        Access_Control_Allow_Credentials="true",
    )
    api.get("a", headers={"origin": "https://other.example"})
    assert f"expected '{SITE}'" in failure(api.get, "a")


@pytest.mark.parametrize("base", ["/some/api", "/some/api/", "/some/api//"])
@pytest.mark.parametrize("url", ["a", "/a", "BASE/some/api/a"])
def test_a_base_url_with_a_path_is_kept(server, base, url):
    server.answer("/some/api/a")
    with Connection(server.url + base, SITE) as api:
        assert api.base_url == f"{server.url}/some/api/"
        api.get(url.replace("BASE", server.url))


def test_ipv6_is_spoken(server6):
    server6.answer("/a")
    with Connection(server6.url, SITE) as api:
        assert api.get_json("a") == {"hello": True}
        assert f"GET {server6.url}/a answered" in failure(api.get, "a", expected_status=400)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://a/", "http://", "", "http://a/?b=c"])
def test_a_base_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="base_url = "):
        Connection(url, SITE)


def test_cookies_go_nowhere_else(api):
    with pytest.raises(ValueError, match=r"http://other\.example/a: not below http://127"):
        api.get("http://other.example/a")


def test_compressed_answers_are_read(server, api):
    server.answer("/a", body=gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")
    assert api.get_json("a") == {"a": 1}


def test_a_stream_is_read_by_the_caller(server, api):
    server.answer("/a", body=b"x" * 1_000_000)
    with api.get_raw("a", stream=True) as response:
        assert len(response.raw.read(1000)) == 1000
    raw = api.get_raw("a")
    assert len(raw.content) == 1_000_000


# Status and redirects


def test_a_wrong_status_shows_the_whole_exchange(server, api):
    server.answer("/a/b", 500, body=b'{"message": "no space left"}')
    with pytest.raises(AssertionError) as caught:
        api.post_json("a/b?c=d", json={"what": "this"})
    said = str(caught.value)
    assert said.startswith(f"POST {server.url}/a/b?c=d answered 500 Internal Server Error: ")
    for part in (
        "expected 200",
        '    {"what": "this"}',
        f"    Origin: {SITE}",
        "    Cache-Control: max-age=0",
        '    {"message": "no space left"}',
        "log lines: 0af76519-16cd-43dd-8448-eb211c80319c",
        "Trace: 0af7651916cd43dd8448eb211c80319c",
        "C2C_TRACE_URL=https://…/{trace_id} makes this a link",
    ):
        assert part in said
    assert caught.value.response.status_code == 500


def test_one_of_several_statuses_is_right(server, api):
    server.answer("/a", 201)
    api.post("a", expected_status=(200, 201))
    assert "expected 202 or 204" in failure(api.post, "a", expected_status=(202, 204))


def test_the_trace_is_linked(server, monkeypatch):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    server.answer("/a", 500, traceresponse=f"00-{trace}-00f067aa0ba902b7-01")
    with Connection(server.url, SITE, trace_url="https://traces.example/{trace_id}/x") as api:
        assert f"  https://traces.example/{trace}/x" in failure(api.get, "a")
    monkeypatch.setenv("C2C_TRACE_URL", "https://other.example/{trace_id}")
    with Connection(server.url, SITE) as api:
        assert f"  https://other.example/{trace}" in failure(api.get, "a")


@pytest.mark.parametrize("told", ["", "00-zz-01", "00-" + "0" * 32 + "-" + "1" * 16 + "-01"])
def test_without_ids_it_says_so(server, api, told):
    server.answer("/a", 500, without=("X-Request-ID",), traceresponse=told)
    said = failure(api.get, "a")
    assert "has no X-Request-ID" in said
    assert "Trace:" not in said


def test_a_redirect_is_followed_and_told(server, api):
    server.answer("/a", 302, Location="/login?token=abcdef")
    server.answer("/login", body=b"<html>Who are you?", Content_Type="text/html")
    assert api.get("a") == "<html>Who are you?"
    said = failure(api.get_json, "a")
    assert f"GET {server.url}/login?token=*** answered 200 OK: its Content-Type" in said
    assert f"redirected by GET {server.url}/a: 302 Found, to /login?token=***" in said
    assert "Who are you?" in said


@pytest.mark.parametrize("expected", [302, (200, 302)])
def test_a_redirect_that_is_expected_is_not_followed(server, api, expected):
    server.answer("/a", 302, Location="/b")
    assert api.get_raw("a", expected_status=expected).headers["Location"] == "/b"
    assert [path for _, path, _, _ in server.asked] == ["/a"]


def test_redirects_without_end_are_told(server, api):
    server.answer("/a", 302, Location="/a")
    with pytest.raises(requests.TooManyRedirects, match=r"GET http://.*/a: Exceeded 30"):
        api.get("a")


@pytest.mark.parametrize("status", ["200", [200, 404], (200, "404"), (), None])
def test_an_expected_status_that_is_none_is_refused(server, api, status):
    with pytest.raises(TypeError, match=r"expected_status=.*: not a status\. Write"):
        api.get("a", expected_status=status)
    assert server.asked == []


# Caches


@pytest.mark.parametrize(
    ("told", "expected", "said"),
    [
        ("max-age=10", CacheExpected.NO, "its Cache-Control is 'max-age=10'; expected no-cache"),
        ("no-cache-at-all", CacheExpected.NO, "expected no-cache in it"),
        ("max-age=0", CacheExpected.YES, "expected a max-age above 0"),
        ("max-age=ten", CacheExpected.YES, "expected a max-age above 0"),
        ("max-age=10, No-Cache", CacheExpected.YES, "without no-cache"),
        ("no-store, max-age=10", CacheExpected.YES, "or no-store"),
        ("public", CacheExpected.YES, "is 'public'; expected a max-age above 0"),
    ],
)
def test_a_wrong_cache_control_is_told(server, api, told, expected, said):
    server.answer("/a", Cache_Control=told)
    assert said in failure(api.get, "a", cache_expected=expected)
    api.get("a", cache_expected=CacheExpected.DONT_CARE)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("NO-CACHE,max-age=0", CacheExpected.NO),
        ('no-cache="Set-Cookie"', CacheExpected.NO),
        ("public,Max-Age = 10", CacheExpected.YES),
        ('max-age="10"', CacheExpected.YES),
    ],
)
def test_a_right_cache_control_passes(server, api, told, expected):
    server.answer("/a", Cache_Control=told)
    api.get("a", cache_expected=expected)


@pytest.mark.parametrize("expected", [CacheExpected.NO, CacheExpected.YES])
def test_no_cache_control_is_told(server, api, expected):
    server.answer("/a", without=("Cache-Control",))
    assert "it has no Cache-Control, so each" in failure(api.get, "a", cache_expected=expected)


@pytest.mark.parametrize("expected", [True, False, None, 1, "NO"])
def test_an_expectation_about_caches_that_is_none_is_refused(server, api, expected):
    with pytest.raises(TypeError, match=rf"cache_expected={expected!r}: expected CacheExpected"):
        api.get("a", cache_expected=expected)
    assert server.asked == []


# Other sites


@pytest.mark.parametrize(
    ("origin", "credentials", "said"),
    [
        (SITE, None, f"is '{SITE}'; without Access-Control-Allow-Credentials: true, expected '*'"),
        (SITE, "TRUE", "without Access-Control-Allow-Credentials: true (it is 'TRUE'), expected"),
        ("*", "true", f"is '*'; with Access-Control-Allow-Credentials: true, expected '{SITE}'"),
        ("*, *", None, "is '*, *'; without"),
        (None, None, f"so a page of {SITE} cannot read it; expected '*'"),
        (None, "true", f"expected '{SITE}' (or say cors=False)"),
    ],
)
def test_a_wrong_cors_is_told(server, api, origin, credentials, said):
    headers = {
        "Access_Control_Allow_Origin": origin,
        "Access_Control_Allow_Credentials": credentials,
    }
    told = {name: value for name, value in headers.items() if value}
    server.answer("/a", without=() if origin else ("Access-Control-Allow-Origin",), **told)
    assert said in failure(api.get, "a")
    api.get("a", cors=False)


def test_no_origin_is_sent_when_nobody_asks_for_cors(server, api):
    server.answer("/a")
    api.get("a", cors=False)
    assert "Origin" not in server.asked[0][2]


# Bodies


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a": 1,\n "b": }', "broken JSON: Expecting value: line 2 column 7"),
        (b"", "broken JSON: Expecting value: line 1 column 1"),
        (b'{"name": "caf\xe9"}', "JSON has to be in UTF-8: invalid continuation byte at byte 13"),
        (b"[" * 100_000, "JSON nested so deeply"),
    ],
)
def test_broken_json_is_told_with_where(server, api, body, said):
    server.answer("/a", body=body)
    assert said in failure(api.get_json, "a")


def test_a_page_instead_of_json_is_told(server, api):
    server.answer("/a", body=b"<html>Bad gateway", Content_Type="text/html")
    said = failure(api.get_json, "a")
    assert "its Content-Type is 'text/html', expected 'application/json'" in said
    assert "<html>Bad gateway" in said


def test_a_huge_body_is_neither_read_nor_shown(server, api):
    size = 200_000_000
    written = []

    def write(handler):
        handler.send_response(500)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        piece = b"x" * 1_000_000
        written.extend(handler.wfile.write(piece) for _ in range(size // len(piece)))

    server.act("/a", write)
    said = failure(api.get, "a")
    assert len(said) < 3000
    assert "(the first 1000 characters of a body of unknown length)" in said
    assert sum(written) < size / 2


def test_a_long_body_that_was_read_is_told_with_its_size(server, api):
    server.answer("/a", body=b'{"a": ' + b"1" * 50_000)
    said = failure(api.get_json, "a")
    assert "(the first 1000 characters of 50006 bytes)" in said
    assert len(said) < 3000


@pytest.mark.parametrize(
    ("body", "type_", "said"),
    [
        ("é".encode("latin-1") * 3, "text/plain; charset=latin-1", "    ééé"),
        ("é".encode("utf-16"), "text/plain; charset=utf-16", "    é"),
        (b"caf\xe9 au lait, encore", "text/plain; charset=utf-8", "caf\\xe9 au lait"),
        (b"caf\xe9", "text/plain; charset=klingon", "caf"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png", "(binary: a body of unknown length, begin"),
        (b"", "text/plain", "(no body)"),
    ],
)
def test_whatever_the_body_is_it_can_be_shown(server, api, body, type_, said):
    server.answer("/a", 500, body=body, Content_Type=type_)
    assert said in failure(api.get, "a")


def test_a_body_that_is_not_what_it_says_is_told(server, api):
    server.answer("/a", 500, body=b"plain", Content_Encoding="gzip")
    assert "(unreadable: " in failure(api.get, "a")
    server.answer("/a", body=b"plain", Content_Encoding="gzip")
    with pytest.raises(requests.exceptions.ContentDecodingError, match=r"GET http://.*/a: "):
        api.get("a")


def test_an_answer_that_breaks_off_is_told(server, api):
    def write(handler):
        handler.send_response(200)
        for name, value in {
            "Content-Length": "100",
            "Cache-Control": "no-cache",
            "Access-Control-Allow-Origin": "*",
        }.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"only this")

    server.act("/a", write)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match=r"GET .*/a: .*9 bytes read"):
        api.get("a")


def test_a_slow_server_is_given_up(server):
    server.answer("/a", delay=30)
    with Connection(server.url, SITE, timeout=0.2) as api:
        with pytest.raises(
            requests.ReadTimeout, match=r"GET http://.*/a\?b=c: .*read timeout=0\.2"
        ):
            api.get("a", params={"b": "c"})
        with pytest.raises(requests.ReadTimeout, match=r"timeout=0\.1"):
            api.get("a", timeout=0.1)


def test_nobody_there_is_told(closed_port):
    with (
        Connection(f"http://127.0.0.1:{closed_port}", SITE) as api,
        pytest.raises(requests.ConnectionError, match=r"GET http://127.*/a: .*refused"),
    ):
        api.get("a")


# Answers of the test's own requests


def test_an_answer_of_ones_own_is_checked(server):
    server.answer("/a", 404)
    response = requests.get(f"{server.url}/a", timeout=10)
    check_response(response, 404)
    check_response(response, (200, 404), CacheExpected.NO)
    assert "answered 404 Not Found: expected 200" in failure(check_response, response)
    assert "expected a max-age" in failure(check_response, response, 404, CacheExpected.YES)


@pytest.fixture
def closed_port():
    from c2cotel_acceptance import servers

    with servers.closed_port() as port:
        yield port
