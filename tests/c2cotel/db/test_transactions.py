"""Sessions of requests: committed, taken back, closed; and those of scripts."""

import gc
import inspect
import re
import weakref

import pytest
import sqlalchemy
import transaction
import zope.sqlalchemy
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationConflictError
from pyramid.httpexceptions import HTTPBadRequest
from sqlalchemy import delete, event, insert, select, text, update
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from c2cotel.db import get_engine, get_session_factory, get_tm_session, init
from c2cotel.db.transactions import LISTENERS
from c2cotel.pyramid.settings import settings_of
from c2cotel.settings import SettingsError

PRIMARY, REPLICA = "sqlalchemy", "sqlalchemy_slave"


def begin(config):
    return init(config, PRIMARY, REPLICA)


@pytest.fixture
def app(make, ini, hello):
    """Adds, reads, and fails in several ways."""

    def add(request):
        request.dbsession.add(hello(text="added"))
        return "added"

    def fail(request):
        add(request)
        request.dbsession.flush()
        raise ZeroDivisionError

    def refuse(request):
        add(request)
        raise HTTPBadRequest

    def count(request):
        request.dbsession.execute(select(hello)).all()
        return request.dbsession.query(hello).count()

    views = {"add": add, "fail": fail, "refuse": refuse, "count": count}
    browser = make(begin, views, ini)
    yield browser
    for engine in (browser.made.rw_engine, browser.made.ro_engine):
        assert engine.pool.checkedout() == 0


def stored(app, hello):
    with app.made() as session:
        return session.query(hello).count()


def test_what_a_request_writes_is_committed_on_the_primary(app, hello):
    assert app("POST /add").json == "added"
    assert stored(app, hello) == 1
    assert app("GET /count").json == 0


def test_what_a_request_that_fails_has_written_is_taken_back(app, hello):
    with pytest.raises(ZeroDivisionError):
        app("POST /fail")
    assert app("POST /refuse").status_int == 400
    assert stored(app, hello) == 0


def test_a_session_is_made_when_it_is_asked_for_and_once(make, ini):
    made = []

    class Counted(Session):
        def __init__(self, **options):
            made.append(self)
            super().__init__(**options)

    def twice(request):
        assert request.dbsession is request.dbsession
        return "twice"

    browser = make(begin, {"twice": twice, "none": lambda _: "none"}, ini)
    browser.made.class_ = Counted
    browser("POST /none")
    assert made == []
    browser("POST /twice")
    assert len(made) == 1


def test_a_session_dies_with_its_request(make, ini):
    sessions = []

    def view(request):
        sessions.append(weakref.ref(request.dbsession))
        return request.dbsession.scalar(text("SELECT 1"))

    browser = make(begin, {"view": view}, ini)
    browser("GET /view")
    gc.collect()
    assert sessions[0]() is None


def test_a_session_of_the_tests_is_used_as_it_is(make, ini):
    def view(request):
        return request.dbsession is request.environ["app.dbsession"]

    browser = make(begin, {"view": view}, ini)
    with browser.made() as session:
        assert browser("POST /view", **{"app.dbsession": session}).json is True


def test_a_transaction_of_the_tests_is_used_as_it_is(app, hello):
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    app("POST /add", **{"tm.active": True, "tm.manager": manager})
    manager.abort()
    assert stored(app, hello) == 0


def test_a_hook_for_the_manager_of_ones_own_stays(make, ini):
    def hook(_):
        return transaction.manager

    browser = make(
        begin, {"view": lambda r: r.tm is transaction.manager}, {**ini, "tm.manager_hook": hook}
    )
    assert browser("POST /view").json is True


def test_pyramid_tm_may_have_been_included_before_or_come_after(make, ini, hello):
    def before(config):
        config.include("pyramid_tm")
        factory = begin(config)
        config.include("pyramid_tm")
        return factory

    browser = make(before, {"add": lambda r: r.dbsession.add(hello(text="x"))}, ini)
    browser("POST /add")
    assert stored(browser, hello) == 1


def test_settings_read_before_are_those_of_the_application(make, ini):
    def begin_with_wrong(config):
        settings_of(config)
        return begin(config)

    assert make(begin_with_wrong, {"view": lambda _: 1}, ini)("GET /view").json == 1


# --- as zope.sqlalchemy does it -------------------------------------------------------------------


def test_the_events_are_those_of_zope_sqlalchemy():
    source = inspect.getsource(zope.sqlalchemy.register)
    assert set(re.findall(r'event\.listen\(\w+, "(\w+)"', source)) == set(LISTENERS)


@pytest.fixture
def factory(ini):
    engine = get_engine(ini)
    yield get_session_factory(engine)
    engine.dispose()


