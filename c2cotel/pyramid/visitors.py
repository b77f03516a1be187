"""Who makes a request, for what looks at requests that are the application's.

The views of c2cotel have their guard (:mod:`c2cotel.pyramid.views`), which refuses. Here nothing is
refused, and nothing of the request is touched: no body is read, no cookie is sent.
"""

from io import BytesIO

from pyramid.registry import Registry
from pyramid.request import Request

from c2cotel.client_info import Environ
from c2cotel.pyramid.access import Access
from c2cotel.pyramid.views import authority_of

_GIVES_SECRET = ("HTTP_X_API_KEY", "HTTP_COOKIE")


def may_look(environ: Environ, registry: Registry) -> bool:
    """Whether somebody asks whom the operators' views would show something.

    A wrong secret is counted as one. Of an application's own route, the header ``Authorization`` is
    the application's. Whatever the client has sent, it may raise what an authority does not expect.
    """
    if "secret" not in environ.get("QUERY_STRING", "") and not any(
        name in environ for name in _GIVES_SECRET
    ):
        return False
    request = _without_body(environ, registry)
    identity = authority_of(request).identity(request)
    return identity is not None and identity.access >= Access.READ


def _without_body(environ: Environ, registry: Registry) -> Request:
    """The same request as GET: the body may be endless, or the application's to read."""
    copy = dict(environ)
    copy |= {"REQUEST_METHOD": "GET", "CONTENT_LENGTH": "0", "wsgi.input": BytesIO()}
    # Of the request itself, where webob keeps what is set on it.
    copy.pop("webob.adhoc_attrs", None)
    copy.pop("webob._parsed_post_vars", None)
    request = Request(copy)
    request.registry = registry
    return request
