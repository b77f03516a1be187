"""Login by GitHub, against one that answers over HTTP."""

import base64
import hashlib
import logging
import socket
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

REPOSITORY = "camptocamp/private"
HTML = {"Accept": "text/html"}


@pytest.fixture
def browser(start, github):
    return start(**github.environ(REPOSITORY))


def asked(response):
    """What GitHub is asked by this redirect to it."""
    return {name: value for name, (value,) in parse_qs(urlsplit(response.location).query).items()}


def advance(browser, seconds):
    """Let the rights that are remembered grow old."""
    github = browser.authority.github
    before = github._clock()
    github._clock = lambda: before + seconds


def test_the_login_goes_to_github_with_state_and_pkce(browser, github):
    response = browser.get("/c2c/github-login", came_from="/c2c/look")
    assert response.status_int == 302
    assert response.location.startswith(f"{github.url}/login/oauth/authorize?")
    query = asked(response)
    assert {**query, "state": "", "code_challenge": ""} == {
        "response_type": "code",
        "client_id": "c2c-client-id",
        "redirect_uri": "http://localhost/c2c/github-callback",
        "scope": "repo",
        "state": "",
        "code_challenge": "",
        "code_challenge_method": "S256",
    }
    (header,) = response.headers.getall("Set-Cookie")
    assert header.startswith("c2c-auth-jwt-login=")
    assert "; Max-Age=600; Path=/c2c/github-callback; " in header
    assert header.endswith("; HttpOnly; SameSite=Lax")
    login = browser.authority.jar.sessions.read_login(browser.cookies["c2c-auth-jwt-login"].value)
    assert login.state == query["state"]
    assert login.state not in header
    digest = hashlib.sha256(login.verifier.encode()).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == query["code_challenge"]


def test_who_has_logged_in_is_known(browser, github):
    response = browser.log_in(came_from="/c2c/look?a=1&b=2")
    assert response.status_int == 200
    assert response.headers["Refresh"] == "0; url=/c2c/look?a=1&b=2"
    assert 'href="/c2c/look?a=1&amp;b=2"' in response.text
    assert list(browser.cookies) == ["c2c-auth-jwt"]
    assert browser.cookies["c2c-auth-jwt"]["samesite"] == "Strict"
    look = browser.get("/c2c/look")
    assert look.json == {"actor": "octocat from 192.0.2.7", "means": "cookie"}
    console = browser.get("/c2c").json
    assert (console["login"], console["access"]) == ("octocat", "CHANGE")
    changed = browser.post("/c2c/change", set="1", csrf_token=console["csrf"])
    assert changed.status_int == 200
    (token,) = github.tokens
    assert browser.get("/mine").json == {
        "auth": True,
        "user": {
            "login": "octocat",
            "name": "The Octocat",
            "url": "https://github.com/octocat",
            "token": token,
        },
        "access": True,
    }
    assert github.requests == [
        "GET authorize",
        "POST access_token",
        "GET user",
        "GET camptocamp/private",
    ]


def test_nobody_looks_without_a_login(browser):
    response = browser.get("/c2c/look", secret="x", headers={"X-API-Key": "x"})
    assert response.json == {
        "message": "Log in with GitHub first: http://localhost/c2c/github-login",
        "status": 403,
    }
    assert browser.get("/mine").json == {"auth": False, "user": {}, "access": False}


@pytest.mark.parametrize(
    ("right", "configured", "look", "change"),
    [
        (None, "push", "x needs the right pull on camptocamp/private", "push"),
        ("pull", "push", None, "push"),
        ("push", "push", None, None),
        ("pull", "pull", None, None),
        ("push", "admin", None, "admin"),
        ("admin", "admin", None, None),
    ],
)
def test_rights_on_the_repository(start, github, right, configured, look, change):
    github.add("x", {REPOSITORY: right} if right else {})
    browser = start(**github.environ(REPOSITORY, configured))
    assert browser.log_in().status_int == 200
    looked = browser.get("/c2c/look")
    assert (looked.json.get("message"), looked.status_int) == (look, 403 if look else 200)
    assert browser.get("/mine").json["auth"] is (look is None)
    csrf = browser.get("/c2c").json["csrf"]
    changed = browser.post("/c2c/change", set="1", csrf_token=csrf)
    message = change and f"x needs the right {change} on camptocamp/private"
    assert (changed.json.get("message"), changed.status_int) == (message, 403 if change else 200)


