"""What is profiled, and the statements that took the most time in this process.

Of each statement, told from others by its fingerprint, there are counts and one plan. Of so many
statements that they do not fit, those that took the least are counted together as one. What a
process answers has 200 kB at most, in which those that took the most come first with all they have.
"""

import functools
import math
import threading
import time
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from c2cotel.broadcast.messages import Replies
from c2cotel.sql_profiler.fitting import fitted, size
from c2cotel_instrumentation.sql_profiler import Executed, Plan, Rules, SqlProfilerInstrumentor

KIND: Final = "sql_profiler"
CHANNEL: Final = "c2c_sql_profiler_statements"
MOST: Final = 200
"""Statements that a process keeps, at least; twice as many, until the next time that it sorts."""

_LONGEST_MINIMUM: Final = 86_400.0  # in seconds
_LONGEST_ROUTE: Final = 500
_LONGEST_TEXT: Final = 4000
_LONGEST_PLAN: Final = 16_000
_LONGEST_ENGINES: Final = 8
# As JSON: what all processes answer goes through Redis, each time that the page is looked at.
_LONGEST_ANSWER: Final = 200_000


def check(name: str, value: Any) -> dict[str, Any]:
    """The rules as the switch keeps them, complete.

    Raises:
        ValueError: one of them is not what it should be.
    """
    if name or not isinstance(value, dict):
        raise ValueError("expected the rules of the only profiler there is")
    known = {field.name for field in fields(Rules)}
    if unknown := sorted(set(value) - known):
        raise ValueError(f"{', '.join(unknown)}: expected {', '.join(sorted(known))}")
    rules = Rules(**value)
    _check_number("sample_rate", rules.sample_rate, 1.0, "above 0 and up to 1, for example 0.1")
    if rules.sample_rate == 0:
        raise ValueError("sample_rate=0: to switch the profiler off, enable=0")
    _check_number("min_duration", rules.min_duration, _LONGEST_MINIMUM, "from 0 to 86400")
    flags = ("analyze", "values")
    wrong = [flag for flag in flags if not isinstance(getattr(rules, flag), bool)]
    if wrong:
        raise ValueError(f"{wrong[0]}: expected true or false")
    route = rules.route
    if not isinstance(route, str) or len(route) > _LONGEST_ROUTE or not route.isprintable():
        raise ValueError("route: expected the pattern of a route, for example /api/hello or /api/*")
    return asdict(rules)


def _check_number(name: str, value: Any, most: float, expected: str) -> None:
    # True is a number for Python.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= most:
        raise ValueError(f"{name}={value!r}: expected a number {expected}")


def checked_number(name: str, text: str) -> float:
    """*text* as a number, of which :func:`check` says whether it will do.

    Raises:
        ValueError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name}={text[:80]!r}: expected a number")
    return number


@dataclass
class Statement:
    """What has been seen of one statement; *duration* and the like are seconds.

    Attributes:
        fingerprint: Tells it from others; empty for all those that did not fit.
        engines: Names of the engines that executed it.
        errors: How many of the *calls* failed.
        plan: How it was executed last that this is known, as a text.
        plan_source: ``auto_explain`` for a real execution, ``explain`` for what would be,
            ``explain_analyze`` for a second execution.
        trace_id: That of the slowest call, empty without a trace.
        last: When it was called last, in seconds since 1970.
    """

    fingerprint: str
    text: str
    engines: tuple[str, ...] = ()
    calls: int = 0
    errors: int = 0
    total: float = 0.0
    max: float = 0.0
    plan: str = ""
    plan_source: str = ""
    plan_at: float = 0.0
    trace_id: str = ""
    last: float = 0.0

    @property
    def mean(self) -> float:
        return self.total / self.calls if self.calls else 0.0

    def merge(self, other: "Statement") -> None:
        """Add what has been seen of *other*, the same elsewhere."""
        if other.max >= self.max:
            self.max, self.trace_id = other.max, other.trace_id or self.trace_id
        if other.plan_at > self.plan_at:
            self.plan, self.plan_source = other.plan, other.plan_source
            self.plan_at = other.plan_at
        # One of them may be cut.
        self.text = max(self.text, other.text, key=len)
        self.engines = tuple(sorted({*self.engines, *other.engines}))[:_LONGEST_ENGINES]
        self.calls += other.calls
        self.errors += other.errors
        self.total += other.total
        self.last = max(self.last, other.last)


class Statements:
    """Those executed in this process; an audience of the instrumentor."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._found: dict[str, Statement] = {}
        self._others = Statement("", "")
        self._dropped = 0
        self._lock = threading.Lock()

    def executed(self, execution: Executed) -> None:
        """Count it."""
        seen = Statement(
            fingerprint=execution.fingerprint.digest,
            text=execution.fingerprint.text[:_LONGEST_TEXT],
            engines=(execution.engine,) if execution.engine else (),
            calls=1,
            errors=0 if execution.error is None else 1,
            total=execution.duration,
            max=execution.duration,
            trace_id=f"{execution.trace_id:032x}" if execution.trace_id else "",
            last=time.time(),
        )
        with self._lock:
            known = self._found.get(seen.fingerprint)
            if known is not None:
                known.merge(seen)
                return
            self._found[seen.fingerprint] = seen
            if len(self._found) > 2 * self._most:
                self._shrink()

    def planned(self, execution: Executed, plan: Plan) -> None:
        """Keep its plan, if the statement is still known."""
        text = plan.text()
        if len(text) > _LONGEST_PLAN:
            text = f"{text[:_LONGEST_PLAN]}\n…"
        with self._lock:
            known = self._found.get(execution.fingerprint.digest)
            if known is not None:
                known.plan, known.plan_source = text, plan.source
                known.plan_at = time.time()

    def top(self, limit: int) -> dict[str, Any]:
        """The *limit* statements that took the most time, and how many others.

        Its JSON has 200 kB at most: of those that took less time, texts and plans are cut.
        """
        with self._lock:
            found = sorted(self._found.values(), key=_time, reverse=True)
            others = replace(self._others)
            for statement in found[limit:]:
                others.merge(statement)
            rest = len(found[limit:]) + self._dropped
            told = [asdict(statement) for statement in found[:limit]]
        nameless = {"text": "", "plan": "", "plan_source": "", "trace_id": ""}
        answer = {"others": {**asdict(others), **nameless}, "other_statements": rest}
        return {**answer, "statements": fitted(told, _LONGEST_ANSWER - size(answer))}

    def clear(self) -> None:
        with self._lock:
            self._found.clear()
            self._others = Statement("", "")
            self._dropped = 0

    def _shrink(self) -> None:
        found = sorted(self._found.values(), key=_time, reverse=True)
        for statement in found[self._most :]:
            self._others.merge(statement)
        self._dropped += len(found) - self._most
        self._found = {each.fingerprint: each for each in found[: self._most]}


