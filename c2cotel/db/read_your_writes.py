"""A client that has written reads from the primary for some seconds: its own writes are there.

A session that commits on the primary leaves a cookie with the answer, which lives that long. It
holds nothing; somebody who makes one up reads from the primary.
"""

import math
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

COOKIE: Final = "c2c_db_primary"
_COMMITTED: Final = "c2c_committed"


class ReadYourWrites:
    """For *seconds*; a cookie has whole ones only, so it is these or a little more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = math.ceil(seconds)

    def listen(self, factory: "sessionmaker[Session]") -> None:
        """Learn of what the sessions of *factory* commit."""
        event.listen(factory, "after_commit", _remember)

    def applies(self, request: Any) -> bool:
        """Whether whoever sent *request* has written lately."""
        return COOKIE in request.cookies

    def watch(self, request: Any, session: Session) -> None:
        """Send the cookie with the answer to *request*, if *session* commits something."""
        # After pyramid_tm's tween, thus after the commit.
        request.add_response_callback(lambda _, response: self._send(request, session, response))

    def _send(self, request: Any, session: Session, response: Any) -> None:
        if session.info.get(_COMMITTED):
            response.set_cookie(
                COOKIE,
                "1",
                max_age=self._seconds,
                secure=request.scheme == "https",
                httponly=True,
                samesite="Lax",
            )


def _remember(session: Session) -> None:
    # A savepoint is released by this event, too; what is around it may still be rolled back.
    if not session.in_nested_transaction():
        session.info[_COMMITTED] = True
