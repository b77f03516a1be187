import logging
import logging.config
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime

import pytest
import sqlalchemy

from c2cotel.sqlalchemylogger.handlers import SQLAlchemyHandler
from c2cotel_acceptance.utils import retry_timeout


@pytest.fixture
def handle(tmp_path):
    """``handle(**options)``: a handler of a SQLite file, closed with the test."""
    made = []

    def handle(path=tmp_path / "log.sqlite", tablename="logs", **options):
        url = {"url": f"sqlite:///{path}", "tablename": tablename}
        handler = SQLAlchemyHandler(url, **options)
        handler.path = path
        # Nobody wants to wait for a second.
        handler.MAX_TIMEOUT = 0.01
        made.append(handler)
        return handler

    yield handle
    for handler in made:
        handler.close()


def record(message, *args, exc_info=None, name="app", level=logging.WARNING):
    return logging.getLogger(name).makeRecord(name, level, "/a.py", 7, message, args, exc_info)


def rows(path, columns="msg", table="logs"):
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall()  # noqa: S608 - ours
    return [row[0] if len(row) == 1 else row for row in found]


def test_a_record_is_a_row_of_a_table_that_is_made(handle):
    handler = handle(tablename="test")
    made = record("hello %s", "you")
    handler.handle(made)
    handler.flush()
    ((number, *row, created),) = rows(
        handler.path, "id, logger, level, trace, msg, created_at", "test"
    )
    assert (number, row) == (1, ["app", "WARNING", None, "hello you"])
    made_at = datetime.fromisoformat(created).replace(tzinfo=UTC)
    assert made_at.timestamp() == pytest.approx(made.created, abs=1e-5)


def test_a_trace_has_its_column(handle):
    handler = handle()
    try:
        int("no")
    except ValueError:
        handler.handle(record("m", exc_info=sys.exc_info()))
    handler.flush()
    ((message, trace),) = rows(handler.path, "msg, trace")
    assert message == "m"
    assert trace.startswith("Traceback")
    assert trace.endswith("ValueError: invalid literal for int() with base 10: 'no'\n")


def test_records_are_chosen_by_their_message(handle):
    handler = handle(contains_expression="order|payment", does_not_contain_expression="secret")
    for message in ("an order", "a payment", "a visit", "a secret order"):
        handler.handle(record(message))
    handler.flush()
    assert rows(handler.path) == ["an order", "a payment"]