def test_pull_on_a_public_repository_opens_nothing_for_everybody_has_it(start, github):
    github.public.add(REPOSITORY)
    github.add("anybody")
    browser = start(**github.environ(REPOSITORY))
    browser.log_in()
    assert browser.get("/c2c/look").json["message"] == (
        "anybody needs the right push on camptocamp/private"
    )
    assert browser.get("/mine").json["auth"] is False


def test_who_lets_everybody_in_is_warned(start, github, caplog):
    github.public.add(REPOSITORY)
    github.add("anybody")
    browser = start(**github.environ(REPOSITORY, "pull"))
    browser.log_in()
    for _ in range(2):
        assert browser.get("/c2c/look").status_int == 200
    assert caplog.text.count("everybody with a login on GitHub may change things here") == 1


def test_a_right_is_asked_for_again_after_its_time(browser, github):
    browser.log_in()
    for _ in range(3):
        browser.get("/c2c/look")
    assert github.requests.count(f"GET {REPOSITORY}") == 1
    github.users["octocat"].rights.clear()
    advance(browser, 299)
    assert browser.get("/c2c/look").status_int == 200
    advance(browser, 2)
    assert browser.get("/c2c/look").json["message"] == (
        "octocat needs the right pull on camptocamp/private"
    )
    assert "c2c-auth-jwt" in browser.cookies
    # Who gets the right back does not wait for as long.
    github.users["octocat"].rights[REPOSITORY] = "push"
    assert browser.get("/c2c/look").status_int == 403
    advance(browser, 31)
    assert browser.get("/c2c/look").status_int == 200


def test_who_github_does_not_know_any_more_is_logged_out(browser, github):
    browser.log_in()
    assert browser.get("/c2c/look").status_int == 200
    github.revoke("octocat")
    advance(browser, 301)
    response = browser.get("/c2c/look")
    assert response.json == {
        "message": "GitHub has ended this login: log in again at http://localhost/c2c/github-login",
        "status": 403,
    }
    assert browser.cookies == {}
    assert browser.get("/c2c").json == {"login": None, "access": None, "csrf": None}


def test_the_console_logs_him_out_too(browser, github):
    browser.log_in()
    github.revoke("octocat")
    advance(browser, 301)
    assert browser.get("/c2c").json == {"login": None, "access": None, "csrf": None}
    assert browser.cookies == {}


def forged(url, **changed):
    parts = urlsplit(url)
    query = {name: value for name, (value,) in parse_qs(parts.query).items()}
    return parts._replace(query=urlencode({**query, **changed})).geturl()


@pytest.mark.parametrize("state", ["", "x", "ü", "\0", "a" * 5000])
def test_a_forged_state_logs_nobody_in(browser, github, state):
    back = browser.to_github_and_back()
    response = browser.open(forged(back, state=state))
    assert response.status_int in (400, 403)
    assert "c2c-auth-jwt" not in browser.cookies
    assert "POST access_token" not in github.requests


def test_a_callback_that_nobody_has_begun_here_logs_nobody_in(browser, github, start):
    other = start(**github.environ(REPOSITORY))
    back = other.to_github_and_back()
    response = browser.open(back)
    assert response.json == {
        "message": "This login was not begun in this browser, or more than ten minutes ago: "
        "begin again at http://localhost/c2c/github-login",
        "status": 403,
    }
    assert browser.cookies == {}


def test_a_state_is_good_once(browser):
    back = browser.to_github_and_back()
    assert browser.open(back).status_int == 200
    assert browser.open(back).status_int == 403


def test_a_code_is_good_once(browser):
    """Also for who has kept the cookie of the login."""
    back = browser.to_github_and_back()
    kept = dict(browser.cookies)
    assert browser.open(back).status_int == 200
    browser.cookies = kept
    response = browser.open(back)
    assert response.status_int == 403
    assert response.json["message"] == (
        "GitHub has refused the login with 'It is bad_verification_code.': "
        "begin again at http://localhost/c2c/github-login"
    )
    assert browser.cookies == {}


def test_the_code_of_somebody_else_is_refused_for_its_pkce(browser):
    """Who slips his own code under another's login would be logged in as that other one."""
    stolen = browser.to_github_and_back()
    code = parse_qs(urlsplit(stolen).query)["code"][0]
    browser.cookies.clear()
    back = browser.to_github_and_back()
    response = browser.open(forged(back, code=code))
    assert response.status_int == 403
    assert "bad_verification_code" in response.json["message"]


