"""Carry the request id from the header of the request to the headers of the calls it makes.

================================  =====================================================
incoming, first one present wins  X-Request-ID, X-Correlation-ID, Request-ID, X-Varnish,
                                  X-Amzn-Trace-Id
outgoing                          the first of the list, unless the caller has set it
response                          X-Request-ID, if :class:`RequestIdResponsePropagator` is
                                  OpenTelemetry's global response propagator
================================  =====================================================

An id from outside has at most 128 characters of ``[A-Za-z0-9._:+/=@-]``: it ends in log lines,
SQL and headers. Another one is dropped, and the request gets an id of its own. Of X-Amzn-Trace-Id,
which is ``Root=…;Parent=…;Sampled=…``, the root is the id.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.context.context import Context
from opentelemetry.instrumentation.propagators import ResponsePropagator
from opentelemetry.instrumentation.propagators import default_setter as default_response_setter
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from c2cotel_instrumentation.context import (
    current_request_id,
    from_trace_id,
    new_request_id,
    with_request_id,
)

__all__ = [
    "DEFAULT_HEADERS",
    "RESPONSE_HEADER",
    "RequestIdPropagator",
    "RequestIdResponsePropagator",
    "clean",
    "from_trace_id",
    "new_request_id",
]

DEFAULT_HEADERS: Final = (
    "X-Request-ID",
    "X-Correlation-ID",
    "Request-ID",
    "X-Varnish",
    "X-Amzn-Trace-Id",
)
RESPONSE_HEADER: Final = "X-Request-ID"

_SAFE: Final = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")
_AMAZON: Final = "x-amzn-trace-id"
_ROOT: Final = re.compile(r"(?:^|;)\s*Root=([^;]*)", re.IGNORECASE)
_SHOWN: Final = 40

_logger = logging.getLogger(__name__)


def clean(value: str) -> str | None:
    """*value* without the blanks around it, or None if it cannot be trusted as a request id."""
    value = value.strip()
    return value if _SAFE.fullmatch(value) else None


def _root(value: str) -> str | None:
    """The id in X-Amzn-Trace-Id; a value without ``=`` is one by itself."""
    found = _ROOT.search(value)
    return clean(found[1] if found else value)


class RequestIdPropagator(TextMapPropagator):
    """The request id between headers and Context.

    *headers* are tried in this order on the way in; the first one is sent on the way out.
    """

    def __init__(self, headers: Sequence[str] = DEFAULT_HEADERS) -> None:
        if not headers:
            raise ValueError("headers is empty. Name at least one, for example X-Request-ID.")
        self._first = headers[0]
        self._readers: tuple[tuple[str, Callable[[str], str | None]], ...] = tuple(
            (header, _root if header.lower() == _AMAZON else clean) for header in headers
        )

    @property
    def fields(self) -> set[str]:
        return {self._first}

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        if context is None:
            context = Context()
        for header, read in self._readers:
            if (values := getter.get(carrier, header)) and (value := values[0]):
                if (request_id := read(value)) is not None:
                    return with_request_id(request_id, context)
                _logger.debug(
                    "%s: %r… (%d characters) is no request id: at most 128 of "
                    "[A-Za-z0-9._:+/=@-]. The request gets an id of its own.",
                    header,
                    value[:_SHOWN],
                    len(value),
                )
                break
        return context

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        header = self._first
        if isinstance(carrier, Mapping) and header in carrier:
            return
        if (request_id := current_request_id(context)) is not None:
            setter.set(carrier, header, request_id)


class RequestIdResponsePropagator(ResponsePropagator):
    """Sends the id of the request back to the client."""

    def inject(
        self, carrier: Any, context: Context | None = None, setter: Any = default_response_setter
    ) -> None:
        if (request_id := current_request_id(context)) is not None:
            setter.set(carrier, RESPONSE_HEADER, request_id)
