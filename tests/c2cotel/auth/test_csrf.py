"""A change by cookie needs the token of the session, and a page of ours that asks for it."""

import pytest

SECRET = "correct horse battery"


@pytest.fixture
def browser(start):
    browser = start(C2C_SECRET=SECRET)
    browser.csrf = browser.get("/c2c", secret=SECRET).json["csrf"]
    return browser


def test_the_token_is_a_field_or_a_header(browser):
    assert browser.post("/c2c/change", set="1", csrf_token=browser.csrf).status_int == 200
    header = {"X-CSRF-Token": browser.csrf}
    assert browser.post("/c2c/change", set="1", headers=header).status_int == 200


def test_it_stays_the_same_when_somebody_looks_and_changes_with_a_new_login(browser):
    assert browser.get("/c2c").json["csrf"] == browser.csrf
    assert browser.get("/c2c", secret=SECRET).json["csrf"] == browser.csrf
    browser.get("/c2c", secret="")
    assert browser.get("/c2c", secret=SECRET).json["csrf"] != browser.csrf


@pytest.mark.parametrize("token", [None, "", "x", "ü", "token of another session"])
def test_without_it_nothing_is_changed(browser, start, token):
    if token == "token of another session":
        token = start(C2C_SECRET=SECRET).get("/c2c", secret=SECRET).json["csrf"]
    fields = {} if token is None else {"csrf_token": token}
    response = browser.post("/c2c/change", set="1", **fields)
    assert response.status_int == 403
    assert response.json["message"].startswith(
        "The field csrf_token (or the header X-CSRF-Token) is missing or wrong"
    )


def test_a_file_in_its_place_is_wrong(browser):
    response = browser.post("/c2c/change", set="1", csrf_token=("file.txt", b"x"))
    assert response.status_int == 403


def test_who_brings_the_secret_needs_no_token(browser):
    assert browser.post("/c2c/change", set="1", secret=SECRET).status_int == 200
    assert browser.post("/c2c/change", set="1", headers={"X-API-Key": SECRET}).status_int == 200


def test_a_change_by_get_needs_the_secret(browser):
    assert browser.get("/c2c/change", set="1", secret=SECRET).status_int == 200
    assert browser.get("/c2c/change", set="1").status_int == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "https://localhost"}, 200),
        ({"Origin": "null"}, 200),
        ({"Origin": "http://localhost:8080"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://[::1"}, 403),
        # What it says of the site is by the browser that knows; the host may be a proxy's.
        ({"Origin": "https://public.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_a_page_of_another_site_changes_nothing_even_with_the_token(browser, headers, status):
    response = browser.post("/c2c/change", headers=headers, set="1", csrf_token=browser.csrf)
    assert response.status_int == status
