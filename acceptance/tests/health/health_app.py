"""The example application with its health checks, and some at level 5 that a test can trouble.

What they do is in the JSON file that the setting ``control`` names, read each time:

==================  ==================================  ========================
check               what it does                        in the file
==================  ==================================  ========================
``db_engine_slow``  lets the database sleep             ``sleep``: seconds
``drip`` ``lost``   ask a URL                           ``drip``, ``lost``: URLs
==================  ==================================  ========================

Every answer has ``X-Worker``, the process that gave it.
"""

import functools
import json
import os
from pathlib import Path
from typing import Any

import sqlalchemy
from pyramid.config import Configurator
from pyramid.events import NewResponse
from pyramid.request import Request
from pyramid.router import Router
from sqlalchemy.orm import Session, sessionmaker

from c2cotel.health_check import HealthCheck
from c2cotel_app import with_c2cotel

LEVEL = 5


def main(global_config: dict[str, str], **settings: Any) -> Router:
    del global_config
    config = Configurator(settings=settings)
    config.include(with_c2cotel)
    _add_troubles(config, Path(settings["control"]))
    config.add_subscriber(_say_worker, NewResponse)
    return config.make_wsgi_app()


def _add_troubles(config: Configurator, control: Path) -> None:
    def told(what: str) -> Any:
        return json.loads(control.read_text()).get(what)

    def sleep(session: Session) -> None:
        session.execute(sqlalchemy.text("SELECT pg_sleep(:s)"), {"s": told("sleep") or 0})

    def url(what: str, request: Request) -> str:
        # Nothing to trouble it: the application's own ping.
        return told(what) or f"http://127.0.0.1:{request.environ['SERVER_PORT']}/api/ping"

    engine = sqlalchemy.create_engine(os.environ["SQLALCHEMY_URL"], pool_size=1, max_overflow=1)
    engine.c2c_name = "slow"
    health_check = HealthCheck(config)
    health_check.add_db_session_check(sessionmaker(engine), query_cb=sleep, level=LEVEL)
    for what in ("drip", "lost"):
        health_check.add_url_check(functools.partial(url, what), name=what, level=LEVEL)


def _say_worker(event: NewResponse) -> None:
    event.response.headers["X-Worker"] = str(os.getpid())
