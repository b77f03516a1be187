"""The example application: a web service of the most ordinary kind, to look at and to copy.

Its metrics, traces and request ids come from the command that starts it
(``opentelemetry-instrument gunicorn --paste production.ini``); nothing in its code makes them.
"""

import os
from typing import Any

import sqlalchemy
import zope.sqlalchemy
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.router import Router
from sqlalchemy.orm import Session


def main(global_config: dict[str, str], **settings: Any) -> Router:
    """The application of production.ini."""
    del global_config  # PasteDeploy's: the name and the folder of the ini
    config = Configurator(settings=settings)
    config.include("pyramid_tm")
    config.registry["engine"] = _engine(settings)
    config.add_request_method(_dbsession, "dbsession", reify=True)
    config.include(add_views)
    return config.make_wsgi_app()


def main_with_c2cotel(global_config: dict[str, str], **settings: Any) -> Router:
    """The same with c2cotel, without ``opentelemetry-instrument``: production-include.ini."""
    del global_config
    config = Configurator(settings=settings)
    config.include(with_c2cotel)
    return config.make_wsgi_app()


def with_c2cotel(config: Configurator) -> None:
    """Everything that the application has with c2cotel."""
    # Only here: the other one knows nothing of c2cotel.
    from c2cotel import db
    from c2cotel_app.health import add_checks

    config.include("c2cotel")
    # By POST, but it reads: the replica may answer.
    reading = ["POST /api/search"]
    dbsession = db.init(config, "sqlalchemy", "sqlalchemy_slave", force_slave=reading)
    config.include(add_views)
    config.scan("c2cotel_app.services")
    add_checks(config, dbsession)


def add_views(config: Configurator) -> None:
    config.add_route("hello", "/api/hello")
    config.add_route("search", "/api/search")
    config.add_route("tracking", "/api/tracking/{depth}")
    config.add_route("error", "/api/error")
    config.add_route("slow", "/api/slow")
    config.add_route("ping", "/api/ping")
    config.add_route("subprocess", "/api/subprocess")
    config.scan("c2cotel_app.views")


def _dbsession(request: Request) -> Session:
    """The session of a request, in pyramid_tm's transaction."""
    session = Session(request.registry["engine"])
    zope.sqlalchemy.register(session, transaction_manager=request.tm)
    return session


def _engine(settings: dict[str, Any]) -> sqlalchemy.Engine:
    # Read here rather than by %(SQLALCHEMY_URL)s in the ini: PasteDeploy does not put the
    # environment there, and would trip over a "%" in a password.
    url = settings.get("sqlalchemy.url") or os.environ["SQLALCHEMY_URL"]
    engine = sqlalchemy.create_engine(
        url,
        pool_size=int(settings.get("sqlalchemy.pool_size", 5)),
        max_overflow=int(settings.get("sqlalchemy.max_overflow", 10)),
        pool_pre_ping=True,
    )
    engine.c2c_name = "sqlalchemy"
    return engine
