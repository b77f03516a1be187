"""Numbers sent once, by a command that ends afterwards."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.resources import Resource

from c2cotel.metrics.families import Collected
from c2cotel.metrics.sdk import metrics_data
from c2cotel.otel.delivery import Delivery
from c2cotel.otel.exporters import find_exporter, make_exporter, stop_retrying

# What a collector takes by gRPC, 4 MiB, is some 15 000 points.
_MOST: Final = 4000


class NotDeliveredError(Exception):
    """They did not arrive, or not all of them; the message says why.

    Attributes:
        passing: Nobody listened: that may be otherwise a moment later.
    """

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


def send(families: Collected, target: Mapping[str, Any], name: str, started: int) -> None:
    """Send *families* about *target*, by the exporter called *name*.

    *started*: nanoseconds since the epoch; what is before is of no interest to those who add up.

    Raises:
        UnknownExporterError: there is no such exporter.
        NotDeliveredError: they did not arrive.
    """
    exporter = make_exporter(find_exporter("metrics", name))
    delivery = Delivery("statistics")
    delivery.overhear(exporter)
    resource = Resource(dict(target))
    # What is sent by way of an instrumented library is no call of the application's.
    with suppress_instrumentation():
        try:
            if refused := stop_retrying(exporter):
                raise NotDeliveredError(refused, passing=True)
            for part in _parts(families):
                with delivery.attempt():
                    result = exporter.export(metrics_data(part, resource, started))
                if result.name != "SUCCESS":
                    why = delivery.why or f"the exporter {name} does not say why."
                    raise NotDeliveredError(why, passing=False)
        finally:
            exporter.shutdown()


def _parts(families: Collected) -> Iterator[Collected]:
    """*families*, with as many rows at once as every receiver takes."""
    for family, rows in families:
        for start in range(0, len(rows), _MOST):
            yield [(family, rows[start : start + _MOST])]
