"""Statements of a request, without the request: ``sql_worker.py bare|c2cotel|contrib``.

Set up as :mod:`hello_worker`; a request here is its span, one connection of the pool and some
statements on it.
"""

import os
import sys
from typing import Any

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

    def call(times: int, sampled: bool) -> float:  # noqa: FBT001 - a question's parameter
        return cpu(lambda: _request(engine, times, sampled=sampled))

    def profile(times: int, sampled: bool) -> list[Any]:  # noqa: FBT001 - likewise
        return profile_of(lambda: _request(engine, times, sampled=sampled), times)

    answer(told, call=call, flush=lambda: cpu(flush), profile=profile)


def _request(engine: sa.Engine, statements: int, *, sampled: bool) -> None:
    parent = None if sampled else trace.set_span_in_context(NonRecordingSpan(_UNSAMPLED))
    token = None if parent is None else context.attach(parent)
    try:
        with trace.get_tracer("bench").start_as_current_span("GET /"):
            _ask(engine, statements)
    finally:
        if token is not None:
            context.detach(token)


def _ask(engine: sa.Engine, statements: int) -> None:
    with engine.connect() as connection:
        for number in range(statements):
            one = sa.select(_MESSAGES.c.text).where(_MESSAGES.c.id == number)
            connection.execute(one).all()


if __name__ == "__main__":
    main()