def test_the_login_takes_ten_minutes_at_most(browser):
    back = browser.to_github_and_back()
    sessions = browser.authority.jar.sessions
    now = sessions._clock()
    sessions._clock = lambda: now + 601
    assert browser.open(back).status_int == 403


def test_what_github_has_against_a_login_is_told_as_text(browser, github):
    github.signed_in = None
    back = browser.to_github_and_back()
    response = browser.open(forged(back, error_description="<script>alert(1)</script>\r\nx"))
    assert response.json == {
        "message": "GitHub has ended the login with 'access_denied: <script>alert(1)</script>  x'",
        "status": 403,
    }
    assert browser.cookies == {}
    back = browser.to_github_and_back()
    back = forged(back, error_description="<script>alert(1)</script>")
    page = browser.get(back.removeprefix("http://localhost"), headers=HTML)
    assert (page.status_int, page.content_type) == (403, "text/html")
    assert "&lt;script&gt;alert(1)" in page.text
    assert "<script>alert(1)" not in page.text


def test_an_error_that_was_not_asked_for_says_nothing_of_its_own(browser):
    response = browser.get("/c2c/github-callback", error="x", error_description="Call 0900 1234")
    assert response.status_int == 403
    assert "0900" not in response.text


@pytest.mark.parametrize(
    "came_from",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example/",
        "\\\\evil.example/",
        "/\t/evil.example/",
        "/\n/evil.example",
        " //evil.example",
        "http:evil.example",
        "http:///evil.example",
        "http://localhost@evil.example/",
        "http://localhost:80@evil.example/",
        "http://localhost.evil.example/",
        "http://localhost//evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "evil.example",
        "http://[::1",
        "/" + "x" * 2000,
        "",
        "/x\x85",
    ],
)
def test_it_goes_on_to_no_other_host(browser, came_from):
    response = browser.log_in(came_from=came_from)
    assert response.headers["Refresh"] == "0; url=/c2c"
    logout = browser.get("/c2c/github-logout", came_from=came_from)
    assert (logout.status_int, logout.location) == (302, "http://localhost/c2c")


@pytest.mark.parametrize(
    ("came_from", "target"),
    [
        ("/", "/"),
        ("/c2c/look?a=%2F&b=é#c", "/c2c/look?a=%2F&b=%C3%A9"),
        ("http://localhost/c2c/look", "/c2c/look"),
        ("http://LOCALHOST", "/"),
        ("/a;b,c'\"<>", "/a;b,c'%22%3C%3E"),
        ("/?next=//evil.example", "/?next=//evil.example"),
    ],
)
def test_it_goes_on_to_where_it_came_from(browser, came_from, target):
    assert browser.log_in(came_from=came_from).headers["Refresh"] == f"0; url={target}"


def test_a_name_with_html_is_text(start, github):
    github.add(
        "mallory",
        {REPOSITORY: "push"},
        name="<img src=x onerror=alert(1)>\n",
        url="javascript:alert(1)",
    )
    browser = start(**github.environ(REPOSITORY))
    page = browser.log_in().text
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "javascript:" not in page
    error = browser.get("/c2c/look", headers=HTML, bad="1")
    assert "<img" not in error.text
    assert browser.get("/mine").json["user"]["url"] == ""


def test_somebody_without_a_name_goes_by_his_login(start, github):
    github.add("nameless", {REPOSITORY: "push"})
    browser = start(**github.environ(REPOSITORY))
    browser.log_in()
    assert browser.get("/mine").json["user"]["name"] == "nameless"


def test_the_logout_forgets_everything(browser):
    browser.log_in()
    response = browser.get("/c2c/github-logout", came_from="/mine")
    assert (response.status_int, response.location) == (302, "http://localhost/mine")
    assert browser.cookies == {}
    assert browser.get("/c2c/look").status_int == 403


UNAVAILABLE = "GitHub cannot be asked now what you may do here: try again in 5 s"


