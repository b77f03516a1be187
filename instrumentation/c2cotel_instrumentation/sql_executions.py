"""One execution of a statement, and what the log has of it.

===========  ======================================================================================
statement    with ``?`` for each literal, on one line
parameters   the types of those that the driver got, such as ``{'id_1': int, 'name_1': str[5]}``
plan         as EXPLAIN writes it, or why there is none
===========  ======================================================================================

With *values*, the first two are what the application sent.
"""

import logging
from dataclasses import dataclass
from typing import Any, Final

from c2cotel_instrumentation import sql
from c2cotel_instrumentation.sql_explaining import Answer
from c2cotel_instrumentation.sql_plans import Fingerprint, Plan

LOGGER: Final = logging.getLogger("c2cotel.sql_profiler")

_LONGEST_PARAMETERS: Final = 2000


@dataclass
class Executed:
    """One execution of a statement.

    Attributes:
        operation: Such as ``SELECT``; None if the statement cannot be read.
        duration: Seconds, as the application waited.
        error: What it failed with: the name of a class.
        trace_id, span_id: 0 outside of a trace. The span is the statement's, if it has one.
    """

    fingerprint: Fingerprint
    operation: str | None
    engine: str | None
    route: str | None
    statement: str
    parameters: str
    duration: float = 0.0
    error: str | None = None
    trace_id: int = 0
    span_id: int = 0


def log(execution: Executed, answer: Answer, *, values: bool) -> None:
    """Write, at INFO, how it was executed."""
    if not LOGGER.isEnabledFor(logging.INFO):
        return
    plan = answer.text() if isinstance(answer, Plan) else f"none: {answer}"
    statement = execution.statement[: sql.LONGEST] if values else execution.fingerprint.text
    LOGGER.info(
        "statement:\n%s\nparameters: %s\nduration: %.6f s\nplan:\n%s",
        _indented(statement),
        execution.parameters,
        execution.duration,
        _indented(plan),
        extra={
            "statement": statement,
            "parameters": execution.parameters,
            "plan": plan,
            "duration": execution.duration,
            "fingerprint": execution.fingerprint.digest,
            "route": execution.route,
        },
    )


def shown(sets: Any, *, values: bool) -> str:
    """The parameters of a statement as :func:`log` has them, of several *sets* the first."""
    if not LOGGER.isEnabledFor(logging.INFO):
        return ""
    first = sets[0] if sets else None
    text = repr(first if values else _kinds(first))
    if len(text) > _LONGEST_PARAMETERS:
        text = f"{text[:_LONGEST_PARAMETERS]}…"
    return text if len(sets or ()) <= 1 else f"{text} and {len(sets) - 1} more"


class _Kind:
    """The type of a value, and how long it is."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        value = self._value
        if value is None:
            return "None"
        length = f"[{len(value)}]" if isinstance(value, str | bytes | list | tuple) else ""
        return f"{type(value).__name__}{length}"


def _kinds(parameters: Any) -> Any:
    if isinstance(parameters, dict):
        return {name: _Kind(value) for name, value in parameters.items()}
    if isinstance(parameters, list | tuple):
        return tuple(_Kind(value) for value in parameters)
    return _Kind(parameters)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
