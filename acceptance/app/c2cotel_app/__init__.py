"""The example application: a web service of the most ordinary kind, to look at and to copy.

Its metrics, traces and request ids come from the command that starts it
(``opentelemetry-instrument gunicorn --paste production.ini``); nothing in its code makes them.
"""

import os
from typing import Any

import sqlalchemy
from pyramid.config import Configurator
from pyramid.router import Router
from sqlalchemy.orm import sessionmaker


def main(global_config: dict[str, str], **settings: Any) -> Router:
    """The application of production.ini."""
    del global_config  # PasteDeploy's: the name and the folder of the ini
    return _configure(settings).make_wsgi_app()


def main_with_c2cotel(global_config: dict[str, str], **settings: Any) -> Router:
    """The same, that needs no ``opentelemetry-instrument``: production-include.ini."""
    del global_config
    # Only here: the other one knows nothing of c2cotel.
    from c2cotel_app.health import add_checks

    config = _configure(settings)
    config.include("c2cotel")
    add_checks(config)
    return config.make_wsgi_app()


def _configure(settings: dict[str, Any]) -> Configurator:
    config = Configurator(settings=settings)
    primary = replica = _engine(settings, "sqlalchemy")
    if "sqlalchemy_slave.url" in settings or os.environ.get("SQLALCHEMY_SLAVE_URL"):
        replica = _engine(settings, "sqlalchemy_slave")
    sessions = config.registry["sessions"] = sessionmaker(primary)
    config.registry["reading_sessions"] = sessionmaker(replica)
    # Health checks look at both.
    sessions.c2c_rw_bind, sessions.c2c_ro_bind = primary, replica
    config.add_route("hello", "/api/hello")
    config.add_route("tracking", "/api/tracking/{depth}")
    config.add_route("error", "/api/error")
    config.add_route("slow", "/api/slow")
    config.add_route("ping", "/api/ping")
    config.add_route("subprocess", "/api/subprocess")
    config.scan("c2cotel_app.views")
    return config


def _engine(settings: dict[str, Any], prefix: str) -> sqlalchemy.Engine:
    # Read here rather than by %(SQLALCHEMY_URL)s in the ini: PasteDeploy does not put the
    # environment there, and would trip over a "%" in a password.
    url = settings.get(f"{prefix}.url") or os.environ[f"{prefix.upper()}_URL"]
    engine = sqlalchemy.create_engine(
        url,
        pool_size=int(settings.get(f"{prefix}.pool_size", 5)),
        max_overflow=int(settings.get(f"{prefix}.max_overflow", 10)),
        pool_pre_ping=True,
    )
    engine.c2c_name = prefix
    return engine
