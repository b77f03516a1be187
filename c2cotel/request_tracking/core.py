"""Find the id of a request, in whatever has been found out about it before."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from opentelemetry import propagate
from opentelemetry.context import get_current
from opentelemetry.context.context import Context
from opentelemetry.trace import get_current_span

from c2cotel_instrumentation.context import (
    ENVIRON_GETTER,
    REQUEST_ID_KEY,
    current_request_id,
    ensure_request_id,
    with_request_id,
)
from c2cotel_instrumentation.request_id import (
    DEFAULT_HEADERS,
    RESPONSE_HEADER,
    RequestIdPropagator,
)


@dataclass(frozen=True)
class Tracking:
    """Where the id is looked for, and whether it is sent back."""

    propagator: RequestIdPropagator
    respond: bool = True

    def identify(self, environ: Mapping[str, Any]) -> tuple[Context, str]:
        """The Context that the request belongs in, with its id, and this id.

        In this order: from the environ (another try of the same request), from the current
        Context, from the headers (also without OpenTelemetry's set-up), from the trace; else new.
        """
        context = get_current()
        # A middleware around the application may have begun the trace.
        begun = get_current_span(context).get_span_context().is_valid
        if current_request_id(context) is None and not begun:
            context = propagate.extract(environ, Context(), ENVIRON_GETTER)
        if isinstance(known := environ.get(REQUEST_ID_KEY), str):
            return with_request_id(known, context), known
        if current_request_id(context) is None:
            context = self.propagator.extract(environ, context, ENVIRON_GETTER)
        return ensure_request_id(context)

    def answer(self, headers: MutableMapping[str, str], request_id: str) -> None:
        """Put the id into the response's *headers*, if that is wanted."""
        if self.respond:
            headers[RESPONSE_HEADER] = request_id


def tracking(header: str | None, *, respond: bool) -> Tracking:
    """Look at *header* first, if there is one, then at the usual ones."""
    headers = (header, *DEFAULT_HEADERS) if header else DEFAULT_HEADERS
    return Tracking(RequestIdPropagator(headers), respond)
