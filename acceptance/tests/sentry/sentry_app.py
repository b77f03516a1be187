"""An application that fails in all the ways, as the predecessor's users write them."""

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response
from pyramid.router import Router

LOGGER = logging.getLogger("sentry_app")


def main(global_config: dict[str, str], **settings: Any) -> Router:
    del global_config
    config = Configurator(settings=settings)
    config.include("c2cotel")
    for view in (boom, hello, streamed, told):
        config.add_route(view.__name__, f"/{view.__name__}/{{id}}")
        config.add_view(view, route_name=view.__name__)
    # In the master, with --preload.
    LOGGER.error("made in %d", os.getpid())
    return config.make_wsgi_app()


def boom(request: Request) -> Response:
    LOGGER.warning("about to fail")
    raise ValueError(f"boom {request.matchdict['id']} {os.environ['C2C_SECRET']}")


def hello(_request: Request) -> Response:
    return Response("hello")


def told(request: Request) -> Response:
    LOGGER.error("told %s", request.matchdict["id"])
    return Response(str(os.getpid()))


def streamed(_request: Request) -> Response:
    def parts() -> Iterator[bytes]:
        yield b"x" * 100_000
        time.sleep(0.01)
        raise ValueError("in the body")

    return Response(app_iter=parts())
