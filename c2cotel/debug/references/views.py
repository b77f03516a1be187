"""Graphs of references as text, as a picture, and on a page."""

from dataclasses import asdict
from typing import Any, Final

from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPConflict,
    HTTPError,
    HTTPException,
    HTTPGatewayTimeout,
    HTTPNotFound,
    HTTPNotImplemented,
    HTTPServiceUnavailable,
)
from pyramid.request import Request
from pyramid.response import Response

from c2cotel import broadcast
from c2cotel.debug.references import core, drawing
from c2cotel.debug.references.core import Order
from c2cotel.pyramid import pages, parameters

_LONGEST_NAME: Final = 300
_GREATEST_ID: Final = 2**64 - 1
_PATIENCE: Final = 30.0
_ERRORS: Final[dict[int, type[HTTPException]]] = {
    400: HTTPBadRequest,
    404: HTTPNotFound,
    409: HTTPConflict,
}
_ROOTS: Final = ("analyze_type", "analyze_id")
_PARAMETERS: Final = (
    *_ROOTS,
    *("max_depth", "too_many", "max_nodes", "min_size_kb", "filter"),
    *("no_extra_info", "backrefs", "process"),
)


def show_refs(request: Request) -> Response:
    """The graph for graphviz; parameters are told in :mod:`c2cotel.debug.references`."""
    response = Response(_dot(request))
    response.content_type = "text/vnd.graphviz"
    response.charset = "UTF-8"
    return response


def picture(request: Request) -> Response:
    """The same, drawn."""
    text = _dot(request)
    try:
        return Response(drawing.svg(text), content_type="image/svg+xml")
    except drawing.MissingError as error:
        raise HTTPNotImplemented(str(error)) from error
    except drawing.DrawingError as error:
        raise HTTPServiceUnavailable(str(error)) from error


def page(request: Request) -> Response:
    """A form, and the graph that was asked for: the picture, and what it says as a table."""
    given = _given(request)
    graph, order, error = None, Order(), None
    try:
        if any(given.get(name) for name in _ROOTS):
            order = _order(request)
            graph = _graph(request, order)
    except HTTPError as found:
        error = found
    return pages.render(
        request,
        "c2cotel.debug.references:templates/page.jinja2",
        status="200 OK" if error is None else str(error.status),
        error=None if error is None else error.detail,
        graph=graph,
        given=given,
        order=order,
        rows=_rows(graph) if graph is not None else [],
        process=given.get("process", str(broadcast.broadcaster().process)),
    )


def _given(request: Request) -> dict[str, str]:
    """What somebody has filled in, whether it can be or not."""
    return {
        name: value.strip()[:_LONGEST_NAME]
        for name in _PARAMETERS
        if isinstance(value := request.params.get(name), str) and value.strip()
    }


def _dot(request: Request) -> str:
    order = _order(request)
    graph = _graph(request, order)
    what = order.type or f"object {order.id}"
    title = f"what has {what}" if order.backrefs else f"what {what} has"
    return drawing.dot(graph, f"{title}, {order.max_depth} steps")


def _graph(request: Request, order: Order) -> dict[str, Any]:
    process = parameters.text(request, "process", longest=_LONGEST_NAME)
    if process is None:
        answer = request.registry.c2c_references.graph(order)
    else:
        answer = _asked_elsewhere(process, order)
    graph: dict[str, Any] | None = answer.get("graph")
    if graph is None:
        known = _ERRORS.get(answer.get("status", 500), HTTPServiceUnavailable)
        raise known(str(answer.get("message", "There is no graph")))
    return {**graph, "backrefs": order.backrefs}


def _asked_elsewhere(process: str, order: Order) -> dict[str, Any]:
    params = {"process": process, "order": asdict(order)}
    replies = broadcast.ask(core.CHANNEL, params, timeout=_PATIENCE)
    answers = [each for each in replies.answers if isinstance(each, dict)]
    if answers:
        answer: dict[str, Any] = answers[0]
        return answer
    if replies.silent:
        names = ", ".join(map(str, replies.silent))
        raise HTTPGatewayTimeout(f"process={process[:80]}: no answer from {names}")
    there = ", ".join(map(str, replies.answered))
    raise HTTPNotFound(f"process={process[:80]}: there is no such process, only {there}")


def _order(request: Request) -> Order:
    name = parameters.text(request, "analyze_type", longest=_LONGEST_NAME)
    number = parameters.text(request, "analyze_id")
    if name is not None and number is not None:
        raise HTTPBadRequest("analyze_type and analyze_id: expected one of them, not both")
    if name is None and number is None:
        raise HTTPBadRequest(
            "analyze_type or analyze_id: expected one of them, for example "
            "analyze_type=gunicorn.app.wsgiapp.WSGIApplication"
        )
    return Order(
        type=name,
        id=None
        if number is None
        else parameters.whole(request, "analyze_id", least=0, most=_GREATEST_ID),
        max_depth=parameters.whole(request, "max_depth", least=0, most=10, default=3),
        too_many=parameters.whole(request, "too_many", least=1, most=1000, default=10),
        max_nodes=parameters.whole(request, "max_nodes", least=1, most=2000, default=300),
        min_size_kb=_least_size(request),
        extra_info=not parameters.flag(request, "no_extra_info"),
        backrefs=parameters.flag(request, "backrefs"),
    )


def _least_size(request: Request) -> float:
    """By either name: the seed's is ``filter``."""
    return max(
        parameters.number(request, name, least=0, most=1e9, default=0)
        for name in ("min_size_kb", "filter")
    )


def _rows(graph: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects with those that have them, and those that they have."""
    texts = {node["id"]: node for node in graph["nodes"]}
    rows = []
    for node in graph["nodes"]:
        key = node["id"]
        rows.append(
            {
                **node,
                "had_by": [(texts[o], name) for o, t, name in graph["edges"] if t == key][:10],
                "lines": drawing.label_of(node),
            }
        )
    return rows
