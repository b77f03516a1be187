"""A real primary and its hot standby."""

import contextlib
import threading
import traceback
from collections import Counter

import pytest
import sqlalchemy
from sqlalchemy import select, text
from sqlalchemy.exc import InternalError, OperationalError

from c2cotel.db import init, readonly_of
from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers import replicated
from c2cotel_acceptance.utils import retry_timeout

PRIMARY, REPLICA = "sqlalchemy", "sqlalchemy_slave"


@pytest.fixture(scope="module")
def pair():
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(replicated())
        except MissingError as error:
            pytest.skip(str(error))
        yield running


@pytest.fixture
def tables(pair, hello):
    """The pair, with the table in both."""
    engine = sqlalchemy.create_engine(pair.primary.url)
    hello.metadata.create_all(engine)
    pair.wait()
    yield pair
    hello.metadata.drop_all(engine)
    engine.dispose()
    pair.wait()


@pytest.fixture(params=["psycopg", "psycopg2"])
def app(request, tables, make, hello):
    """``app(**settings)``: an application that says where it reads and writes."""

    def begin(config):
        return init(
            config,
            PRIMARY,
            REPLICA,
            force_master=["GET /forced_to_primary"],
            force_slave=["POST /forced_to_replica"],
        )

    def where(web):
        standby = web.dbsession.scalar(text("SELECT pg_is_in_recovery()"))
        return {True: "standby", False: "primary"}[standby]

    def add(web):
        web.dbsession.add(hello(text="x"))
        web.dbsession.flush()
        return "added"

    views = {
        "where": where,
        "forced_to_primary": where,
        "forced_to_replica": add,
        "add": add,
        "count": lambda web: len(web.dbsession.execute(select(hello)).all()),
    }

    def build(**more):
        urls = {f"{PRIMARY}.url": tables.primary.url, f"{REPLICA}.url": tables.standby.url}
        driven = {key: url.replace("+psycopg", f"+{request.param}") for key, url in urls.items()}
        return make(begin, views, driven | more)

    return build


def test_reads_land_on_the_standby_and_writes_on_the_primary(app, pair):
    browser = app()
    asked = ["GET /where", "POST /where", "GET /forced_to_primary"]
    assert [browser(line).json for line in asked] == ["standby", "primary", "primary"]
    assert browser("POST /add").json == "added"
    pair.wait()
    assert browser("GET /count").json == 1


@pytest.mark.parametrize("line", ["POST /forced_to_replica", "GET /add"])
def test_a_write_on_the_replica_fails_and_is_told_what_it_needs(app, line):
    browser = app()
    with pytest.raises(InternalError, match="read-only transaction") as raised:
        browser(line)
    told = "".join(traceback.format_exception(raised.value))
    assert "A request that writes belongs into force_master of c2cotel.db.init()." in told
    assert browser.made.ro_engine.pool.checkedout() == 0
    assert browser("GET /where").json == "standby"


def test_a_failure_of_another_kind_is_told_nothing_of_replicas(app):
    browser = app()
    with browser.made(None, readwrite=False) as session, pytest.raises(Exception) as raised:  # noqa: PT011 - any
        session.execute(text("SELECT nothing"))
    assert not hasattr(raised.value, "__notes__")


def test_read_only_makes_writes_fail_cleanly_until_it_ends(app):
    browser = app()
    readonly_of(browser.registry).forced = True
    with pytest.raises(InternalError, match="read-only transaction"):
        browser("POST /add")
    readonly_of(browser.registry).forced = False
    assert browser("POST /add").json == "added"


def test_who_has_written_sees_it_though_the_standby_lags(app, pair):
    browser, other = app(**{"c2c.db_read_your_writes": "10"}), app()
    with pair.paused():
        browser("POST /add")
        assert browser("GET /count").json == 1
        assert other("GET /count").json == 0
        browser.cookies.clear()
        assert browser("GET /count").json == 0
    pair.wait()
    assert browser("GET /count").json == 1


@pytest.mark.parametrize("killed", [False, True])
def test_a_standby_that_goes_and_comes_back(app, pair, killed):
    failing, falling_back = app(), app(**{"c2c.db_replica_down": "primary"})
    # Both keep a connection that will be broken.
    assert [browser("GET /where").json for browser in (failing, falling_back)] == ["standby"] * 2
    with pair.without_standby(killed=killed):
        for _ in range(2):
            with pytest.raises(OperationalError):
                failing("GET /where")
            assert falling_back("GET /where").json == "primary"
    assert failing("GET /where").json == "standby"
    falling_back.made._fallback._down_until = 0.0
    retry_timeout(lambda: falling_back("GET /where").json == "standby", 5, 0.01)


@pytest.mark.parametrize("app", ["psycopg"], indirect=True)
def test_a_standby_killed_under_load_leaves_no_connection_behind(app, pair):
    browser = app(**{"c2c.db_replica_down": "primary"})
    answers, failures, stop = Counter(), [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                answers[browser("GET /where").json] += 1
            except OperationalError as error:  # in the middle of a statement
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        retry_timeout(lambda: answers["standby"] > 50, 10, 0.01)
        with pair.without_standby(killed=True):
            retry_timeout(lambda: answers["primary"] > 50, 10, 0.01)
        browser.made._fallback._down_until = 0.0
        before = answers["standby"]
        retry_timeout(lambda: answers["standby"] > before + 50, 10, 0.01)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # At most what each thread was doing at that moment.
    assert len(failures) <= 8
    assert [browser.made.ro_engine.pool.checkedout(), browser.made.rw_engine.pool.checkedout()] == [
        0,
        0,
    ]
