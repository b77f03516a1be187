"""The example application: a web service of the most ordinary kind, to look at and to copy.

Its metrics, traces and request ids come from the command that starts it
(``opentelemetry-instrument gunicorn --paste production.ini``); nothing in its code makes them.
"""

import os
from typing import Any

import sqlalchemy
from pyramid.config import Configurator
from pyramid.router import Router
from sqlalchemy.orm import Session, sessionmaker


def main(global_config: dict[str, str], **settings: Any) -> Router:
    """The application of production.ini."""
    del global_config  # PasteDeploy's: the name and the folder of the ini
    return _configure(settings).make_wsgi_app()


def main_with_c2cotel(global_config: dict[str, str], **settings: Any) -> Router:
    """The same, that needs no ``opentelemetry-instrument``: production-include.ini."""
    del global_config
    config = _configure(settings)
    config.include("c2cotel")
    return config.make_wsgi_app()


def _configure(settings: dict[str, Any]) -> Configurator:
    # Read here rather than by %(SQLALCHEMY_URL)s in the ini: PasteDeploy does not put the
    # environment there, and would trip over a "%" in a password.
    url = settings.get("sqlalchemy.url") or os.environ["SQLALCHEMY_URL"]
    config = Configurator(settings=settings)
    engine = sqlalchemy.create_engine(
        url,
        pool_size=int(settings.get("sqlalchemy.pool_size", 5)),
        max_overflow=int(settings.get("sqlalchemy.max_overflow", 10)),
        pool_pre_ping=True,
    )
    config.registry["sessions"] = sessionmaker(engine, class_=Session)
    config.add_route("hello", "/api/hello")
    config.add_route("tracking", "/api/tracking/{depth}")
    config.add_route("error", "/api/error")
    config.add_route("slow", "/api/slow")
    config.add_route("ping", "/api/ping")
    config.add_route("subprocess", "/api/subprocess")
    config.scan("c2cotel_app.views")
    return config
