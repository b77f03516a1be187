"""On a real PostgreSQL, with all there is: the last of many statements cost what the first did.

In two runs, as each takes seconds: constant comments and names of transactions; comments that
change with each statement, and the profiler, of which each statement is a new one.
"""

import contextlib
import gc
import itertools
import statistics
import sys
from time import perf_counter_ns

import psycopg
import pytest
import sqlalchemy as sa
from opentelemetry import context as otel_context

from c2cotel_instrumentation.context import with_request_id
from c2cotel_instrumentation.sql_profiler import Rules, SqlProfilerInstrumentor
from c2cotel_instrumentation.sql_tag import SqlTagInstrumentor

from .sqlalchemy_support import Telemetry, postgres_url, unwrapped

__all__ = ["postgres_url", "unwrapped"]  # fixtures

# More than what caches hold.
WARM_UP = 600
COUNTED = 10_000
COMPARED = 1000
IN_A_REQUEST = 100
LAST = (WARM_UP + COUNTED) // IN_A_REQUEST + 1
# One that is kept of each statement would be more.
FEW_BLOCKS = COUNTED / 2
# PostgreSQL's name of the connection, and what the statement has come with.
SEEN = "SELECT application_name, query FROM pg_stat_activity WHERE pid = pg_backend_pid()"


class Heard:
    """An audience that counts, and keeps nothing."""

    executions = plans = 0

    def executed(self, _execution):
        self.executions += 1

    def planned(self, _execution, _plan):
        self.plans += 1


@pytest.fixture(autouse=True)
def left_alone(unwrapped):  # noqa: ARG001 - that looks whether something is left, after this
    yield
    for instrumentor in (SqlProfilerInstrumentor(), SqlTagInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


@pytest.fixture
def tracer():
    """Of spans that are sampled, and go nowhere."""
    telemetry = Telemetry()
    telemetry.exporter.shutdown()
    telemetry.instrument(early=True)
    return telemetry.tracer_provider.get_tracer("test")


@pytest.fixture
def engine(postgres_url):
    engine = sa.create_engine(postgres_url, connect_args={"application_name": "own"})
    yield engine
    engine.dispose()


@pytest.fixture
def bare(postgres_url):
    """A connection of the driver alone, to know how fast the machine is meanwhile."""
    url = sa.make_url(postgres_url).set(drivername="postgresql").render_as_string()
    with psycopg.connect(url) as connection:
        yield connection


class Run:
    """Statements on one connection, whose texts are those of *texts*."""

    def __init__(self, engine, bare, tracer, texts):
        self._bare = bare
        self._tracer = tracer
        self._texts = iter(texts)
        self._requests = 0
        with engine.connect() as connection:
            self._ask(connection, WARM_UP)
            first, blocks = self._cost(connection), _blocks()
            self._ask(connection, COUNTED - 2 * COMPARED)
            last, self.more_blocks = self._cost(connection), _blocks() - blocks
            with self._request(connection):
                self.name, self.query = connection.exec_driver_sql(SEEN).one()
        self.slower = last / first

    def _cost(self, connection):
        """How many times the time of a bare statement one of these takes.

        Of both the fastest tenth: what else the machine did is not in it.
        """
        ours, bare = self._ask(connection, COMPARED, self._bare)
        return statistics.quantiles(ours, n=10)[0] / statistics.quantiles(bare, n=10)[0]

    def _ask(self, connection, count, *beside):
        """Nanoseconds of each of *count* statements, and of the same on the ones *beside*."""
        executing = [connection.exec_driver_sql, *(other.execute for other in beside)]
        taken = [[] for _ in executing]
        for _ in range(0, count, IN_A_REQUEST):
            with self._request(connection):
                for text in itertools.islice(self._texts, IN_A_REQUEST):
                    for execute, times in zip(executing, taken, strict=True):
                        began = perf_counter_ns()
                        execute(text)
                        times.append(perf_counter_ns() - began)
        return taken

    @contextlib.contextmanager
    def _request(self, connection):
        self._requests += 1
        token = otel_context.attach(with_request_id(f"request-{self._requests}"))
        try:
            with self._tracer.start_as_current_span("GET /"):
                yield
                connection.commit()
        finally:
            otel_context.detach(token)


def _blocks():
    """Of memory, of the interpreter's own: each small object is one."""
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.alone
def test_a_statement_with_a_comment_and_a_name_costs_the_same_after_ten_thousand(
    engine, bare, tracer
):
    SqlTagInstrumentor().instrument(tag="static", request_id=True, application="shop")
    run = Run(engine, bare, tracer, itertools.repeat("SELECT 1"))
    assert run.name == f"request-{LAST}"
    assert run.query == f"{SEEN} /*application='shop'*/"
    assert run.slower <= 1.5
    assert run.more_blocks < FEW_BLOCKS


@pytest.mark.alone
def test_a_new_statement_with_its_trace_costs_the_same_after_ten_thousand_that_are_profiled(
    engine, bare, tracer
):
    SqlTagInstrumentor().instrument(tag="traceparent", application="shop")
    profiler, heard = SqlProfilerInstrumentor(), Heard()
    profiler.instrument()
    profiler.profile(Rules(sample_rate=0.1), heard)
    run = Run(engine, bare, tracer, (f"SELECT 1 AS a{number}" for number in itertools.count()))
    assert run.name == "own"
    assert f"request_id='request-{LAST}',traceparent='00-" in run.query
    assert run.slower <= 1.5
    assert run.more_blocks < FEW_BLOCKS
    assert heard.executions >= WARM_UP + COUNTED
    assert heard.plans >= IN_A_REQUEST
