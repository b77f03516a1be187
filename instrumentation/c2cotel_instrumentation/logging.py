"""Put the request, its trace and its span on every log record.

================  =======================================  =====================
attribute         value                                    outside of a request
================  =======================================  =====================
``request_id``    the id that the client got               ``""``
``trace_id``      32 hexadecimal digits                    ``""``
``span_id``       16 hexadecimal digits                    ``""``
================  =======================================  =====================

All three are on each record that a logger makes, whatever the logging configuration, so that
``%(request_id)s`` works in any format. What the application gives in ``extra`` stays.

It is ``Logger.makeRecord`` that is wrapped, not the record factory: names that a factory has
set are forbidden in ``extra``, and ``extra={"request_id": …}`` would become a KeyError. So a
``LogRecord`` class or a factory of the application, set before or after, keep working. Records
that no logger has made (``logging.makeLogRecord``, a ``Logger`` class with a ``makeRecord`` of
its own) are left alone.
"""

from collections.abc import Callable, Collection
from logging import Logger, LogRecord
from typing import Any

from opentelemetry.context import get_current
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined] # no __all__
    BaseInstrumentor,
)
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    SpanContext,
    format_span_id,
    format_trace_id,
    get_current_span,
)

from c2cotel_instrumentation.context import current_request_id


class LoggingInstrumentor(BaseInstrumentor):  # type: ignore[misc] # the base is untyped
    """Add ``request_id``, ``trace_id`` and ``span_id`` to every log record."""

    _active = False
    _original: Callable[..., LogRecord] | None = None
    _wrapper: Callable[..., LogRecord] | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        return ()

    def _instrument(self, **_: Any) -> None:
        self._active = True
        if self._wrapper is None:
            self._original = Logger.makeRecord
            self._wrapper = _tagging(self, self._original)
            Logger.makeRecord = self._wrapper  # type: ignore[method-assign] # what we are here for

    def _uninstrument(self, **_: Any) -> None:
        self._active = False
        # Somebody who wrapped our wrapper still calls it: it stays, and adds nothing.
        if self._original is not None and Logger.makeRecord is self._wrapper:
            Logger.makeRecord = self._original  # type: ignore[method-assign] # as above
            self._original = self._wrapper = None


def _tagging(
    instrumentor: LoggingInstrumentor, make: Callable[..., LogRecord]
) -> Callable[..., LogRecord]:
    # The ids as text, of the span that logged last: most lines of a request have the same one.
    last: tuple[SpanContext, str, str] = (INVALID_SPAN_CONTEXT, "", "")

    def make_record(*args: Any, **kwargs: Any) -> LogRecord:
        nonlocal last
        record = make(*args, **kwargs)
        if instrumentor._active:  # noqa: SLF001 - same module
            context = get_current()
            span_context = get_current_span(context).get_span_context()
            ids = last  # read once: another thread may replace it meanwhile
            if ids[0] is not span_context:
                ids = last = _as_text(span_context)
            attributes = record.__dict__
            attributes.setdefault("request_id", current_request_id(context) or "")
            attributes.setdefault("trace_id", ids[1])
            attributes.setdefault("span_id", ids[2])
        return record

    return make_record


def _as_text(span: SpanContext) -> tuple[SpanContext, str, str]:
    if not span.is_valid:
        return span, "", ""
    return span, format_trace_id(span.trace_id), format_span_id(span.span_id)
