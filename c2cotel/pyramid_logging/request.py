"""What a log line says of the request of Pyramid that it is written in."""

import sys
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from c2cotel_instrumentation.redaction import redacted_path

# As wsgi.path of the instrumentors: what need not be written as %XX in a path.
_SAFE = "/;:@!$&'()*+,=~"
_LONGEST = 2048


def request_fields() -> Iterable[tuple[str, Any]]:
    """``client_addr``, ``method``, ``path`` and ``matched_route``; nothing outside of a request.

    The query is left out: that is where secrets are. A request that a script has made up has no
    client: it is none.
    """
    threadlocal = sys.modules.get("pyramid.threadlocal")
    request = threadlocal and threadlocal.get_current_request()
    if not request:
        return ()
    # Not the properties of the request: they decode, and fail on what a client may send.
    environ = getattr(request, "environ", None)
    if not isinstance(environ, dict) or "REMOTE_ADDR" not in environ:
        return ()
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
    fields = [
        ("client_addr", environ["REMOTE_ADDR"]),
        ("method", str(environ.get("REQUEST_METHOD", ""))[:_LONGEST]),
        ("path", redacted_path(quote(path, _SAFE, "latin-1", "replace"))[:_LONGEST]),
    ]
    route = getattr(request, "matched_route", None)
    if route is not None:
        fields.append(("matched_route", str(route.name)))
    return fields
