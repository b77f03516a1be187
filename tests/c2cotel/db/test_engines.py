"""Engines of settings, and what is said of wrong ones."""

import builtins
import multiprocessing
import os
import re
import socket
import time
import warnings

import pytest
import sqlalchemy
from pyramid.config import Configurator
from sqlalchemy import text

from c2cotel.db import get_engine, init
from c2cotel.db.deadlines import deadlines
from c2cotel.settings import Db, SettingsError
from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers import postgres

URL = "postgresql+psycopg://user:hunter2@db.example.com:5432/app"


@pytest.fixture
def engine_of():
    """``engine_of({"sqlalchemy.url": …})``, disposed of afterwards."""
    made = []

    def make(settings, *arguments, **options):
        made.append(get_engine(settings, *arguments, **options))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()


# --- what is set ----------------------------------------------------------------------------------


def test_the_seeds_ini(engine_of):
    settings = {
        "sqlalchemy.url": URL,
        "sqlalchemy.pool_recycle": "20",
        "sqlalchemy.pool_size": "3",
        "sqlalchemy.max_overflow": "7",
        "sqlalchemy_slave.url": "postgresql+psycopg://other/app",
    }
    engine = engine_of(settings)
    assert engine.c2c_name == "sqlalchemy"
    assert engine.url == sqlalchemy.make_url(URL)
    assert (engine.pool._recycle, engine.pool.size(), engine.pool._max_overflow) == (20, 3, 7)
    assert engine_of(settings, "sqlalchemy_slave.").c2c_name == "sqlalchemy_slave"
    assert engine_of(settings, "sqlalchemy_slave").url.host == "other"


def test_the_seeds_defaults(engine_of):
    pool = engine_of({"sqlalchemy.url": URL, "sqlalchemy.pool_size": ""}).pool
    assert (pool._recycle, pool.size(), pool._max_overflow) == (30, 5, 25)


def test_the_environment_is_read_where_the_ini_says_nothing(engine_of, monkeypatch):
    monkeypatch.setenv("SQLALCHEMY_SLAVE_URL", URL)
    monkeypatch.setenv("SQLALCHEMY_SLAVE_POOL_SIZE", "2")
    engine = engine_of({"sqlalchemy_slave.url": ""}, "sqlalchemy_slave.")
    assert (engine.url.host, engine.pool.size()) == ("db.example.com", 2)
    assert engine_of({"sqlalchemy_slave.url": "sqlite://"}, "sqlalchemy_slave").name == "sqlite"


def test_a_password_with_percent_signs(engine_of):
    url = "postgresql+psycopg://user:100%25%40%2F%zz@host/app"
    assert engine_of({"sqlalchemy.url": url}).url.password == "100%@/%zz"


def test_booleans_and_other_types_of_the_ini(engine_of):
    engine = engine_of(
        {
            "sqlalchemy.url": URL,
            "sqlalchemy.pool_pre_ping": "false",
            "sqlalchemy.hide_parameters": "true",
            "sqlalchemy.isolation_level": "SERIALIZABLE",
        },
        pool_pre_ping=True,
    )
    assert (engine.pool._pre_ping, engine.hide_parameters) == (False, True)


def test_what_the_caller_wants_by_default(engine_of):
    assert engine_of({"sqlalchemy.url": URL}, pool_pre_ping=True).pool._pre_ping


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_sqlite_in_memory_has_no_use_for_the_sizes_of_pools(engine_of, url):
    settings = {"sqlalchemy.url": url, "sqlalchemy.max_overflow": "7", "sqlalchemy.pool_size": "2"}
    with engine_of(settings).connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


# --- bad input ------------------------------------------------------------------------------------

