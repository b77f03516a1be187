import logging
import os

import requests
from c2cwsgiutils import broadcast, services
from prometheus_client import Counter
from pyramid.httpexceptions import HTTPNotFound
from sqlalchemy import text

from hello_service import models

LOG = logging.getLogger(__name__)
ASKED = Counter("hello_asked", "Of prometheus_client", ["verb"])

hello_service = services.create("hello", "/hello", cors_credentials=True)
ping_service = services.create("ping", "/ping")
error_service = services.create("error", "/error")
ask_service = services.create("ask", "/ask")
client_service = services.create("client", "/client")
pids_service = services.create("pids", "/pids")


def where(request):
    standby = request.dbsession.execute(text("SELECT pg_is_in_recovery()")).scalar()
    return {"replica": standby, "values": request.dbsession.query(models.Hello).count()}


@hello_service.get()
def hello_get(request):
    ASKED.labels("get").inc()
    LOG.info("Hello is asked for")
    return where(request)


@hello_service.post()
def hello_post(request):
    """Forced to the replica."""
    return where(request)


@hello_service.put()
def hello_put(request):
    request.dbsession.add(models.Hello(value=request.params["value"]))
    request.dbsession.flush()
    return where(request)


@hello_service.delete()
def hello_delete(request):
    deleted = request.dbsession.query(models.Hello).filter_by(value=request.params["value"])
    if not deleted.delete():
        raise HTTPNotFound("No such hello")
    return {}


@ping_service.get()
def ping(request):
    return {"ping": "pong"}


@error_service.get()
def error(request):
    raise ValueError("something internal")


@ask_service.get()
def ask(request):
    """What somebody that we ask sees of us."""
    return {"id": request.c2c_request_id, "seen": requests.get(request.params["url"]).json()}


@client_service.get()
def client(request):
    return {
        "address": request.client_addr,
        "host": request.host,
        "scheme": request.scheme,
        "id": request.headers.get("X-Request-ID"),
    }


@broadcast.decorator(expect_answers=True)
def _pid():
    return {"worker": os.getpid()}


@pids_service.get()
def pids(request):
    return sorted(answer["worker"] for answer in _pid())
