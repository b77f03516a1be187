"""Login by GitHub, against a fake one that is as strict, from another site."""

import re
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from c2cotel_acceptance.github import FakeGitHub
from c2cotel_acceptance.utils import retry_timeout

REPOSITORY = "camptocamp/c2cotel"
EVIL = "<img src=x onerror=\"document.title='evil'\">"


@pytest.fixture(scope="module")
def github():
    # To a browser, this is another site than 127.0.0.1.
    with FakeGitHub(host="localhost") as running:
        yield running


@pytest.fixture(scope="module")
def operator(operate_long, github):
    env = {**github.environ(REPOSITORY), "C2C_SECRET": "", "C2C_AUTH_GITHUB_CACHE_TTL": "1"}
    started = operate_long("--keep-alive", "0", env=env)
    yield started
    started.service.process.stop()


@pytest.fixture(autouse=True)
def _github_is_well(github):
    yield
    github.status = 0


def walk(operator, came_from=""):
    """Log in as ``github.signed_in``; the cookies that are left and the last answer."""
    with requests.Session() as session:
        answer = session.get(
            f"{operator.url}/c2c/github-login", params={"came_from": came_from}, timeout=10
        )
        return answer, {cookie.name: cookie.value for cookie in session.cookies}


def logged_in(operator, **params):
    answer, cookies = walk(operator, **params)
    assert answer.status_code == 200, answer.text
    return replace(operator, cookies=cookies)


def test_who_has_the_right_is_let_in_by_every_worker(operator, github):
    github.add("octocat", {REPOSITORY: "push"}, name="The Octocat")
    somebody = logged_in(operator, came_from="/c2c/logging")
    assert somebody.read_back("c2cotel_app") == {("INFO", "INFO", None)}
    page = somebody.get("logging").text
    assert "The Octocat" in page
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]
    answer = somebody.post("logging/level", name="by.github", level="DEBUG", csrf_token=token)
    assert (answer.status_code, answer.json()["level"]) == (200, "DEBUG")
    assert [line for line in operator.told("by.github") if "octocat" in line]
    # The token of GitHub is on no page and in no log.
    (gho,) = github.tokens[-1:]
    assert gho not in page + operator.service.output() + str(somebody.cookies)


def test_who_has_none_is_told_so(operator, github):
    github.add("stranger", {"camptocamp/other": "admin"})
    somebody = logged_in(operator)
    answer = somebody.get("logging/level")
    assert answer.status_code == 403
    assert REPOSITORY in answer.json()["message"]
    assert "stranger" in somebody.get("").text


def test_who_may_only_pull_reads_and_changes_nothing(operator, github):
    github.add("reader", {REPOSITORY: "pull"})
    somebody = logged_in(operator)
    page = somebody.get("logging")
    assert page.status_code == 200
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    data = {"csrf_token": token[1]} if token else {}
    answer = somebody.post("logging/level", name="by.reader", level="DEBUG", **data)
    assert answer.status_code == 403
    assert "push" in answer.json()["message"] or not token
    assert somebody.level("by.reader")["level"] == "NOTSET"


@pytest.mark.parametrize("how", ["the right", "the token"])
def test_what_is_revoked_after_the_login_ends_in_every_worker(operator, github, how):
    user = github.add("leaver", {REPOSITORY: "push"})
    somebody = logged_in(operator)
    assert somebody.get("logging/level").status_code == 200
    if how == "the right":
        user.rights.clear()
    else:
        github.revoke("leaver")

    def refused():
        return {somebody.get("logging/level").status_code for _ in range(12)} == {403}

    retry_timeout(refused, 10, interval=0.1)


