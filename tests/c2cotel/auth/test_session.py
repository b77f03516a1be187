"""The encrypted cookie: what is read, what is nobody's, how keys are changed."""

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2cotel.auth import sealing
from c2cotel.auth.session import Sessions

KEY = "a key for the cookies"
LIFETIME = 1000


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(clock):
    return Sessions("github", LIFETIME, [KEY], clock)


def begin(sessions, **details):
    return sessions.begin("octocat", **{"token": "gho_token", **details})


def test_what_is_written_is_read_again(sessions):
    session = begin(sessions, name="Ö <b>", url="https://github.com/octocat")
    text = sessions.write(session)
    assert sessions.read(text) == session
    assert len(text) < 1000
    assert begin(sessions).csrf != session.csrf


def test_the_cookie_is_a_jwe_that_shows_nothing(sessions):
    text = sessions.write(begin(sessions, name="The Octocat"))
    header, key, *parts = text.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(header + "=="))
    assert {**decoded, "kid": ""} == {"alg": "dir", "enc": "A256GCM", "kid": ""}
    assert (key, len(parts)) == ("", 3)
    for part in (header, *parts):
        raw = base64.urlsafe_b64decode(part + "==")
        assert b"gho_token" not in raw
        assert b"Octocat" not in raw


def test_what_is_secret_in_it_is_not_shown_by_repr(sessions):
    session = begin(sessions)
    login = sessions.begin_login("/c2c")
    shown = repr([session, login, sessions, sessions._seal])
    for secret in (session.token, session.csrf, login.state, login.verifier, KEY):
        assert secret not in shown


def test_it_ends_after_its_lifetime_also_when_that_is_set_shorter(sessions, clock):
    text = sessions.write(begin(sessions))
    clock.now += LIFETIME - 1
    assert sessions.read(text)
    assert Sessions("github", LIFETIME // 2, [KEY], clock).read(text) is None
    clock.now += 1
    assert sessions.read(text) is None


def test_it_is_renewed_in_the_second_half_of_its_life_and_keeps_its_csrf_token(sessions, clock):
    session = begin(sessions, name="n", url="u")
    clock.now += LIFETIME / 2 - 1
    assert sessions.renewed(session) is None
    clock.now += 1
    renewed = sessions.renewed(session)
    assert renewed == msgspec.structs.replace(
        session, issued=int(clock.now), expires=int(clock.now) + LIFETIME
    )


def test_a_previous_key_is_still_read_but_no_longer_written_with(sessions, clock):
    old = sessions.write(begin(sessions))
    rotating = Sessions("github", LIFETIME, ["a new key for cookies", KEY], clock)
    assert rotating.read(old).login == "octocat"
    new = rotating.write(rotating.read(old))
    rotated = Sessions("github", LIFETIME, ["a new key for cookies"], clock)
    assert rotated.read(new).login == "octocat"
    assert rotated.read(old) is None
    assert sessions.read(new) is None


def test_a_cookie_of_another_mode_version_or_purpose_is_nobodys(sessions, clock):
    session = begin(sessions)
    assert Sessions("secret", LIFETIME, [KEY], clock).read(sessions.write(session)) is None
    future = msgspec.structs.replace(session, version=2)
    assert sessions.read(sessions.write(future)) is None
    other = msgspec.structs.replace(session, mode="secret")
    assert sessions.read(sessions.write(other)) is None
    login = sessions.write_login(sessions.begin_login("/"))
    assert sessions.read(login) is None
    assert sessions.read_login(sessions.write(session)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"version":1}',
        b'{"version":"1","login":{}}',
        b"\xff",
        b"[" * 999,
    ],
)
def test_a_cookie_whose_content_has_another_shape_is_nobodys(sessions, content):
    assert sessions.read(sessions._seal.close(content)) is None


