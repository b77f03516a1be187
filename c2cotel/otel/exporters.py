"""Exporters, found by name, made late, and held to account.

Importing an OTLP exporter costs requests and protobuf, and a connection must not be shared
between a process and its fork: the exporter of a process is made for its first batch.
"""

import os
import socket
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from typing import Any, Literal
from urllib.parse import urlsplit

# Reads the metadata of all distributions once, which the loader has done.
from opentelemetry.util._importlib_metadata import entry_points

from c2cotel.forking import FirstTime
from c2cotel.otel.delivery import Delivery
from c2cotel.otel.self_metrics import OTHER, count_exported, without_own_metrics
from c2cotel.settings import without_password

Signal = Literal["traces", "logs", "metrics"]

# What OTEL_EXPORTER_OTLP_PROTOCOL may be, and the exporter of it.
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_HINTS = {"otlp_proto_grpc": "pip install opentelemetry-exporter-otlp-proto-grpc"}


_PORTS = {"http": 80, "https": 443}
# Seconds; a host that is there refuses within the time of one round trip.
_CONNECT_TIMEOUT = 0.5


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


def make_exporter(entry_point: EntryPoint) -> Any:
    """The exporter of an entry point, with what it reads from the environment."""
    return without_own_metrics(entry_point.load())


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
        refused: Why nobody takes anything, once that is known.
    """

    def __init__(self, what: str, make: Callable[[], Any]) -> None:
        self._make = make
        self.delivery = Delivery(what)
        self._forget()
        self._first_time = FirstTime()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a forked child: what is being sent and what was lost is the parent's."""
        self._made: Any = None
        self.lost = 0
        self.in_flight = 0
        self.refused = ""
        self.delivery.forget()

    def export(self, batch: Sequence[Any]) -> Any:
        """Send *batch*; gives the result of the exporter."""
        delivered = False
        error_type = OTHER
        self.in_flight = len(batch)
        try:
            result = self._first_time.run(lambda: self._export(batch))
            # SpanExportResult and LogRecordExportResult are different enumerations.
            delivered = result.name == "SUCCESS"
            error_type = "" if delivered else self._error_type()
        except Exception as error:
            error_type = type(error).__qualname__
            raise
        else:
            return result
        finally:
            self.in_flight = 0
            if not delivered:
                self.lost += len(batch)
            count_exported(self.delivery.what, len(batch), self._made, error_type)
            self.delivery.tell(delivered=delivered)

    def _export(self, batch: Sequence[Any]) -> Any:
        if self._made is None:
            self._made = self._make()
            self.delivery.overhear(self._made)
            if self.delivery.ending:
                self.hasten()
        with self.delivery.attempt():
            return self._made.export(batch)

    def _error_type(self) -> str:
        known = self.delivery.error_type
        # Not tried again at the end of a process, an exporter of OTLP does not say why.
        return "ConnectionError" if known == OTHER and self.refused else known

    def count_in_flight(self, error_type: str) -> None:
        """Count as lost what is still being sent: nobody waits for it any more."""
        count_exported(self.delivery.what, self.in_flight, self._made, error_type)

    def hasten(self) -> str:
        """Stop retrying if nobody listens; gives why."""
        if self._made is not None and not self.refused:
            self.refused = stop_retrying(self._made)
        return self.refused

    def shutdown(self) -> None:
        if self._made is not None:
            self._made.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def stop_retrying(exporter: Any) -> str:
    """Have an OTLP/HTTP *exporter* try only once if nobody listens where it sends to; gives why.

    It would go on for ``OTEL_EXPORTER_OTLP_TIMEOUT`` seconds otherwise. Other exporters are left
    alone, and so are those that send by way of a proxy.
    """
    endpoint = getattr(exporter, "_endpoint", None)
    retry = getattr(getattr(exporter, "_client", None), "_shutdown_event", None)
    if not isinstance(retry, threading.Event) or not isinstance(endpoint, str):
        return ""
    from requests.utils import get_environ_proxies

    try:
        url = urlsplit(endpoint)
        address = (url.hostname or "", url.port or _PORTS[url.scheme])
        if get_environ_proxies(endpoint):
            return ""
        socket.create_connection(address, _CONNECT_TIMEOUT).close()
    except TimeoutError:
        return ""
    except (OSError, ValueError, LookupError) as error:
        retry.set()
        reason = getattr(error, "strerror", None) or str(error)
        return f"nobody takes them at {without_password(endpoint)} ({reason})."
    return ""
