"""What the instrumentors of one request know together, kept in the OpenTelemetry Context.

The request id and the mark of a request without traces. The Context goes where OpenTelemetry
takes it: into threads that attach it, never into the next request.
"""

from collections.abc import Mapping
from os import urandom
from typing import Any, Final

from opentelemetry.context import create_key, get_value, set_value
from opentelemetry.context.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import get_current_span

REQUEST_ID_KEY: Final = "c2c.request_id"
"""Where the request id lies in the WSGI environ; gunicorn logs it as ``%({c2c.request_id}e)s``."""

CONTEXT_KEY: Final = "c2c.context"
"""Where the Context of the request lies in the WSGI environ, for what is logged about it later."""

ROUTE_KEY: Final = "c2c.route"
"""Where the pattern of the route, if there is one, lies in the environ when a request is over."""

_REQUEST_ID: Final = create_key("c2c-request-id")
_UNTRACED: Final = create_key("c2c-untraced")

_UUID_RANDOM: Final = ~(0xF << 76 | 0x3 << 62)
_UUID_VERSION: Final = 4 << 76 | 2 << 62

# A propagator may ask for names that the client chose (Jaeger's baggage does): no endless memory.
_MOST_NAMES: Final = 64


def current_request_id(context: Context | None = None) -> str | None:
    """The id of the request that *context* (default: the current one) belongs to."""
    value = get_value(_REQUEST_ID, context)
    return value if isinstance(value, str) else None


def with_request_id(request_id: str, context: Context | None = None) -> Context:
    """*context* (default: the current one) with this id; attach it to make it current."""
    return set_value(_REQUEST_ID, request_id, context)


def ensure_request_id(context: Context) -> tuple[Context, str]:
    """*context* with a request id: the one it has, else that of its trace, else a new one."""
    if isinstance(known := context.get(_REQUEST_ID), str):
        return context, known
    trace_id = get_current_span(context).get_span_context().trace_id
    request_id = from_trace_id(trace_id) if trace_id else new_request_id()
    return with_request_id(request_id, context), request_id


def from_trace_id(trace_id: int) -> str:
    """The trace id written as a UUID: without the dashes, one finds the other."""
    text = f"{trace_id:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_request_id() -> str:
    """A random UUID (version 4)."""
    return from_trace_id(new_trace_id())


def new_trace_id() -> int:
    """A random trace id that is a UUID (version 4), in a third of the time of :func:`uuid.uuid4`.

    Not of :mod:`random`: an application that seeds that in each worker would repeat them.
    """
    return int.from_bytes(urandom(16)) & _UUID_RANDOM | _UUID_VERSION


def without_tracing(context: Context | None = None) -> Context:
    """*context* (default: the current one), marked: no span starts in it or below it.

    The mark is obeyed by the sampler that looks at :func:`is_untraced`.
    """
    return set_value(_UNTRACED, True, context)  # noqa: FBT003 - the API takes it positionally


def is_untraced(context: Context | None = None) -> bool:
    return get_value(_UNTRACED, context) is True


class EnvironGetter(Getter[Mapping[str, Any]]):
    """Reads headers from a WSGI environ, as propagators ask for them."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        name = self._names.get(key) or self._name(key)
        value = carrier.get(name)
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        return [name[5:].replace("_", "-").lower() for name in carrier if name.startswith("HTTP_")]

    def _name(self, key: str) -> str:
        name = "HTTP_" + key.upper().replace("-", "_")
        if len(self._names) < _MOST_NAMES:
            self._names[key] = name
        return name


ENVIRON_GETTER: Final = EnvironGetter()
