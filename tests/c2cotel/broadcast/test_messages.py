import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2cotel.broadcast.messages import (
    Heard,
    Ignored,
    IgnoredError,
    Process,
    Question,
    answer,
    read_answer,
    read_question,
    skipped,
    with_name,
)

HERE = Process("here", 7, "abc")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
KEYS = st.sampled_from(
    ["params", "answer_channel", "skip", "names", "context", "c2c_process", "answer", "hostname"]
)


@given(st.binary() | st.dictionaries(KEYS, JSON).map(lambda each: json.dumps(each).encode()))
def test_whatever_comes_is_a_question_or_is_ignored(data):
    try:
        question = read_question("channel", data, "p_")
    except IgnoredError:
        return
    assert isinstance(question.params, dict)
    assert question.answer_channel is None or question.answer_channel.startswith("p_")
    assert all(isinstance(each, str) for pair in question.context.items() for each in pair)
    json.loads(answer(question, lambda **params: params, HERE, Ignored()))


@given(st.binary() | st.dictionaries(KEYS, JSON).map(lambda each: json.dumps(each).encode()))
def test_whatever_comes_is_an_answer_or_is_ignored(data):
    try:
        heard = read_answer(data)
    except IgnoredError:
        return
    assert isinstance(heard.process, Process)


@given(JSON.filter(lambda each: not isinstance(each, dict) and "nan" not in repr(each).lower()))
def test_an_answer_arrives_as_it_was_with_the_name_of_its_process(result):
    text = answer(Question("channel", {}), lambda: result, HERE, Ignored())
    assert read_answer(with_name(text, HERE).encode()) == Heard(HERE, result)


def test_a_dictionary_is_not_changed_where_it_comes_from():
    result = {"a": 1}
    text = answer(Question("channel", {}), lambda: result, HERE, Ignored())
    assert json.loads(text) == {"a": 1, "hostname": "here", "pid": 7}
    assert result == {"a": 1}


def test_who_is_asked_otherwise_says_so():
    assert read_answer(skipped(HERE).encode()) == Heard(HERE, skipped=True)


def test_an_answer_that_is_too_long_is_an_error(caplog):
    told = json.loads(answer(Question("channel", {}), lambda: "x" * 2**24, HERE, Ignored()))
    assert told["message"] == "The answer has 16777218 bytes, 16777216 are the limit."
    assert "The callback of broadcast channel channel failed." in caplog.text


def test_headers_that_are_none_are_not_believed():
    many = {f"h{n}": "x" for n in range(100)}
    for context in (many, [], {"a": 1}, {"a": "x" * 10_000}):
        message = json.dumps({"params": {}, "context": context}).encode()
        assert read_question("channel", message).context == {}


def test_an_infinite_depth_is_ignored():
    with pytest.raises(IgnoredError, match="it is not JSON"):
        read_answer(b"[" * 1_000_000)
