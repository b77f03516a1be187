"""What becomes of spans, log records and metrics on their way out, by OpenTelemetry's names.

====================================================  ===============  =============================
name                                                  kind             error.type
====================================================  ===============  =============================
``otel.sdk.exporter.{span,log}.exported``,            counter          a status such as ``503``, an
``otel.sdk.exporter.metric_data_point.exported``                       exception, ``_OTHER``;
                                                                       ``shutdown_timeout``
``otel.sdk.processor.{span,log}.processed``           counter          ``queue_full``,
                                                                       ``already_shutdown``,
                                                                       ``shutdown_timeout``
``otel.sdk.processor.{span,log}.queue.size``          up-down counter
``otel.sdk.processor.{span,log}.queue.capacity``      up-down counter
====================================================  ===============  =============================

What has an ``error.type`` is lost, what has none has arrived; a processor's has got as far as the
exporter. The attribute ``otel.component.type`` besides is ``otlp_http_span_exporter`` or the like.
``shutdown_timeout`` is what is left when the time for the end of a process is up.

What processors do is counted by the SDK, where ``OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED`` is
true; :mod:`c2cotel.otel.distro` makes that the default, and ``false`` turns all of these off. What
exporters do is counted here: those of OTLP count a batch that was refused as delivered. Started
spans and created log records are not counted: that would cost each of them.

Source: https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/.
"""

import inspect
import os
from typing import Any, Final

from opentelemetry import metrics
from opentelemetry.metrics import Meter, Observation
from opentelemetry.util.types import Attributes

VARIABLE: Final = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
#: For those who would count each span or log record, or count wrongly.
NOTHING: Final = metrics.NoOpMeterProvider()
OTHER: Final = "_OTHER"

_METER: Final = "opentelemetry-sdk"
_OTLP: Final = "opentelemetry.exporter.otlp.proto."
# What a component is called, what it counts, and in which unit; by the words of the pipelines.
_SIGNALS: Final = {
    "spans": ("span", "span", "{span}"),
    "log records": ("log", "log", "{log_record}"),
    "metrics": ("metric", "metric_data_point", "{data_point}"),
}


def count_exported(what: str, number: int, exporter: Any, error_type: str = "") -> None:
    """Count *number* items that *exporter* has sent, or lost for *error_type*.

    *what* is ``spans``, ``log records`` or ``metrics``; *exporter* None if there is none yet.
    """
    signal, item, unit = _SIGNALS[what]
    kind = "" if exporter is None else _component_type(exporter, signal)
    attributes = {"otel.component.type": kind} if kind else {}
    text = "What the exporter has sent, or lost where it has an error.type."
    _count(f"otel.sdk.exporter.{item}.exported", unit, text, number, attributes, error_type)


def count_unprocessed(what: str, number: int, error_type: str) -> None:
    """Count *number* items that no exporter was given."""
    signal, item, unit = _SIGNALS[what]
    attributes = {"otel.component.type": f"batching_{signal}_processor"}
    text = "What the processor has given to its exporter, or lost where it has an error.type."
    _count(f"otel.sdk.processor.{item}.processed", unit, text, number, attributes, error_type)


def _count(  # noqa: PLR0913, PLR0917 - what a counter is, and what is counted
    name: str, unit: str, text: str, number: int, attributes: dict[str, str], error_type: str
) -> None:
    if number and os.environ.get(VARIABLE, "").strip().lower() == "true":
        error = {"error.type": error_type} if error_type else {}
        # The SDK's meter: where it makes the same instrument, that is this one.
        counter = metrics.get_meter(_METER).create_counter(name, unit, text)
        counter.add(number, attributes | error)


def _component_type(exporter: Any, signal: str) -> str:
    for kind in type(exporter).__mro__:
        if kind.__module__.startswith(_OTLP):
            transport = kind.__module__.removeprefix(_OTLP).partition(".")[0]
            return f"otlp_{transport}_{signal}_exporter"
    return type(exporter).__qualname__


def without_own_metrics(make: Any) -> Any:
    """The exporter that *make* makes, counting nothing itself, if it lets one say so."""
    try:
        asked = "meter_provider" in inspect.signature(make).parameters
    except (TypeError, ValueError):  # one that is not written in Python
        asked = False
    return make(meter_provider=NOTHING) if asked else make()


class ProcessorMeterProvider:
    """What a batch processor is to make its instruments with.

    It tells once, when it is made, how many items its queue can hold; here each process forked
    from that one tells so, too, as each has such a queue.
    """

    def get_meter(self, *arguments: Any, **more: Any) -> Any:
        return _ProcessorMeter(metrics.get_meter_provider().get_meter(*arguments, **more))


class _ProcessorMeter:
    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._meter, name)

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        return _Constant(self._meter, name, unit, description)


class _Constant:
    """An up-down counter that is added to once."""

    def __init__(self, meter: Meter, *described: str) -> None:
        self._meter = meter
        self._name, self._unit, self._text = described

    def add(self, amount: float, attributes: Attributes = None, context: Any = None) -> None:
        seen = Observation(amount, attributes)
        self._meter.create_observable_up_down_counter(
            self._name, [lambda _: (seen,)], self._unit, self._text
        )
