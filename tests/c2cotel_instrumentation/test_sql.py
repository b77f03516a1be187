import pytest

from c2cotel_instrumentation.sql import LONGEST, operation, without_values

OPERATIONS = {
    "SELECT 1": ("SELECT", None),
    "select a from users": ("SELECT", "users"),
    'SELECT q.a FROM "my schema"."t""x" AS q WHERE a = 1': ("SELECT", 'my schema.t"x'),
    "SELECT * FROM `a`.`b`": ("SELECT", "a.b"),
    "SELECT * FROM a JOIN b ON true": ("SELECT", "a"),
    "(SELECT a FROM t) UNION (SELECT b FROM u)": ("SELECT", "t"),
    "SELECT (SELECT max(i) FROM inner_one) FROM outer_one": ("SELECT", "outer_one"),
    "SELECT * FROM (SELECT 1 FROM q) AS x": ("SELECT", None),
    "SELECT * FROM generate_series(1, 2)": ("SELECT", None),
    "SELECT extract(epoch from now())": ("SELECT", None),
    "SELECT a IS DISTINCT FROM b FROM t": ("SELECT", "t"),
    "SELECT 1; DELETE FROM x": ("SELECT", None),
    "SELECT * FROM %(name)s": ("SELECT", None),
    "WITH x AS (SELECT * FROM y) SELECT * FROM x": ("SELECT", None),
    "WITH x AS (SELECT * FROM y) SELECT * FROM z, x": ("SELECT", "z"),
    "WITH x (a) AS (DELETE FROM y RETURNING a) UPDATE ONLY z SET a = 1": ("UPDATE", "z"),
    "/* it's */ -- don't\n INSERT INTO s.t (a) VALUES ('x')": ("INSERT", "s.t"),
    "INSERT OR REPLACE INTO t VALUES (1)": ("INSERT", "t"),
    "UPDATE t SET x = 1": ("UPDATE", "t"),
    "delete from t": ("DELETE", "t"),
    "MERGE INTO t USING s ON true": ("MERGE", "t"),
    "TRUNCATE TABLE t": ("TRUNCATE", "t"),
    "COPY t (a) FROM STDIN": ("COPY", "t"),
    "COPY (SELECT 1) TO STDOUT": ("COPY", None),
    "{call f(?)}": ("CALL", None),
    "SAVEPOINT sa_savepoint_1": ("SAVEPOINT", None),
    "CREATE TABLE t (a integer)": ("CREATE", None),
    "SELECT 'a from b'": ("SELECT", None),
    r"SELECT E'it\'s from x' FROM t": ("SELECT", "t"),
    "SELECT $$from x$$, $a$from $b$ y$a$ FROM t": ("SELECT", "t"),
    "SELECT * FROM " + "x" * 63: ("SELECT", "x" * 63),
    "SELECT * FROM " + "x" * 64: ("SELECT", None),
    "SELECT * FROM s.": ("SELECT", None),
    "WITH": ("WITH", None),
    "frobnicate users": (None, None),
    "'SELECT 1 FROM x": (None, None),
    "-- nothing": (None, None),
    "": (None, None),
}

TEXTS = {
    "SELECT 'it''s', 12, 1.5e-3, x1, -5, .5 FROM t2": "SELECT ?, ?, ?, x1, -?, ? FROM t2",
    "SELECT %(a_1)s, %s, :b_2, $1::INTEGER, ?": "SELECT %(a_1)s, %s, :b_2, $1::INTEGER, ?",
    r"SELECT E'a\'b', $t$ it's $t$, $$x$$": "SELECT ?, ?, ?",
    r"SELECT 'C:\', 'secret'": "SELECT ?, ?",
    """SELECT "it's 1", a ->> 'b' FROM t""": """SELECT "it's 1", a ->> ? FROM t""",
    "SELECT a -- don't tell 'x'\nFROM t /* it's */ WHERE b": "SELECT a  \nFROM t   WHERE b",
    "SELECT '{\"x\": 1}'::jsonb, date '2020-01-01', 0x1F": "SELECT ?::jsonb, date ?, ?",
    "SELECT 'never closed": "SELECT ?",
    "CALL p('" + "x" * LONGEST: "CALL p(?",
}


@pytest.mark.parametrize(("statement", "expected"), OPERATIONS.items())
def test_the_operation_and_the_first_table_are_found_or_unknown(statement, expected):
    assert operation(statement, "postgresql") == expected


@pytest.mark.parametrize(("statement", "expected"), TEXTS.items())
def test_no_value_stays_in_the_text(statement, expected):
    assert without_values(statement, "postgresql") == expected


def test_mysql_has_quotes_of_its_own():
    statement = r"""SELECT 'don\'t from x', "from y", `a 1` # it's from z
FROM t"""
    assert operation(statement, "mysql") == ("SELECT", "t")
    assert without_values(statement, "mysql") == "SELECT ?, ?, `a 1`  \nFROM t"


@pytest.mark.parametrize(
    "unit", ["'", "(", "$a", "$$a", "1,", '"', r"e'\\", "/*", "%(a", "x1e", "a."]
)
def test_no_text_takes_long(unit):
    """The time limit of the tests would end what takes exponential or quadratic time."""
    statement = "SELECT " + unit * (1_000_000 // len(unit))
    for system in ("postgresql", "mysql"):
        operation(statement, system)
        assert len(without_values(statement, system)) <= LONGEST
