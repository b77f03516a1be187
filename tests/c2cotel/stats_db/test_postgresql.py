"""What a run finds in a database with tables of every kind, and what fails alone."""

import time

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.pool import NullPool

from c2cotel.stats_db.database import Database, UnreachableError, engine
from c2cotel.stats_db.extras import extras
from c2cotel.stats_db.postgresql import SchemaError, take

from .conftest import ODD, ODD_TABLE

ORDER = ("schema", "table", "index", "fork", "metric")


def told(statistics):
    """Values by the name of the gauge and the attributes, without the database's name."""
    found = {}
    for family, rows in statistics.numbers.collected():
        for row in rows:
            attributes = dict(row.key)
            assert attributes.pop("db.namespace") == "app"
            name = family.description.name.removeprefix("c2c.database.")
            ordered = sorted(attributes, key=ORDER.index)
            found[name, *(attributes[key] for key in ordered)] = row.values[0]
    return found


def of(found, name):
    return {key[1:]: value for key, value in found.items() if key[0] == name}


def test_rows_are_those_of_the_planner_or_of_the_counters_where_it_knows_none(both):
    with Database(engine({}, both)) as database:
        found = told(take(database, None, [ODD, "other"]))
    assert of(found, "table.rows") == {
        ("public", "analysed"): 900,
        ("public", "empty"): 0,
        ("public", "never_analysed"): 50,
        (ODD, ODD_TABLE): 0,
        ("other", "part_1"): 0,
        ("other", "matview"): 10,
    }
    assert of(found, "table.dead_rows")["public", "analysed"] == 100


def test_sizes_are_those_that_postgresql_tells(database, superuser):
    found = told(take(database, "app", ["other"]))

    def asked(sql):
        return superuser.execute(text(sql)).scalar_one()

    assert found["size",] == pytest.approx(asked("SELECT pg_database_size('app')"), rel=0.1)
    assert found["table.size", "public", "analysed"] == asked("SELECT pg_table_size('analysed')")
    assert found["table.size", "public", "empty"] == 0
    assert of(found, "index.size")["public", "analysed", "analysed_pkey", "main"] == asked(
        "SELECT pg_relation_size('analysed_pkey')"
    )


def test_a_fork_without_bytes_is_left_out_but_the_main_one(database):
    forks = {key[2:] for key in of(told(take(database, "app", ["other"])), "index.size")}
    assert ("part_1_pkey", "main") in forks
    assert ("part_1_pkey", "fsm") not in forks


def test_only_what_has_storage_is_told(database):
    found = told(take(database, "app", ["other"]))
    tables = {key[1] for key in of(found, "table.size") if key[0] == "other"}
    indexes = {key[2] for key in of(found, "index.scans") if key[0] == "other"}
    assert (tables, indexes) == ({"part_1", "matview"}, {"part_1_pkey", "matview_id"})


def test_uses_are_counted(database, superuser):
    superuser.exec_driver_sql("SET ROLE app")
    before = told(take(database, "app", []))
    superuser.exec_driver_sql("SET enable_seqscan = off")
    for _ in range(3):
        superuser.exec_driver_sql("SELECT name FROM analysed WHERE id = 500")
    superuser.exec_driver_sql("SET enable_seqscan = on")
    superuser.exec_driver_sql("SELECT count(name) FROM analysed")
    superuser.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    after = told(take(database, "app", []))

    def more(name, *attributes):
        key = (name, "public", "analysed", *attributes)
        return after[key] - before[key]

    assert more("table.scans") == 1
    assert [
        more(f"index.{name}", "analysed_pkey") for name in ("scans", "entries_read", "rows_fetched")
    ] == [3, 3, 3]


def test_public_is_always_told_and_once(database):
    statistics = take(database, "app", ["public", "other", "other"])
    assert statistics.failures == ()
    assert ("table.rows", "public", "empty") in told(statistics)


def test_a_run_tells_when_it_was_how_long_it_took_and_that_nothing_failed(database):
    found = told(take(database, "app", []))
    assert found["statistics.time",] == pytest.approx(time.time(), abs=5)
    assert 0 < found["statistics.duration",] < 5
    assert found["statistics.failures",] == 0


def test_a_schema_that_is_not_there_is_said_with_those_that_are(database):
    with pytest.raises(SchemaError) as error:
        take(database, "app", ["other", "mian"])
    assert str(error.value).startswith("--schema mian: there is no such schema in 127.0.0.1:")
    assert str(error.value).endswith(f"/app. There are: {ODD}, other, public.")


def test_the_progress_ends_with_all_that_there_is(database):
    seen = []
    take(database, "app", ["other"], (), lambda done, total: seen.append((done, total)))
    assert seen == [(0, 8), (5, 8), (8, 8)]


def test_extras_are_told_as_they_are_written(both):
    asked = extras(
        ["SELECT 'a%', 1 UNION SELECT 'b:c', 2.5", "SELECT 'd', count(*) FROM analysed"],
        [("SELECT true::text, 3::numeric", "jobs", "Jobs"), ("SELECT 'x', 4", "jobs", "")],
    )
    with Database(engine({}, both)) as database:
        statistics = take(database, "app", [], asked)
    found = told(statistics)
    assert statistics.failures == ()
    assert of(found, "extra") == {("a%",): 1, ("b:c",): 2.5, ("d",): 900}
    assert of(found, "jobs") == {("true",): 3, ("x",): 4}