@pytest.mark.parametrize("status", [None, 500, 502, 503])
def test_while_github_is_away_nothing_is_opened_and_that_is_said_once(
    browser, github, caplog, status
):
    browser.log_in()
    assert browser.get("/c2c/look").status_int == 200
    if status is None:
        github.stop()
    else:
        github.status = status
    # What is known stays good.
    assert browser.get("/c2c/look").status_int == 200
    advance(browser, 301)
    for _ in range(3):
        response = browser.get("/c2c/look")
        assert response.json == {"message": UNAVAILABLE, "status": 503}
        assert response.headers["Retry-After"] == "5"
    page = browser.get("/c2c/look", headers=HTML)
    assert (page.status_int, page.content_type) == (503, "text/html")
    assert UNAVAILABLE in page.text
    assert "Traceback" not in page.text
    assert browser.get("/mine").json == {"auth": False, "user": {}, "access": False}
    console = browser.get("/c2c").json
    assert (console["login"], console["access"]) == ("octocat", "PUBLIC")
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "c2cotel.auth.github" in {r.name for r in caplog.records}
    # And back.
    github.status = 0
    if status is None:
        github.start()
    advance(browser, 6)
    assert browser.get("/c2c/look").status_int == 200
    assert caplog.text.count("GitHub answers again") == 1


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (403, {"X-RateLimit-Remaining": "0"}, 60),
        (429, {}, 60),
        (403, {"Retry-After": "7"}, 7),
        (429, {"Retry-After": "99999999999"}, 60),
    ],
)
def test_a_limit_of_github_is_waited_for(browser, github, status, headers, seconds):
    browser.log_in()
    advance(browser, 301)
    github.status, github.headers = status, headers
    for _ in range(2):
        response = browser.get("/c2c/look")
        assert (response.status_int, response.headers["Retry-After"]) == (503, str(seconds))
    asked = len(github.requests)
    github.status, github.headers = 0, {}
    advance(browser, seconds + 1)
    assert browser.get("/c2c/look").status_int == 200
    assert len(github.requests) == asked + 1


def test_a_403_that_is_no_limit_is_no_right(browser, github):
    browser.log_in()
    advance(browser, 301)
    github.status = 403
    assert browser.get("/c2c/look").status_int == 403
    assert "c2c-auth-jwt" in browser.cookies


@pytest.mark.parametrize("body", ["<html>", "[]", "null", '"x"', ""])
def test_an_answer_that_makes_no_sense_is_none(start, github, httpserver, caplog, body):
    httpserver.expect_request(f"/{REPOSITORY}").respond_with_data(body)
    environ = {**github.environ(REPOSITORY), "C2C_AUTH_GITHUB_REPO_URL": httpserver.url_for("/")}
    browser = start(**environ)
    browser.log_in()
    for _ in range(2):
        assert browser.get("/c2c/look").json == {"message": UNAVAILABLE, "status": 503}
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


@pytest.mark.parametrize("permissions", [None, [], {"pull": "yes", "push": 1}])
def test_only_what_is_clearly_granted_is(start, github, httpserver, permissions):
    body = {"private": True, "permissions": permissions}
    httpserver.expect_request(f"/{REPOSITORY}").respond_with_json(body)
    environ = {**github.environ(REPOSITORY), "C2C_AUTH_GITHUB_REPO_URL": httpserver.url_for("")}
    browser = start(**environ)
    browser.log_in()
    assert browser.get("/c2c/look").status_int == 403


