"""What answers have in common that are made here and not by a renderer of the application."""

import json
from email.utils import formatdate
from typing import Any

from pyramid.response import Response


def error_body(message: str, status: int, **more: Any) -> bytes:
    """The body of an error: ``{"message": …, "status": …}``, and what else is told.

    With blanks, unlike the answers: clients of c2cwsgiutils compare texts.
    """
    return json.dumps({"message": message, "status": status, **more}).encode()


def keep_out_of_caches(response: Response) -> None:
    """Let nobody store *response*, unless it says itself how long it may be kept."""
    if "Cache-Control" in response.headers:
        return
    # What webob's cache_expires(0) says, which warns from Python 3.12 on.
    now = formatdate(usegmt=True)
    response.headers["Cache-Control"] = "max-age=0, must-revalidate, no-cache, no-store"
    response.headers["Expires"] = response.headers["Last-Modified"] = now
    response.headers["Pragma"] = "no-cache"