WRITES = {
    "a flush": lambda session, hello: session.add(hello(text="new")),
    "an insert": lambda session, hello: session.execute(insert(hello).values(text="new")),
    "an update": lambda session, hello: session.execute(update(hello).values(text="new")),
    "a bulk update": lambda session, hello: session.query(hello).update({"text": "new"}),
    "a change": lambda session, hello: setattr(session.scalars(select(hello)).one(), "text", "new"),
    "a savepoint": lambda session, hello: [
        session.begin_nested().session.add(hello(text="new")),
        session.flush(),
        session.get_nested_transaction().commit(),
    ],
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", ["sessionmaker", "function", "scoped"])
def test_each_way_to_write_is_committed(factory, hello, write, kind):
    with factory.begin() as session:
        session.add(hello(text="old"))
    sessions = {"sessionmaker": factory, "function": factory.__call__, "scoped": None}[kind]
    if kind == "scoped":
        sessions = scoped_session(factory).session_factory
    with transaction.manager:
        WRITES[write](get_tm_session(sessions, transaction.manager), hello)
    with factory() as session:
        assert session.query(hello).filter_by(text="new").count() == 1


@pytest.mark.parametrize(
    "remove",
    [
        lambda session, hello: session.execute(delete(hello)),
        lambda session, hello: session.query(hello).delete(),
        lambda session, hello: session.delete(session.scalars(select(hello)).one()),
    ],
)
def test_each_way_to_delete_is_committed(factory, hello, remove):
    with factory.begin() as session:
        session.add(hello(text="old"))
    with transaction.manager:
        remove(get_tm_session(factory, transaction.manager), hello)
    with factory() as session:
        assert session.query(hello).count() == 0


def test_reading_commits_nothing_and_closes(factory, hello):
    commits = []
    event.listen(factory, "after_commit", commits.append)
    with transaction.manager:
        session = get_tm_session(factory, transaction.manager)
        session.execute(select(hello)).all()
        assert session.in_transaction()
    assert not session.in_transaction()
    assert commits == []


def test_committing_past_the_transaction_is_refused(factory, hello):
    transaction.begin()
    session = get_tm_session(factory, transaction.manager)
    session.add(hello(text="x"))
    with pytest.raises(AssertionError, match="must be committed using the transaction manager"):
        session.commit()
    transaction.abort()


def test_text_is_committed_when_it_is_said_to_have_written(factory, hello):
    with transaction.manager:
        session = get_tm_session(factory, transaction.manager)
        session.execute(text("INSERT INTO hello (text) VALUES ('raw')"))
        zope.sqlalchemy.mark_changed(session, transaction.manager)
    with factory() as session:
        assert session.query(hello).count() == 1


def test_other_sessions_of_the_same_factory_belong_to_nobody(factory, hello):
    with transaction.manager:
        get_tm_session(factory, transaction.manager)
    with factory() as session:
        session.add(hello(text="x"))
        session.commit()
        assert session.query(hello).count() == 1


def test_sessions_of_other_factories_are_not_listened_to(factory, hello):
    with transaction.manager:
        get_tm_session(factory, transaction.manager)
    # Whoever looked at this would fail.
    bait = {"c2c_zope_events": object()}
    with pytest.raises(AttributeError, match="after_attach"):
        factory(info=bait).add(hello(text="x"))
    with sessionmaker(factory.kw["bind"])(info=bait) as session:
        session.add(hello(text="x"))
        session.commit()


def test_a_script_as_the_seed_writes_it(ini, hello):
    engine = get_engine(ini)
    session_factory = get_session_factory(engine)
    with transaction.manager:
        get_tm_session(session_factory, transaction.manager).add(hello(text="script"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT text FROM hello")) == "script"
    engine.dispose()


def test_two_inits_are_a_conflict_that_names_both():
    config = Configurator(settings={"sqlalchemy.url": "sqlite://", "other.url": "sqlite://"})
    init(config, PRIMARY)
    init(config, "other")
    with pytest.raises(ConfigurationConflictError, match="dbsession"):
        config.commit()


def test_wrong_settings_of_c2cotel_stop_the_start():
    config = Configurator(settings={"sqlalchemy.url": "sqlite://", "c2c.db_replica_down": "panic"})
    with pytest.raises(SettingsError, match="'panic': not one of those known"):
        init(config, PRIMARY)


def test_no_connection_is_made_before_it_is_needed():
    settings = {"sqlalchemy.url": "postgresql+psycopg://nobody@127.0.0.1:1/nothing"}
    factory = init(Configurator(settings=settings), PRIMARY)
    session = factory()
    with pytest.raises(sqlalchemy.exc.OperationalError):
        session.execute(text("SELECT 1"))
    session.close()
    factory.dispose()