def test_a_forged_state_and_a_replayed_code_are_refused(operator, github):
    github.add("octocat", {REPOSITORY: "push"})
    for query in ("", f"?code={github.code}&state=forged", "?code=x", "?error=%3Cb%3E&state=x"):
        answer = operator.get(f"github-callback{query}")
        assert answer.status_code == 403
        assert "Set-Cookie" not in answer.headers or "-login" in answer.headers["Set-Cookie"]
    # A state of one browser in another one: its cookie is not there.
    begun = operator.get("github-login")
    state = parse_qs(urlsplit(begun.headers["Location"]).query)["state"][0]
    answer = operator.get("github-callback", code=github.code, state=state)
    assert answer.status_code == 403
    # And the address of a login that went through, once more.
    with requests.Session() as session:
        last = session.get(f"{operator.url}/c2c/github-login", timeout=10)
        again = session.get(last.url, timeout=10)
    assert (last.status_code, again.status_code) == (200, 403)


@pytest.mark.parametrize(
    "evil",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/%09/evil.example",
        "javascript:alert(1)",
        "https://127.0.0.1@evil.example",
        "\thttps://evil.example",
        "https:evil.example",
    ],
)
def test_came_from_leads_to_this_host_only(operator, github, evil):
    github.add("octocat", {REPOSITORY: "push"})
    answer, _ = walk(operator, came_from=evil)
    targets = re.findall(r'<a href="([^"]+)">Go on', answer.text)
    targets += re.findall(r"url=(.*)", answer.headers.get("Refresh", ""))
    targets.append(operator.get("github-logout", came_from=evil).headers["Location"])
    for target in targets:
        place = urlsplit(target.replace("\\", "/").replace("\t", ""))
        assert place.netloc in ("", urlsplit(operator.url).netloc), target
        assert place.scheme in ("", "http"), target


def test_while_github_is_down_it_is_said_without_a_trace(operator, github):
    github.add("octocat", {REPOSITORY: "push"})
    somebody = logged_in(operator)
    github.status = 500

    def statuses():
        return {somebody.get("logging/level").status_code for _ in range(12)}

    # Each worker believes for a second what it was told before.
    retry_timeout(lambda: statuses() == {503}, 10, interval=0.1)
    answer = somebody.get("logging/level")
    assert "GitHub" in answer.json()["message"]
    assert int(answer.headers["Retry-After"]) > 0
    page = somebody.ask("GET", "/c2c", headers={"Accept": "text/html"})
    assert (page.status_code, "GitHub" in page.text) == (503, True)
    assert page.headers["Content-Type"] == "text/html; charset=UTF-8"
    login, _ = walk(operator)
    assert login.status_code == 503
    assert "Traceback" not in login.text + page.text + operator.service.output()
    assert somebody.ask("GET", "/api/ping").status_code == 200
    github.status = 0
    retry_timeout(lambda: statuses() == {200}, 30, interval=0.2)


def test_a_browser_logs_in_from_another_site_and_an_evil_name_is_only_text(
    operator, github, chromium
):
    github.add("mallory", {REPOSITORY: "admin"}, name=EVIL, url="javascript:alert(1)")
    github.asks = True
    with chromium.visit() as it:
        it.page.goto(f"{operator.url}/c2c")
        it.screenshot("github-anonymous")
        it.page.get_by_role("link", name="Log in with GitHub").click()
        it.page.get_by_role("link", name="Authorize").click()
        it.page.get_by_role("link", name="Log out").wait_for()
        it.screenshot("github-evil-name")
        assert EVIL in it.page.text_content("header")
        assert it.page.locator("img").count() == 0
        assert "evil" not in it.page.title()
        assert "javascript:" not in it.page.content()
        it.page.get_by_role("link", name="Log levels").click()
        it.page.get_by_label("Logger", exact=True).fill("by.mallory")
        it.page.get_by_role("button", name="Set level").click()
        it.page.get_by_role("button", name="Reset by.mallory").wait_for()
        it.screenshot("github-levels")
        assert it.violations() == []
        it.page.goto(f"{operator.url}/c2c/changes")
        assert "mallory" in it.page.text_content("table")
        it.page.get_by_role("link", name="Log out").click()
        it.page.get_by_role("link", name="Log in with GitHub").wait_for()
        # The fake one has no icon.
        assert [error for error in it.errors if "404 (NOT FOUND)" not in error] == []
    github.asks = False
