"""What pages of other sites may call: the application that includes c2cotel has it."""

from typing import Any

from pyramid.httpexceptions import HTTPBadRequest
from pyramid.request import Request
from sqlalchemy import select

from c2cotel import services
from c2cotel_app.models import Message

_MOST = 100

messages = services.create("messages", "/api/messages", cors_credentials=True)


@messages.get()
def latest(request: Request) -> Any:
    """The last things said, ``?limit=`` of them; rows of the database, as they are."""
    try:
        limit = min(max(int(request.params.get("limit", "10")), 1), _MOST)
    except ValueError:
        raise HTTPBadRequest("limit: a number is expected, like 10") from None
    query = select(Message.id, Message.text, Message.said_at).order_by(Message.id.desc())
    return {"messages": request.dbsession.execute(query.limit(limit)).all()}
