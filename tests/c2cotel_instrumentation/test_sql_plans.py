"""Plans as PostgreSQL gives them, read and written."""

import contextlib
import json

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers import postgres
from c2cotel_instrumentation.sql_plans import (
    LONGEST,
    duration_of,
    fingerprint,
    is_plan,
    of_explain,
    of_message,
)

TREE = {
    "Query Text": "SELECT * FROM users WHERE name = 'top secret'",
    "Query Parameters": "$1 = 'top secret'",
    "Plan": {
        "Node Type": "Seq Scan",
        "Relation Name": "users",
        "Alias": "u",
        "Startup Cost": 0.0,
        "Total Cost": 25.88,
        "Plan Rows": 6,
        "Plan Width": 36,
        "Actual Startup Time": 0.008,
        "Actual Total Time": 0.009,
        "Actual Rows": 1,
        "Actual Loops": 1,
        "Filter": "((name)::text = 'top secret'::text)",
        "Rows Removed by Filter": 4,
        "Shared Hit Blocks": 1,
        "Shared Read Blocks": 0,
    },
}
MESSAGE = f"duration: 1.500 ms  plan:\n{json.dumps(TREE)}"


@pytest.fixture(scope="module")
def connection():
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(postgres())
        except MissingError as error:
            pytest.skip(str(error))
        url = server.url.replace("+psycopg", "")
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        connection.execute("CREATE TABLE users (id serial PRIMARY KEY, name text UNIQUE, age int)")
        connection.execute("CREATE TABLE visits (user_id int REFERENCES users, at timestamptz)")
        connection.execute("INSERT INTO users (name) SELECT n::text FROM generate_series(1, 500) n")
        connection.execute("CREATE INDEX ON users (age)")
        connection.execute("ANALYZE")
        yield connection


def test_a_message_of_auto_explain_is_a_plan_without_values():
    plan = of_message(MESSAGE)
    assert (plan.source, plan.duration) == ("auto_explain", 0.0015)
    assert plan.text() == (
        "Seq Scan on users u  (cost=0.00..25.88 rows=6 width=36)"
        " (actual time=0.008..0.009 rows=1 loops=1)\n"
        "  Filter: ((name)::text = ?::text)\n"
        "  Rows Removed by Filter: 4\n"
        "  Buffers: shared hit=1"
    )
    assert "secret" not in plan.json()


def test_values_are_kept_if_asked_for_but_not_the_query():
    plan = of_message(MESSAGE, values=True)
    assert "  Filter: ((name)::text = 'top secret'::text)" in plan.text()
    assert "Query" not in plan.json()


@pytest.mark.parametrize(
    "message",
    [
        "",
        "duration: 1.500 ms",
        "duration: 1.500 ms  plan:\nSeq Scan on users",
        "duration: 1.500 ms  plan:\n{not json",
        "duration: 1.500 ms  plan:\n[]",
        'duration: 1.500 ms  plan:\n{"Plan": 1}',
        "duration: 1.500 ms  statement: SELECT 1",
    ],
)
def test_other_messages_have_none(message):
    assert of_message(message) is None


def test_what_looks_like_one_is_told_by_its_beginning():
    assert is_plan(MESSAGE)
    assert is_plan(f"INFO:  {MESSAGE}")  # psycopg2's
    assert not is_plan("relation exists, skipping")
    assert not is_plan("x" * 200 + MESSAGE)
    assert duration_of(MESSAGE) == 0.0015


@pytest.mark.parametrize("answer", [[TREE], TREE, json.dumps([TREE]), json.dumps([TREE]).encode()])
def test_an_answer_of_explain_is_read_however_its_json_is(answer):
    assert of_explain(answer, "explain").text().startswith("Seq Scan on users u")


@pytest.mark.parametrize("answer", [None, 1, "", "no json", [], [1], {}, {"Plan": []}])
def test_another_answer_is_no_plan(answer):
    assert of_explain(answer, "explain") is None


def test_of_a_very_long_plan_the_shape_is_kept():
    nodes = [{"Node Type": "Seq Scan", "Filter": "x" * 500, "Plan Rows": n} for n in range(200)]
    text = of_explain({"Plan": {"Node Type": "Append", "Plans": nodes}}, "explain").json()
    assert len(text) <= LONGEST
    told = json.loads(text)
    assert told["Truncated"] is True
    assert told["Plan"]["Plans"][199] == {"Node Type": "Seq Scan", "Plan Rows": 199}


