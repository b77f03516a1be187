"""The merged metrics of all processes, from whichever of them gets the request."""

from pyramid.httpexceptions import HTTPServiceUnavailable
from pyramid.request import Request
from pyramid.response import Response

from c2cotel import otel
from c2cotel.metrics.scrape import BusyError


def metrics(request: Request) -> Response:
    scraper = otel.set_up().scraper
    if scraper is None:
        raise HTTPServiceUnavailable("no metrics are counted: OTEL_SDK_DISABLED is set")
    try:
        body, content_type = scraper.expose(request.headers.get("Accept", ""))
    except BusyError as error:
        raise HTTPServiceUnavailable(str(error)) from error
    response = Response(body)
    response.headers["Content-Type"] = content_type
    return response
