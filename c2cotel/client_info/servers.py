"""What the servers have made of the headers of proxies before the application sees a request.

waitress takes them away, unless it is told not to: what a proxy says is lost. What came over the
connection is still there, beside the environ.

gunicorn believes by itself that a request came by https, from whom its ``forwarded_allow_ips``
names, by default this very machine.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

# Its value, a method, leads to the connection.
_WAITRESS: Final = "waitress.client_disconnected"
_GUNICORN: Final = "gunicorn.socket"
# In its secure_scheme_headers, where nobody has set others; X-Forwarded-Proto is besides.
_SECURE: Final = ("HTTP_X_FORWARDED_SSL", "HTTP_X_FORWARDED_PROTOCOL")
# Where one of these is, there is something to ask here.
KEYS: Final = (_WAITRESS, *_SECURE)

WAITRESS_TAKES: Final = (
    "waitress takes %s of %s away, so that proxy is taken for the client. In the section of the "
    "server write clear_untrusted_proxy_headers = false: C2C_TRUSTED_PROXIES says who is believed"
)


def taken_away(environ: Mapping[str, Any], keys: Iterable[str]) -> str:
    """The names of the headers at *keys* that waitress got and took; empty if it left any."""
    if _WAITRESS not in environ or not environ.keys().isdisjoint(keys):
        return ""
    # Attributes of its own, of which nobody has promised anything.
    requests = getattr(getattr(environ[_WAITRESS], "__self__", None), "requests", None)
    came = getattr(requests[0], "headers", ()) if requests else ()
    taken = [name for key in keys if (name := key.removeprefix("HTTP_")) in came]
    return ", ".join(name.replace("_", "-").title() for name in taken)


def scheme_of_connection(environ: Mapping[str, Any]) -> str | None:
    """``http``, where gunicorn says https only because a header does; None elsewhere."""
    if _GUNICORN not in environ or environ["wsgi.url_scheme"] != "https":
        return None
    if environ.keys().isdisjoint(("HTTP_X_FORWARDED_PROTO", *_SECURE)):
        return None
    # What sockets with TLS have in common, those of gevent too.
    return None if hasattr(environ[_GUNICORN], "getpeercert") else "http"