WRONG = [
    ({}, "sqlalchemy.url: missing, and there is no SQLALCHEMY_URL in the environment. Write"),
    ({"sqlalchemy.url": " "}, "sqlalchemy.url (SQLALCHEMY_URL): not the URL of a database"),
    ({"sqlalchemy.url": "hunter2"}, "sqlalchemy.url (SQLALCHEMY_URL): not the URL of a database"),
    ({"sqlalchemy.url": "postgresql://h:hunter2/db"}, "sqlalchemy.url (SQLALCHEMY_URL): not the U"),
    ({"sqlalchemy.url": "postgresql://u:hun@ter2@h/db"}, "Write %40 for those in the password"),
    ({"sqlalchemy.url": "postgres://u:hunter2@h/db"}, "SQLAlchemy knows no postgres://. Write"),
    ({"sqlalchemy.url": "pigeon://u:hunter2@h/db"}, "SQLAlchemy knows no pigeon://"),
    (
        {"sqlalchemy.url": "postgresql+pg8000://u:hunter2@h/db"},
        "postgresql+pg8000:// needs pg8000, which is not installed: pip install 'pg8000'",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.pool_size": "ten"},
        "sqlalchemy.pool_size (SQLALCHEMY_POOL_SIZE) = 'ten': not a whole number. Write for ex",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.pool_pre_ping": "maybe"},
        "sqlalchemy.pool_pre_ping = 'maybe': not what SQLAlchemy takes. Write for example true",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.pool_sise": "5"},
        "sqlalchemy.pool_sise: not an option of an engine with this URL. Is sqlalchemy.pool_size",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.wings": "2"},
        "sqlalchemy.wings: not an option of an engine with this URL. Take it out",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.connect_args": '{"password": "hunter2"}'},
        "a dictionary is needed, which no ini can have. Write them into the URL, for example ?appl",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.poolclass": "NullPool"},
        "sqlalchemy.poolclass: a text, where a class is needed, which no ini can have. Take it",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.execution_options": "hunter2"},
        "sqlalchemy.execution_options: a text, where a dictionary is needed",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.creator": "hunter2"},
        "sqlalchemy.creator: a text, where a function is needed",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.pool_size": "-5"},
        "sqlalchemy.pool_size (SQLALCHEMY_POOL_SIZE) = -5: less than 0. Write 0 for no limit",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.max_overflow": "-2"},
        "sqlalchemy.max_overflow (SQLALCHEMY_MAX_OVERFLOW) = -2: less than -1. Write -1 for no l",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.pool_timeout": "soon"},
        "sqlalchemy.pool_timeout = 'soon': not a whole number. Write for example 30.",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.isolation_level": "FOO"},
        "sqlalchemy.isolation_level = 'FOO': not one of AUTOCOMMIT, READ COMMITTED, ",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.echo": "loudly"},
        "sqlalchemy.echo = 'loudly': not what SQLAlchemy takes. Write for example true",
    ),
    (
        {"sqlalchemy.url": URL, "sqlalchemy.pool_reset_on_return": "maybe"},
        "sqlalchemy.pool_reset_on_return = 'maybe': not what SQLAlchemy takes. Write for example r",
    ),
    ({"sqlalchemy.url": URL, "c2c.db_network_timeout": "long"}, "c2c.db_network_timeout = 'long'"),
]


@pytest.mark.parametrize(("settings", "said"), WRONG)
def test_wrong_settings_are_named_and_passwords_are_not(settings, said):
    with pytest.raises(SettingsError, match=re.escape(said)) as raised:
        get_engine(settings)
    assert "hunter2" not in str(raised.value)
    error = raised.value
    assert error.__suppress_context__ or error.__context__ is None


def test_an_unknown_prefix_is_told_the_known_ones():
    settings = {"sqlalchemy.url": URL, "sqlalchemy_slave.url": URL, "other.url": "http://x/"}
    said = "sqlalchmy.url: missing, and there is no SQLALCHMY_URL in the environment. "
    with pytest.raises(SettingsError, match=re.escape(said)) as raised:
        get_engine(settings, "sqlalchmy.")
    assert "There is one for sqlalchemy, sqlalchemy_slave. Write for" in str(raised.value)


@pytest.mark.parametrize(
    ("library", "said"),
    [
        ("zope.sqlalchemy", "need zope.sqlalchemy: pip install 'c2cotel[db]'"),
        ("pyramid_tm", "needs pyramid_tm: pip install 'c2cotel[db]'"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, library, said):
    real = builtins.__import__

    def without(name, *arguments):
        if name.startswith(library):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments)

    monkeypatch.delitem(__import__("sys").modules, library, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match=re.escape(said)):
        init(Configurator(settings={"sqlalchemy.url": "sqlite://"}), "sqlalchemy")


def test_a_bad_pattern_stops_the_start():
    config = Configurator(settings={"sqlalchemy.url": "sqlite://"})
    with pytest.raises(SettingsError, match=r"force_slave: 'POST /\(' is not a regular expression"):
        init(config, "sqlalchemy", force_slave=["POST /("])


# --- one engine or two ----------------------------------------------------------------------------


@pytest.mark.parametrize("replica", ["sqlite://", "", None])
def test_the_same_url_or_none_for_the_replica_is_one_engine(replica):
    settings = {"sqlalchemy.url": "sqlite://", "sqlalchemy_slave.url": replica}
    factory = init(Configurator(settings=settings), "sqlalchemy", "sqlalchemy_slave")
    assert factory.ro_engine is factory.rw_engine
    assert factory.engine_name(readwrite=False) == "sqlalchemy"


def test_options_of_a_replica_without_url_are_said_to_be_ignored(caplog):
    settings = {"sqlalchemy.url": "sqlite://", "sqlalchemy_slave.pool_size": "5"}
    init(Configurator(settings=settings), "sqlalchemy", "sqlalchemy_slave")
    assert "sqlalchemy_slave.url is missing: there is no replica" in caplog.text


def test_a_misspelt_prefix_of_the_replica_is_told_the_known_ones(caplog):
    urls = {"sqlalchemy.url": "sqlite://", "sqlalchemy_slave.url": "sqlite:///x.db"}
    factory = init(Configurator(settings=urls), "sqlalchemy", "sqlalchemy_slav")
    assert factory.ro_engine is factory.rw_engine
    (record,) = caplog.records
    assert (record.levelname, record.message) == (
        "WARNING",
        (
            "sqlalchemy_slav.url is missing: there is no replica. There is one for "
            "sqlalchemy_slave. If no replica is meant, write sqlalchemy_slav.url with nothing "
            "after the equals sign."
        ),
    )


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"sqlalchemy_slave.url": "", "sqlalchemy_other.url": "sqlite://"},
        {"sqlalchemy_other.url": ""},
    ],
)
def test_no_replica_is_said_of_nobody_who_means_it(caplog, more):
    config = Configurator(settings={"sqlalchemy.url": "sqlite://", **more})
    init(config, "sqlalchemy", "sqlalchemy_slave")
    assert not caplog.records


