"""``config.add_c2c_view``: what every view of an operator has in common.

===================  =============================================================================
address              ``{route_prefix}{base_path}/{path}``; the route's name is ``c2c_`` and the path
verbs                GET and HEAD, POST where something can be changed, OPTIONS; others are 405
access               by ``registry.c2c_authority``, for reading or for changing
changes by GET       with the secret as parameter or header only: a cookie is sent along by the
                     browser, whichever site made the link
changes by POST      with the secret, or with the cookie and a CSRF token
answers              JSON without blanks; never cached; errors are ``{"message": …, "status": …}``,
                     or a page for who asks for HTML
forms                a POST with the field ``back`` is sent back there
===================  =============================================================================
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

import msgspec
from pyramid.config import Configurator
from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPError,
    HTTPException,
    HTTPForbidden,
    HTTPLengthRequired,
    HTTPMethodNotAllowed,
    HTTPRequestEntityTooLarge,
    HTTPSeeOther,
)
from pyramid.request import Request
from pyramid.response import Response
from pyramid.security import NO_PERMISSION_REQUIRED

from c2cotel.pyramid.access import Access, Actor, Authority, Nobody, client_address
from c2cotel.pyramid.answers import error_body, keep_out_of_caches
from c2cotel.pyramid.console import Entry, Form, console_of
from c2cotel.pyramid.settings import settings_of

View: TypeAlias = Callable[[Request], Any]

# Parameters of a form; nothing here takes an upload.
_LONGEST_BODY = 64 * 1024
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not "no-referrer": a browser would then send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
}
_NOTHING_ALLOWED = "default-src 'none'; frame-ancestors 'none'"


def add_c2c_view(  # noqa: PLR0913 - a directive: all but the first two by keyword
    config: Configurator,
    path: str,
    view: View,
    *,
    name: str | None = None,
    access: Access = Access.READ,
    changes: Callable[[Request], bool] | None = None,
    title: str | None = None,
    section: str = "",
    description: str = "",
    form: Form | None = None,
) -> None:
    """Serve *view* below the base path, to whom *access* lets, and name it on the console.

    *view* takes the request and returns what JSON has, or a response; it raises an exception of
    ``pyramid.httpexceptions`` with a text for the client. ``request.c2c_actor`` tells it who asks.

    Args:
        config: The application's.
        path: Below the base path, without a slash at its beginning; empty for the console itself.
        view: As above.
        name: Of the route; ``c2c_`` and the path by default.
        access: What looking at it needs.
        changes: Whether a request changes something: it then needs :attr:`Access.CHANGE`, and a
            cookie alone does not do. With it, POST is allowed.
        title: Its name on the console; it is not shown there without one.
        section: The heading that it stands under.
        description: One sentence below the title.
        form: The inputs that are offered; only a link without one.
    """
    base_path = settings_of(config).base_path
    route = name or "c2c_" + re.sub(r"[^A-Za-z0-9]+", "_", path)
    # That of the include: all views of ours are side by side, whoever adds them.
    prefix = getattr(config.registry, "c2c_route_prefix", config.route_prefix)
    below = f"/{prefix.strip('/')}" if prefix else ""
    guard = _Guard(
        view=view,
        access=access,
        changes=changes,
        verbs=("GET", "HEAD") if changes is None else ("GET", "HEAD", "POST"),
        root=f"{below}{base_path}",
    )
    outer, config.route_prefix = config.route_prefix, prefix
    try:
        config.add_route(route, f"{base_path}/{path.lstrip('/')}" if path else base_path)
    finally:
        config.route_prefix = outer
    # The application's own permission and CSRF defaults are not for these: they have theirs.
    config.add_view(
        guard.answer, route_name=route, permission=NO_PERMISSION_REQUIRED, require_csrf=False
    )
    if title is not None:
        entry = Entry(title, route, access, section, description, form)
        console_of(config.registry).add(entry)


@dataclass(frozen=True)
class _Guard:
    """One view with what stands around it."""

    view: View
    access: Access
    changes: Callable[[Request], bool] | None
    verbs: tuple[str, ...]
    root: str

    def answer(self, request: Request) -> Response:
        try:
            response = self._answer(request)
        except HTTPError as error:
            response = self._refusal(request, error)
        except HTTPException as redirection:
            response = redirection
        _protect(response)
        return response

    def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status=204, headers={"Allow": self._allowed})
        if request.method not in self.verbs:
            raise self._not_allowed(request.method)
        _read_parameters(request)
        request.c2c_actor = self._authorise(request)
        result = self.view(request)
        if (back := self._back(request)) is not None:
            return HTTPSeeOther(back)
        return result if isinstance(result, Response) else _json(result)

    @property
    def _allowed(self) -> str:
        return ", ".join((*self.verbs, "OPTIONS"))

    def _not_allowed(self, verb: str) -> HTTPMethodNotAllowed:
        return HTTPMethodNotAllowed(
            f"{verb}: only {self._allowed} can be used here", headers=[("Allow", self._allowed)]
        )

    def _authorise(self, request: Request) -> Actor:
        changing = self.changes is not None and self.changes(request)
        wanted = Access.CHANGE if changing else self.access
        if wanted is Access.PUBLIC:
            return Actor("", client_address(request))
        authority = authority_of(request)
        actor = authority.authorise(request, wanted)
        if changing and request.method == "HEAD":
            raise HTTPMethodNotAllowed(
                "HEAD: this would change something, which only GET and POST do",
                headers=[("Allow", "GET, POST, OPTIONS")],
            )
        if changing and actor.means == "cookie":
            if request.method != "POST":
                raise HTTPForbidden(
                    "A change by GET needs the secret as parameter or X-API-Key header, the cookie "
                    "is not enough: use the form of the page, or POST with its csrf_token"
                )
            authority.check_csrf(request)
        return actor

    def _back(self, request: Request) -> str | None:
        """Where the form that was sent wants to be left for; only pages of ours."""
        back = request.POST.get("back") if request.method == "POST" else None
        if not isinstance(back, str) or re.search(r"[^!-~]|\\", back):
            return None
        root = request.script_name + self.root
        # As a browser reads it: "%2e%2e" leads up, too.
        path = unquote(re.split(r"[?#]", back, maxsplit=1)[0])
        below = path == root or path.startswith(f"{root}/")
        return back if below and not re.search(r"//|/\.|\\", path) else None

    def _refusal(self, request: Request, error: HTTPError) -> Response:
        """What the client sees of *error*."""
        if _wants_page(request):
            from c2cotel.pyramid.pages import error_page

            response = error_page(request, error.status, str(error))
        else:
            body = error_body(str(error), error.status_int)
            response = Response(body, content_type="application/json")
        response.status = error.status
        for name, value in error.headers.items():
            if not name.lower().startswith("content-"):
                response.headers[name] = value
        return response


def authority_of(request: Request) -> Authority:
    """Whoever decides in this application; without authentication, nothing is open."""
    authority: Authority | None = getattr(request.registry, "c2c_authority", None)
    return authority or Nobody()


def _read_parameters(request: Request) -> None:
    """Parse them now: later, what cannot be read would be an error of the server's."""
    if request.method == "POST":
        if request.content_length is None:
            raise HTTPLengthRequired("The body needs a Content-Length")
        if request.content_length > _LONGEST_BODY:
            raise HTTPRequestEntityTooLarge(f"The body has more than {_LONGEST_BODY} bytes")
    _check_parameters(request, "GET", "The query is not encoded as UTF-8")
    if request.method == "POST":
        _check_parameters(request, "POST", "The body is not a form encoded as UTF-8")


def _check_parameters(request: Request, where: str, complaint: str) -> None:
    try:
        parameters = getattr(request, where).items()
    except Exception as error:  # webob's, of whatever it has not foreseen; it is the client's body
        raise HTTPBadRequest(complaint) from error
    for name, value in parameters:
        if name is None:  # a part of a multipart body
            raise HTTPBadRequest(complaint)
        text = name + value if isinstance(value, str) else name
        if "\0" in text:
            raise HTTPBadRequest(f"{name!r}: a null character is in it")
        # What webob makes of bytes of a body that are no UTF-8.
        if "\ufffd" in text:
            raise HTTPBadRequest(complaint)


def _wants_page(request: Request) -> bool:
    """Whether a person in a browser asks: their Accept prefers HTML."""
    offers = request.accept.acceptable_offers(["application/json", "text/html"])
    return bool(offers) and bool(offers[0][0] == "text/html")


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), content_type="application/json")


def _protect(response: Response) -> None:
    for name, value in _SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", _NOTHING_ALLOWED)
    keep_out_of_caches(response)
