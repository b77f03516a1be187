"""What is decided at the start, and what applications of c2cwsgiutils call."""

import logging
import sys

import pytest
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden, HTTPTooManyRequests
from pyramid.registry import Registry
from pyramid.request import Request

from c2cotel import auth
from c2cotel.auth.github import GitHub
from c2cotel.auth.login import GitHubAuthority
from c2cotel.auth.secret import SecretAuthority
from c2cotel.pyramid.access import Nobody
from c2cotel.settings import SettingsError

GITHUB = {
    "C2C_AUTH_GITHUB_REPOSITORY": "camptocamp/private",
    "C2C_AUTH_GITHUB_CLIENT_ID": "the-id",
    "C2C_AUTH_GITHUB_CLIENT_SECRET": "the-secret",
    "C2C_AUTH_GITHUB_SECRET": "the-secret-of-the-cookies",
}
INI = {
    "C2C_AUTH_GITHUB_REPOSITORY": "c2c.auth.github.repository",
    "C2C_AUTH_GITHUB_CLIENT_ID": "c2c.auth.github.client_id",
    "C2C_AUTH_GITHUB_CLIENT_SECRET": "c2c.auth.github.client_secret",
    "C2C_AUTH_GITHUB_SECRET": "c2c.auth.github.auth.secret",
}
Type = auth.AuthenticationType


@pytest.mark.parametrize(
    ("environ", "authority", "kind"),
    [
        ({}, Nobody, Type.NONE),
        ({"C2C_SECRET": "  "}, Nobody, Type.NONE),
        ({"C2C_AUTH_GITHUB_SECRET": "the-secret-of-the-cookies"}, Nobody, Type.NONE),
        ({"C2C_SECRET": "correct horse"}, SecretAuthority, Type.SECRET),
        (GITHUB, GitHubAuthority, Type.GITHUB),
        ({**GITHUB, "C2C_SECRET": "correct horse"}, SecretAuthority, Type.SECRET),
        (
            {"C2C_SECRET": "correct horse", "C2C_AUTH_GITHUB_CLIENT_ID": "x"},
            SecretAuthority,
            Type.SECRET,
        ),
    ],
)
def test_the_settings_decide(start, environ, authority, kind):
    browser = start(**environ)
    assert type(browser.authority) is authority
    assert auth.auth_type({}) is kind
    assert auth.auth_type(None) is kind
    status = 302 if kind is Type.GITHUB else 404
    for path in ("login", "logout"):
        assert browser.get(f"/c2c/github-{path}").status_int == status


def test_the_ini_decides_as_well(start):
    settings = {INI[name]: value for name, value in GITHUB.items()}
    assert type(start(settings=settings).authority) is GitHubAuthority
    assert auth.auth_type(settings) is Type.GITHUB
    assert auth.auth_type({"c2c.secret": "  "}) is Type.NONE


@pytest.mark.parametrize("given", ["REPOSITORY", "CLIENT_ID", "CLIENT_SECRET"])
def test_a_login_by_github_that_is_half_set_up_stops_the_start(start, given):
    name = f"C2C_AUTH_GITHUB_{given}"
    with pytest.raises(SettingsError) as error:
        start(**{name: GITHUB[name]})
    missing = ", ".join(f"{env} (in the ini: {ini})" for env, ini in INI.items() if env != name)
    expected = f"The login by GitHub lacks {missing}. Set that too, or nothing of it."
    assert str(error.value) == expected
    assert auth.auth_type({}) is Type.NONE


def test_a_short_key_of_the_cookies_stops_the_start(start):
    with pytest.raises(
        SettingsError, match=r"C2C_AUTH_GITHUB_SECRET = \*\*\*: shorter than the 16"
    ):
        start(**{**GITHUB, "C2C_AUTH_GITHUB_SECRET": "short"})


def test_without_authlib_the_start_says_what_to_install(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "authlib", None)
    with pytest.raises(SettingsError, match=r"needs authlib: pip install 'c2cotel\[oauth\]'"):
        start(**GITHUB)


def test_a_short_secret_is_warned_about_and_works(start, caplog):
    browser = start(C2C_SECRET="eleven-long")
    assert browser.get("/c2c/look", secret="eleven-long").status_int == 200
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "C2C_SECRET has fewer than 12 characters" in record.getMessage()
    assert "eleven-long" not in caplog.text


def test_a_secret_that_is_soon_guessed_stops_the_start(start):
    with pytest.raises(SettingsError, match=r"c2c.secret = \*\*\*"):
        start(settings={"c2c.secret": " " * 20})
    with pytest.raises(SettingsError, match=r"C2C_SECRET = \*\*\*: .* fewer than 8 characters"):
        start(C2C_SECRET="seven77")


def test_a_state_in_sessions_that_do_not_exist_stops_the_start(monkeypatch):
    for name, value in {**GITHUB, "C2C_USE_SESSION": "1"}.items():
        monkeypatch.setenv(name, value)
    config = Configurator(settings={})
    config.add_directive("add_c2c_view", lambda *_, **__: None)
    config.include("c2cotel.auth")
    with pytest.raises(Exception, match="the application has no sessions") as error:
        config.commit()
    assert isinstance(error.value, SettingsError) or "SettingsError" in str(error.value)


