"""Sessions that the application has made itself, in the transaction of a request."""

import sys

import pytest
import sqlalchemy
import transaction
import zope.sqlalchemy
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPBadRequest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker
from webob import Request

from c2cotel.pyramid import FEATURES


class Base(DeclarativeBase):
    pass


class Word(Base):
    __tablename__ = "word"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def engine(tmp_path):
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/words.db")
    Base.metadata.create_all(engine)
    yield engine
    transaction.abort()
    engine.dispose()


@pytest.fixture
def of_thread(engine):
    """A session for each thread, as many applications have it."""
    sessions = scoped_session(sessionmaker(engine))
    zope.sqlalchemy.register(sessions)
    yield sessions
    sessions.remove()


def stored(engine):
    with engine.connect() as connection:
        return connection.scalar(sqlalchemy.select(sqlalchemy.func.count(Word.id)))


TRANSACTIONS = "c2cotel.pyramid.transactions"
ORDERS = [[TRANSACTIONS], ["pyramid_tm", TRANSACTIONS], [TRANSACTIONS, "pyramid_tm"]]


def application(includes, view, **settings):
    config = Configurator(settings=settings)
    for name in includes:
        config.include(name)
    config.add_route("v", "/v")
    config.add_view(view, route_name="v", renderer="json")
    return config.make_wsgi_app()


@pytest.mark.parametrize("includes", ORDERS)
def test_what_a_view_writes_is_committed_and_what_one_that_fails_has_written_is_not(
    includes, engine, of_thread
):
    def view(request):
        of_thread.add(Word())
        of_thread.flush()
        if "fail" in request.params:
            raise HTTPBadRequest
        return "added"

    app = application(includes, view)
    assert Request.blank("/v").get_response(app).json == "added"
    assert Request.blank("/v?fail=1").get_response(app).status_int == 400
    assert stored(engine) == 1


def test_a_session_of_the_request_is_committed(engine):
    def view(request):
        session = sessionmaker(engine)()
        zope.sqlalchemy.register(session, transaction_manager=request.tm)
        session.add(Word())
        return "added"

    Request.blank("/v").get_response(application([TRANSACTIONS], view))
    assert stored(engine) == 1


@pytest.mark.parametrize("includes", ORDERS)
def test_the_settings_of_pyramid_tm_hold(includes, engine, of_thread):
    def view(_):
        of_thread.add(Word())
        of_thread.flush()

    for settings in ({"tm.commit_veto": lambda *_: True}, {"tm.activate_hook": lambda _: False}):
        Request.blank("/v").get_response(application(includes, view, **settings))
        of_thread.remove()
        transaction.abort()
    assert stored(engine) == 0


@pytest.mark.parametrize("includes", ORDERS)
def test_a_request_has_one_tween_for_its_transaction(includes):
    app = application(includes, lambda _: None)
    names = [tween.__qualname__ for tween in tweens(app)]
    assert len([name for name in names if "tm_tween" in name]) == 1


def tweens(app):
    """Those of *app*, from the outermost."""
    handler = app.handle_request
    while handler is not None:
        yield handler
        cells = [cell.cell_contents for cell in handler.__closure__ or ()]
        names = handler.__code__.co_freevars
        handler = dict(zip(names, cells, strict=True)).get("handler")


def test_all_of_c2cotel_has_it():
    assert TRANSACTIONS in FEATURES


def test_without_pyramid_tm_requests_have_no_transaction(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyramid_tm", None)
    app = application([TRANSACTIONS], lambda request: hasattr(request, "tm"))
    assert Request.blank("/v").get_response(app).json is False
