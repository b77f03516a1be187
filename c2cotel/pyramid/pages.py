"""Pages for people: jinja2 templates on one layout, one stylesheet and one script, all our own.

They work without the script, and nothing in them comes from elsewhere: the content security
policy allows our own files only. Whatever a template is given is escaped.
"""

import hashlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPNotFound
from pyramid.request import Request
from pyramid.response import Response

from c2cotel import otel
from c2cotel.pyramid.access import Access
from c2cotel.pyramid.settings import settings_of

if TYPE_CHECKING:
    from jinja2 import Environment

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_STATIC = {
    "c2c.css": "text/css",
    "c2c.js": "text/javascript",
    "favicon.svg": "image/svg+xml",
    "flame.js": "text/javascript",
}
_FOREVER = "public, max-age=31536000, immutable"


def render(request: Request, template: str, *, status: str = "200 OK", **context: Any) -> Response:
    """The page that *template*, ``package:path``, makes of *context*.

    It extends ``c2cotel.pyramid:templates/layout.jinja2`` (blocks ``title`` and ``content``), and
    has besides its *context*: ``request``; ``url(route, **query)``, the address of a route;
    ``csrf_token`` and ``identity`` of who is logged in, or None; ``static(name)``; ``console``, the
    address of the console, or None where there is none; ``service``, its name; ``logout``.
    """
    from c2cotel.pyramid.views import authority_of

    authority = authority_of(request)
    text = (
        _environment()
        .get_template(template)
        .render(
            request=request,
            url=_urls(request),
            static=_statics(request),
            console=address(request, "c2c_index"),
            service=service_name(request),
            logout=_logout(request),
            identity=authority.identity(request),
            csrf_token=authority.csrf_token(request),
            **context,
        )
    )
    response = Response(text, status=status, content_type="text/html", charset="UTF-8")
    response.headers["Content-Security-Policy"] = _POLICY
    return response


def error_page(request: Request, status: str, message: str) -> Response:
    """Tell a person what is wrong, with the way to the console."""
    return render(
        request,
        "c2cotel.pyramid:templates/error.jinja2",
        status=status,
        title=status.partition(" ")[2],
        message=message,
    )


@cache
def _environment() -> "Environment":
    # Here: who never looks at a page does not pay for jinja2.
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _source(name: str) -> str | None:
    package, _, path = name.partition(":")
    data = pkgutil.get_data(package, path)
    return data.decode() if data is not None else None


def _urls(request: Request) -> Callable[..., str]:
    def url(route: str, **query: Any) -> str:
        path: str = request.route_path(route, _query=query or None)
        return path

    return url


def address(request: Request, route: str, **query: str) -> str | None:
    """The path of *route*; None if there is none, or none without more being known."""
    try:
        path: str = request.route_path(route, _query=query or None)
    except KeyError:
        return None
    return path


def service_name(request: Request) -> str:
    """What the service is called in its telemetry, else the application's package."""
    name = otel.told("service.name") or ""
    # https://opentelemetry.io/docs/specs/semconv/resource/service/: what the SDK says of none.
    package: str = request.registry.package_name
    return package if not name or name.startswith("unknown_service") else name


def _logout(request: Request) -> dict[str, str | None]:
    """How somebody leaves: by a link where GitHub let him in, else by a form."""
    console = address(request, "c2c_index")
    link = address(request, "c2c_github_logout", **({"came_from": console} if console else {}))
    return {"link": link, "form": None if link else console}


def _statics(request: Request) -> Callable[[str], str]:
    def static(name: str) -> str:
        path: str = request.route_path("c2c_static", name=name, _query={"v": _static(name)[1]})
        return path

    return static


@cache
def _static(name: str) -> tuple[bytes, str]:
    """A file of ours, and a short text that changes with it."""
    data = pkgutil.get_data("c2cotel.pyramid", f"static/{name}") or b""
    return data, hashlib.sha256(data).hexdigest()[:12]


def _serve_static(request: Request) -> Response:
    name = request.matchdict["name"]
    if name not in _STATIC:
        raise HTTPNotFound(f"There is no {name}")
    data, version = _static(name)
    response = Response(data, content_type=_STATIC[name])
    # An address without the version must not outlive the file.
    if request.params.get("v") == version:
        response.headers["Cache-Control"] = _FOREVER
    return response


def includeme(config: Configurator) -> None:
    """Serve the stylesheet, the script and the icon of the pages."""
    # Without a base path they lie among the application's own.
    folder = "static" if settings_of(config).base_path else "c2c_static"
    config.add_c2c_view(
        f"{folder}/{{name}}", _serve_static, name="c2c_static", access=Access.PUBLIC
    )
