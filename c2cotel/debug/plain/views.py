"""What is read from a request, and told about it."""

from typing import Any

from pyramid.httpexceptions import HTTPBadRequest, HTTPException, exception_response, status_map
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.debug.plain import core
from c2cotel.pyramid import pages, parameters

_LOWEST, _HIGHEST = 100, 599
# That of the base of them all is there, too, but no answer of its own.
_KNOWN = tuple(sorted(code for code in status_map if code != HTTPException.code))


def sleep(request: Request) -> Response:
    """``?time=60.2``: nothing, after that many seconds."""
    core.sleep(parameters.number(request, "time", least=0, most=core.LONGEST_SLEEP))
    return Response(status=204)


def headers(request: Request) -> dict[str, Any]:
    """What arrived here; with ``?status=``, in the message of that error."""
    status = _status(request)
    told = _arrived(request)
    if status is not None:
        raise _answer(status, str(told))
    return told


def headers_page(request: Request) -> Response:
    """The same for people."""
    return pages.render(
        request, "c2cotel.debug.plain:templates/headers.jinja2", told=_arrived(request)
    )


def _arrived(request: Request) -> dict[str, Any]:
    return {
        "headers": core.shown_headers(request.headers.items()),
        "client_info": {
            "client_addr": request.client_addr,
            "host": request.host,
            "host_port": request.host_port,
            "http_version": request.http_version,
            "path": request.path,
            "path_info": request.path_info,
            "remote_addr": request.remote_addr,
            "remote_host": request.remote_host,
            "scheme": request.scheme,
            "server_name": request.server_name,
            "server_port": request.server_port,
        },
    }


def error(request: Request) -> Response:
    """``?status=404``: what Pyramid answers so."""
    status = _status(request)
    if status is None:
        raise HTTPBadRequest("status is missing: write for example status=500")
    raise _answer(status, "Test")


def time(_: Request) -> dict[str, Any]:
    return core.clock()


def time_page(request: Request) -> Response:
    """The same for people."""
    return pages.render(request, "c2cotel.debug.plain:templates/time.jinja2", told=core.clock())


def _status(request: Request) -> int | None:
    """The parameter of this name, if it is there."""
    if parameters.text(request, "status") is None:
        return None
    status = parameters.whole(request, "status", least=_LOWEST, most=_HIGHEST)
    if status not in _KNOWN:
        known = ", ".join(map(str, _KNOWN))
        raise HTTPBadRequest(f"status={status}: expected one of {known}")
    return status


def _answer(status: int, detail: str) -> HTTPException:
    answer: HTTPException = exception_response(status, detail=detail)
    return answer
