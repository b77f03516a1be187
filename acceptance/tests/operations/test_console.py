"""The console as a person sees it, in a real browser.

What it looks like is kept in ``.cache/screenshots``.
"""

import contextlib
import os
import re
import signal
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import requests

from c2cotel_acceptance.processes import pause
from c2cotel_acceptance.utils import retry_timeout

PHONE = {"viewport": {"width": 375, "height": 667}, "is_mobile": True, "has_touch": True}
PAGES = ("", "logging", "settings", "changes")


@pytest.fixture
def operator(shared):
    return shared("redis")


@pytest.fixture
def visit(chromium, operator):
    """Opens the console in a browser that nobody has used."""

    @contextlib.contextmanager
    def look(**options):
        with chromium.visit(**options) as visit:
            visit.page.goto(f"{operator.url}/c2c")
            yield visit

    return look


def log_in(page, secret):
    page.get_by_label("Secret").fill(secret)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()


def set_level(page, name, level):
    page.get_by_label("Logger", exact=True).fill(name)
    page.get_by_label("Level", exact=True).select_option(level)
    page.get_by_role("button", name="Set level").click()


def test_the_login_shows_what_there_is_and_the_logout_hides_it(operator, visit, secret):
    with visit() as it:
        it.screenshot("console-anonymous")
        assert it.page.get_by_text("Log levels").count() == 0
        log_in(it.page, secret)
        # The secret is in no address, nor does going back send it again.
        assert "secret" not in it.page.url
        it.screenshot("console")
        for pid in operator.service.workers():
            assert it.page.get_by_role("rowheader", name=str(pid)).count() == 1
        assert it.page.get_by_text("Redis connected").count() == 1
        it.page.get_by_role("link", name="Log levels").click()
        it.page.get_by_role("heading", name="Log levels").wait_for()
        it.page.go_back()
        it.page.get_by_role("button", name="Log out").click()
        it.page.get_by_label("Secret").wait_for()
        assert it.page.context.cookies() == []
        it.page.goto(f"{operator.url}/c2c/logging")
        assert "Missing or invalid secret" in it.page.text_content("body")
        it.screenshot("refused")
        assert [error for error in it.errors if "403" not in error] == []


def test_a_wrong_secret_is_said(visit):
    with visit() as it:
        it.page.get_by_label("Secret").fill("a wrong one")
        it.page.get_by_role("button", name="Log in").click()
        assert "Missing or invalid secret" in it.page.get_by_role("alert").text_content()
        it.screenshot("wrong-secret")
        assert it.page.get_by_label("Secret").input_value() == ""
        assert it.violations() == []


def test_a_level_is_set_for_a_while_and_expires(operator, visit, secret):
    with visit() as it:
        log_in(it.page, secret)
        it.page.get_by_role("link", name="Log levels").click()
        duration = it.page.get_by_label("For", exact=True)
        assert duration.input_value() == "3600", "an hour is proposed"
        # Nobody wants to wait for that here.
        duration.evaluate("select => select.add(new Option('3 seconds', '3', true, true))")
        set_level(it.page, "browser.test", "DEBUG")
        overrides = it.page.get_by_role("region", name="Overrides")
        overrides.get_by_role("rowheader", name="browser.test").wait_for()
        assert operator.read_back("browser.test") == {("DEBUG", "DEBUG", "DEBUG")}
        it.screenshot("levels")

        def expired():
            it.page.reload()
            return overrides.get_by_role("rowheader", name="browser.test").count() == 0

        retry_timeout(expired, 10, interval=0.2)
        assert operator.read_back("browser.test") == {("NOTSET", "WARNING", None)}
        it.page.goto(f"{operator.url}/c2c/changes")
        rows = it.page.get_by_role("row").filter(has_text="browser.test")
        assert rows.count() >= 2
        assert "expired" in rows.first.text_content()
        it.screenshot("changes")
        assert it.errors == []


def test_with_the_keyboard_only(operator, visit, secret):
    with visit() as it:
        keyboard, page = it.page.keyboard, it.page

        def focused():
            return page.evaluate(
                "(document.activeElement.labels?.[0] || document.activeElement).textContent.trim()"
            )

        def tab_to(text):
            for _ in range(60):
                keyboard.press("Tab")
                if focused() == text:
                    return
            raise AssertionError(f"{text} is not reached with the Tab key")

        tab_to("Secret")
        keyboard.type(secret)
        keyboard.press("Enter")
        page.get_by_role("button", name="Log out").wait_for()
        tab_to("Log levels")
        keyboard.press("Enter")
        page.get_by_role("heading", name="Log levels").wait_for()
        for _ in range(60):
            keyboard.press("Tab")
            if page.evaluate("document.activeElement.name") == "name":
                break
        keyboard.type("keyboard.test")
        keyboard.press("Enter")
        page.get_by_role("rowheader", name="keyboard.test").first.wait_for()
        assert operator.level("keyboard.test")["level"] == "DEBUG"
        operator.get("logging/level", name="keyboard.test", reset="1")


