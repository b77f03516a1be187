"""What a log record fills in after a word such as token leaves for Sentry nowhere."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2cotel.sentry.messages import has_secrets, said


@pytest.mark.parametrize(
    ("message", "arguments", "expected"),
    [
        ("token %s", ("hush",), "token [Filtered]"),
        ("user %s has the password %r: %d", ("me", "hush", 7), None),
        ("user %s, %5.1f%% of token", ("me", 12.34), "user me,  12.3% of token"),
        ("100%% of the tokens: %s", ("hush",), "100% of the tokens: [Filtered]"),
        ("api key %*d, %s", (5, 17, "hush"), "api key [Filtered], [Filtered]"),
        ("%*d keys, secret %.*f", (3, 1, 2, 1.5), "  1 keys, secret [Filtered]"),
        ("%(user)s sent %(token)s", {"user": "me", "token": "hush"}, "me sent [Filtered]"),
        ("%(token)s of %(user)s", {"user": "me", "token": "hush"}, "[Filtered] of me"),
        ("secret %s", {"a": "hush"}, "secret [Filtered]"),
        ("the layer %s", ("roads",), "the layer roads"),
        ("too few %s %s", ("hush",), "too few %s %s"),
        ("token %s, too many", ("hush", "hush"), "token %s, too many"),
        ("50% of the token %s", ("hush",), None),
        ("the secret garden", (), "the secret garden"),
        (ValueError("an object"), (), "an object"),
    ],
)
def test_values_after_the_name_of_a_secret_are_left_out(message, arguments, expected):
    text = said(message, arguments)
    assert "hush" not in text
    assert text == (expected or text)


def test_only_formats_with_such_a_word_before_a_value_have_secrets():
    assert has_secrets("token %s")
    assert not has_secrets("%s of the token")
    assert not has_secrets(ValueError("token %s"))


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("no")


def test_what_cannot_speak_has_its_name():
    assert said(MuteError(), ()) == "MuteError"


@given(st.text(), st.text(st.characters(exclude_characters="%")), st.tuples(st.text(), st.text()))
def test_whatever_is_said_nothing_is_raised_and_nothing_slips_through(before, between, others):
    hidden = "a-value-of-this-test"
    assert hidden not in said(f"{before}token{between}%s", (*others, hidden))
    assert hidden not in said(f"token{between}%s", (hidden,))


def test_a_long_text_is_cut_and_takes_no_long_time():
    began = time.process_time()
    assert len(said("token " + "%s " * 50_000, ("x",) * 50_000)) == 8192
    assert len(said("x" * 1_000_000, ())) == 8192
    assert time.process_time() - began < 2
