"""Who knows the secret may come in, by every door there is; and the secret goes out by none."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.cookies import SimpleCookie

import pytest

from c2cotel_acceptance.utils import retry_timeout

WRONG = "not-the-secret-at-all"


@pytest.fixture
def operator(shared):
    return shared("redis")


@pytest.fixture
def anonymous(operator):
    return operator.anonymous()


def _cookie(answer):
    """The one cookie that an answer sets: name, value, attributes."""
    (text,) = answer.raw.headers.getlist("Set-Cookie")
    (morsel,) = SimpleCookie(text).values()
    return morsel


def _csrf(page):
    (token,) = set(re.findall(r'name="csrf_token" value="([^"]+)"', page))
    return token


@pytest.fixture
def visitor(anonymous, secret):
    """Somebody who has logged in on the console, with nothing but the cookie."""
    answer = anonymous.post("", secret=secret)
    assert answer.status_code in (200, 303)
    morsel = _cookie(answer)
    return replace(anonymous, cookies={morsel.key: morsel.value})


@pytest.mark.parametrize(
    ("how", "name", "prefix"),
    [
        ("params", "secret", ""),
        ("headers", "X-API-Key", ""),
        ("headers", "Authorization", "Bearer "),
    ],
)
def test_the_secret_opens_as(anonymous, secret, how, name, prefix):
    given = {how: {name: prefix + secret}}
    assert anonymous.ask("GET", "/c2c/logging/level", **given).status_code == 200


def test_the_secret_opens_in_a_posted_form(anonymous, secret):
    answer = anonymous.post("logging/level", secret=secret, name="by.post", level="INFO")
    assert (answer.status_code, answer.json()["level"]) == (200, "INFO")


def test_the_parameter_wins_over_the_header(operator):
    operator = replace(operator, address="127.0.2.1")
    assert operator.get("logging/level", secret=WRONG).status_code == 403


def test_the_cookie_opens_and_is_not_the_secret_in_any_way(visitor, secret):
    import base64
    import hashlib

    assert visitor.get("logging/level").status_code == 200
    (value,) = visitor.cookies.values()
    assert hashlib.sha256(secret.encode()).hexdigest() not in value
    parts = [base64.urlsafe_b64decode(part + "===") for part in value.split(".")]
    assert all(secret.encode() not in part for part in [*parts, value.encode()])


def test_the_cookie_is_kept_from_scripts_and_other_sites(anonymous, secret):
    morsel = _cookie(anonymous.post("", secret=secret))
    assert morsel["httponly"] is True
    assert morsel["samesite"] == "Strict"
    assert not morsel["secure"]
    assert 0 < int(morsel["max-age"]) <= 604_800
    # gunicorn believes this header from 127.0.0.1.
    answer = anonymous.ask(
        "POST", "/c2c/", data={"secret": secret}, headers={"X-Forwarded-Proto": "https"}
    )
    assert _cookie(answer)["secure"] is True


def test_two_logins_have_two_cookies(anonymous, secret):
    values = {_cookie(anonymous.post("", secret=secret)).value for _ in range(3)}
    assert len(values) == 3


def test_an_empty_secret_is_the_logout(visitor):
    answer = visitor.post("", secret="")
    assert answer.status_code in (200, 303)
    morsel = _cookie(answer)
    assert morsel.key in visitor.cookies
    assert (morsel.value, int(morsel["max-age"] or 0)) == ("", 0)
    # Also as the seed writes it.
    assert _cookie(visitor.get("", secret="")).value == ""


def test_a_strange_cookie_is_nobody_and_no_error(visitor):
    ((name, value),) = visitor.cookies.items()
    header, *rest = value.split(".")
    for strange in (
        value[:-4],
        value[: len(value) // 2],
        ".".join([header, *reversed(rest)]),
        value[:-6] + "AAAAAA",
        "",
        "x" * 4000,
        "%FF%FE",
        "eyJhbGciOiJub25lIn0.eyJsb2dpbiI6InJvb3QifQ.",
        "v99." + value,
    ):
        answer = replace(visitor, cookies={name: strange}).get("logging/level")
        assert answer.status_code == 403, strange
        assert replace(visitor, cookies={name: strange}).get("").status_code == 200


def test_a_cookie_of_another_secret_is_nobody(operate, visitor):
    other = operate(workers=1, env={"C2C_SECRET": "another-secret-of-ours"})
    assert (
        replace(other, secret=None, cookies=visitor.cookies).get("logging/level").status_code == 403
    )


def test_a_change_by_get_needs_more_than_the_cookie(operator, visitor):
    answer = visitor.get("logging/level", name="by.cookie", level="DEBUG")
    assert answer.status_code == 403
    assert "POST" in answer.json()["message"]
    # Reading does not.
    assert visitor.level("by.cookie")["level"] == "NOTSET"
    assert operator.level("by.cookie", level="DEBUG")["level"] == "DEBUG"


@pytest.mark.parametrize("token", [None, "", "forged", "x" * 100])
def test_a_change_by_post_with_the_cookie_needs_the_token(visitor, token):
    data = {} if token is None else {"csrf_token": token}
    answer = visitor.post("logging/level", name="by.csrf", level="DEBUG", **data)
    assert answer.status_code == 403
    assert visitor.level("by.csrf")["level"] == "NOTSET"


def test_the_token_of_somebody_else_does_not_do(anonymous, visitor, secret):
    morsel = _cookie(anonymous.post("", secret=secret))
    other = replace(anonymous, cookies={morsel.key: morsel.value})
    token = _csrf(other.get("").text)
    answer = visitor.post("logging/level", name="by.csrf", level="DEBUG", csrf_token=token)
    assert answer.status_code == 403


def test_with_the_token_the_change_is_made_and_said(operator, visitor):
    token = _csrf(visitor.get("").text)
    answer = visitor.post("logging/level", name="by.token", level="ERROR", csrf_token=token)
    assert answer.status_code == 200
    assert operator.read_back("by.token") == {("ERROR", "ERROR", "ERROR")}
    answer = visitor.ask(
        "POST",
        "/c2c/logging/level",
        data={"name": "by.token", "level": "INFO"},
        headers={"X-CSRF-Token": token},
    )
    assert answer.status_code == 200


def test_a_form_is_left_only_for_pages_of_ours(visitor):
    token = _csrf(visitor.get("").text)
    form = {"name": "by.form", "level": "INFO", "csrf_token": token}
    answer = visitor.post("logging/level", **form, back="/c2c")
    assert (answer.status_code, answer.headers["Location"].endswith("/c2c")) == (303, True)
    for back in ("https://evil.example/", "//evil.example", "/c2c//evil.example", "/api/hello"):
        answer = visitor.post("logging/level", **form, back=back)
        assert "evil" not in answer.headers.get("Location", "")


def test_every_change_is_said_with_who_what_and_from_where(operator, visitor):
    """At WARNING: the level at which production logs."""
    operator.level("who.what", level="ERROR")
    token = _csrf(visitor.get("").text)
    visitor.post("logging/level", name="who.what", level="DEBUG", csrf_token=token)

    def lines():
        return [json.loads(line) for line in operator.told("who.what") if line.startswith("{")]

    def changes():
        return [line for line in lines() if line["level_name"] == "WARNING"]

    retry_timeout(lambda: len(changes()) >= 2, 5, interval=0.05)
    assert len(changes()) == 2, "once, by the process that was asked"
    for line in changes():
        assert {"127.0.0.1", "secret"} <= set(re.findall(r"[\w.]+", line["msg"]))
    page = operator.get("").text
    assert "who.what" in page


def test_changes_are_counted(operator):
    def counted():
        return sum(
            s.value for s in operator.service.scrape().samples if re.search("c2c.*change", s.name)
        )

    before = counted()
    operator.level("counted", level="ERROR")
    operator.level("counted", level="INFO")
    assert counted() - before == 2


def test_too_many_wrong_tries_are_slowed_down_and_said(operator, secret):
    """For that address only; and nobody is locked out for long."""
    guesser = replace(operator, secret=None, address="127.0.3.7")
    statuses = [guesser.get("logging/level", secret=f"{WRONG}{n}").status_code for n in range(60)]
    assert statuses[0] == 403
    assert set(statuses) <= {403, 429}
    assert statuses.count(429) >= 20

    def refused():
        # Each worker counts for itself, and the wait of one may just be over.
        answer = guesser.get("logging/level", secret=WRONG)
        return answer.status_code == 429 and answer.headers["Retry-After"]

    assert int(retry_timeout(refused, 20, 0.01)) > 0
    # The right one, meanwhile: not tried either, or a guess would be told by its answer.
    assert operator.get("logging/level").status_code == 200
    assert replace(guesser, address="127.0.3.8").get("logging/level", secret=secret).ok
    assert operator.told("127.0.3.7")
    assert WRONG not in operator.service.output()


def test_wrong_tries_at_once_are_slowed_down_as_well(operator):
    guesser = replace(operator, secret=None, address="127.0.3.9")
    with ThreadPoolExecutor(8) as pool:
        statuses = list(
            pool.map(
                lambda n: guesser.get("logging/level", secret=f"{WRONG}{n}").status_code, range(80)
            )
        )
    assert statuses.count(429) >= 20


def test_visitors_without_any_secret_are_not_slowed_down(operator):
    visitor = replace(operator, secret=None, address="127.0.3.10")
    statuses = {visitor.get("logging/level").status_code for _ in range(60)}
    assert statuses == {403}


def test_the_secret_is_nowhere(operator, collector, visitor, secret):
    """Runs at the end, after all the above."""
    for path in ("logging/level", "versions.json", "", "no-such-view"):
        operator.anonymous().get(path, secret=secret)
        operator.anonymous().get(path, secret=WRONG + "2")
        operator.ask("GET", f"/c2c/{path}", headers={"Authorization": f"Bearer {secret}"})
    pages = [operator.get("").text, operator.get("", format="json").text]
    pages += [operator.get(path).text for path in ("settings", "c2c/settings")]
    collector.wait(lambda o: len(o.server_spans()) > 10)
    time.sleep(1)
    scrape = operator.service.scrape().text
    seen = [operator.service.output(), str(collector.spans), str(collector.logs), scrape, *pages]
    (cookie,) = visitor.cookies.values()
    for text in seen:
        assert secret not in text
        assert WRONG not in text
        assert cookie not in text


def test_without_any_authentication_everything_is_closed_and_the_console_says_so(operate):
    operator = operate(workers=1, env={"C2C_SECRET": ""})
    assert operator.secret is None
    assert operator.get("logging/level").status_code == 403
    for guess in ("", "None", "null"):
        assert operator.get("logging/level", secret=guess).status_code == 403
    assert operator.get("").status_code == 200