def test_without_script_it_works_as_well(operator, visit, secret):
    with visit(java_script_enabled=False) as it:
        log_in(it.page, secret)
        it.page.get_by_role("link", name="Log levels").click()
        set_level(it.page, "scriptless", "ERROR")
        it.page.get_by_role("button", name="Reset scriptless").wait_for()
        assert operator.level("scriptless")["level"] == "ERROR"
        it.screenshot("without-script")
        it.page.get_by_role("button", name="Reset scriptless").click()
        it.page.get_by_role("button", name="Reset scriptless").wait_for(state="detached")
        assert operator.level("scriptless")["level"] == "NOTSET"
        it.page.goto(f"{operator.url}/c2c/settings")
        it.page.get_by_role("searchbox").fill("redis_url")
        it.page.get_by_role("button", name="Search").click()
        assert it.page.get_by_text("C2C_REDIS_URL").count() >= 1
        it.page.goto(f"{operator.url}/c2c")
        it.page.get_by_role("button", name="Log out").click()
        it.page.get_by_label("Secret").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hinders_who_sees_or_moves_otherwise(operator, visit, secret, scheme):
    with visit(color_scheme=scheme) as it:
        assert it.violations() == []
        log_in(it.page, secret)
        operator.level("shown", level="DEBUG", ttl="60")
        for path in PAGES:
            it.page.goto(f"{operator.url}/c2c/{path}")
            it.screenshot(f"{path or 'console'}-{scheme}")
            assert it.violations() == [], path
        assert it.errors == []
        operator.get("logging/level", name="shown", reset="1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off(operator, visit, secret, scheme):
    with visit(color_scheme=scheme, **PHONE) as it:
        it.screenshot(f"phone-anonymous-{scheme}")
        log_in(it.page, secret)
        for path in PAGES:
            it.page.goto(f"{operator.url}/c2c/{path}")
            it.screenshot(f"phone-{path or 'console'}-{scheme}")
            width = it.page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["viewport"]["width"], path
        assert it.violations() == []


def test_nothing_comes_from_elsewhere_and_no_script_is_inline(operator, visit, secret):
    with visit() as it:
        asked = []
        it.page.on("request", lambda request: asked.append(request.url))
        log_in(it.page, secret)
        for path in PAGES:
            it.page.goto(f"{operator.url}/c2c/{path}")
            html = it.page.content()
            assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
            assert re.findall(r"""<[^>]+\s(on\w+|style)\s*=\s*["']""", html) == []
            assert "javascript:" not in html
        assert {urlsplit(url).netloc for url in asked} == {urlsplit(operator.url).netloc}
        assert it.errors == []
        # Were there a hole, the policy would still stop it.
        it.page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.evil = 1';"
            " document.body.append(s) }"
        )
        assert it.page.evaluate("window.evil") is None


@pytest.mark.parametrize("path", ["", "logging", "settings", "changes", "no-such-page"])
@pytest.mark.parametrize("known", [True, False])
def test_the_headers_pass_the_checklist(operator, path, known):
    who = operator if known else replace(operator, secret=None)
    headers = who.ask("GET", f"/c2c/{path}", headers={"Accept": "text/html"}).headers
    if path == "no-such-page":
        return  # the application's own page
    policy = dict(
        directive.strip().split(" ", 1)
        for directive in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"unsafe|\*|https?:|data:", headers["Content-Security-Policy"])
    for name in ("base-uri", "form-action"):
        assert policy.get(name) in ("'none'", "'self'", None)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] in ("no-referrer", "same-origin")
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "no-store" in headers["Cache-Control"]
    assert headers["Content-Type"] == "text/html; charset=UTF-8"
    assert "Access-Control-Allow-Origin" not in headers


def test_the_stylesheet_and_the_script_are_kept_and_typed(operator):
    page = operator.anonymous().get("").text
    for address in re.findall(r'(?:href|src)="(/c2c/static/[^"]+)"', page):
        answer = requests.get(f"{operator.url}{address}", timeout=10)
        assert answer.status_code == 200
        assert "max-age=31536000" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in answer.headers


def test_what_a_logger_is_called_is_only_text(operator, visit, secret):
    evil = "<img src=x onerror=document.title='evil'>"
    operator.level(evil, level="DEBUG", ttl="60")
    with visit() as it:
        log_in(it.page, secret)
        for path in ("logging", "changes", ""):
            it.page.goto(f"{operator.url}/c2c/{path}")
            assert it.page.locator("img").count() == 0
            assert it.page.get_by_text(evil).count() >= 1
            assert "evil" not in it.page.title()
        assert it.errors == []
    operator.get("logging/level", name=evil, reset="1")


@pytest.mark.alone
def test_a_stopped_process_is_named_silent_and_costs_less_than_a_second(operator, visit, secret):
    victim = operator.service.workers()[0]
    with visit() as it:
        log_in(it.page, secret)
        pause(victim)
        try:
            began = time.monotonic()
            it.page.reload()
            took = time.monotonic() - began
            row = it.page.get_by_role("row").filter(has_text=str(victim))
            assert "silent" in row.text_content()
            it.screenshot("silent-worker")
        finally:
            os.kill(victim, signal.SIGCONT)
        assert took < 1.5
