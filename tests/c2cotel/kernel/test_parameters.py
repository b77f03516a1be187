"""What a parameter has to be, and what is said of one that is not."""

import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyramid.httpexceptions import HTTPBadRequest
from pyramid.request import Request

from c2cotel.pyramid import parameters


def asked(**query):
    return Request.blank("/?" + "&".join(f"{name}={value}" for name, value in query.items()))


def refusal(read, *arguments, **options):
    with pytest.raises(HTTPBadRequest) as refused:
        read(*arguments, **options)
    return str(refused.value)


def test_a_text_is_what_was_sent_without_blanks_around_it():
    assert parameters.text(asked(name="%20a%20b%20"), "name") == "a b"


def test_an_empty_one_is_one_that_is_not_there():
    assert parameters.text(asked(name="%20"), "name") is None
    assert parameters.whole(asked(limit=""), "limit", least=1, most=9, default=3) == 3


def test_a_long_text_is_refused():
    told = refusal(parameters.text, asked(name="a" * 11), "name", longest=10)
    assert told == "name: has 11 characters, expected 10 at most"


def test_a_file_is_refused():
    request = Request.blank("/", POST={"name": ("a.txt", io.BytesIO(b"x").read())})
    assert refusal(parameters.text, request, "name") == "name: expected a text"


def test_what_is_missing_is_told_with_an_example():
    told = refusal(parameters.required, asked(), "path", "/hello/x")
    assert told == "path is missing: write for example path=/hello/x"
    assert parameters.required(asked(path="/a"), "path", "/hello/x") == "/a"


@pytest.mark.parametrize("value", ["1", "true", "Yes", "on", "", "t"])
def test_a_flag_says_yes(value):
    assert parameters.flag(asked(backrefs=value), "backrefs")


@pytest.mark.parametrize("value", ["0", "false", "No", "off"])
def test_a_flag_says_no(value):
    assert not parameters.flag(asked(backrefs=value), "backrefs", default=True)


def test_a_flag_that_is_not_there_has_its_default():
    assert parameters.flag(asked(), "backrefs", default=True)
    assert not parameters.flag(asked(), "backrefs")


def test_a_flag_that_says_something_else_is_refused():
    told = refusal(parameters.flag, asked(backrefs="maybe"), "backrefs")
    assert told == "backrefs=maybe: expected 1 or 0"


@pytest.mark.parametrize("value", ["0", "60.1", "1e9", "nan", "-inf", "ten", "9" * 900])
def test_a_number_outside_of_its_range_is_told_with_the_range(value):
    told = refusal(parameters.number, asked(seconds=value), "seconds", least=1, most=60)
    assert told == f"seconds={value[:80]}: expected a number from 1 to 60"


@pytest.mark.parametrize("value", ["0", "61", "1.5", "1e1", "", "9" * 900])
def test_a_whole_number_outside_of_its_range_is_told_with_the_range(value):
    told = refusal(parameters.whole, asked(limit=value), "limit", least=1, most=60)
    assert told.endswith(": expected a whole number from 1 to 60")
    assert len(told) < 200


@given(st.integers())
def test_a_whole_number_is_read_exactly(value):
    request = asked(id=value)
    assert parameters.whole(request, "id", least=value, most=value) == value


def test_one_of_the_choices_is_taken_and_others_are_told():
    assert parameters.choice(asked(mode="cpu"), "mode", ("wall", "cpu"), default="wall") == "cpu"
    assert parameters.choice(asked(), "mode", ("wall", "cpu"), default="wall") == "wall"
    told = refusal(parameters.choice, asked(mode="io"), "mode", ("wall", "cpu"), default="wall")
    assert told == "mode=io: expected one of wall, cpu"


@given(st.text(max_size=30))
def test_whatever_comes_is_a_value_or_a_400(value):
    request = Request.blank("/")
    request.GET.add("x", value)
    for read in (
        lambda: parameters.text(request, "x", longest=5),
        lambda: parameters.flag(request, "x"),
        lambda: parameters.number(request, "x", least=0, most=1),
        lambda: parameters.whole(request, "x", least=0, most=1),
        lambda: parameters.choice(request, "x", ("a",), default="a"),
    ):
        with suppress(HTTPBadRequest):
            read()
