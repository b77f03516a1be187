import re
import sqlite3
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2cotel_instrumentation.sql_comments import Keys, changing, commented, constant

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
COMMENT = "/*application='a'*/"
MEGABYTE = 1024 * 1024

texts = st.text(max_size=100)


def test_keys_are_in_alphabetical_order_and_values_in_percent_codes():
    keys = Keys("my shop", "pyramid", "/hello/{name}")
    assert (
        constant(keys)
        == "/*application='my%20shop',framework='pyramid',route='/hello/%7Bname%7D'*/"
    )
    assert changing(keys, "a:b+c@d=e", TRACEPARENT) == (
        "/*application='my%20shop',framework='pyramid',request_id='a%3Ab%2Bc%40d%3De',"
        f"route='/hello/%7Bname%7D',traceparent='{TRACEPARENT}'*/"
    )


def test_what_is_not_known_is_left_out():
    assert constant(Keys()) == ""
    assert constant(Keys(route="/")) == "/*route='/'*/"
    assert changing(Keys(), None, TRACEPARENT) == f"/*traceparent='{TRACEPARENT}'*/"
    assert changing(Keys(), "1", TRACEPARENT) == f"/*request_id='1',traceparent='{TRACEPARENT}'*/"


@given(st.builds(Keys, texts, texts, texts), texts)
def test_nothing_in_a_value_ends_the_comment_or_means_anything_to_a_driver(keys, request_id):
    comment = changing(keys, request_id, TRACEPARENT)
    assert re.fullmatch(r"/\*([a-z_]+='[A-Za-z0-9_.~/%-]*',?)+\*/", comment)
    assert comment.index("*/") == len(comment) - 2
    found = dict(part.split("=", 1) for part in comment[2:-2].split(","))
    assert unquote(found["request_id"].strip("'")) == request_id


def test_a_lone_surrogate_is_a_question_mark():
    assert constant(Keys("a\udc80b")) == "/*application='a%3Fb'*/"


def test_a_value_has_at_most_128_characters():
    assert constant(Keys("x" * 1000)) == f"/*application='{'x' * 128}'*/"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 1", f"SELECT 1 {COMMENT}"),
        ("SELECT 1\n", f"SELECT 1 {COMMENT}"),
        ("SELECT 1;", f"SELECT 1 {COMMENT};"),
        ("SELECT 1 ; \n", f"SELECT 1  {COMMENT};"),
        ("SELECT 1; SELECT 2", f"SELECT 1; SELECT 2 {COMMENT}"),
        ("SELECT 1 -- one", f"SELECT 1 -- one\n{COMMENT}"),
        ("SELECT 1 -- one;", f"SELECT 1 -- one\n{COMMENT};"),
        ("SELECT 1 # one", f"SELECT 1 # one\n{COMMENT}"),
        ("SELECT 1 -- one\nFROM t", f"SELECT 1 -- one\nFROM t {COMMENT}"),
        ("SELECT 1 /* one */", f"SELECT 1 /* one */ {COMMENT}"),
        ("/*+ SeqScan(t) */ SELECT 1", f"/*+ SeqScan(t) */ SELECT 1 {COMMENT}"),
        ("SELECT $$ ; $$", f"SELECT $$ ; $$ {COMMENT}"),
        ("SELECT 1 /* one", "SELECT 1 /* one"),
        ("SELECT 1 /* one */ /*/", "SELECT 1 /* one */ /*/"),
        ("SELECT '/*'", "SELECT '/*'"),
        ("SELECT 1 /*controller='x'*/", "SELECT 1 /*controller='x'*/"),
        ("", ""),
        (" \n", " \n"),
    ],
)
def test_a_comment_comes_last_and_stays_a_comment(statement, expected):
    assert commented(statement, COMMENT) == expected


def test_a_megabyte_is_tagged_too():
    long = f"SELECT '{'x' * MEGABYTE}'"
    assert commented(long, COMMENT) == f"{long} {COMMENT}"


PIECES = ["'", '"', "--", "/*", "*/", "\n", ";", " ", "SELECT", "1", "#", ",", "`", "''", "[", "]"]


def answer(statement):
    connection = sqlite3.connect(":memory:")
    try:
        return connection.execute(statement).fetchall()
    except (sqlite3.Error, sqlite3.Warning) as error:
        return type(error)
    finally:
        connection.close()


@given(
    st.lists(st.sampled_from(PIECES), max_size=12).map(lambda pieces: "SELECT 1 " + "".join(pieces))
)
def test_whatever_a_statement_is_it_means_the_same_with_a_comment(statement):
    assert answer(commented(statement, COMMENT)) == answer(statement)
