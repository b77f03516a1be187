"""The id of a request on the request, and in its answer."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, detach
from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response

from c2cotel_instrumentation.context import REQUEST_ID_KEY, current_request_id

if TYPE_CHECKING:
    from c2cotel.request_tracking.core import Tracking


def request_id(request: Request) -> str:
    tracking: Tracking = request.registry.c2c_request_tracking
    _, found = tracking.identify(request.environ)
    # The attribute and whoever asks later say the same, also when the id is a new one.
    request.environ[REQUEST_ID_KEY] = found
    return found


def tween_factory(
    handler: Callable[[Request], Response], registry: Registry
) -> Callable[[Request], Response]:
    """Do nothing where the instrumentor has been, nor for subrequests: they have their id."""
    tracking: Tracking = registry.c2c_request_tracking

    def tween(request: Request) -> Any:
        if current_request_id() is not None:
            return handler(request)
        context, found = tracking.identify(request.environ)
        request.environ[REQUEST_ID_KEY] = found
        token = attach(context)
        try:
            response = handler(request)
            tracking.answer(response.headers, found)
        finally:
            detach(token)
        return response

    return tween