def test_a_github_that_never_answers_is_not_waited_for(start, github, monkeypatch):
    monkeypatch.setattr("c2cotel.auth.github._TIMEOUT", (0.2, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environ = {**github.environ(REPOSITORY), "C2C_AUTH_GITHUB_REPO_URL": silent_url}
        browser = start(**environ)
        browser.log_in()
        assert browser.get("/c2c/look").status_int == 503


@pytest.mark.parametrize("user", [{}, {"login": None}, {"login": ""}, {"login": 7}])
def test_somebody_without_a_login_is_nobody(start, github, httpserver, user):
    httpserver.expect_request("/user").respond_with_json(user)
    environ = {
        **github.environ(REPOSITORY),
        "C2C_AUTH_GITHUB_USER_URL": httpserver.url_for("/user"),
    }
    browser = start(**environ)
    assert browser.log_in().status_int == 503
    assert browser.cookies == {}


def test_a_wrong_secret_of_the_application_is_told(start, github, caplog):
    environ = {**github.environ(REPOSITORY), "C2C_AUTH_GITHUB_CLIENT_SECRET": "not-the-one"}
    response = start(**environ).log_in()
    assert response.status_int == 403
    assert "incorrect_client_credentials" in response.json["message"]
    assert "incorrect_client_credentials" in caplog.text
    assert "not-the-one" not in caplog.text + response.text


@pytest.mark.parametrize("status", [None, 500])
def test_a_login_while_github_is_away_says_so(browser, github, caplog, status):
    back = browser.to_github_and_back()
    github.stop() if status is None else setattr(github, "status", status)
    response = browser.get(back.removeprefix("http://localhost"), headers=HTML)
    assert (response.status_int, response.headers["Retry-After"]) == (503, "5")
    assert "GitHub does not answer: log in again in 5 s" in response.text
    for secret in ("c2c-client-secret", github.code, "Traceback"):
        assert secret not in response.text + caplog.text


def test_no_secret_is_logged(browser, github, caplog):
    caplog.set_level(logging.DEBUG)
    browser.log_in()
    browser.get("/c2c/look")
    (token,) = github.tokens
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("c2cotel"))
    assert "octocat has logged in from 192.0.2.7" in ours
    for secret in (token, github.code, "c2c-client-secret", "the-secret-of-the-cookies"):
        assert secret not in caplog.text
        assert secret not in repr([vars(browser.authority), browser.authority.github.__dict__])


@pytest.mark.parametrize("proxy", ["https://r.example/redirect", "https://r.example/redirect?a=b"])
def test_a_proxy_between_github_and_the_callback(start, github, proxy):
    browser = start(**github.environ(REPOSITORY), C2C_AUTH_GITHUB_PROXY_URL=proxy)
    authorize = browser.get("/c2c/github-login").location
    back = urlsplit(github.send_back(authorize))
    query = parse_qs(back.query)
    assert (query.pop("came_from"), query.pop("a", None)) == (
        ["http://localhost/c2c/github-callback"],
        ["b"] if "?" in proxy else None,
    )
    # The proxy sends on what it has got besides.
    (code,), (state,) = query["code"], query["state"]
    assert browser.get("/c2c/github-callback", code=code, state=state).status_int == 200
    assert browser.get("/c2c/look").status_int == 200


def test_the_state_in_the_session_of_the_application(start, github):
    browser = start(**github.environ(REPOSITORY), C2C_USE_SESSION="true")
    response = browser.get("/c2c/github-login")
    assert list(browser.cookies) == ["session"]
    assert asked(response)["state"] not in browser.cookies["session"].value
    back = github.send_back(response.location)
    assert browser.open(forged(back, state="x")).status_int == 403
    assert browser.open(back).status_int == 403  # it was taken by the forged one
    assert browser.log_in().status_int == 200
    assert browser.get("/c2c/look").status_int == 200


def test_below_a_route_prefix(start, github):
    browser = start(prefix="app", **github.environ(REPOSITORY))
    back = github.send_back(browser.get("/app/c2c/github-login").location)
    assert back.startswith("http://localhost/app/c2c/github-callback?")
    assert browser.cookies["c2c-auth-jwt-login"]["path"] == "/app/c2c/github-callback"
    assert browser.open(back).headers["Refresh"] == "0; url=/app/c2c"
    assert browser.get("/app/c2c/look").status_int == 200


@pytest.mark.parametrize(
    ("repository", "right", "allowed"),
    [
        (None, None, True),
        (REPOSITORY, "pull", True),
        (REPOSITORY, "admin", False),
        ("camptocamp/other", None, True),
        ("camptocamp/other", "admin", True),
        ("camptocamp/unknown", "pull", False),
        ("../user", "pull", False),
        ("camptocamp/..", "pull", False),
        ("camptocamp/private?x", "pull", False),
        ("", "push", True),
        (REPOSITORY, "login", False),
    ],
)
def test_an_application_asks_for_rights_on_any_repository(
    browser, github, repository, right, allowed
):
    github.users["octocat"].rights["camptocamp/other"] = "admin"
    browser.log_in()
    query = {"repository": repository, "right": right}
    given = {name: value for name, value in query.items() if value is not None}
    assert browser.get("/mine", **given).json["access"] is allowed


def test_a_right_elsewhere_is_no_right_here(start, github):
    github.add("elsewhere", {"camptocamp/other": "admin"})
    browser = start(**github.environ(REPOSITORY))
    browser.log_in()
    answer = browser.get("/mine", repository="camptocamp/other", right="admin").json
    assert (answer["auth"], answer["access"]) == (False, True)
