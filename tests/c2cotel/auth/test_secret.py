"""One secret for everybody."""

import logging
import re

import pytest
from pyramid.request import Request

from c2cotel.auth import is_auth
from c2cotel.auth.attempts import Attempts

SECRET = "correct horse battery"
FORBIDDEN = {
    "message": "Missing or invalid secret (parameter, X-API-Key header or cookie)",
    "status": 403,
}


@pytest.fixture
def browser(start):
    return start(C2C_SECRET=SECRET)


def test_nobody_looks_without_the_secret(browser):
    response = browser.get("/c2c/look")
    assert (response.status_int, response.json) == (403, FORBIDDEN)


def test_nobody_looks_where_nothing_is_configured(start):
    browser = start()
    for query in ({}, {"secret": "x"}, {"secret": ""}):
        response = browser.get("/c2c/look", **query)
        assert (response.status_int, response.json) == (403, FORBIDDEN)
    assert browser.get("/mine").json == {"auth": False, "user": {}, "access": False}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": SECRET},
        {"Authorization": f"Bearer {SECRET}"},
        {"Authorization": f"bearer  {SECRET}"},
    ],
)
def test_the_secret_opens_as_a_header(browser, headers):
    response = browser.get("/c2c/look", headers=headers)
    assert response.json == {"actor": "secret from 192.0.2.7", "means": "header"}


def test_the_secret_opens_as_a_parameter_of_get_and_post(browser):
    assert browser.get("/c2c/look", secret=SECRET).json["means"] == "parameter"
    browser.cookies.clear()
    assert browser.post("/c2c/change", secret=SECRET, set="1").json["means"] == "parameter"


def test_the_cookie_stands_for_the_secret_afterwards(browser):
    response = browser.get("/c2c/look", secret=SECRET)
    (header,) = response.headers.getall("Set-Cookie")
    pattern = (
        r"c2c-auth-jwt=[\w.-]+; Max-Age=604800; Path=/; expires=[^;]+; HttpOnly; SameSite=Strict"
    )
    assert re.fullmatch(pattern, header)
    assert SECRET not in header
    assert browser.get("/c2c/look").json["means"] == "cookie"
    assert browser.get("/mine").json == {"auth": True, "user": {}, "access": True}


def test_the_cookie_is_secure_under_https(start):
    response = start(scheme="https", C2C_SECRET=SECRET).get("/c2c/look", secret=SECRET)
    assert "; secure; HttpOnly; SameSite=Strict" in response.headers["Set-Cookie"]


def test_a_view_of_the_application_stores_the_cookie_too_and_nobody_may_cache_it(browser):
    response = browser.get("/mine", secret=SECRET)
    assert response.json["auth"] is True
    assert response.headers["Cache-Control"] == "private, no-store"
    assert "c2c-auth-jwt" in browser.cookies


def test_an_error_stores_the_cookie_too(browser):
    assert browser.get("/c2c/look", bad="1", headers={"X-API-Key": SECRET}).status_int == 400
    assert browser.get("/c2c/look").json["means"] == "cookie"


def test_the_parameter_goes_before_the_header_and_that_before_the_cookie(browser):
    browser.get("/c2c/look", secret=SECRET)
    assert browser.get("/c2c/look", headers={"X-API-Key": "wrong"}).json == FORBIDDEN
    good = {"X-API-Key": SECRET}
    assert browser.get("/c2c/look", headers=good, secret="wrong").json == FORBIDDEN
    wrong = {"X-API-Key": "wrong"}
    assert browser.get("/c2c/look", headers=wrong, secret=SECRET).json["means"] == "parameter"


def test_a_wrong_secret_beside_a_good_cookie_opens_nothing_but_the_cookie_stays(browser):
    browser.get("/c2c/look", secret=SECRET)
    assert browser.get("/c2c/look", secret="wrong").json == FORBIDDEN
    assert browser.get("/mine", secret="wrong").json["auth"] is False
    assert browser.get("/c2c/look").json["means"] == "cookie"


def test_the_empty_secret_is_the_logout(browser):
    browser.get("/c2c/look", secret=SECRET)
    assert browser.get("/c2c", secret="").json == {"login": None, "access": None, "csrf": None}
    assert browser.cookies == {}
    assert browser.get("/c2c/look").json == FORBIDDEN