def test_of_an_endless_one_the_first_node():
    nodes = [{"Node Type": "Seq Scan", "Plan Rows": n} for n in range(5000)]
    text = of_explain({"Plan": {"Node Type": "Append", "Plans": nodes}}, "explain").json()
    assert json.loads(text) == {"Plan": {"Node Type": "Append"}, "Truncated": True}


STATEMENTS = [
    "SELECT 1",
    "SELECT name FROM users u WHERE id = 7",
    "SELECT name FROM users WHERE age = 7 OR age = 8 ORDER BY name DESC LIMIT 5",
    "SELECT * FROM users ORDER BY id DESC",
    "SELECT u.name, count(*) FROM users u LEFT JOIN visits v ON v.user_id = u.id GROUP BY u.name",
    "SELECT name FROM users WHERE NOT EXISTS (SELECT 1 FROM visits WHERE user_id = users.id)",
    "WITH old AS MATERIALIZED (SELECT * FROM users) SELECT * FROM old WHERE age > 3",
    "SELECT (SELECT max(at) FROM visits WHERE user_id = users.id) FROM users",
    "SELECT name FROM users UNION SELECT name FROM users",
    "SELECT * FROM generate_series(1, 3) AS n",
    "INSERT INTO users (name) VALUES ('a'), ('b')",
    "INSERT INTO users (name) VALUES ('1') ON CONFLICT (name) DO NOTHING",
    "UPDATE users SET age = 3 WHERE id = 7",
    "DELETE FROM visits USING users WHERE users.id = user_id AND age = 4",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_text_is_what_postgresql_itself_writes(connection, statement):
    def explain(form):
        return connection.execute(f"EXPLAIN (FORMAT {form}) {statement}").fetchall()

    plan = of_explain(explain("JSON")[0][0], "explain", values=True)
    assert plan.text().splitlines() == [line for (line,) in explain("TEXT")]


@pytest.mark.parametrize("statement", STATEMENTS[:10])
def test_so_is_what_was_measured(connection, statement):
    with connection.transaction(force_rollback=True):
        answer = connection.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
        ).fetchone()
    text = of_explain(answer[0], "explain_analyze").text()
    assert "(actual time=" in text
    assert "Execution Time: " in text


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELECT  name\nFROM users -- all\n", "SELECT name FROM users"),
        ("SELECT name FROM users WHERE id = 42", "SELECT name FROM users WHERE id = ?"),
        ("SELECT 1 WHERE a IN (1, 2, 3)", "SELECT ? WHERE a IN (…)"),
        ("SELECT 1 WHERE a IN (%(a_1)s::INTEGER, %(a_2)s::INTEGER)", "SELECT ? WHERE a IN (…)"),
        ("SELECT 1 WHERE a IN ($1::VARCHAR(5), $2)", "SELECT ? WHERE a IN (…)"),
        ("INSERT INTO t (a) VALUES (%(a__0)s, 0), (%(a__1)s, 1)", "INSERT INTO t (a) VALUES (…)"),
        ("SELECT nextval('s'), lower(%(x)s)", "SELECT nextval(?), lower(%(x)s)"),
        ("SELECT 1 WHERE a IN (SELECT b FROM c)", "SELECT ? WHERE a IN (SELECT b FROM c)"),
    ],
)
def test_statements_that_differ_in_values_have_one_fingerprint(statement, text):
    assert fingerprint(statement, "postgresql").text == text


def test_the_digest_is_sixteen_digits_of_the_text():
    texts = "SELECT 1 FROM t", "SELECT  2\nFROM t"
    one, other = (fingerprint(text, "postgresql") for text in texts)
    assert one == other
    assert len(one.digest) == len(bytes.fromhex(one.digest)) * 2 == 16
    assert fingerprint("SELECT 2 FROM u", "postgresql").digest != one.digest


@given(st.text(max_size=300))
def test_every_text_has_a_fingerprint(text):
    assert "\n" not in fingerprint(text, "postgresql").text


leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["Plan", "Plans", "Node Type", "Filter", "Alias", "Actual Rows"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)


@given(trees)
def test_whatever_the_server_says_is_read_or_left(tree):
    plan = of_explain({"Plan": tree}, "explain")
    if plan is not None:
        assert isinstance(plan.json(), str)
        assert isinstance(plan.text(), str)
