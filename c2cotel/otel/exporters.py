"""Exporters, found by name, made late, and held to account.

Importing an OTLP exporter costs requests and protobuf, and a connection must not be shared
between a process and its fork: the exporter of a process is made for its first batch.
"""

import os
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

Signal = Literal["traces", "logs", "metrics"]

# What OTEL_EXPORTER_OTLP_PROTOCOL may be, and the exporter of it.
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_HINTS = {"otlp_proto_grpc": "pip install opentelemetry-exporter-otlp-proto-grpc"}


class UnknownExporterError(LookupError):
    """No exporter has that name; the message says which have."""


def find_exporter(signal: Signal, name: str) -> EntryPoint:
    """The entry point of the exporter *name*, not loaded yet.

    ``otlp`` is the one of the protocol in ``OTEL_EXPORTER_OTLP_PROTOCOL``, HTTP by default.

    Raises:
        UnknownExporterError: there is none.
    """
    wanted = _otlp(signal) if name == "otlp" else name
    known = entry_points(group=f"opentelemetry_{signal}_exporter")
    for entry_point in known:
        if entry_point.name == wanted:
            return entry_point
    hint = f"Install it: {_HINTS[wanted]}" if wanted in _HINTS else "Install its package"
    raise UnknownExporterError(
        f"OTEL_{signal.upper()}_EXPORTER = {name}: no such exporter. {hint}, or write one of: "
        f"none, otlp, {', '.join(sorted(known.names))}."
    )


def _otlp(signal: Signal) -> str:
    variable = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL"
    if variable not in os.environ:
        variable = "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = os.environ.get(variable, "").strip() or "http/protobuf"
    if protocol not in _PROTOCOLS:
        raise UnknownExporterError(
            f"{variable} = {protocol}: expected one of {', '.join(_PROTOCOLS)}."
        )
    return _PROTOCOLS[protocol]


class DeferredExporter:
    """Stands for an exporter of spans or log records until there is a batch for it.

    Attributes:
        lost: Items that were given up since the process started.
        in_flight: Items being sent at the moment.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None
        self._pid = 0
        self.lost = 0
        self.in_flight = 0

    def _mine(self) -> Any:
        if self._pid != os.getpid():
            self.lost = 0
            self._made, self._pid = self._make(), os.getpid()
        return self._made

    def export(self, batch: Sequence[Any]) -> Any:
        """Send *batch*; gives the result of the exporter."""
        delivered = False
        self.in_flight = len(batch)
        try:
            result = self._mine().export(batch)
            # SpanExportResult and LogRecordExportResult are different enumerations.
            delivered = result.name == "SUCCESS"
            return result
        finally:
            self.in_flight = 0
            if not delivered:
                self.lost += len(batch)

    def shutdown(self) -> None:
        if self._pid == os.getpid():
            self._made.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True
