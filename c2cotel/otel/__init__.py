"""The OpenTelemetry distribution: what ``opentelemetry-instrument`` loads.

:func:`set_up` and :func:`instrument` do the same for a process that was started without it.
"""

from c2cotel.otel.distro import instrument, is_on, set_up, told
from c2cotel.otel.telemetry import Part, Telemetry

__all__ = ["Part", "Telemetry", "instrument", "is_on", "set_up", "told"]
