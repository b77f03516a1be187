"""Applications with a database of each kind, and where their requests end."""

import pytest
import sqlalchemy
from pyramid.config import Configurator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from webob import Request


class Base(DeclarativeBase):
    pass


class Hello(Base):
    __tablename__ = "hello"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for prefix in ("SQLALCHEMY", "SQLALCHEMY_SLAVE"):
        for option in ("URL", "POOL_RECYCLE", "POOL_SIZE", "MAX_OVERFLOW"):
            monkeypatch.delenv(f"{prefix}_{option}", raising=False)
    for name in ("REPLICA_DOWN", "READ_YOUR_WRITES", "CONNECT_TIMEOUT", "NETWORK_TIMEOUT"):
        monkeypatch.delenv(f"C2C_DB_{name}", raising=False)
    for name in ("PGSERVICE", "PGCONNECT_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hello():
    return Hello


@pytest.fixture
def ini(tmp_path):
    """Settings of two files of SQLite that both have the table, the replica a row in it."""
    urls = {}
    for name in ("sqlalchemy", "sqlalchemy_slave"):
        urls[f"{name}.url"] = f"sqlite:///{tmp_path}/{name}.db"
        engine = sqlalchemy.create_engine(urls[f"{name}.url"])
        Base.metadata.create_all(engine)
        engine.dispose()
    return urls


@pytest.fixture
def make():
    """``make(init, **settings)``: a browser at an application where *init* was called.

    ``/read``, ``/add``… do what their view says, by any method.
    """
    closing = []

    def build(init, views, settings):
        config = Configurator(settings=settings)
        made = init(config)
        for name, view in views.items():
            config.add_route(name, f"/{name}")
            config.add_view(view, route_name=name, renderer="json")
        browser = Browser(config, made)
        closing.append(browser)
        return browser

    yield build
    for browser in closing:
        browser.close()


class Browser:
    """Asks an application, and keeps its cookies."""

    def __init__(self, config, made):
        self.made = made
        self.registry = config.registry
        self.application = config.make_wsgi_app()
        self.cookies = {}

    def __call__(self, line, **environ):
        method, path = line.split()
        request = Request.blank(path, method=method, environ=environ)
        for name, value in self.cookies.items():
            request.cookies[name] = value
        response = request.get_response(self.application)
        self.last = response
        for header in response.headers.getall("Set-Cookie"):
            name, _, rest = header.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return response

    def engine(self, line, **environ):
        """The name of the engine that the view ``engine`` has seen."""
        return self(line, **environ).json

    def close(self):
        for part in self.made if isinstance(self.made, tuple) else (self.made,):
            if hasattr(part, "dispose"):
                part.dispose()
            elif hasattr(part, "remove"):
                part.remove()
