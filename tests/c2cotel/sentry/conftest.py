"""Sentry patches the process for good: each test that sets it up has a forked one of its own."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis  # noqa: F401 - here, not in each of the processes
from pyramid.config import Configurator
from webob import Request

from c2cotel_acceptance.sentry import SentryReceiver

from ..otel.conftest import (  # noqa: TID252 - the processes of a neighbour
    closed_port,
    in_child,
    instrumented,
)

__all__ = ["closed_port", "in_child", "instrumented"]


def text_of(event: dict[str, Any]) -> str:
    """What an event says: its exception, or else its log record as any SDK tells it."""
    if raised := event.get("exception", {}).get("values"):
        return raised[-1]["value"]
    entry = event["logentry"]
    # An older SDK leaves the formatting to Sentry.
    return entry.get("formatted") or entry["message"].replace("%d", str(*entry["params"]))


class Site:
    """An application with Sentry, in this process, and the Sentry that it has."""

    def __init__(self, receiver: SentryReceiver, configure: Callable[..., None], **settings: Any):
        from c2cotel import otel

        self.receiver = receiver
        # What pytest has put there would keep the records in this process' memory.
        logging.getLogger().handlers.clear()
        otel.set_up()
        otel.instrument()
        config = Configurator(settings={"c2c.sentry.url": receiver.url, **settings})
        configure(config)
        config.include("c2cotel.sentry")
        self.application = config.make_wsgi_app()

    def get(self, path: str, **how: Any) -> Any:
        """The answer; None if the application has raised."""
        try:
            return Request.blank(path, **how).get_response(self.application)
        except Exception:  # noqa: BLE001 - a server would answer 500
            return None

    def told(self) -> list[dict[str, Any]]:
        """The events, once all that has been captured is there."""
        import sentry_sdk

        sentry_sdk.flush(10)
        assert self.receiver.errors == []
        return self.receiver.events


@pytest.fixture
def on_a_site(in_child):
    """``on_a_site(configure, visit)``: what *visit* returns for a Site that *configure* made."""

    def run(configure, visit, settings=None, **environ):
        def within():
            with SentryReceiver() as receiver:
                return visit(Site(receiver, configure, **(settings or {})))

        return in_child(within, **environ)

    return run
