import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import requests
from pyramid.httpexceptions import HTTPBadGateway, HTTPBadRequest, exception_response
from pyramid.request import Request
from pyramid.view import exception_view_config, view_config
from sqlalchemy import select, text

from c2cotel_app.models import Message

_LOG = logging.getLogger(__name__)
_REPORT = Path(__file__).with_name("report.py")
_LONGEST_SLEEP = 60.0
_DEEPEST = 10
_MOST_FOUND = 10
# Where nobody listens.
_NOBODY = "http://me:hunter2@127.0.0.1:9/?token=opensesame"


@view_config(route_name="hello", request_method="GET", renderer="json")
def hello(request: Request) -> dict[str, Any]:
    """The last thing said."""
    latest = select(Message).order_by(Message.id.desc()).limit(1)
    message = request.dbsession.scalars(latest).one()
    _LOG.info("Message %s is read", message.id)
    return {"id": message.id, "text": message.text}


@view_config(route_name="hello", request_method="POST", renderer="json")
def say(request: Request) -> dict[str, Any]:
    """Say the body, ``{"text": "…"}``."""
    message = Message(text=_text(request))
    request.dbsession.add(message)
    request.dbsession.flush()
    _LOG.info("Message %s is written", message.id)
    request.response.status_int = 201
    return {"id": message.id, "text": message.text}


@view_config(route_name="search", request_method="POST", renderer="json")
def search(request: Request) -> dict[str, Any]:
    """The last things said with ``{"text": "…"}`` in them; by POST, so that no log has it."""
    found = select(Message).where(Message.text.contains(_text(request), autoescape=True))
    messages = request.dbsession.scalars(found.order_by(Message.id.desc()).limit(_MOST_FOUND))
    return {"messages": [{"id": message.id, "text": message.text} for message in messages]}


def _text(request: Request) -> str:
    try:
        return str(request.json_body["text"])
    except (ValueError, KeyError, TypeError):
        raise HTTPBadRequest('The body is expected to be like {"text": "hello"}') from None


@view_config(route_name="tracking", request_method="GET", renderer="json")
def tracking(request: Request) -> dict[str, Any]:
    """Call this application over HTTP, and it itself again, so many times; tell who was asked.

    Each call keeps a thread waiting for the next: the server needs more of them than *depth*.
    """
    try:
        depth = int(request.matchdict["depth"])
    except ValueError:
        raise HTTPBadRequest("depth: a number is expected, like 2") from None
    if depth > _DEEPEST:
        raise HTTPBadRequest(f"depth={depth}: at most {_DEEPEST}")
    _LOG.info("Tracking, %s to go", depth)
    calls = [
        {
            "request_id": request.environ.get("c2c.request_id"),
            "x_request_id": request.headers.get("X-Request-ID"),
            "traceparent": request.headers.get("traceparent"),
            "pid": os.getpid(),
        }
    ]
    if depth > 0:
        # The port we listen on; never the Host header, which the client chooses.
        url = f"http://127.0.0.1:{request.environ['SERVER_PORT']}"
        try:
            answer = requests.get(f"{url}/api/tracking/{depth - 1}", timeout=10)
            answer.raise_for_status()
        except requests.RequestException as error:
            raise HTTPBadGateway(f"The call of ourselves failed: {error}") from error
        calls += answer.json()["calls"]
    return {"request_ids": [call["request_id"] for call in calls], "calls": calls}


class OutOfStockError(Exception):
    """There is an exception view for this one."""


@view_config(route_name="error", request_method="GET")
def error(request: Request) -> NoReturn:
    """Fail as ``?kind=`` says: unhandled, http (``&status=``), view, database, constraint, call."""
    kind = request.params.get("kind", "unhandled")
    match kind:
        case "unhandled":
            raise RuntimeError("Nothing catches this")
        case "http":
            try:
                raised = exception_response(int(request.params.get("status", "404")))
            except (ValueError, KeyError):
                raise HTTPBadRequest("status: an HTTP status is expected, like 404") from None
            raise raised
        case "view":
            raise OutOfStockError("No more of these")
        case "database":
            request.dbsession.execute(text("SELECT * FROM no_such_table"))
            raise AssertionError("the table exists")
        case "constraint":
            twice = Message.__table__.insert().values([{"id": 1, "text": "said"}] * 2)
            request.dbsession.execute(twice)
            raise AssertionError("an id may be there twice")
        case "call":
            requests.get(_NOBODY)  # noqa: S113 - the setting's timeout counts
            raise AssertionError("somebody listens there")
        case _:
            kinds = "unhandled, http, view, database, constraint, call"
            raise HTTPBadRequest(f"kind={kind!r}: one of {kinds}")


@exception_view_config(OutOfStockError, renderer="json")
def out_of_stock(context: OutOfStockError, request: Request) -> dict[str, str]:
    """The exception view: an answer to the client, and nothing more to raise."""
    request.response.status_int = 500
    return {"message": str(context)}


@view_config(route_name="slow", request_method="GET", renderer="json")
def slow(request: Request) -> dict[str, float]:
    """Take ``?seconds=``."""
    try:
        seconds = min(max(float(request.params.get("seconds", "1")), 0.0), _LONGEST_SLEEP)
    except ValueError:
        raise HTTPBadRequest("seconds: a number is expected, like 1.5") from None
    time.sleep(seconds)
    return {"seconds": seconds}


@view_config(route_name="ping", request_method="GET", renderer="json")
def ping(request: Request) -> dict[str, int]:
    """Answer, without the database."""
    del request
    return {"pid": os.getpid()}


@view_config(route_name="subprocess", request_method="GET", renderer="json")
def run_subprocess(request: Request) -> Any:
    """Leave some work to another Python."""
    del request
    done = subprocess.run(  # noqa: S603 - a program of ours, no word of it from the client
        [sys.executable, _REPORT], capture_output=True, text=True, timeout=30, check=True
    )
    return json.loads(done.stdout)