def test_many_threads_lose_nothing_and_each_keeps_its_order(handle):
    handler = handle()
    threads = [
        threading.Thread(
            target=lambda n=n: [handler.handle(record("%s %04d", n, i)) for i in range(500)]
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.flush()
    found = rows(handler.path)
    assert len(found) == 2000
    for n in range(4):
        assert [m for m in found if m.startswith(f"{n} ")] == [f"{n} {i:04d}" for i in range(500)]


def test_what_comes_while_the_database_is_away_is_written_later(handle, tmp_path, capsys):
    path = tmp_path / "away" / "log.sqlite"
    handler = handle(path)
    for number in range(300):
        handler.handle(record("%s", number))
    handler.flush()
    assert capsys.readouterr().err.startswith(
        f"Log lines are delayed on their way to the database sqlite:///{path}: "
        "They wait for the database: OperationalError: unable to open database file. "
    )
    path.parent.mkdir()
    handler.handle(record("300"))
    handler.flush()
    assert rows(path) == [str(number) for number in range(301)]
    assert handler._drops.total == 0
    assert capsys.readouterr().err == ""


def test_beyond_its_bound_it_drops_counts_and_says_so_once(handle, tmp_path, capsys):
    handler = handle(tmp_path / "away" / "log.sqlite")
    handler.MAX_QUEUE = 50
    for number in range(80):
        handler.handle(record("%s", number))
    assert handler._drops.total == 30
    handler.close()
    assert handler._drops.total == 80
    said = capsys.readouterr().err
    assert said.count("Log lines are lost on their way to the database sqlite:///") == 1


def test_a_row_that_the_database_refuses_costs_itself_only(handle):
    handler = handle()
    with closing(sqlite3.connect(handler.path)) as connection:
        connection.execute(
            "CREATE TABLE logs (id INTEGER PRIMARY KEY, logger TEXT, level TEXT, trace TEXT, "
            "msg TEXT CHECK (msg <> 'bad'), created_at DATETIME)"
        )
    for message in ("one", "bad", "two"):
        handler.handle(record(message))
    handler.flush()
    assert rows(handler.path) == ["one", "two"]
    assert handler._drops.total == 1


def test_a_table_that_another_process_makes_at_the_same_moment_is_taken(handle, capsys):
    handler = handle()
    made = []

    def be_faster(_connection, _cursor, statement, *_):
        if "CREATE TABLE" in statement and not made:
            made.append(statement)
            with closing(sqlite3.connect(handler.path)) as other:
                other.execute(statement)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", be_faster)
    try:
        handler.handle(record("one"))
        handler.flush()
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", be_faster)
    assert made
    assert rows(handler.path) == ["one"]
    assert capsys.readouterr().err == ""


def test_what_no_database_can_store_is_written_as_it_is_escaped(handle):
    handler = handle()
    handler.handle(record("a\0b caf\udce9 é"))
    handler.flush()
    assert rows(handler.path) == ["a\\x00b caf\\udce9 é"]


def test_its_own_statements_do_not_feed_it(handle):
    handler = handle()
    logger = logging.getLogger("sqlalchemy.engine")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        logger.info("mine")
        handler.flush()
        handler.handle(record("other"))
        handler.flush()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert rows(handler.path) == ["mine", "other"]


def test_a_process_that_is_forked_writes_its_own_rows_once(handle):
    handler = handle()
    handler.handle(record("parent, before"))
    pid = os.fork()
    if not pid:
        try:
            handler.handle(record("child"))
            handler.flush()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    handler.handle(record("parent, after"))
    handler.flush()
    assert sorted(rows(handler.path)) == ["child", "parent, after", "parent, before"]


SCRIPT = """
import logging, logging.config, sys
logging.config.dictConfig({
    "version": 1,
    "handlers": {"database": {
        "class": "c2cotel.sqlalchemylogger.handlers.SQLAlchemyHandler",
        "sqlalchemy_url": {"url": sys.argv[1], "tablename": "logs"}}},
    "root": {"handlers": ["database"]},
})
for number in range(250):
    logging.error("%s", number)
"""


def test_the_end_of_a_process_writes_what_is_left(tmp_path):
    path = tmp_path / "log.sqlite"
    argv = [sys.executable, "-W", "error", "-c", SCRIPT, f"sqlite:///{path}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert rows(path) == [str(number) for number in range(250)]


def test_the_end_of_a_process_does_not_wait_for_a_database_that_is_away(tmp_path):
    url = f"sqlite:///{tmp_path}/away/log.sqlite"
    argv = [sys.executable, "-W", "error", "-c", SCRIPT, url]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20)
    first, second = sorted(done.stderr.splitlines())
    assert first.startswith("Log lines are delayed ")
    assert "the process has ended before the database took them" in second


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sqlalchemy_url": "sqlite://"}, "sqlalchemy_url: not a dictionary with a url. Write for"),
        ({"sqlalchemy_url": {"tablename": "x"}}, "sqlalchemy_url: not a dictionary with a url."),
        (
            {"sqlalchemy_url": {"url": "sqlite://", "table": "x"}},
            "sqlalchemy_url: 'table' is none of url, tablename, tableargs.",
        ),
        (
            {"sqlalchemy_url": {"url": "me:hunter2@host"}},
            "sqlalchemy_url: its url is not one of SQLAlchemy. Write for example",
        ),
        (
            {"sqlalchemy_url": {"url": "sqlite://"}, "contains_expression": "("},
            "contains_expression = '(': not a regular expression (",
        ),
    ],
)
def test_what_it_cannot_be_made_of_is_told(options, said):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - its text is looked at
        SQLAlchemyHandler(**options)
    assert str(error.value).startswith(said)
    assert "hunter2" not in str(error.value)


def test_rows_are_written_without_anybody_asking(handle):
    handler = handle()
    handler.handle(record("m"))

    def written():
        return rows(handler.path) == ["m"]

    retry_timeout(written, timeout=10, interval=0.02)
