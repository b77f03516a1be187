"""The addresses of the predecessor: same parameters, same bodies, same headers."""

import json
import time
from email.utils import parsedate_to_datetime

import pytest

from c2cotel_acceptance.utils import retry_timeout

PROTECTED = ["logging/level", "versions.json"]
NO_SECRET = "Missing or invalid secret (parameter, X-API-Key header or cookie)"
CACHE_CONTROL = {"max-age=0", "must-revalidate", "no-cache", "no-store"}


@pytest.fixture
def operator(shared):
    return shared("no-redis")


def test_the_levels_have_the_keys_of_the_seed_and_no_more(operator):
    """Each is also to the letter what JSON says without blanks."""
    for parameters, expected in (
        ({}, {"status": 200, "overrides": {}}),
        (
            {"name": "c2cotel_app"},
            {"status": 200, "name": "c2cotel_app", "level": "INFO", "effective_level": "INFO"},
        ),
        (
            {"name": "no.such.logger"},
            {
                "status": 200,
                "name": "no.such.logger",
                "level": "NOTSET",
                "effective_level": "WARNING",
            },
        ),
        (
            {"name": ""},
            {"status": 200, "name": "", "level": "WARNING", "effective_level": "WARNING"},
        ),
        (
            {"name": "views.test", "level": "debug"},
            {"status": 200, "name": "views.test", "level": "DEBUG", "effective_level": "DEBUG"},
        ),
        # What was given stays as it was given.
        ({}, {"status": 200, "overrides": {"views.test": "debug"}}),
    ):
        answer = operator.get("logging/level", **parameters)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.json() == expected
        assert answer.text == json.dumps(expected, separators=(",", ":"))


def test_the_versions_are_those_of_the_file(operator, versions):
    answer = operator.get("versions.json")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json() == versions


def test_the_scrape_has_the_versions(operator, versions):
    def build_info():
        return [s for s in operator.service.scrape().samples if "build_info" in s.name]

    # Each process looks after its gauges every five seconds.
    (told,) = retry_timeout(build_info, 10, interval=0.2)
    assert (told.name, told.value) == ("c2c_build_info", 1)
    assert told.labels["git_hash"] == versions["main"]["git_hash"]
    assert {"c2cotel", "pyramid", "gunicorn", "SQLAlchemy", "application"} <= set(told.labels)


@pytest.mark.parametrize("path", PROTECTED)
def test_without_the_secret_it_is_403_with_the_words_of_the_seed(operator, path):
    answer = operator.anonymous().get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/json")
    assert answer.text == json.dumps({"message": NO_SECRET, "status": 403})


@pytest.mark.parametrize("path", ["", *PROTECTED])
@pytest.mark.parametrize("secret", [True, False])
def test_nothing_is_cached_nor_guessed(operator, path, secret):
    who = operator if secret else operator.anonymous()
    headers = who.get(path).headers
    assert set(headers["Cache-Control"].split(", ")) >= CACHE_CONTROL
    assert abs(parsedate_to_datetime(headers["Expires"]).timestamp() - time.time()) < 5
    assert headers["Pragma"] == "no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["", *PROTECTED])
def test_head_is_get_without_the_body(operator, path):
    get, head = operator.get(path), operator.ask("HEAD", f"/c2c/{path}")
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize("verb", ["PUT", "DELETE", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["", *PROTECTED])
def test_a_wrong_verb_is_405_and_says_which_are_right(operator, verb, path):
    answer = operator.ask(verb, f"/c2c/{path}")
    assert answer.status_code == 405
    allowed = set(answer.headers["Allow"].split(", "))
    assert {"GET", "HEAD"} <= allowed <= {"GET", "HEAD", "POST", "OPTIONS"}
    assert answer.json()["status"] == 405


def test_a_post_where_nothing_can_be_changed_is_405(operator):
    assert operator.post("versions.json").status_code == 405


def test_a_head_changes_nothing(operator):
    operator.ask("HEAD", "/c2c/logging/level?name=by.head&level=DEBUG")
    assert "by.head" not in operator.get("logging/level").json()["overrides"]


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"name": "bad.input", "level": "LOUD"}, "level"),
        ({"name": "bad.input", "level": ""}, "level"),
        ({"name": "bad.input", "level": "10"}, "level"),
        ({"level": "DEBUG"}, "name"),
        ({"name": "bad.input", "level": "DEBUG", "ttl": "-1"}, "ttl"),
        ({"name": "bad.input", "level": "DEBUG", "ttl": "0"}, "ttl"),
        ({"name": "bad.input", "level": "DEBUG", "ttl": "soon"}, "ttl"),
        ({"name": "bad.input", "level": "DEBUG", "ttl": "nan"}, "ttl"),
        ({"name": "bad.input", "level": "DEBUG", "ttl": "inf"}, "ttl"),
        ({"name": "bad.input", "level": "DEBUG", "ttl": "1e999"}, "ttl"),
        ({"name": "bad\ninput", "level": "DEBUG"}, "name"),
        ({"name": "x" * 3000, "level": "DEBUG"}, "name"),
    ],
)
def test_bad_input_is_400_says_which_parameter_and_stores_nothing(operator, parameters, word):
    before = operator.get("logging/level").json()
    answer = operator.get("logging/level", **parameters)
    assert answer.status_code == 400
    assert answer.json()["status"] == 400
    assert word in answer.json()["message"]
    assert operator.get("logging/level").json() == before


