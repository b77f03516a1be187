"""The one span of a script, from its bootstrap to the end of its process.

=====================  ===========================================================================
name                   the module for ``python -m``, else the file without ``.py``
kind                   INTERNAL
``c2c.request.id``     of everything that the script does
``process.exit.code``  what the shell sees, where it is known: see :func:`run`
``error.type``         class of the exception, name of the signal, exit status unless it is 0
=====================  ===========================================================================

Source: https://opentelemetry.io/docs/specs/semconv/cli/cli-spans/.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span, set_span_in_context

from c2cotel.otel.telemetry import Telemetry
from c2cotel_instrumentation.context import ensure_request_id
from c2cotel_instrumentation.errors import fail, type_name

LOGGER = logging.getLogger(__name__)

EXIT_CODE: Final = "process.exit.code"
# https://opentelemetry.io/docs/specs/otel/context/env-carriers/
_CARRIED: Final = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")
_UNCAUGHT: Final = 1
# What a shell makes of SIGINT.
_INTERRUPTED: Final = 130


def begin(telemetry: Telemetry, environ: Mapping[str, str] | None = None) -> None:
    """Begin the span of this process and make it current; the second time nothing happens."""
    if any(isinstance(first, ScriptSpan) for first in telemetry.exit.first):
        return
    # Somebody has begun one already: his contains all that ours would.
    if get_current_span().get_span_context().is_valid:
        return
    try:
        span = ScriptSpan(telemetry, os.environ if environ is None else environ)
    except Exception:
        # The script is worth more than its span.
        LOGGER.exception("The script has no span.")
    else:
        telemetry.exit.first.append(span)


def run(telemetry: Telemetry, main: Callable[[], Any]) -> Any:
    """What *main* returns, which is the exit status of the process; the span gets to know it."""
    try:
        status = main()
    except SystemExit as error:
        _end_with(telemetry, error.code)
        raise
    _end_with(telemetry, status)
    return status


def _end_with(telemetry: Telemetry, status: Any) -> None:
    for first in telemetry.exit.first:
        if isinstance(first, ScriptSpan):
            first.ends_with(status_of(status))


class ScriptSpan:
    """The span, open from the beginning; called at the end of the process."""

    def __init__(self, telemetry: Telemetry, environ: Mapping[str, str]) -> None:
        self._exit = telemetry.exit
        self._pid = os.getpid()
        # Unknown: Python tells nobody what ``sys.exit(main())`` makes of what main returns.
        self._code: int | None = None
        self._error: BaseException | None = None
        parent = _parent(environ)
        tracer = trace.get_tracer("c2cotel.script", version("c2cotel"))
        self._span: Span = tracer.start_span(name(), parent, SpanKind.INTERNAL)
        current, request_id = ensure_request_id(set_span_in_context(self._span, parent))
        self._span.set_attribute("c2c.request.id", request_id)
        otel_context.attach(current)
        self._excepthook = sys.excepthook
        self._sys_exit = sys.exit
        sys.excepthook = self._uncaught
        self._wrapper = self._exiting(sys.exit)
        sys.exit = self._wrapper

    def ends_with(self, code: int) -> None:
        """The exit status will be *code*, unless something comes in between."""
        self._code = code

    def __call__(self) -> None:
        """End the span, in the process that has begun it: those forked from it have their own."""
        if os.getpid() != self._pid:
            return
        if sys.exit is self._wrapper:
            sys.exit = self._sys_exit
        if sys.excepthook == self._uncaught:
            sys.excepthook = self._excepthook
        try:
            self._describe()
        finally:
            self._span.end()

    def _describe(self) -> None:
        span = self._span
        if self._exit.signalled:
            span.set_attribute(error_attributes.ERROR_TYPE, "SIGTERM")
            span.set_status(StatusCode.ERROR, "SIGTERM")
            return
        if self._code is not None:
            span.set_attribute(EXIT_CODE, self._code)
        if self._error is not None:
            span.set_attribute(error_attributes.ERROR_TYPE, type_name(self._error))
            fail(span, self._error)
        elif self._code:
            span.set_attribute(error_attributes.ERROR_TYPE, str(self._code))
            span.set_status(StatusCode.ERROR, f"exit status {self._code}")

    def _uncaught(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self._error = error
        self._code = _INTERRUPTED if isinstance(error, KeyboardInterrupt) else _UNCAUGHT
        self._excepthook(kind, error, trace)

    def _exiting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def sys_exit(status: Any = None, /) -> Any:
            # Somebody may still catch it: the last one counts.
            self._code = status_of(status)
            return original(status)

        return sys_exit


def name() -> str:
    """What the script is called; nothing of its arguments."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name:
        module: str = spec.name
        return module.removesuffix(".__main__")
    return Path(sys.argv[0] if sys.argv else "").name.removesuffix(".py") or "python"


def _parent(environ: Mapping[str, str]) -> Context:
    carrier = {key.lower(): environ[key] for key in _CARRIED if key in environ}
    return propagate.extract(carrier, Context())


def status_of(status: Any) -> int:
    """The exit status that Python makes of it."""
    if status is None:
        return 0
    return status & 0xFF if isinstance(status, int) else _UNCAUGHT
