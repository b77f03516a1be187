"""What a debug view shows of a value."""

import re
from collections import deque
from enum import IntEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c2cotel.debug.texts import masked, names_secret, shown, truncated, type_name


class Hostile:
    """Whatever of it is called fails."""

    def __init__(self):
        self.number = 1

    __class__ = property(lambda _: 1 / 0)
    __repr__ = __str__ = __len__ = __iter__ = __eq__ = __bool__ = lambda _: 1 / 0
    __hash__ = None

    def __getattr__(self, name):
        raise ZeroDivisionError


class Loud(dict):
    def __repr__(self):
        raise AssertionError

    __len__ = items = __iter__ = __repr__


class User:
    def __init__(self):
        self.name, self.password, self.me = "alice", "hunter2", self


class Kind(IntEnum):
    A = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ("it's", '"it\'s"'),
        (b"\xff", r"b'\xff'"),
        ([1, (2,), {3}, deque([4])], "[1, (2,), {3}, deque([4])]"),
        ({"a": frozenset({1})}, "{'a': frozenset({1})}"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, … 94 more]"),
        ([[[[[1]]]]], "[[[[…]]]]"),
        (10**5000, "an integer of 16610 bits"),
        (Kind.A, f"{__name__}.Kind(1)"),
        (User, f"<class {__name__}.User>"),
        (Hostile(), f"<{__name__}.Hostile number=1>"),
        (Loud(a=1), "{'a': 1}"),
        (object(), "<builtins.object>"),
        (User().__init__, f"<method User.__init__ of {__name__}.User>"),
        (re, "<module re>"),
        ("\x1b[31m\ud800\u202e", r"'\x1b[31m\ud800\u202e'"),
    ],
    ids=range(16),
)
def test_a_value_is_written_without_its_own_methods(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    "value",
    [
        User(),
        {"password": "hunter2"},
        {b"x-api-key": b"hunter2"},
        {"HTTP_COOKIE": "hunter2"},
        [("Authorization", "hunter2")],
        ["psql", "--password", "hunter2"],
        "postgresql://me:hunter2@db/app",
        "GET /?secret=hunter2 HTTP/1.1",
        'it\'s {"password": "hunter2"}',
        "C2C_SECRET=hunter2",
        b'"token": "hunter2"',
        "Authorization: Bearer hunter2hunter2",
        {"a": {"b": ["dsn='hunter2'"]}},
        "SMTP_PASS=hunter2",
        {"db_pass": "hunter2"},
        {"session": "hunter2"},
        "curl -u bob:hunter2 https://example.com",
        ["curl", "-u", "bob:hunter2"],
        "curl --proxy-user='bob:hunter2'",
        "CREATE ROLE x PASSWORD 'hunter2'",
        "CREATE USER x IDENTIFIED BY 'it''s hunter2'",
    ],
    ids=range(21),
)
def test_a_secret_is_not_shown(value):
    text = shown(value)
    assert "hunter2" not in text
    assert "REDACTED" in text


def test_what_is_found_under_the_name_of_a_secret_is_none_of_anybody():
    assert shown(["hunter2"], name="api_key") == "REDACTED"
    assert shown(None, name="api_key") == "None"
    assert shown("x", name="keyboard") == "'x'"
    assert shown(User, name="session") == f"<class {__name__}.User>", "it may be SQLAlchemy's"


def test_a_sentence_about_a_pass_stays_as_it_is():
    for text in ("pass 2 of 3, sorted by the key: name", "-u bob", "git -u origin/main"):
        assert masked(text) == text


@pytest.mark.parametrize(
    "name", ["db_password", "X-API-Key", b"Cookie", "sessionid", "auth", "PGPASS"]
)
def test_names_of_secrets(name):
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    ["author", "design", "key", "session", "primary_key", "bypass", 1, None, User],
)
def test_other_names(name):
    assert not names_secret(name)


def test_a_long_text_is_cut():
    assert truncated("x" * 10, 5) == "xxxx…"
    assert len(shown("x" * 10_000_000)) == 200
    assert len(shown({str(n): "x" * 1000 for n in range(1000)}, 80)) == 80


def test_an_object_that_changes_meanwhile_is_told_by_its_class():
    class Changing(dict):
        pass

    changing = Changing(a=1, b=2)

    class Key(str):
        __slots__ = ()

    changing[Key("c")] = changing
    assert shown(changing).startswith("{'a': 1, 'b': 2, ")


def test_a_type_has_the_name_of_its_module():
    class Odd(type):
        __name__ = __module__ = property(lambda _: 1 / 0)

    assert type_name(dict) == "builtins.dict"
    assert type_name(User) == f"{__name__}.User"
    assert type_name(Odd("Made", (), {})) == f"{__name__}.Made"


values = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(values, st.integers(10, 300))
def test_whatever_it_is_it_is_one_short_printable_line(value, longest):
    text = shown(value, longest)
    assert len(text) <= longest
    assert text.isprintable()
    text.encode()


@given(st.text("abc", min_size=1), st.text("xyz'\"\\= ", min_size=3))
def test_a_secret_in_a_text_is_not_shown_whatever_is_around_it(before, secret):
    marked = f"MARK{secret}"
    assert "MARK" not in shown({"token": marked, "other": before})
    assert "MARK" not in masked(f"{before} password={marked}".replace("= ", "="))