def test_parameters_that_are_no_utf8_are_400(operator):
    for query in ("name=%FF%FE", "name=a%00b&level=DEBUG", "%FF=1"):
        assert operator.ask("GET", f"/c2c/logging/level?{query}").status_code == 400


def test_the_console_answers_with_and_without_a_slash(operator):
    for path in ("/c2c", "/c2c/"):
        for verb in ("GET", "POST"):
            answer = operator.ask(verb, path)
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"


def test_the_console_has_a_twin_in_json(operator, versions):
    told = operator.get("", format="json").json()
    text = json.dumps(told)
    assert {str(pid) for pid in operator.service.workers()} <= set(
        text.replace(",", " ").replace("}", " ").split()
    )
    assert versions["main"]["git_hash"] in text or "example" in text


def test_anonymous_visitors_see_no_more_than_the_login(operator):
    page = operator.anonymous().get("").text
    assert "password" in page  # the field for the secret
    for hidden in ("logging/level", "versions.json", str(operator.service.workers()[0])):
        assert hidden not in page
    twin = operator.anonymous().get("", format="json").text
    assert str(operator.service.workers()[0]) not in twin


def test_the_environment_turns_the_log_view_off_and_an_empty_one_says_nothing(operate):
    operator = operate(workers=1, env={"C2C_LOG_VIEW_ENABLED": ""})
    # The example's ini has it on.
    assert operator.get("logging/level").status_code == 200
    off = operate(workers=1, env={"C2C_LOG_VIEW_ENABLED": "off"})
    assert off.get("logging/level").status_code == 404


def test_without_versions_there_is_no_view_and_malformed_ones_are_said(operate, tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text('{"main": ')
    env = {"C2C_VERSIONS_FILE": str(broken), "C2C_BASE_PATH": "/ops/deep"}
    operator = operate(workers=1, env=env)
    assert operator.ask("GET", "/ops/deep/versions.json").status_code == 404
    assert len(operator.told(str(broken))) == 1
    # And the console is where the base path is.
    assert operator.ask("GET", "/ops/deep").status_code == 200
    assert operator.ask("GET", "/c2c").status_code == 404


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("C2C_BASE_PATH", "c2c"),
        ("C2C_BASE_PATH", "/c2c/../x"),
        ("C2C_LOG_VIEW_ENABLED", "maybe"),
        ("C2C_REDIS_URL", "redis"),
        ("C2C_REDIS_SENTINELS", "no-port"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(operate, variable, value):
    operator = operate(workers=1, env={variable: value}, ready=False)
    assert operator.service.process.wait(30) != 0
    assert operator.told(f"{variable} = '{value}'")


def test_github_needs_all_of_its_settings(operate):
    env = {
        "C2C_SECRET": "",
        "C2C_AUTH_GITHUB_REPOSITORY": "camptocamp/c2cotel",
        "C2C_AUTH_GITHUB_CLIENT_ID": "id",
        "C2C_AUTH_GITHUB_CLIENT_SECRET": "s",
    }
    operator = operate(workers=1, env=env, ready=False)
    assert operator.service.process.wait(30) != 0
    assert operator.told("C2C_AUTH_GITHUB_SECRET")
