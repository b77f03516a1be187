"""Services that other sites may call: :class:`cornice.Service` with the defaults for CORS.

::

    from c2cotel import services

    hello_service = services.create("hello", "/hello", cors_credentials=True)


    @hello_service.get()
    def hello_get(request):
        return {"hello": True}

=====================  ==========================================================================
argument               default
=====================  ==========================================================================
``cors_origins``       ``*``: any site
``cors_max_age``       86400: a browser asks once a day whether it may
``cors_credentials``   no cookies; with True the origin is echoed, as browsers want it
``http_cache``         0: answers are not kept
``renderer``           ``cornice_fast_json``
=====================  ==========================================================================

A browser keeps the answer to its preflight (OPTIONS), and so may a proxy: it has ``Cache-Control:
max-age=86400`` and ``Vary: Origin``. Every answer that is not the same for all origins has the
latter, too. Verbs that a service does not have are 405 with ``Allow``; an OPTIONS that is not a
preflight is 400 and says what it lacks.

cornice (``pip install 'c2cotel[cors]'``) is included when the first service is found by
``config.scan()``, or at the first ``config.add_cornice_service`` or ``add_cornice_resource``: it
costs each request more than most views do. An application that uses something else of it, such as
the predicate ``content_type`` or ``request.errors`` in views of its own, includes it itself.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pyramid.config import Configurator
from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response

if TYPE_CHECKING:
    from cornice import Service

__all__ = ["create", "includeme"]

_DEFAULTS: Final = {"cors_origins": ("*",), "cors_max_age": 86400}
_MISSING: Final = "services.create needs cornice: pip install 'c2cotel[cors]'"
_ALLOWED: Final = "Access-Control-Allow-Headers"
_UNCACHED: Final = ("Expires", "Last-Modified", "Pragma")
_NO_SNIFFING: Final = "X-Content-Type-Options"
_DIRECTIVES: Final = ("add_cornice_service", "add_cornice_resource")


def create(name: str, path: str | None = None, *args: Any, **kwargs: Any) -> "Service":
    """Make the service *name* at *path*; call this at the top of a module that is scanned.

    All arguments of :class:`cornice.Service` can be given; a ``cors_policy`` goes before the
    defaults, single arguments before both. A function that calls this one in the name of another
    module adds ``depth=3``.

    Raises:
        ImportError: cornice is not installed.
    """
    policy = kwargs.get("cors_policy") or {}
    for argument, default in _DEFAULTS.items():
        if argument.removeprefix("cors_") not in policy:
            kwargs.setdefault(argument, default)
    kwargs.setdefault("renderer", "cornice_fast_json")
    kwargs.setdefault("http_cache", 0)
    # From here, cornice looks for the module whose service this is.
    kwargs.setdefault("depth", 2)
    filters = kwargs.pop("filters", ())
    filters = [filters] if callable(filters) or isinstance(filters, str) else list(filters)
    return _service_class()(name, path, *args, filters=[*filters, _finish], **kwargs)


@functools.cache
def _service_class() -> "type[Service]":
    try:
        from cornice import Service
    except ModuleNotFoundError as error:
        if error.name != "cornice":
            raise
        raise ImportError(_MISSING, name="cornice") from error

    class OrderedService(Service):  # type: ignore[misc] # the base is untyped
        """Names headers in the same order each time; cornice keeps them in sets."""

        def cors_supported_headers_for(self, method: str | None = None) -> list[str]:
            return sorted(super().cors_supported_headers_for(method))

    return OrderedService


def _finish(response: Response, request: Request) -> Response:
    """Make the answer to a preflight one that may be kept, and name what an answer depends on."""
    from cornice.util import current_service

    service = current_service(request)
    if request.method == "OPTIONS" and "Access-Control-Allow-Methods" in response.headers:
        _keep(response)
    elif service is not None and _depends_on_origin(service, request.method):
        _vary(response)
    return response


def _keep(response: Response) -> None:
    headers = response.headers
    for name in _UNCACHED:
        headers.pop(name, None)
    if (age := headers.get("Access-Control-Max-Age")) is not None:
        headers["Cache-Control"] = f"max-age={age}"
    # Those that the browser asks for are added to a set.
    if _ALLOWED in headers:
        headers[_ALLOWED] = ",".join(sorted(filter(None, headers[_ALLOWED].split(","))))
    _vary(response)


def _depends_on_origin(service: "Service", method: str) -> bool:
    return bool(
        service.cors_support_credentials_for(method) or "*" not in service.cors_origins_for(method)
    )


def _vary(response: Response) -> None:
    response.vary = tuple(dict.fromkeys((*(response.vary or ()), "Origin")))


def _including(directive: str) -> Callable[..., None]:
    """A directive that includes cornice, whose own takes its place, and does what that does."""

    def include(config: Configurator, *args: Any, **kwargs: Any) -> None:
        config.include("cornice")
        getattr(config, directive)(*args, **kwargs)

    return include


def includeme(config: Configurator) -> None:
    """Include cornice as soon as it is needed; keep browsers from guessing content types.

    Exceptions are left to the application, or to :mod:`c2cotel.errors`, unless its setting
    ``handle_exceptions`` says that cornice shall answer them.
    """
    config.registry.settings.setdefault("handle_exceptions", False)
    if not hasattr(config.registry, "cornice_services"):
        for directive in _DIRECTIVES:
            config.add_directive(directive, _including(directive))
    config.add_tween("c2cotel.services.no_sniffing_tween_factory")


def no_sniffing_tween_factory(
    handler: Callable[[Request], Response], registry: Registry
) -> Callable[[Request], Response]:
    """Every answer has ``X-Content-Type-Options: nosniff``, as cornice gives it to every answer."""
    del registry

    def tween(request: Request) -> Any:
        response = handler(request)
        response.headers.setdefault(_NO_SNIFFING, "nosniff")
        return response

    return tween