def test_a_cookie_that_was_cut_changed_or_lengthened_is_nobodys(sessions):
    text = sessions.write(begin(sessions))
    for length in range(len(text)):
        assert sessions.read(text[:length]) is None
    for place in range(0, len(text), 7):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        # The last character before a dot may hold bits that base64 drops.
        read = sessions.read(changed)
        assert read is None or text[place + 1 : place + 2] in (".", "")
    assert sessions.read(text + "A" * 4000) is None
    assert sessions.read(text + ".AAAA") is None


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "dir", "enc": "A128GCM"},
        {"alg": "dir", "enc": "A256GCM", "zip": "DEF"},
        {"alg": "PBES2-HS256+A128KW", "enc": "A256GCM", "p2c": 10**9, "p2s": "x"},
        {"alg": [], "enc": {}},
        [],
    ],
)
def test_the_client_chooses_no_algorithm(sessions, header):
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    rest = sessions.write(begin(sessions)).partition(".")[2]
    assert sessions.read(f"{encoded}.{rest}") is None


@given(st.text())
def test_no_text_is_an_error(text):
    sessions = Sessions("github", LIFETIME, [KEY])
    header = sessions.write(begin(sessions)).partition(".")[0]
    assert sessions.read(text) is None
    assert sessions.read(f"{header}.{text}") is None
    assert sessions.read(f"{header}..{text}.{text}.{text}") is None


def test_a_name_that_is_too_long_for_a_cookie_is_left_out(sessions):
    text = sessions.write(begin(sessions, name="\U0001f600" * 900, url="https://x/" + "y" * 900))
    assert len(text) <= sealing.LONGEST
    read = sessions.read(text)
    assert (read.login, read.name, read.url, read.token) == ("octocat", "", "", "gho_token")


def test_a_login_is_remembered_for_ten_minutes(sessions, clock):
    login = sessions.begin_login("/c2c/look")
    text = sessions.write_login(login)
    clock.now += 599
    assert sessions.read_login(text) == login
    clock.now += 2
    assert sessions.read_login(text) is None


def test_an_expired_cookie_is_anonymous_in_the_application(start):
    browser = start(C2C_SECRET="correct horse battery", C2C_AUTH_LIFETIME="60")
    browser.get("/c2c/look", secret="correct horse battery")
    sessions, first = browser.authority.jar.sessions, browser.cookies["c2c-auth-jwt"].value
    began = sessions._clock()
    sessions._clock = lambda: began + 29
    assert browser.get("/c2c/look").headers.getall("Set-Cookie") == []
    sessions._clock = lambda: began + 31
    assert browser.get("/c2c/look").status_int == 200
    renewed = browser.cookies["c2c-auth-jwt"].value
    assert renewed != first
    sessions._clock = lambda: began + 61
    assert browser.get("/c2c/look").status_int == 200
    sessions._clock = lambda: began + 122
    assert browser.get("/c2c/look").status_int == 403
    assert browser.get("/mine").json["auth"] is False


@pytest.mark.parametrize("key", ["", "the-secret-of-the-cookies"])
def test_another_secret_ends_all_sessions_also_with_the_same_key(start, key):
    before = start(C2C_SECRET="correct horse battery", C2C_AUTH_GITHUB_SECRET=key)
    before.get("/c2c/look", secret="correct horse battery")
    same = start(C2C_SECRET="correct horse battery", C2C_AUTH_GITHUB_SECRET=key)
    same.cookies = before.cookies
    assert same.get("/c2c/look").status_int == 200
    after = start(C2C_SECRET="another horse battery", C2C_AUTH_GITHUB_SECRET=key)
    after.cookies = before.cookies
    assert after.get("/c2c/look").status_int == 403


def test_the_key_of_the_cookies_can_be_changed_without_a_new_login(start):
    secret, old, new = "correct horse battery", "the-secret-of-before", "the-secret-of-today"
    before = start(C2C_SECRET=secret, C2C_AUTH_GITHUB_SECRET=old)
    before.get("/c2c/look", secret=secret)
    names = {"C2C_AUTH_GITHUB_SECRET": new, "C2C_AUTH_GITHUB_PREVIOUS_SECRET": old}
    while_rotating = start(C2C_SECRET=secret, **names)
    while_rotating.cookies = before.cookies
    assert while_rotating.get("/c2c/look").status_int == 200
    rotated = start(C2C_SECRET=secret, **{**names, "C2C_AUTH_GITHUB_PREVIOUS_SECRET": ""})
    rotated.cookies = before.cookies
    assert rotated.get("/c2c/look").status_int == 403
