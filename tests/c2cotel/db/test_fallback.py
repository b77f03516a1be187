"""A replica that is down."""

import re
import threading
import time

import pytest
import sqlalchemy
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy import text

from c2cotel.db import Readonly, SessionFactory, init
from c2cotel.db.fallback import Fallback

PRIMARY, REPLICA = "sqlalchemy", "sqlalchemy_slave"


class Asked:
    method, path = "GET", "/"


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def primary():
    engine = sqlalchemy.create_engine("sqlite://")
    engine.c2c_name = PRIMARY
    yield engine
    engine.dispose()


@pytest.fixture
def replica(tmp_path):
    """One in a folder that a test may take away."""
    folder = tmp_path / "replica"
    folder.mkdir()
    engine = sqlalchemy.create_engine(f"sqlite:///{folder}/file.db", poolclass=sqlalchemy.NullPool)
    engine.c2c_name = REPLICA
    engine.folder = folder
    yield engine
    engine.dispose()


@pytest.fixture
def factory(primary, replica, reader):
    """``factory(pause)``."""

    def make(pause=60.0, **more):
        provider = MeterProvider([reader], shutdown_on_exit=False)
        fallback = Fallback(replica, primary, pause=pause, provider=provider)
        return SessionFactory(None, None, replica, primary, fallback=fallback, **more)

    return make


def engine_of(session):
    with session:
        return session.connection().engine.c2c_name


def counted(reader):
    data = reader.get_metrics_data()
    points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points if data else ()
    return {point.attributes["c2c.engine"]: point.value for point in points}


def down(replica):
    replica.folder.rename(replica.folder.with_name("away"))


def up(replica):
    replica.folder.with_name("away").rename(replica.folder)


def test_while_it_is_down_the_primary_is_read_and_that_is_said_once(
    factory, replica, reader, caplog
):
    made = factory()
    assert engine_of(made(Asked())) == REPLICA
    down(replica)
    assert [engine_of(made(Asked())) for _ in range(5)] == [PRIMARY] * 5
    assert counted(reader) == {REPLICA: 5}
    (line,) = caplog.messages
    assert re.match(f"{REPLICA} cannot be connected to, its sessions use {PRIMARY} mean.*: ", line)


def test_when_it_is_back_it_is_read_again(factory, replica, caplog):
    made = factory(pause=0.0)
    down(replica)
    assert engine_of(made(Asked())) == PRIMARY
    up(replica)
    assert [engine_of(made(Asked())) for _ in range(2)] == [REPLICA] * 2
    assert caplog.messages[-1] == f"{REPLICA} is back: it is read from again."
    assert len(caplog.messages) == 2


def test_it_is_not_tried_by_every_session(factory, replica):
    made = factory(pause=60.0)
    down(replica)
    assert engine_of(made(Asked())) == PRIMARY
    up(replica)
    assert engine_of(made(Asked())) == PRIMARY


@pytest.mark.alone
def test_one_thread_tries_it_and_the_others_do_not_wait(primary, replica):
    fallback = Fallback(replica, primary)
    down(replica)
    assert fallback.engine() is primary
    fallback._down_until = 0.0
    trying, go_on = threading.Event(), threading.Event()

    @sqlalchemy.event.listens_for(replica, "do_connect")
    def slowly(*_):
        trying.set()
        assert go_on.wait(10)

    thread = threading.Thread(target=fallback.engine)
    thread.start()
    try:
        assert trying.wait(10)
        began = time.monotonic()
        assert fallback.engine() is primary
        assert time.monotonic() - began < 1
    finally:
        go_on.set()
        thread.join()


def test_a_session_stays_where_it_began(factory, replica):
    made = factory()
    with made(Asked()) as session:
        assert session.scalar(text("SELECT 1")) == 1
        down(replica)
        assert session.scalar(text("SELECT 2")) == 2
        assert session.get_bind() is replica


@pytest.mark.parametrize("readonly", [True, False])
def test_who_asks_for_the_replica_itself_gets_its_error(factory, replica, reader, readonly):
    made = factory(readonly=Readonly(forced=readonly))
    down(replica)
    session = made(Asked()) if readonly else made(None, readwrite=False)
    with session, pytest.raises(sqlalchemy.exc.OperationalError):
        session.connection()
    assert counted(reader) == {}


def test_all_connections_in_use_is_not_down(tmp_path, primary):
    replica = sqlalchemy.create_engine(
        f"sqlite:///{tmp_path}/file.db", pool_size=1, max_overflow=0, pool_timeout=0.05
    )
    fallback = Fallback(replica, primary)
    with replica.connect():
        assert fallback.engine() is replica
    replica.dispose()


def test_by_default_it_is_an_error(make, ini):
    settings = {**ini, "sqlalchemy_slave.url": "sqlite:////nowhere/at/all.db"}
    browser = make(
        lambda config: init(config, PRIMARY, REPLICA),
        {"read": lambda request: request.dbsession.scalar(text("SELECT 1"))},
        settings,
    )
    with pytest.raises(sqlalchemy.exc.OperationalError):
        browser("GET /read")


def test_the_replicas_connections_are_tried_before_they_are_used(make, ini):
    settings = {**ini, "c2c.db_replica_down": "primary"}
    factory = make(lambda config: init(config, PRIMARY, REPLICA), {}, settings).made
    assert factory.ro_engine.pool._pre_ping
    assert not factory.rw_engine.pool._pre_ping
