"""Which texts of an engine are kept, whatever others come in between."""

import sys
import threading

import pytest
import sqlalchemy as sa

from c2cotel_instrumentation.sql_engines import Engines

HOT = "SELECT id FROM users"


@pytest.fixture
def database():
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        yield Engines().of(engine, connection.connection)
    engine.dispose()


def use(database, text):
    """As the instrumentor does with each statement."""
    return database.known.get(text) or database.read(text)


def others(database, first, count):
    for number in range(first, first + count):
        use(database, f"SELECT {number}")


def test_a_text_in_use_is_read_once_whatever_texts_of_one_use_are_between(database):
    statement = use(database, HOT)
    for first in range(0, 10_000, 255):
        others(database, first, 255)
        assert use(database, HOT) is statement


def test_a_text_that_is_not_used_any_more_is_forgotten(database):
    statement = use(database, HOT)
    others(database, 0, 512)
    assert use(database, HOT) is not statement


def test_there_are_never_more_than_five_hundred_and_twelve(database):
    for first in range(0, 2000, 100):
        others(database, first, 100)
        assert len(database.known) + len(database._before) <= 512


def test_a_very_long_text_is_not_kept(database):
    text = f"SELECT '{'x' * 10_000}'"
    assert use(database, text) is not use(database, text)
    assert not database.known


def test_threads_get_what_their_text_is(database):
    wrong = []

    def work(name):
        for number in range(2000):
            table = f"{name}{number % 7}"
            statement = use(database, f"SELECT {number} FROM {table}")  # noqa: S608 - never sent
            if statement.name != f"SELECT {table}":
                wrong.append(table)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []
    assert len(database.known) + len(database._before) <= 512 + len(threads)
