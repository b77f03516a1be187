"""What the API gives with ``OTEL_SDK_DISABLED``, where ours takes more than the API knows."""

from collections.abc import Sequence
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackT
from opentelemetry.util.types import Attributes


class DisabledMeterProvider(metrics.NoOpMeterProvider):
    """Counts nothing; its gauges accept ``merge=``, as those that count do."""

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> "DisabledMeter":
        return DisabledMeter(name, version, schema_url)


class DisabledMeter(metrics.NoOpMeter):
    def create_gauge(
        self, name: str, unit: str = "", description: str = "", *, merge: Any = None
    ) -> Any:
        return super().create_gauge(name, unit, description)

    def create_observable_gauge(
        self,
        name: str,
        callbacks: Sequence[CallbackT] | None = None,
        unit: str = "",
        description: str = "",
        *,
        merge: Any = None,
    ) -> metrics.ObservableGauge:
        return super().create_observable_gauge(name, callbacks, unit, description)
