"""Applications with a database, the switch, and the real authentication."""

import pytest
import sqlalchemy
from pyramid.config import Configurator
from pyramid.request import Request
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from c2cotel import broadcast, db
from c2cotel.broadcast.agreement import agreement
from c2cotel.db_maintenance import core
from c2cotel.pyramid.views import add_c2c_view

SECRET = "a secret of the tests"
PRIMARY, REPLICA = "sqlalchemy", "sqlalchemy_slave"
_FEATURES = (
    "c2cotel.pyramid.renderers",
    "c2cotel.pyramid.pages",
    "c2cotel.auth",
    "c2cotel.db_maintenance",
    "c2cotel.errors",
    "c2cotel.index",
)


class Base(DeclarativeBase):
    pass


class Message(Base):
    __tablename__ = "message"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


def count(request):
    return len(request.dbsession.scalars(select(Message)).all())


def add(request):
    request.dbsession.add(Message(text="x"))
    request.dbsession.flush()
    return "added"


def add_late(request):
    """Written by the commit only."""
    request.dbsession.add(Message(text="x"))
    return "added"


def no_database(_):
    return "done"


VIEWS = {
    "count": count,
    "add": add,
    "add_late": add_late,
    "no_database": no_database,
    "forced_to_primary": count,
    "forced_to_replica": add,
}


class App:
    """An application, and how to ask it."""

    def __init__(self, config, factory):
        self.registry = config.registry
        self.factory = factory
        self.application = config.make_wsgi_app()

    def __call__(self, line, *, post=None, query=None, **headers):
        method, path = line.split()
        request = Request.blank(path, method=method, POST=post)
        request.GET.update(query or {})
        request.method = method
        request.remote_addr = "192.0.2.7"
        for name, value in headers.items():
            request.headers[name.replace("_", "-")] = value
        return request.get_response(self.application)

    def switch(self, expected=200, path="/c2c/db/maintenance", **query):
        """The answer to these parameters, with the secret as header."""
        response = self(f"GET {path}", query=query, X_API_Key=SECRET)
        assert response.status_int == expected, response.text
        return response.json

    def close(self):
        if self.factory is not None:
            self.factory.dispose()


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Nothing is set from outside, nothing is left behind."""
    for name in ("C2C_SECRET", "SQLALCHEMY_URL", "SQLALCHEMY_SLAVE_URL", "C2C_DB_READONLY_ANSWER"):
        monkeypatch.delenv(name, raising=False)
    yield
    agreement().switch(core.KIND, check=core.check, apply=lambda *_: None).reset()
    core.applications.cache_clear()
    broadcast.cleanup()


@pytest.fixture
def make_tables():
    """``make_tables(url)`` of a database."""

    def make(url):
        engine = sqlalchemy.create_engine(url)
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)
        engine.dispose()
        return url

    return make


@pytest.fixture
def start():
    """``start(url, replica_url, **ini)``: an application on these."""
    started = []

    def start(url=None, replica_url=None, **ini):
        settings = {"c2c.secret": SECRET, "c2c.db_maintenance_view_enabled": "1", **ini}
        settings |= {f"{PRIMARY}.url": url} if url else {}
        settings |= {f"{REPLICA}.url": replica_url} if replica_url else {}
        config = Configurator(settings=settings)
        config.add_directive("add_c2c_view", add_c2c_view)
        for feature in _FEATURES:
            config.include(feature)
        factory = None
        if url:
            patterns = {
                "force_master": ["GET /forced_to_primary"],
                "force_slave": ["POST /forced_to_replica"],
            }
            factory = db.init(config, PRIMARY, REPLICA, **patterns)
        for name, view in VIEWS.items():
            config.add_route(name, f"/{name}")
            config.add_view(view, route_name=name, renderer="json")
        started.append(App(config, factory))
        return started[-1]

    yield start
    for app in started:
        app.close()


@pytest.fixture
def urls(tmp_path, make_tables):
    """Of two files of SQLite; nothing follows from the one to the other."""
    return [make_tables(f"sqlite:///{tmp_path}/{name}.db") for name in (PRIMARY, REPLICA)]
