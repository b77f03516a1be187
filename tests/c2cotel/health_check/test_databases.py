"""The checks of databases and their migrations, on a real PostgreSQL."""

import os
import signal
import sys
import textwrap
import threading
import time

import pytest
import sqlalchemy
from pyramid.exceptions import ConfigurationError
from sqlalchemy import text
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from c2cotel.health_check import EngineType, HealthCheck
from c2cotel.health_check.core import CheckFailedError
from c2cotel_acceptance.servers import postgres


class Base(DeclarativeBase):
    pass


class Hello(Base):
    __tablename__ = "hello"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture(scope="module")
def server():
    with postgres() as running:
        yield running


@pytest.fixture
def engine(server):
    engine = sqlalchemy.create_engine(server.url, pool_size=5, max_overflow=0)
    engine.c2c_name = "sqlalchemy"
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Hello())
        session.commit()
    yield engine
    Base.metadata.drop_all(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    engine.dispose()


@pytest.fixture
def replica(server):
    engine = sqlalchemy.create_engine(server.url)
    engine.c2c_name = "sqlalchemy_slave"
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine):
    return sessionmaker(engine)


@pytest.fixture
def other(server):
    """A connection of somebody else's, that sees what is going on."""
    engine = sqlalchemy.create_engine(server.url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        yield connection


def states(other):
    """Those of the connections but its own."""
    rows = other.execute(
        text("SELECT state FROM pg_stat_activity WHERE datname = 'app' AND pid <> pg_backend_pid()")
    )
    found = sorted(row[0] for row in rows)
    other.rollback()
    return found


class SessionFactory:
    """As c2cwsgiutils' and c2cotel.db's: chooses the engine."""

    def __init__(self, primary, replica):
        self.primary, self.replica = primary, replica

    def engine_name(self, readwrite):
        return (self.primary if readwrite else self.replica).c2c_name

    def __call__(self, request, readwrite=None):
        return Session(self.primary if readwrite else self.replica)


# --- sessions -------------------------------------------------------------------------------------


def test_a_database_that_answers(configurator, browse, sessions):
    config = configurator()
    HealthCheck(config).add_db_session_check(sessions, at_least_one_model=Hello)
    assert list(browse(config).get().json["successes"]) == ["db_engine_sqlalchemy"]


def test_an_empty_table_is_said(configurator, browse, sessions):
    with sessions.begin() as session:
        session.execute(text("DELETE FROM hello"))
    config = configurator()
    HealthCheck(config).add_db_session_check(sessions, at_least_one_model=Hello)
    entry = browse(config).get().json["failures"]["db_engine_sqlalchemy"]
    assert entry["message"] == "Hello record not found"


def test_a_query_of_ones_own(configurator, browse, sessions):
    config = configurator()
    HealthCheck(config).add_db_session_check(
        sessions, lambda session: session.scalar(text("SELECT count(*) FROM hello"))
    )
    entry = browse(config).get().json["successes"]["db_engine_sqlalchemy"]
    assert entry["result"] == 1


@pytest.fixture(params=["factory", "scoped"])
def two(request, engine, replica):
    """Sessions of two engines, as c2cwsgiutils had them since version 4, and before."""
    if request.param == "factory":
        yield SessionFactory(engine, replica)
    else:
        sessions = scoped_session(sessionmaker(engine))
        sessions.c2c_rw_bind, sessions.c2c_ro_bind = engine, replica
        yield sessions
        assert not sessions.registry.has()


@pytest.mark.parametrize(
    ("engine_type", "names"),
    [
        (EngineType.READ_AND_WRITE, ["db_engine_sqlalchemy_slave", "db_engine_sqlalchemy"]),
        (EngineType.READ_ONLY, ["db_engine_sqlalchemy_slave"]),
        (EngineType.WRITE_ONLY, ["db_engine_sqlalchemy"]),
    ],
)
def test_each_engine_has_a_check(configurator, browse, two, engine_type, names):
    config = configurator()
    HealthCheck(config).add_db_session_check(two, engine_type=engine_type)
    assert list(browse(config).get().json["successes"]) == names


def test_two_names_for_one_engine_are_one_check(configurator, browse, engine):
    config = configurator()
    HealthCheck(config).add_db_session_check(SessionFactory(engine, engine))
    assert list(browse(config).get().json["successes"]) == ["db_engine_sqlalchemy"]


def test_what_makes_no_sessions_stops_the_start(configurator):
    with pytest.raises(ConfigurationError, match="None makes no sessions: give a sessionmaker"):
        HealthCheck(configurator()).add_db_session_check(None)


def test_no_connection_is_left_in_a_transaction(configurator, browse, sessions, other, engine):
    config = configurator()
    health = HealthCheck(config)
    health.add_db_session_check(sessions, at_least_one_model=Hello)
    health.add_custom_check("bad", lambda _: int("x"))
    browser = browse(config)
    threads = [
        threading.Thread(target=lambda: [browser.get() for _ in range(10)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(states(other)) == {"idle"}
    assert engine.pool.checkedout() == 0


def test_what_a_query_has_written_is_taken_back(configurator, browse, sessions):
    config = configurator()
    HealthCheck(config).add_db_session_check(sessions, lambda session: session.add(Hello()))
    browse(config).get()
    with sessions() as session:
        assert session.query(Hello).count() == 1


@pytest.mark.alone
def test_a_locked_table_ends_by_itself_and_fails_alone(configurator, browse, sessions, other):
    config = configurator()
    health = HealthCheck(config)
    health.add_db_session_check(sessions, at_least_one_model=Hello, timeout=2)
    health.add_custom_check("good", lambda _: None)
    browser = browse(config)
    other.execute(text("LOCK TABLE hello"))
    body = browser.get().json
    assert list(body["successes"]) == ["good"]
    entry = body["failures"]["db_engine_sqlalchemy"]
    assert entry["message"] == "OperationalError: LockNotAvailable"
    assert 1.4 < entry["timing"] < 2
    other.rollback()
    assert browser.get().status_int == 200
    assert states(other) == ["idle"]


def test_the_limit_stays_with_the_check(configurator, browse, sessions):
    config = configurator()
    HealthCheck(config).add_db_session_check(
        sessions, lambda session: session.scalar(text("SHOW statement_timeout"))
    )
    entry = browse(config).get().json["successes"]["db_engine_sqlalchemy"]
    assert entry["result"] == "1800ms"
    with sessions() as session:
        assert session.scalar(text("SHOW statement_timeout")) == "0"


@pytest.mark.alone
def test_a_hung_database_fails_in_time_and_is_asked_again_when_it_goes_on(
    configurator, browse, sessions, other
):
    config = configurator()
    HealthCheck(config).add_db_session_check(sessions, timeout=0.5)
    browser = browse(config)
    browser.get()
    (pid,) = other.scalars(
        text("SELECT pid FROM pg_stat_activity WHERE datname = 'app' AND pid <> pg_backend_pid()")
    )
    other.rollback()
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            began = time.monotonic()
            entry = browser.get().json["failures"]["db_engine_sqlalchemy"]
            assert entry["message"].startswith("No result after")
            assert time.monotonic() - began < 1.5
    finally:
        os.kill(pid, signal.SIGCONT)
    end = time.monotonic() + 10
    while browser.get().status_int != 200:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert states(other) == ["idle"]


def test_sqlite_has_no_limits_and_works(configurator, browse):
    engine = sqlalchemy.create_engine(
        "sqlite://", poolclass=sqlalchemy.StaticPool, connect_args={"check_same_thread": False}
    )
    config = configurator()
    HealthCheck(config).add_db_session_check(sessionmaker(engine))
    assert browse(config).get().status_int == 200
    engine.dispose()


def test_no_database_is_told_without_its_address(configurator, browse):
    engine = sqlalchemy.create_engine("postgresql+psycopg://me:hunter2@127.0.0.1:1/app")
    config = configurator()
    HealthCheck(config).add_db_session_check(sessionmaker(engine))
    browser = browse(config)
    entry = browser.get().json["failures"]["db_engine_sqlalchemy"]
    assert entry["message"] == "OperationalError"
    told = browser.get(authorised=True).text
    assert "127.0.0.1" in told
    assert "hunter2" not in told
    engine.dispose()


# --- migrations -----------------------------------------------------------------------------------


@pytest.fixture
def migrations(tmp_path):
    """``migrations(("a", None), ("b", "a"))``: the ini of such migrations."""

    def make(*revisions, section="alembic", **options):
        versions = tmp_path / "migrations" / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        (versions.parent / "env.py").write_text("")
        for revision, down, *depends in revisions:
            (versions / f"{revision}.py").write_text(
                textwrap.dedent(
                    f"""\
                    revision = {revision!r}
                    down_revision = {down!r}
                    depends_on = {depends[0] if depends else None!r}
                    """
                )
            )
        lines = "".join(f"{key} = {value}\n" for key, value in options.items())
        ini = tmp_path / "alembic.ini"
        ini.write_text(
            f"[{section}]\nscript_location = migrations\nprepend_sys_path = .\n"
            f"path_separator = os\n{lines}"
        )
        return ini

    return make


def at(engine, *versions, table="alembic_version"):
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
        connection.execute(text(f"CREATE TABLE {table} (version_num text)"))
        for version in versions:
            connection.execute(
                sqlalchemy.table(table, sqlalchemy.column("version_num"))
                .insert()
                .values(version_num=version)
            )


@pytest.fixture
def asked(configurator, browse, sessions):
    """``asked(ini)``: the name of the check, and its result or its message."""

    def ask(ini, **options):
        config = configurator()
        HealthCheck(config).add_alembic_check(sessions, str(ini), **options)
        body = browse(config).get(max_level=9).json
        ((name, entry),) = (body["successes"] | body["failures"]).items()
        return name, entry.get("result", entry.get("message"))

    return ask


def test_the_version_is_the_result(asked, engine, migrations):
    ini = migrations(("4a8c1bb4e775", None))
    at(engine, "4a8c1bb4e775")
    before = list(sys.path)
    name, result = asked(ini)
    assert name == f"alembic_{str(ini).replace('/', '_').strip('_')}_alembic"
    assert result == "4a8c1bb4e775"
    assert sys.path == before


def test_the_name_is_that_of_the_seed():
    from c2cotel.health_check.checks.alembic_version import check_name

    assert check_name("/app/alembic.ini", "alembic") == "alembic_app_alembic.ini_alembic"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (["a"], "Invalid alembic version (db: a, code: c)"),
        (["later"], "Invalid alembic version (db: later, code: c)"),
        ([], "Invalid alembic version (db: none, code: c)"),
        (["b"], "Invalid alembic version (db: b, code: c)"),
        (["c"], "c"),
    ],
)
def test_another_version_is_told_with_that_of_the_code(asked, engine, migrations, found, told):
    ini = migrations(("a", None), ("b", "a"), ("c", "b"))
    at(engine, *found)
    assert asked(ini)[1] == told


def test_no_table_is_no_version(asked, migrations):
    ini = migrations(("a", None))
    told = asked(ini)[1]
    assert told == "Invalid alembic version (db: none, code: a)"


def test_branches_have_several_heads(asked, engine, migrations):
    ini = migrations(("root", None), ("left one", "root"), ("right.2", "root"))
    at(engine, "right.2", "left one")
    assert asked(ini)[1] == "left one, right.2"
    at(engine, "right.2")
    assert asked(ini)[1] == ("Invalid alembic version (db: right.2, code: left one, right.2)")


def test_a_head_that_another_branch_depends_on_is_not_in_the_table(asked, engine, migrations):
    ini = migrations(("a", None), ("b", None, "a"))
    at(engine, "b")
    assert asked(ini)[1] == "a, b"


def test_section_and_table_are_those_of_the_ini(asked, engine, migrations):
    ini = migrations(
        ("a", None), section="main", version_table="versions_of_main", version_table_schema="public"
    )
    at(engine, "a", table="versions_of_main")
    try:
        name, result = asked(ini, name="main")
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE versions_of_main"))
    assert (name.endswith("alembic.ini_main"), result) == (True, "a")


def test_migrations_that_cannot_be_read_stop_the_start(configurator, sessions, migrations):
    health = HealthCheck(configurator())
    with pytest.raises(ConfigurationError, match=r"there is no file /nowhere/alembic\.ini"):
        health.add_alembic_check(sessions, "/nowhere/alembic.ini")
    ini = migrations(("a", None))
    with pytest.raises(ConfigurationError, match=r"has no section \[x\]; there are: alembic"):
        health.add_alembic_check(sessions, ini, name="x")
    broken = ini.parent / "migrations" / "versions" / "broken.py"
    broken.write_text("raise RuntimeError('a broken migration')")
    with pytest.raises(ConfigurationError, match="cannot be read: a broken migration"):
        health.add_alembic_check(sessions, ini)


def test_without_alembic_it_is_said(configurator, sessions, migrations, monkeypatch):
    monkeypatch.setitem(sys.modules, "alembic.config", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'c2cotel\[alembic\]'"):
        HealthCheck(configurator()).add_alembic_check(sessions, migrations(("a", None)))


def test_another_version_is_told_apart_from_a_database_that_does_not_answer(
    sessions, migrations, engine
):
    from c2cotel.health_check.checks import alembic_version, database

    ini = migrations(("a", None), ("b", "a"))
    told = []
    check = alembic_version.check(
        alembic_version.Migrations(str(ini), "alembic", None, None),
        database.bindings(sessions),
        2.0,
        lambda _: None,
        told.append,
    )
    at(engine, "a")
    with pytest.raises(CheckFailedError, match=r"db: a, code: b"):
        check(None)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
        connection.execute(text("CREATE TABLE alembic_version (nothing int)"))
    with pytest.raises(sqlalchemy.exc.DBAPIError):
        check(None)
    at(engine, "b")
    check(None)
    assert told == [True, False, False]


def test_every_process_knows_the_version_that_one_has_found():
    from c2cotel import broadcast
    from c2cotel.health_check.checks.alembic_version import CHANNEL, Versions

    told = []
    broadcast.subscribe(CHANNEL, lambda **params: told.append(params))
    one = Versions()
    for version in ("a", "a", "b", "b"):
        one.found("alembic", "/app/alembic.ini", version)
    assert [each["version"] for each in told] == ["a", "b"]
    other = Versions()
    for params in told:
        other.learn(**params)
    (point,) = other._observe(None)
    assert (point.value, point.attributes) == (
        1,
        {"version": "b", "name": "alembic", "configuration": "/app/alembic.ini"},
    )


@pytest.mark.parametrize(
    "text",
    [
        "sqlalchemy.url = postgresql://me:sesame@host/db\n",
        "[alembic]\nscript_location = .\nversion_table = %(nowhere)s\n",
    ],
)
def test_an_ini_that_cannot_be_read_is_named_at_the_start(configurator, sessions, tmp_path, text):
    path = tmp_path / "alembic.ini"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"alembic\.ini cannot be read: ") as error:
        HealthCheck(configurator()).add_alembic_check(sessions, str(path))
    assert "sesame" not in str(error.value)
