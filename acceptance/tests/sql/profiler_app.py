"""An application with statements to profile."""

import os
from typing import Any

import sqlalchemy
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.router import Router
from sqlalchemy import text


def ticket(request: Request) -> dict[str, Any]:
    """The next number, which nobody else gets, and how many there are of a kind."""
    with request.registry.engine.begin() as connection:
        number = connection.scalar(text("SELECT nextval('tickets')"))
        kinds = text("SELECT count(*) FROM things WHERE kind = :kind AND id > :id")
        count = connection.scalar(kinds, {"kind": "very secret", "id": 0})
    return {"number": number, "count": count, "pid": os.getpid()}


def other(request: Request) -> dict[str, Any]:
    with request.registry.engine.connect() as connection:
        return {"other": connection.scalar(text("SELECT max(id) FROM things"))}


def application() -> Router:
    config = Configurator()
    config.include("c2cotel")
    config.registry.engine = sqlalchemy.create_engine(
        # A test kills connections; those of the pool are of no use to the next one.
        os.environ["SQLALCHEMY_URL"],
        pool_pre_ping=True,
    )
    config.registry.engine.c2c_name = "tickets"
    config.add_route("ticket", "/api/ticket")
    config.add_view(ticket, route_name="ticket", renderer="json")
    config.add_route("other", "/other")
    config.add_view(other, route_name="other", renderer="json")
    config.add_route("ping", "/ping")
    config.add_view(lambda _: {}, route_name="ping", renderer="json")
    return config.make_wsgi_app()
