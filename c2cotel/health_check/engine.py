"""Runs checks: all at once, each with its deadline, none twice at a time.

A check runs in a thread of the engine's, of which there are as many as checks: one that hangs keeps
its own busy, and no other. Whoever asks for a check that is running waits for that run. A check
that is late has failed; it is left alone, told about, and not started again while it hangs.

Whoever waits keeps a thread of the application busy. So only few wait if what was found before is
good and fresh: others, while these wait, are told that. If it was bad, is old or unknown, they wait
too: a service must not seem to fail because many ask. Only a check that may ask this application
itself would find no thread in the end; of such a one they wait for half of the time.
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

from c2cotel.forking import at_fork
from c2cotel.health_check.core import Check, Checks, Outcome, failed, nameless, passed, stack_of
from c2cotel.health_check.metrics import Numbers
from c2cotel.pool import DaemonPool
from c2cotel_instrumentation.context import without_tracing
from c2cotel_instrumentation.errors import fail

LOGGER = logging.getLogger(__name__)

Subject: TypeAlias = Callable[[], AbstractContextManager[Any]]

MOST_WAITING: Final = 2
"""How many wait as long as it takes; others may be told what was found before."""

_PATIENCE: Final = 0.1
# Of the time of a check that may ask this application: the other half is enough for its answer to a
# check that could not be given a thread before.
_PATIENCE_WITH_OURSELVES: Final = 0.5
# Seconds before the beginning of the run that is waited for.
_LATELY: Final = 5.0


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
        last = self._good_news(run) if crowded else None
        if last is not None:
            until = min(until, time.monotonic() + _PATIENCE)
        elif crowded and run.check.may_ask_itself:
            half = run.began + run.check.timeout * _PATIENCE_WITH_OURSELVES
            until = min(until, max(half, time.monotonic() + _PATIENCE))
        if not run.done.wait(max(0.0, until - time.monotonic())) and last is not None:
            return last
        return run.outcome or self._late(run)

    def _good_news(self, run: _Run) -> Outcome | None:
        """What was found shortly before *run*, if it was good and *run* is not late."""
        last = self._last.get(run.check.name)
        if last is None or not last.ok or time.monotonic() >= run.due:
            return None
        return last if run.began - last.ended <= _LATELY else None

    # In the thread of a check

    def _work(self, run: _Run) -> None:
        run.thread = threading.get_ident()
        span = self._span(run) if run.traced else None
        error: BaseException | None = None
        part = nameless("Nothing is known of it")
        try:
            part = self._found(run, span)
        # Also sys.exit: it ends nothing here, and who asks has to hear of it.
        except BaseException as raised:  # noqa: BLE001 - see above
            error, part = raised, failed(raised)
        finally:
            # In any case: the check is not started again before.
            self._finish(run, run.ended(**part), error, span)

    def _found(self, run: _Run, span: Span | None) -> dict[str, Any]:
        if span is not None:
            context = set_span_in_context(span, run.context)
        else:
            context = without_tracing(run.context)
        token = otel_context.attach(context)
        try:
            with run.subject() as argument:
                return passed(run.check.run(argument))
        finally:
            otel_context.detach(token)

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
                self._end(run, span, outcome, error)
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
            self._give_up(run)
        return outcome

    def _give_up(self, run: _Run) -> None:
        if run.check.give_up is None:
            return
        # With the lock, no run ends: it is not the next one that is broken.
        with self._lock:
            if run.outcome is not None:
                return
            try:
                run.check.give_up()
            except Exception:
                LOGGER.exception("The health check %s cannot be given up.", run.check.name)

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
            self._end(run, span or self._span(run), outcome, error)
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
        """One for *run*, below the request that asked for it, from its beginning.

        What goes wrong with spans does not make the service unhealthy: then there is none.
        """
        try:
            return self._tracer.start_span(
                f"health_check {run.check.name}",
                run.context,
                attributes={"c2c.check.name": run.check.name},
                start_time=run.began_ns,
            )
        except Exception:
            LOGGER.exception("The health check %s has no span.", run.check.name)
            return trace.INVALID_SPAN

    def _end(self, run: _Run, span: Span, outcome: Outcome, error: BaseException | None) -> None:
        try:
            if error is not None:
                fail(span, error)
            elif not outcome.ok:
                span.set_status(Status(StatusCode.ERROR, outcome.private))
            span.end()
        except Exception:
            LOGGER.exception("The span of the health check %s cannot be ended.", run.check.name)
