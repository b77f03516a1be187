"""No secret leaves for Sentry, whatever it is in."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2cotel.sentry.scrubbing import FILTERED, Scrubber
from c2cotel.settings import load

SECRET = "correct-horse-battery"

SCRUBBER = Scrubber(
    load({"C2C_SECRET": SECRET, "SENTRY_URL": "https://key@sentry.example/1"}).settings
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /c2c?secret=abc&limit=3", "GET /c2c?secret=[Filtered]&limit=3"),
        ("at postgresql://app:hush@db/app", "at postgresql://app:REDACTED@db/app"),
        ("host=db password=hush user=app", "host=db password=[Filtered] user=app"),
        ("{'api_key': 'a b', 'n': 1}", "{'api_key': [Filtered], 'n': 1}"),
        ('{"access_token": "a\\"b", "n": 1}', '{"access_token": [Filtered], "n": 1}'),
        ("run --password hush --verbose", "run --password [Filtered] --verbose"),
        ("run --token=hush x", "run --token=[Filtered] x"),
        ("Authorization: Bearer hush", "Authorization: [Filtered]"),
        ("password=[Filtered], n=1", "password=[Filtered], n=1"),
        ("C2C_SECRET=hush", "C2C_SECRET=[Filtered]"),
        (f"who said {SECRET}?", "who said [Filtered]?"),
        ("nothing to hide", "nothing to hide"),
        ("the secret garden", "the secret garden"),
        (
            "duplicate key\n[SQL: INSERT INTO t VALUES (1)]\n[parameters: {'a': 'b'}]",
            "duplicate key\n[statement REDACTED]",
        ),
    ],
)
def test_a_text_loses_what_is_secret_in_it(text, expected):
    assert SCRUBBER.text(text) == expected


def test_fields_lose_their_value_by_their_name():
    event = {
        "request": {
            "query_string": "secret=abc&x=1",
            "headers": {"Authorization": "Bearer x", "X-Api-Key": "k", "Accept": "*/*"},
            "cookies": {"session": "x"},
            "data": {"password": "x", "remember": True, "user": "me"},
        },
        "extra": {"sys.argv": ["run", "--password", "hush", "file"], "my_token": 17, "csrf": None},
        "breadcrumbs": {"values": [{"data": {"http.query": "token=x&a=b"}}]},
        "headers": [["Cookie", "a=b"], ["Accept", "*/*"]],
    }
    before = json.dumps(event)
    assert SCRUBBER.scrubbed(event) == {
        "request": {
            "query_string": "secret=REDACTED&x=1",
            "headers": {"Authorization": FILTERED, "X-Api-Key": FILTERED, "Accept": "*/*"},
            "cookies": FILTERED,
            "data": {"password": FILTERED, "remember": True, "user": "me"},
        },
        "extra": {
            "sys.argv": ["run", "--password", FILTERED, "file"],
            "my_token": FILTERED,
            "csrf": None,
        },
        "breadcrumbs": {"values": [{"data": {"http.query": "token=REDACTED&a=b"}}]},
        "headers": [["Cookie", FILTERED], ["Accept", "*/*"]],
    }
    assert json.dumps(event) == before


def test_source_code_is_left_as_it_is_but_for_the_secret_itself():
    frame = {"context_line": "token = make_token()", "pre_context": [f"x = '{SECRET}'"]}
    assert SCRUBBER.scrubbed({"frame": frame}) == {
        "frame": {"context_line": "token = make_token()", "pre_context": ["x = '[Filtered]'"]}
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON), st.text(), st.text())
def test_a_secret_of_the_settings_is_nowhere_in_what_is_sent(event, before, after):
    event["here"] = {before: [before + SECRET + after], before + SECRET: 1}
    assert SECRET not in json.dumps(SCRUBBER.scrubbed(event), ensure_ascii=False)


def test_a_deep_event_ends_somewhere():
    deep: dict = {}
    inner = deep
    for _ in range(500):
        inner["x"] = {}
        inner = inner["x"]
    assert FILTERED in json.dumps(SCRUBBER.scrubbed(deep))


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "secret" * 30_000, "--token " * 20_000, "'" * 100_000]
)
def test_a_long_text_takes_no_long_time(text):
    began = time.process_time()
    SCRUBBER.text(text)
    assert time.process_time() - began < 2