def test_an_empty_header_says_nothing(browser):
    browser.get("/c2c/look", secret=SECRET)
    empty = {"X-API-Key": "", "Authorization": "Bearer "}
    assert browser.get("/c2c/look", headers=empty).json["means"] == "cookie"


def test_the_login_on_the_console_has_the_token_of_its_session_at_once(browser):
    answer = browser.post("/c2c", secret=SECRET)
    assert answer.status_int == 405  # this console takes no POST
    answer = browser.get("/c2c", secret=SECRET).json
    assert (answer["login"], answer["access"]) == ("secret", "CHANGE")
    changed = browser.post("/c2c/change", set="1", csrf_token=answer["csrf"])
    assert changed.json == {"actor": "secret from 192.0.2.7", "means": "cookie"}


def test_a_bearer_token_of_the_application_is_no_guess_at_our_secret(browser):
    token = {"Authorization": "Bearer eyJ.of.the.application"}
    for _ in range(10):
        assert browser.get("/mine", headers=token).json["auth"] is False
    assert browser.get("/c2c/look", secret=SECRET).status_int == 200
    assert browser.get("/mine", headers=token).json["auth"] is True  # by the cookie


@pytest.mark.parametrize("guess", ["\udcff", "ü", "x" * 10_000, "correct horse batter", "0"])
def test_odd_guesses_are_wrong_guesses(browser, guess):
    quoted = guess.encode("utf-8", "replace").decode()
    assert browser.get("/c2c/look", secret=quoted).json == FORBIDDEN


def test_after_five_wrong_secrets_the_address_waits_twice_as_long_each_time(browser, caplog):
    now = [1000.0]
    browser.authority._attempts._clock = lambda: now[0]
    for _ in range(5):
        assert browser.get("/c2c/look", secret="wrong-guess").status_int == 403
    for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        for query in ({"secret": "wrong-guess"}, {"secret": SECRET}):
            response = browser.get("/c2c/look", **query)
            assert (response.status_int, response.headers["Retry-After"]) == (429, str(seconds))
        now[0] += seconds
        assert browser.get("/c2c/look", secret="wrong-guess").status_int == 403
    said = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in said] == [
        f"Wrong secrets from 192.0.2.7: more are refused for {seconds} s"
        for seconds in (1, 2, 4, 8, 16, 32, 60, 60, 60)
    ]
    assert "wrong-guess" not in caplog.text


def test_sessions_go_on_while_their_address_has_to_wait_and_a_success_resets(browser):
    now = [1000.0]
    browser.authority._attempts._clock = lambda: now[0]
    browser.get("/c2c/look", secret=SECRET)
    for _ in range(5):
        browser.get("/c2c/look", secret="wrong")
    assert browser.get("/c2c/look", secret=SECRET).status_int == 429
    # There the application's own keys are counted, of which there were none.
    assert browser.get("/mine", secret=SECRET).json["auth"] is True
    assert browser.get("/c2c/look").json["means"] == "cookie"
    now[0] += 1
    assert browser.get("/c2c/look", secret=SECRET).status_int == 200
    for _ in range(4):
        assert browser.get("/c2c/look", secret="wrong").status_int == 403
    assert browser.get("/c2c/look", secret=SECRET).status_int == 200


def test_one_request_is_one_try_however_often_it_is_looked_at(browser):
    for number in range(2):
        browser.get("/mine", secret=f"wrong {number}")  # asks three times
    assert browser.authority._elsewhere["parameter"]._failures["192.0.2.7"].count == 2


def test_a_forwarded_address_does_not_get_around_the_wait(browser):
    for number in range(5):
        browser.get("/c2c/look", secret="x", headers={"X-Forwarded-For": f"10.0.0.{number}"})
    assert browser.get("/c2c/look", secret="x").status_int == 429


def test_who_comes_through_a_proxy_waits_for_himself_alone(browser):
    def ask(secret, *hops, remote="10.1.2.3"):
        headers = {"X-Forwarded-For": ", ".join(hops), "X-API-Key": secret}
        return browser.get("/c2c/look", headers=headers, remote=remote).status_int

    for number in range(5):
        # What the client claims stands before what the proxy has seen.
        assert ask("x", f"198.51.100.{number}", "203.0.113.9") == 403
    assert ask(SECRET, "203.0.113.9") == 429
    assert ask(SECRET, "203.0.113.10") == 200
    assert ask("x", "not an address", remote="") == 403


