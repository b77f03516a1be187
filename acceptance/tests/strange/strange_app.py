"""An application that uses metrics as one should not."""

from itertools import count

from opentelemetry import metrics
from pyramid.config import Configurator

METER = metrics.get_meter("strange")
VISITORS = METER.create_counter("strange.visitors")
NUMBERS = count()


def ping(_):
    return {}


def visit(_):
    """Count 100 visitors that nobody has seen before."""
    for _number in range(100):
        VISITORS.add(1, {"visitor": f"{id(NUMBERS)}-{next(NUMBERS)}"})
    return {}


def misname(_):
    METER.create_counter("a name with spaces")
    return {}


def main(_, **settings):
    config = Configurator(settings=settings)
    for view in (ping, visit, misname):
        config.add_route(view.__name__, f"/api/{view.__name__}")
        config.add_view(view, route_name=view.__name__, renderer="json")
    return config.make_wsgi_app()
