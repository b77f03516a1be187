"""The example application, and views that let a test look into each process.

Every answer has ``X-Worker``, the process that gave it.

========================  ==============================================================
``/test/level?name=``     the level of a logger of this process
``/test/log?name=``       write one line at each level
``/test/ask?channel=``    ``c2cotel.broadcast.ask``: answers, who answered, who was silent
``/test/broadcast?…``     ``c2cotel.broadcast.broadcast`` with answers expected
========================  ==============================================================
"""

import logging
import os
import threading
import time
from typing import Any

from pyramid.config import Configurator
from pyramid.events import NewResponse
from pyramid.request import Request
from pyramid.router import Router

from c2cotel import broadcast
from c2cotel_app import with_c2cotel


def main(global_config: dict[str, str], **settings: Any) -> Router:
    del global_config
    config = Configurator(settings=settings)
    # Before the include: then nothing listens yet.
    broadcast.subscribe("test_double", double)
    config.include(with_c2cotel)
    broadcast.subscribe("test_slow", slow)
    broadcast.subscribe("test_fail", fail)
    broadcast.subscribe("test_large", large)
    for view in (level, log, ask, broadcast_view, decorated_view):
        name = view.__name__.removesuffix("_view")
        config.add_route(f"test_{name}", f"/test/{name}")
        config.add_view(view, route_name=f"test_{name}", renderer="json")
    config.add_subscriber(_say_worker, NewResponse)
    return config.make_wsgi_app()


def _say_worker(event: NewResponse) -> None:
    event.response.headers["X-Worker"] = str(os.getpid())


def double(number: float) -> dict[str, Any]:
    return {"double": number * 2}


def slow(seconds: float) -> dict[str, Any]:
    """Long work: in a thread that is not the listener's."""
    time.sleep(seconds)
    return {"slept": seconds, "thread": threading.current_thread().name}


def fail() -> None:
    raise RuntimeError("the callback fails")


def large(size: int) -> dict[str, Any]:
    return {"text": "x" * size}


@broadcast.decorator(expect_answers=True, timeout=5)
def decorated(word: str) -> dict[str, Any]:
    return {"said": word}


def level(request: Request) -> dict[str, Any]:
    logger = logging.getLogger(request.params.get("name", ""))
    return {
        "pid": os.getpid(),
        "level": logging.getLevelName(logger.level),
        "effective": logging.getLevelName(logger.getEffectiveLevel()),
    }


def log(request: Request) -> dict[str, Any]:
    logger = logging.getLogger(request.params["name"])
    for number in (logging.DEBUG, logging.INFO, logging.WARNING):
        logger.log(number, "logged at %s", logging.getLevelName(number))
    return {"pid": os.getpid()}


def _parameters(request: Request) -> dict[str, Any]:
    """``number``, ``seconds`` and ``size``: the parameters of the callbacks."""
    kinds = {"number": float, "seconds": float, "size": int}
    return {name: kind(request.params[name]) for name, kind in kinds.items() if name in request.GET}


def ask(request: Request) -> dict[str, Any]:
    replies = broadcast.ask(
        request.params["channel"],
        params=_parameters(request),
        timeout=float(request.params.get("timeout", "10")),
    )
    return {
        "answers": replies.answers,
        "answered": [{"host": p.host, "pid": p.pid} for p in replies.answered],
        "silent": [{"host": p.host, "pid": p.pid} for p in replies.silent],
    }


def broadcast_view(request: Request) -> list[Any] | None:
    return broadcast.broadcast(
        request.params["channel"],
        params=_parameters(request),
        expect_answers="tell" not in request.params,
        timeout=float(request.params.get("timeout", "10")),
    )


def decorated_view(request: Request) -> list[Any] | None:
    return decorated(word=request.params.get("word", "hello"))
