"""An application that logs: a line of its own, a statement's, many."""

import logging
import time

import sqlalchemy
from pyramid.config import Configurator

LOGGER = logging.getLogger(__name__)


def hello(request):
    LOGGER.info("hello %s", request.matchdict["name"], extra={"who": request.matchdict["name"]})
    with request.registry.engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 'in the request'"))
    return {}


def burst(request):
    """Log ``lines`` lines of ``size`` characters; tell in how many seconds."""
    lines, size = int(request.params["lines"]), int(request.params.get("size", "10"))
    began = time.perf_counter()
    for number in range(lines):
        LOGGER.warning("%s %d %s", request.params["name"], number, "x" * size)
    return {"seconds": time.perf_counter() - began}


def main(_, **settings):
    config = Configurator(settings=settings)
    config.include("c2cotel")
    config.registry.engine = sqlalchemy.create_engine("sqlite://")
    config.add_route("hello", "/hello/{name}")
    config.add_view(hello, route_name="hello", renderer="json")
    config.add_route("burst", "/burst")
    config.add_view(burst, route_name="burst", renderer="json")
    return config.make_wsgi_app()