def _time(statement: Statement) -> float:
    return statement.total


class Profiler:
    """That of this process: its instrumentor, told what the switch says."""

    def __init__(self, instrumentor: SqlProfilerInstrumentor) -> None:
        self._instrumentor = instrumentor
        self.statements = Statements()

    @property
    def available(self) -> bool:
        """Whether it can be switched on in this process."""
        return bool(self._instrumentor.is_instrumented_by_opentelemetry)

    def apply(self, _: str, value: dict[str, Any] | None) -> None:
        """Profile by the rules in *value*, with an empty list; None ends it, and the list stays."""
        if value is None:
            self._instrumentor.profile(None)
            return
        self.statements.clear()
        self._instrumentor.profile(Rules(**value), self.statements)

    def told(self, limit: int = 50) -> dict[str, Any]:
        """What this process answers when all are asked."""
        return self.statements.top(min(max(int(limit), 1), MOST))


@functools.cache
def profiler() -> Profiler:
    """The one of this process."""
    return Profiler(SqlProfilerInstrumentor())


@dataclass(frozen=True)
class Report:
    """What all processes have seen together.

    Attributes:
        statements: Those that took the most time, that one first.
        others: All that are not among them, as one; *other_statements* are how many they are: in
            several processes, a statement may be counted more than once.
        processes: How many have answered; *silent* are those that have not.
    """

    statements: list[Statement]
    others: Statement
    other_statements: int
    processes: int
    silent: tuple[str, ...]

    @property
    def total(self) -> float:
        return sum(each.total for each in self.statements) + self.others.total


def report(replies: Replies, limit: int) -> Report:
    """What the processes have answered, the same statements put together."""
    found: dict[str, Statement] = {}
    others, count, heard = Statement("", ""), 0, 0
    for answer in replies.answers:
        # Of another version, or an error.
        if not isinstance(answer, dict) or "statements" not in answer:
            continue
        heard += 1
        count += int(answer.get("other_statements", 0))
        others.merge(_statement(answer.get("others", {})))
        for statement in map(_statement, answer["statements"]):
            if (known := found.get(statement.fingerprint)) is not None:
                known.merge(statement)
            else:
                found[statement.fingerprint] = statement
    ranked = sorted(found.values(), key=_time, reverse=True)
    for statement in ranked[limit:]:
        others.merge(statement)
    silent = tuple(str(process) for process in replies.silent)
    return Report(ranked[:limit], others, count + len(ranked[limit:]), heard, silent)


_FIELDS: Final = {field.name for field in fields(Statement)}


def _statement(told: dict[str, Any]) -> Statement:
    known = {name: value for name, value in told.items() if name in _FIELDS}
    engines = tuple(known.pop("engines", ()))
    return Statement(**{"fingerprint": "", "text": "", **known, "engines": engines})