def test_a_key_of_the_application_is_one_try_however_often_it_comes(browser):
    for _ in range(20):
        assert browser.get("/mine", headers={"X-API-Key": "its own"}).json["auth"] is False
    assert browser.get("/mine", headers={"X-API-Key": SECRET}).json["auth"] is True


def test_keys_of_the_application_leave_the_parameter_its_tries(browser):
    for number in range(20):
        browser.get("/mine", headers={"X-API-Key": f"of client {number}"})
    assert browser.get("/mine", headers={"X-API-Key": SECRET}).json["auth"] is False
    assert browser.get("/mine", secret=SECRET).json["auth"] is True


@pytest.mark.parametrize("means", ["parameter", "header"])
def test_who_guesses_at_the_applications_views_has_to_wait_there_too(browser, means):
    def ask(secret):
        if means == "header":
            return browser.get("/mine", headers={"X-API-Key": secret}).json["auth"]
        return browser.get("/mine", secret=secret).json["auth"]

    for number in range(5):
        assert ask(f"guess {number}") is False
    for guess in ("guess 0", SECRET, "another"):
        assert ask(guess) is False
    assert browser.cookies == {}


def test_what_was_tried_is_not_kept(browser):
    browser.get("/mine", secret="a-guess")
    (failures,) = browser.authority._elsewhere["parameter"]._failures.values()
    assert "a-guess" not in repr(failures)


def test_keys_of_the_application_lock_nobody_out(browser):
    for _ in range(9):
        assert browser.get("/mine", headers={"X-API-Key": "its own"}).json["auth"] is False
    assert browser.get("/c2c/look", secret=SECRET).status_int == 200


def test_a_secret_in_a_header_may_have_accents(start):
    browser = start(C2C_SECRET="un secret très long")
    sent = "un secret très long".encode().decode("latin-1")
    assert browser.get("/c2c/look", headers={"X-API-Key": sent}).status_int == 200


@pytest.mark.parametrize("path", ["/c2c", "/c2c/look", "/mine"])
def test_cookies_that_cannot_be_read_are_nobodys(browser, path):
    response = browser.get(path, headers={"Cookie": r'other="\377"'})
    assert response.status_int == (403 if path == "/c2c/look" else 200)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded; charset=iso-8859-1", b"a=1"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"a=1"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
        ),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Type: multipart/mixed\r\n\r\n1\r\n--x--",
        ),
    ],
)
def test_a_body_that_cannot_be_read_holds_no_secret(browser, kind, body):
    request = Request.blank("/mine", method="POST", body=body)
    request.headers["Content-Type"] = kind
    request.registry = browser.application.registry
    assert is_auth(request) is False


def test_another_address_need_not_wait():
    attempts = Attempts(clock=lambda: 0.0)
    for _ in range(9):
        attempts.failed("192.0.2.1")
    assert (attempts.wait("192.0.2.1"), attempts.wait("192.0.2.2")) == (16.0, 0.0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "", True),
        ("nonsense", "nonsense2", False),
    ],
)
def test_the_addresses_of_one_network_are_one(one, other, same):
    attempts = Attempts(free=1, clock=lambda: 0.0)
    attempts.failed(one)
    assert (attempts.wait(other) > 0) is same


def test_only_so_many_addresses_are_remembered_and_wrong_tries_are_forgotten():
    now = [0.0]
    attempts = Attempts(free=2, addresses=10, clock=lambda: now[0])
    for number in range(100):
        attempts.failed(f"192.0.2.{number}")
    assert len(attempts._failures) == 10
    now[0] += 901
    assert attempts.failed("192.0.2.99") == 0.0
    assert attempts.failed("192.0.2.99") == 1.0


def test_a_guesser_who_never_stops_waits_a_minute_each_time():
    now = [0.0]
    attempts = Attempts(clock=lambda: now[0])
    for _ in range(2000):
        wait = attempts.failed("192.0.2.1")
        now[0] += wait
    assert wait == 60.0