def test_the_name_of_the_cookie_is_a_setting(start):
    browser = start(C2C_SECRET="correct horse", C2C_AUTH_COOKIE="other")
    browser.get("/c2c/look", secret="correct horse")
    assert list(browser.cookies) == ["other"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_ENV", "C2C_SECRET"),
        ("SECRET_PROP", "c2c.secret"),
        ("GITHUB_CLIENT_ID_ENV", "C2C_AUTH_GITHUB_CLIENT_ID"),
        ("GITHUB_CLIENT_SECRET_PROP", "c2c.auth.github.client_secret"),
        ("GITHUB_AUTH_URL_ENV", "C2C_AUTH_GITHUB_AUTH_URL"),
        ("GITHUB_AUTH_SECRET_PROP", "c2c.auth.github.auth.secret"),
        ("GITHUB_AUTH_COOKIE_ENV", "C2C_AUTH_GITHUB_COOKIE"),
        ("GITHUB_AUTH_PROXY_URL_PROP", "c2c.auth.github.auth.proxy_url"),
        ("USE_SESSION_ENV", "C2C_USE_SESSION"),
        ("USE_SESSION_PROP", "c2c.use_session"),
    ],
)
def test_the_constants_of_c2cwsgiutils_are_here(name, value):
    assert getattr(auth, name) == value


def test_every_constant_is_a_name_that_the_settings_know():
    from c2cotel import schema
    from c2cotel.auth import names
    from c2cotel.settings import Settings

    keys = schema.keys(Settings)
    known = {env for key in keys for env in key.env} | {key.ini for key in keys}
    constants = {value for name, value in vars(names).items() if name.endswith(("_ENV", "_PROP"))}
    assert constants <= known


@pytest.mark.parametrize(
    ("env", "ini", "enabled"),
    [
        ("", {}, False),
        ("1", {}, True),
        ("on", {"mine.enabled": "false"}, True),
        ("no", {"mine.enabled": "true"}, False),
        ("", {"mine.enabled": "Yes"}, True),
        ("", {"mine.enabled": True}, True),
        ("", {"mine.enabled": ""}, False),
    ],
)
def test_whether_a_view_of_the_application_is_enabled(monkeypatch, env, ini, enabled):
    monkeypatch.setenv("MINE_ENABLED", env)
    config = Configurator(settings=ini)
    assert auth.is_enabled(config, "MINE_ENABLED", "mine.enabled") is enabled
    assert auth.is_enabled(config, config_name="mine.enabled") is (
        str(ini.get("mine.enabled")).lower() in ("true", "yes")
    )


def test_what_is_neither_true_nor_false_stops_the_start(monkeypatch):
    monkeypatch.setenv("MINE_ENABLED", "perhaps")
    with pytest.raises(SettingsError, match="MINE_ENABLED = 'perhaps': neither true nor false"):
        auth.is_enabled(Configurator(), "MINE_ENABLED")


def request(settings=None, **headers):
    made = Request.blank("/", headers={key.replace("_", "-"): v for key, v in headers.items()})
    made.registry = Registry("an application that includes nothing")
    made.registry.settings = settings or {}
    return made


def test_it_works_in_an_application_that_includes_nothing():
    settings = {"c2c.secret": "correct horse"}
    assert auth.get_expected_secret(request(settings)) == "correct horse"
    assert auth.get_expected_secret(request()) == ""
    good = request(settings, X_API_Key="correct horse")
    assert auth.is_auth_user(good) == (True, {})
    assert auth.is_auth(good)
    assert auth.check_access(good, "camptocamp/any", "admin")
    assert auth.check_access_config(good, {"github_repository": "a/b", "github_access_type": "x"})
    auth.auth_view(good)
    for bad in (request(settings), request(settings, X_API_Key="x"), request()):
        assert auth.is_auth_user(bad) == (False, {})
        assert not auth.check_access_config(bad, {})
        with pytest.raises(HTTPForbidden, match="Missing or invalid secret"):
            auth.auth_view(bad)


def test_auth_view_tells_who_is_slowed_down():
    settings = {"c2c.secret": "correct horse"}
    first = request(settings, X_API_Key="x")
    for number in range(5):
        again = request(settings, X_API_Key=f"x{number}")
        again.registry = first.registry
        assert not auth.is_auth(again)
    with pytest.raises(HTTPTooManyRequests, match="try again in 1 s"):
        auth.auth_view(first)


def test_a_request_that_cannot_be_read_is_anonymous():
    settings = {"c2c.secret": "correct horse"}
    for path, kwargs in (
        ("/?secret=%ff%fe", {}),
        ("/?%ff=1", {}),
        (
            "/",
            {
                "method": "POST",
                "body": b"%ff=%fe",
                "content_type": "application/x-www-form-urlencoded",
            },
        ),
        ("/", {"method": "POST", "body": b"x", "content_type": "multipart/form-data"}),
        (
            "/",
            {"method": "POST", "body": b"x", "content_type": "multipart/form-data; boundary=\xff"},
        ),
        ("/", {"method": "POST", "body": b'{"secret": 1}', "content_type": "application/json"}),
    ):
        made = Request.blank(path, **kwargs)
        made.registry = Registry("x")
        made.registry.settings = settings
        assert auth.is_auth(made) is False


def test_nothing_of_it_is_shown(start):
    browser = start(**GITHUB)
    github = browser.authority.github
    assert isinstance(github, GitHub)
    shown = repr([browser.authority, github, browser.authority.jar, github._configured])
    for secret in ("the-secret", "the-secret-of-the-cookies"):
        assert secret not in shown
