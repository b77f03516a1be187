"""An application that keeps connections of a small pool as long as it is told."""

import os
import time
from typing import Any

import sqlalchemy
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.router import Router


def hold(request: Request) -> dict[str, Any]:
    """Have a connection for ``?seconds=``; tell how long that and waiting for it took."""
    began = time.perf_counter()
    try:
        connection = request.registry.engine.connect()
    except sqlalchemy.exc.TimeoutError:
        return {"gave_up": time.perf_counter() - began}
    got = time.perf_counter()
    with connection:
        seconds = float(request.params["seconds"])
        connection.execute(sqlalchemy.text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
    return {"waited": got - began, "used": time.perf_counter() - got}


def application() -> Router:
    config = Configurator()
    config.include("c2cotel")
    config.registry.engine = sqlalchemy.create_engine(
        os.environ["SQLALCHEMY_URL"],
        pool_size=2,
        max_overflow=0,
        pool_timeout=float(os.environ["POOL_TIMEOUT"]),
    )
    config.registry.engine.c2c_name = "small"
    config.add_route("hold", "/hold")
    config.add_view(hold, route_name="hold", renderer="json")
    config.add_route("ping", "/ping")
    config.add_view(lambda _: {}, route_name="ping", renderer="json")
    return config.make_wsgi_app()