def test_what_fails_is_missing_alone(database):
    asked = extras(
        [
            *("SELECT 1/0", "SELEC 1", "SELECT 'a', 1", "SELECT 'a', 2", "SELECT 'n', NULL"),
            *("SELECT 1", "SELECT 'n', 'one'", "SET work_mem = 64", "SELECT NULL, 1"),
            *("SELECT 'n', 'NaN'::float", "SELECT 'z', 26"),
        ],
        [],
    )
    statistics = take(database, "app", [], asked)
    found = told(statistics)
    assert [str(failure) for failure in statistics.failures] == [
        "--extra 'SELECT 1/0': division by zero",
        "--extra 'SELEC 1': syntax error at or near \"SELEC\"",
        "--extra \"SELECT 'a', 2\": metric 'a': there is a number for it already",
        "--extra \"SELECT 'n', NULL\": 'n' is NULL, which is not a number",
        "--extra 'SELECT 1': rows of 1 columns, where a name and a number are expected",
        "--extra \"SELECT 'n', 'one'\": 'n' is 'one', which is not a number",
        "--extra 'SET work_mem = 64': not a query: it gives no rows",
        "--extra 'SELECT NULL, 1': a row without a name",
        "--extra \"SELECT 'n', 'NaN'::float\": 'n' is nan, which is not a number",
    ]
    assert of(found, "extra") == {("a",): 1, ("z",): 26}
    assert found["statistics.failures",] == 9
    assert found["table.rows", "public", "analysed"] == 900


def test_what_a_query_changes_is_not_kept(database, superuser):
    sql = "INSERT INTO never_analysed VALUES (1) RETURNING 'inserted', 1"
    statistics = take(database, "app", [], extras([sql], []))
    assert statistics.failures == ()
    assert superuser.execute(text("SELECT count(*) FROM never_analysed")).scalar_one() == 50


def test_a_locked_table_is_missing_alone_and_soon(database, url):
    made = sqlalchemy.create_engine(url, poolclass=NullPool)
    with made.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE analysed IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        statistics = take(database, "app", [])
        took = time.monotonic() - begun
    made.dispose()
    assert [str(failure) for failure in statistics.failures] == [
        "the size of the table public.analysed: canceling statement due to lock timeout"
    ]
    found = told(statistics)
    assert ("table.size", "public", "analysed") not in found
    assert found["table.size", "public", "never_analysed"] == 8192
    assert found["table.rows", "public", "analysed"] == 900
    assert took < 10


def test_a_table_that_is_dropped_meanwhile_is_left_out(database, superuser):
    superuser.exec_driver_sql("CREATE TABLE public.passing (id int PRIMARY KEY)")

    def drop(done, _):
        if not done:
            superuser.exec_driver_sql("DROP TABLE IF EXISTS public.passing")

    statistics = take(database, "app", [], (), drop)
    found = told(statistics)
    assert statistics.failures == ()
    assert ("table.rows", "public", "passing") in found
    assert ("table.size", "public", "passing") not in found
    assert ("index.size", "public", "passing", "passing_pkey", "main") not in found


def test_a_connection_that_breaks_is_made_again(url, superuser):
    def end(done, _):
        if not done:
            superuser.exec_driver_sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'app'"
            )

    tried = []
    with Database(engine({}, url), tries=2, on_try=tried.append, sleep=lambda _: None) as database:
        statistics = take(database, "app", [], (), end)
    assert statistics.failures == ()
    assert tried == [2]
    assert ("table.size", "public", "analysed") in told(statistics)


def test_a_database_that_is_not_there_yet_is_waited_for(url, superuser):
    superuser.exec_driver_sql("ALTER ROLE app CONNECTION LIMIT 0")
    waited = []

    def let_in(seconds):
        waited.append(seconds)
        superuser.exec_driver_sql("ALTER ROLE app CONNECTION LIMIT -1")

    try:
        with Database(engine({}, url), tries=2, pause=1.5, sleep=let_in) as database:
            assert database.ask("SELECT 1") == [(1,)]
        superuser.exec_driver_sql("ALTER ROLE app CONNECTION LIMIT 0")
        with (
            Database(engine({}, url), tries=3, sleep=lambda _: None) as database,
            pytest.raises(UnreachableError, match=r"/app cannot be reached after 3 tries: .*too"),
        ):
            database.ask("SELECT 1")
    finally:
        superuser.exec_driver_sql("ALTER ROLE app CONNECTION LIMIT -1")
    assert waited == [1.5]


@pytest.mark.parametrize("part", ["database", "username"])
def test_what_trying_again_does_not_help_is_said_at_once(url, part):
    other = sqlalchemy.make_url(url).set(**{part: "nope"}).render_as_string(hide_password=False)
    with (
        Database(engine({}, other), tries=10, sleep=pytest.fail) as database,
        pytest.raises(UnreachableError, match='"nope" does not exist'),
    ):
        database.ask("SELECT 1")
