"""How long renderers take: ``c2c.pyramid.render.duration``, by route.

``RendererHelper.render`` is where views with ``renderer=``, ``render_to_response`` and ``render``
all come by. Subscribers to ``BeforeRender`` are a part of it.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from opentelemetry.metrics import Meter
from opentelemetry.semconv.attributes import error_attributes, http_attributes

from c2cotel_instrumentation.errors import type_name
from c2cotel_instrumentation.routes import current_request, route_of

_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
# An application has as many routes; one that makes them for each request does not fill the memory.
_MOST_ROUTES: Final = 1000

_Attributes = dict[str, str]


class Rendering:
    """Measures renderers; made once per ``instrument()``."""

    def __init__(self, meter: Meter, complain: Callable[[Exception], None]) -> None:
        self._duration = meter.create_histogram(
            "c2c.pyramid.render.duration",
            unit="s",
            description="Duration of rendering what a view has returned.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self._complain = complain
        # They are shared by all measurements of a route.
        self._by_route: dict[str | None, _Attributes] = {}

    def done(self, started: float, request: Any, error: BaseException | None = None) -> None:
        """Count what began at *started*, as :func:`time.perf_counter` counts."""
        elapsed = perf_counter() - started
        try:
            route = route_of(current_request() if request is None else request)
            attributes = self._by_route.get(route)
            if attributes is None:
                attributes = self._of_route(route)
            if error is not None:
                attributes = attributes | {error_attributes.ERROR_TYPE: type_name(error)}
            self._duration.record(elapsed, attributes)
        except Exception as failure:  # noqa: BLE001 - such as a request class of the application
            self._complain(failure)

    def _of_route(self, route: str | None) -> _Attributes:
        attributes = {} if route is None else {http_attributes.HTTP_ROUTE: route}
        if len(self._by_route) < _MOST_ROUTES:
            self._by_route[route] = attributes
        return attributes


def wrapped(
    render: Callable[..., Any], rendering: Callable[[], Rendering | None]
) -> Callable[..., Any]:
    """*render*, measured by whatever *rendering* gives; by nobody if that is None."""

    def measured(helper: Any, value: Any, system_values: Any, request: Any = None) -> Any:
        measuring = rendering()
        if measuring is None:
            return render(helper, value, system_values, request=request)
        started = perf_counter()
        try:
            result = render(helper, value, system_values, request=request)
        except BaseException as error:
            measuring.done(started, request, error)
            raise
        measuring.done(started, request)
        return result

    measured.__name__ = "render"
    return measured
