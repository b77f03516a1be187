"""The example application with what goes wrong at night planted in it.

====================  ======================================================================
``/busy/{number}``    most of its time is the loop in ``find_primes``
``/leak``             keeps a :class:`Receipt` for good, each time
``/deadlock``         waits for a lock whose owner waits for one of its own, for good
``/stuck``            waits for its statement
``/idle``             nothing
====================  ======================================================================
"""

import os
import threading
from typing import Any

import sqlalchemy as sa
from pyramid.config import Configurator
from pyramid.events import NewResponse
from pyramid.request import Request
from pyramid.router import Router

from c2cotel_app import with_c2cotel

RECEIPTS: list["Receipt"] = []


class Receipt:
    """Ten thousand bytes that nobody lets go."""

    def __init__(self) -> None:
        self.paper = bytearray(10_000)


class Account:
    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.RLock()


def main(global_config: dict[str, str], **settings: Any) -> Router:
    del global_config
    config = Configurator(settings=settings)
    config.include(with_c2cotel)
    config.add_route("busy", "/busy/{number}")
    config.add_view(busy, route_name="busy", renderer="json")
    for view in (leak, deadlock, stuck, idle):
        config.add_route(view.__name__, f"/{view.__name__}")
        config.add_view(view, route_name=view.__name__, renderer="json")
    config.add_subscriber(_say_worker, NewResponse)
    return config.make_wsgi_app()


def _say_worker(event: NewResponse) -> None:
    event.response.headers["X-Worker"] = str(os.getpid())


def busy(request: Request) -> dict[str, Any]:
    return {"primes": find_primes(int(request.matchdict["number"]))}


def find_primes(number: int) -> int:
    count = 0
    for candidate in range(2, number):
        for divisor in range(2, candidate):
            if candidate % divisor == 0:
                break
        else:
            count += 1
    return count


def leak(_: Request) -> dict[str, Any]:
    RECEIPTS.append(Receipt())
    return {"kept": len(RECEIPTS)}


def deadlock(_: Request) -> dict[str, Any]:
    savings, current = Account("savings"), Account("current")
    both = threading.Barrier(2)
    other = threading.Thread(
        target=transfer, args=(current, savings, both), name="nightly-transfer", daemon=True
    )
    other.start()
    transfer(savings, current, both)
    return {"transferred": True}


def transfer(source: Account, target: Account, both: threading.Barrier) -> None:
    with source.lock:
        both.wait(10)
        with target.lock:
            pass


def stuck(request: Request) -> dict[str, Any]:
    request.dbsession.execute(sa.text("SELECT pg_sleep(:seconds)"), {"seconds": 90})
    return {"slept": True}


def idle(_: Request) -> dict[str, Any]:
    return {"idle": True}
