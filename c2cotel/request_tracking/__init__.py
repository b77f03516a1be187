"""The id of a request, from its header to each log line, span, SQL statement and outgoing call.

``request.c2c_request_id`` is the id: the one that came in ``X-Request-ID`` and the like (or in
the header of ``C2C_REQUEST_ID_HEADER``, which goes first), else the trace id written as a UUID.
It goes back to the client as ``X-Request-ID``, unless ``C2C_REQUEST_ID_RESPONSE`` is off.

The Pyramid instrumentor (:mod:`c2cotel_instrumentation.pyramid`) does all this outside of the
application. Where it is switched off, a tween does it instead; an application with an explicit
``pyramid.tweens`` lists ``c2cotel.request_tracking.views.tween_factory`` first, or has the
attribute but neither the header nor the id in its logs.
"""

from pyramid.config import Configurator
from pyramid.tweens import INGRESS

from c2cotel.pyramid import settings_of
from c2cotel.request_tracking import core, views
from c2cotel.request_tracking.core import Tracking

__all__ = ["Tracking", "includeme"]


def includeme(config: Configurator) -> None:
    """Add ``request.c2c_request_id``, and the tween that stands in for the instrumentor."""
    request_id = settings_of(config).request_id
    config.registry.c2c_request_tracking = core.tracking(
        request_id.header, respond=request_id.response
    )
    config.add_request_method(views.request_id, "c2c_request_id", reify=True)
    config.add_tween("c2cotel.request_tracking.views.tween_factory", under=INGRESS)
