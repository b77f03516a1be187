"""Runs checks: all at once, each with its deadline, none twice at a time.

A check runs in a thread of the engine's, of which there are as many as checks: one that hangs keeps
its own busy, and no other. Whoever asks for a check that is running waits for that run. A check
that is late has failed; it is left alone, told about, and not started again while it hangs.

Whoever waits keeps a thread of the application busy, and a check may be about that application. So
only few wait for the whole time; others, while these wait, are told what was found before, and if
that is nothing, they wait for half of it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import (
    Span,
    Status,
    StatusCode,
    TracerProvider,
    set_span_in_context,
)

from c2cotel.health_check.core import Check, Checks, Outcome, failed, passed, stack_of
from c2cotel.health_check.metrics import Numbers
from c2cotel.metrics.directory import at_fork
from c2cotel.pool import DaemonPool
from c2cotel_instrumentation.context import without_tracing
from c2cotel_instrumentation.errors import fail

LOGGER = logging.getLogger(__name__)

Subject: TypeAlias = Callable[[], AbstractContextManager[Any]]

MOST_WAITING: Final = 2
"""How many wait as long as it takes; the others have less patience."""

_PATIENCE: Final = 0.1
# Of the time of a check that nothing is known of. The other half is enough for the application's
# answer to a check that could not be given a thread before.
_PATIENCE_WITHOUT_NEWS: Final = 0.5
_LATELY: Final = 60.0


class _Run:
    """One check being run."""

    def __init__(self, check: Check, subject: Subject, *, traced: bool) -> None:
        self.check = check
        self.subject = subject
        self.traced = traced
        self.context = otel_context.get_current()
        self.began = time.monotonic()
        self.began_ns = time.time_ns()
        self.due = self.began + check.timeout
        self.done = threading.Event()
        self.outcome: Outcome | None = None
        self.thread: int | None = None
        self.is_late = False

    def ended(self, **part: Any) -> Outcome:
        now = time.monotonic()
        return Outcome(
            self.check, timing=round(now - self.began, 6), ended=now, at=time.time(), **part
        )

    def late(self) -> Outcome:
        """It has failed, for whoever does not wait any longer."""
        now = time.monotonic()
        message = f"No result{' yet,' if now < self.due else ''} after {now - self.began:.1f} s"
        return self.ended(ok=False, message=message, private=message, stack=stack_of(self.thread))


class Engine:
    """Runs the *checks*.

    Args:
        checks: All there are; more may be added later.
        deadline: Seconds that :meth:`run` takes at most.
        cache: Seconds that an outcome is told again before its check is run again.
        tracer_provider: Instead of the global one; so is *meter_provider*.
    """

    def __init__(
        self,
        checks: Checks,
        *,
        deadline: float,
        cache: float = 0.0,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._checks = checks
        self._deadline = deadline
        self._cache = cache
        self._tracer = trace.get_tracer("c2cotel.health_check", tracer_provider=tracer_provider)
        self._meter_provider = meter_provider
        self._reset()
        at_fork(self._freeze, self._thaw, self._reset)

    def _reset(self) -> None:
        """In a forked child: what runs, runs in the parent."""
        self._lock = threading.Lock()
        self._frozen = False
        self._running: dict[str, _Run] = {}
        self._last: dict[str, Outcome] = {}
        self._waiting = 0
        self._threads = 0
        self._pool: DaemonPool | None = None

    def _freeze(self) -> None:
        self._frozen = self._lock.acquire(timeout=1.0)

    def _thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._lock.release()

    def run(
        self, checks: Iterable[Check], subject: Subject, *, traced: bool = False
    ) -> list[Outcome]:
        """What comes of *checks*, in their order, before the deadline.

        Each check that is not running already is given what *subject* makes for it, in its thread.
        With *traced* it gets a span; else only a check that fails has one.
        """
        until = time.monotonic() + self._deadline
        with self._lock:
            self._waiting += 1
            crowded = self._waiting > MOST_WAITING
        try:
            begun = [self._begin(check, subject, traced=traced) for check in checks]
            return [
                run if isinstance(run, Outcome) else self._wait(run, until, crowded=crowded)
                for run in begun
            ]
        finally:
            with self._lock:
                self._waiting -= 1

    def _begin(self, check: Check, subject: Subject, *, traced: bool) -> Outcome | _Run:
        with self._lock:
            last = self._last.get(check.name)
            if last is not None and time.monotonic() - last.ended < self._cache:
                return last
            if (running := self._running.get(check.name)) is not None:
                return running
            run = self._running[check.name] = _Run(check, subject, traced=traced)
            pool = self._enough_threads()
        if not pool.submit(self._work, run):
            error = RuntimeError("No thread is to be had for it")
            self._finish(run, run.ended(**failed(error)), error)
        return run

    def _enough_threads(self) -> DaemonPool:
        if self._pool is None or self._threads < len(self._checks):
            self._threads = max(1, len(self._checks))
            self._pool = DaemonPool(self._threads, self._threads, "c2cotel-health")
        return self._pool

    def _wait(self, run: _Run, until: float, *, crowded: bool) -> Outcome:
        until = min(run.due, until)
        last = self._found_lately(run.check) if crowded else None
        if crowded:
            soon = time.monotonic() + _PATIENCE
            if last is None:
                soon = max(soon, run.began + run.check.timeout * _PATIENCE_WITHOUT_NEWS)
            until = min(until, soon)
        if not run.done.wait(max(0.0, until - time.monotonic())) and last is not None:
            return last
        return run.outcome or self._late(run)

    def _found_lately(self, check: Check) -> Outcome | None:
        last = self._last.get(check.name)
        return last if last is not None and time.monotonic() - last.ended < _LATELY else None

    # In the thread of a check

    def _work(self, run: _Run) -> None:
        run.thread = threading.get_ident()
        span = self._span(run) if run.traced else None
        if span is not None:
            context = set_span_in_context(span, run.context)
        else:
            context = without_tracing(run.context)
        token = otel_context.attach(context)
        error: BaseException | None = None
        try:
            with run.subject() as argument:
                part = passed(run.check.run(argument))
        # Also sys.exit: it ends nothing here, and who asks has to hear of it.
        except BaseException as raised:  # noqa: BLE001 - see above
            error, part = raised, failed(raised)
        finally:
            otel_context.detach(token)
        self._finish(run, run.ended(**part), error, span)

    def _finish(
        self,
        run: _Run,
        outcome: Outcome,
        error: BaseException | None,
        span: Span | None = None,
    ) -> None:
        with self._lock:
            late = run.is_late or outcome.ended > run.due
            told = run.is_late
            run.is_late = late
            if late:
                message = f"No result within {run.check.timeout:g} s, but after {outcome.timing} s"
                outcome = replace(
                    outcome,
                    ok=False,
                    message=message,
                    private=f"{message}. {outcome.private}".removesuffix(". "),
                )
            before = self._last.get(run.check.name)
            self._last[run.check.name] = run.outcome = outcome
            if self._running.get(run.check.name) is run:
                del self._running[run.check.name]
        try:
            if not told:
                self._tell(run, outcome, before, error, span)
            elif span is not None:
                _end(span, outcome, error)
            self._numbers.duration(run.check.name, outcome.timing)
        finally:
            # Not before: who has got the answer finds the metrics to agree.
            run.done.set()

    # What becomes of it

    def _late(self, run: _Run) -> Outcome:
        """*run* has not ended in time, for its caller at the least."""
        with self._lock:
            if run.outcome is not None:
                return run.outcome
            outcome = run.late()
            first = outcome.ended >= run.due and not run.is_late
            if first:
                run.is_late = True
            before = self._last.get(run.check.name)
            if run.is_late:
                self._last[run.check.name] = outcome
        if first:
            self._tell(run, outcome, before, None, None)
            if run.check.give_up is not None and run.outcome is None:
                try:
                    run.check.give_up()
                except Exception:
                    LOGGER.exception("The health check %s cannot be given up.", run.check.name)
        return outcome

    def _tell(
        self,
        run: _Run,
        outcome: Outcome,
        before: Outcome | None,
        error: BaseException | None,
        span: Span | None,
    ) -> None:
        """In the metrics; in the log, if it is another than before; in a span, if it failed."""
        name = run.check.name
        self._numbers.status(name, ok=outcome.ok)
        if span is not None or not outcome.ok:
            _end(span or self._span(run), outcome, error)
        if not outcome.ok and (before is None or before.ok):
            LOGGER.warning(
                "The health check %s fails: %s", name, outcome.private, exc_info=error or None
            )
        elif outcome.ok and before is not None and not before.ok:
            LOGGER.warning("The health check %s passes again.", name)

    @cached_property
    def _numbers(self) -> Numbers:
        return Numbers(self._meter_provider)

    def _span(self, run: _Run) -> Span:
        """One for *run*, below the request that asked for it, from its beginning."""
        return self._tracer.start_span(
            f"health_check {run.check.name}",
            run.context,
            attributes={"c2c.check.name": run.check.name},
            start_time=run.began_ns,
        )


def _end(span: Span, outcome: Outcome, error: BaseException | None) -> None:
    if error is not None:
        fail(span, error)
    elif not outcome.ok:
        span.set_status(Status(StatusCode.ERROR, outcome.private))
    span.end()