@pytest.mark.parametrize(("option", "value"), [("pool_size", "0"), ("max_overflow", "-1")])
def test_a_pool_without_limit(engine_of, option, value):
    engine_of({"sqlalchemy.url": URL, f"sqlalchemy.{option}": value})


def test_options_of_the_program_are_objects(engine_of):
    options = {"connect_args": {"timeout": 3}, "poolclass": sqlalchemy.NullPool}
    engine = engine_of({"sqlalchemy.url": "sqlite://"}, **options)
    assert isinstance(engine.pool, sqlalchemy.NullPool)


def test_an_isolation_level_as_sqlalchemy_takes_it(engine_of):
    settings = {"sqlalchemy.url": URL, "sqlalchemy.isolation_level": "read_committed"}
    engine_of(settings)


def test_an_engine_of_the_tests_is_both():
    engine = sqlalchemy.create_engine("sqlite://")
    config = Configurator(settings={"dbengine": engine})
    factory = init(config, "sqlalchemy", "sqlalchemy_slave")
    assert factory.ro_engine is factory.rw_engine is engine
    assert factory.engine_name(readwrite=True) == "sqlalchemy"
    assert config.registry["dbsession_factory"] is factory


# --- deadlines ------------------------------------------------------------------------------------


def deadlines_of(url, driver="psycopg", **db):
    return deadlines(sqlalchemy.make_url(url), driver, Db(**db))


def test_deadlines_are_given_to_libpq():
    expected = {
        "connect_timeout": 10,
        "tcp_user_timeout": 30000,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }
    assert deadlines_of(URL) == deadlines_of(URL, "psycopg2") == expected
    assert deadlines_of("postgresql+asyncpg://h/db", "asyncpg") == {}
    assert deadlines_of(URL, connect_timeout=0, network_timeout=0) == {}


def test_deadlines_of_the_user_stay(monkeypatch):
    found = deadlines_of(f"{URL}?connect_timeout=3&keepalives_idle=9")
    assert set(found) == {"tcp_user_timeout", "keepalives_interval", "keepalives_count"}
    assert deadlines_of(f"{URL}?service=main") == {}
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "4")
    assert "connect_timeout" not in deadlines_of(URL)
    monkeypatch.setenv("PGSERVICE", "main")
    assert deadlines_of(URL) == {}


@pytest.fixture(scope="module")
def server():
    try:
        with postgres() as running:
            yield running
    except MissingError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_the_sockets_of_a_connection_have_them(engine_of, server, driver):
    url = server.url.replace("+psycopg", f"+{driver}")
    settings = {"sqlalchemy.url": url, "c2c.db_network_timeout": "18"}
    with engine_of(settings).connect() as connection:
        number = os.dup(connection.connection.driver_connection.fileno())
        with socket.socket(fileno=number) as peer:
            options = ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
            values = [
                peer.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) for option in options
            ]
            assert values == [18000, 9, 3, 3]
            assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.alone
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_host_that_says_nothing_is_given_up(engine_of, driver):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = {
            "sqlalchemy.url": f"postgresql+{driver}://app@127.0.0.1:{port}/app",
            "c2c.db_connect_timeout": "2",
        }
        began = time.monotonic()
        with pytest.raises(sqlalchemy.exc.OperationalError, match="timeout"):
            engine_of(settings).connect()
        assert 1 < time.monotonic() - began < 4


# --- processes ------------------------------------------------------------------------------------


def test_a_forked_child_does_not_use_its_parents_connections(engine_of, server):
    engine = engine_of({"sqlalchemy.url": server.url})
    query = text("SELECT pg_backend_pid()")
    with engine.connect() as connection:
        mine = connection.scalar(query)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with warnings.catch_warnings():
        # Threads of other tests.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            with engine.connect() as connection:
                sender.send(connection.scalar(query))
        finally:
            os._exit(0)
    sender.close()
    assert receiver.recv() != mine
    receiver.close()
    os.waitpid(child, 0)
    with engine.connect() as connection:
        assert connection.scalar(query) == mine


def test_sqlite_in_memory_stays_what_it_was_in_a_child(engine_of):
    engine = engine_of({"sqlalchemy.url": "sqlite://"})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE hello (id INTEGER)"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        status = 1
        try:
            with engine.connect() as connection:
                status = connection.scalar(text("SELECT count(*) FROM hello"))
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
