"""Statements of a request, without the request: ``sql_worker.py bare|c2cotel|contrib``.

Set up as :mod:`hello_worker`; a request here is its span and one connection of the pool, from
``begin`` to ``end``, and all statements are on that.
"""

import os
import sys
from contextlib import ExitStack

import sqlalchemy as sa
from hello_worker import cpu, flush, profile_of, set_up_contrib
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from workers import answer, silence

_MESSAGES = sa.table("message", sa.column("id"), sa.column("text"))
# The caller does not sample: what is below is not recorded.
_UNSAMPLED = SpanContext(0x1234, 0x5678, is_remote=True, trace_flags=TraceFlags(0))


def main() -> None:
    told = silence()
    if sys.argv[1] == "contrib":
        set_up_contrib()
    engine = sa.create_engine(os.environ["SQLALCHEMY_URL"])

    request = _Request(engine)
    answer(
        told,
        begin=request.begin,
        call=lambda times: cpu(lambda: request.ask(times)),
        end=request.end,
        flush=lambda: cpu(flush),
        profile=lambda times: profile_of(lambda: request.ask(times), times),
    )


class _Request:
    """One after the other, on a connection of *engine*."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._stack = ExitStack()

    def begin(self, sampled: bool) -> None:  # noqa: FBT001 - a question's parameter
        if not sampled:
            above = trace.set_span_in_context(NonRecordingSpan(_UNSAMPLED))
            self._stack.callback(context.detach, context.attach(above))
        tracer = trace.get_tracer("bench")
        self._stack.enter_context(tracer.start_as_current_span("GET /"))
        self._connection = self._stack.enter_context(self._engine.connect())

    def ask(self, statements: int) -> None:
        for number in range(statements):
            one = sa.select(_MESSAGES.c.text).where(_MESSAGES.c.id == number)
            self._connection.execute(one).all()

    def end(self) -> None:
        self._stack.close()


if __name__ == "__main__":
    main()
