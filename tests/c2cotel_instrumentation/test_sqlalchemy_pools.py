import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
import sqlalchemy as sa
from opentelemetry.metrics import NoOpHistogram, NoOpMeter, NoOpMeterProvider
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import (
    AssertionPool,
    NullPool,
    QueuePool,
    SingletonThreadPool,
    StaticPool,
)

from c2cotel_acceptance.utils import retry_timeout
from c2cotel_instrumentation.sqlalchemy import SQLAlchemyInstrumentor

from .sqlalchemy_support import postgres_url, telemetry, unwrapped

__all__ = ["postgres_url", "telemetry", "unwrapped"]  # fixtures

PREFIX = "db.client.connection."
POOL = f"{PREFIX}pool.name"
STATE = f"{PREFIX}state"


class Reading:
    """What the pools say at one moment, by the words that tell its series apart."""

    def __init__(self, telemetry):
        data = telemetry.reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        self.points = {
            metric.name.removeprefix(PREFIX): metric.data.data_points
            for metric in metrics
            if metric.name.startswith(PREFIX)
        }

    def number(self, name, **more):
        return sum(point.value for point in self._find(name, more))

    def times(self, name, error=None):
        """How many, and how many seconds in all."""
        points = [
            point for point in self._find(name, {}) if point.attributes.get("error.type") == error
        ]
        return sum(point.count for point in points), sum(point.sum for point in points)

    def names(self, name="max"):
        return {point.attributes[POOL] for point in self.points.get(name, ())}

    @property
    def state(self):
        return self.number("count", **{STATE: "idle"}), self.number("count", **{STATE: "used"})

    def _find(self, name, more):
        return [
            point
            for point in self.points.get(name, ())
            if more.items() <= dict(point.attributes).items()
        ]


@pytest.fixture
def make(tmp_path):
    """``make(pool_size=2)``: an engine on a file, with a pool as for any server."""
    made = []

    def make(poolclass=QueuePool, **options):
        url = f"sqlite:///{tmp_path}/app.db"
        connect_args = {"check_same_thread": False}
        engine = sa.create_engine(url, poolclass=poolclass, connect_args=connect_args, **options)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.dispose()


def test_six_threads_wait_for_a_pool_of_two(make, telemetry):
    telemetry.instrument()
    engine = make(pool_size=2, max_overflow=0, pool_timeout=1.0)
    waited, gave_up, used = [], [], []
    done = threading.Event()

    def work():
        began = time.perf_counter()
        try:
            connection = engine.connect()
        except sa.exc.TimeoutError:
            gave_up.append(time.perf_counter() - began)
            return
        got = time.perf_counter()
        waited.append(got - began)
        done.wait(30)
        connection.close()
        used.append(time.perf_counter() - got)

    held = [engine.connect(), engine.connect()]
    began = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    retry_timeout(lambda: Reading(telemetry).number("pending_requests") == 6, 5, 0.001)
    full = Reading(telemetry)
    assert (full.state, full.number("timeouts")) == ((0, 2), 0)
    for connection in held:
        connection.close()
        used.append(time.perf_counter() - began)
    retry_timeout(lambda: len(gave_up) == 4, 5, 0.001)
    retry_timeout(lambda: Reading(telemetry).number("pending_requests") == 0, 5, 0.001)
    done.set()
    for thread in threads:
        thread.join()

    reading = Reading(telemetry)
    assert reading.number("timeouts") == 4
    assert reading.times("wait_time", "sqlalchemy.exc.TimeoutError") == (
        4,
        pytest.approx(sum(gave_up), abs=0.2),
    )
    # The two of the beginning did not wait.
    assert reading.times("wait_time") == (4, pytest.approx(sum(waited), abs=0.2))
    assert reading.times("use_time") == (4, pytest.approx(sum(used), abs=0.2))
    assert reading.state == (2, 0)


def test_what_a_pool_has_and_may_have(make, telemetry):
    telemetry.instrument()
    engine = make(pool_size=2, max_overflow=3)
    engine.c2c_name = "sqlalchemy"
    connections = [engine.connect() for _ in range(3)]
    reading = Reading(telemetry)
    assert reading.state == (0, 3)
    assert (reading.number("max"), reading.number("idle.max")) == (5, 2)
    (point,) = reading.points["max"]
    assert dict(point.attributes) == {
        POOL: f"sqlite/{engine.url.database}",
        "c2c.engine": "sqlalchemy",
    }
    for connection in connections:
        connection.close()
    # The pool keeps two.
    assert Reading(telemetry).state == (2, 0)
    assert Reading(telemetry).times("create_time")[0] == 3


def test_a_pool_without_limit_has_no_maximum(make, telemetry):
    telemetry.instrument()
    for options in ({"pool_size": 0}, {"pool_size": 1, "max_overflow": -1}):
        with make(**options).connect():
            assert "max" not in Reading(telemetry).points


@pytest.mark.parametrize(
    ("poolclass", "used", "returned", "limits"),
    [
        (NullPool, (0, 1), (0, 0), (None, 0)),
        (StaticPool, (0, 1), (1, 0), (1, 1)),
        (SingletonThreadPool, (0, 1), (1, 0), (None, 5)),
        (AssertionPool, (0, 1), (1, 0), (1, 1)),
    ],
)
def test_pools_of_other_kinds(make, telemetry, poolclass, used, returned, limits):
    telemetry.instrument()
    engine = make(poolclass)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        assert Reading(telemetry).state == used
    reading = Reading(telemetry)
    assert reading.state == returned
    for name, expected in zip(("max", "idle.max"), limits, strict=True):
        if expected is None:
            assert name not in reading.points
        else:
            assert reading.number(name) == expected
    assert reading.times("wait_time")[0] == 1
    assert reading.times("use_time")[0] == 1


def test_a_connection_that_two_share_is_used_once(make, telemetry):
    telemetry.instrument()
    engine = make(StaticPool)
    with engine.connect(), engine.connect():
        assert Reading(telemetry).state == (0, 1)
    assert Reading(telemetry).state == (1, 0)


def test_an_engine_made_before_is_measured_from_its_next_connection_on(make, telemetry):
    engine = make(pool_size=2)
    early = engine.connect()
    telemetry.instrument()
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        assert Reading(telemetry).state == (0, 2)
    early.close()
    assert Reading(telemetry).state == (2, 0)
    assert Reading(telemetry).times("use_time")[0] == 1
    assert telemetry.statements == ["SELECT"]


def test_a_pool_is_called_as_the_application_calls_it(make, telemetry):
    telemetry.instrument()
    with make(pool_logging_name="of mine").connect():
        assert Reading(telemetry).names() == {"of mine"}


def test_pools_that_cannot_be_told_apart_are_one(make, telemetry):
    telemetry.instrument()
    with make(pool_size=2).connect(), make(pool_size=3, max_overflow=0).connect():
        reading = Reading(telemetry)
    assert reading.state == (0, 2)
    assert reading.number("max") == 2 + 10 + 3
    assert len(reading.points["max"]) == 1


def test_engines_of_execution_options_have_one_pool(make, telemetry):
    telemetry.instrument()
    engine = make(pool_size=2)
    with (
        engine.connect(),
        engine.execution_options(isolation_level="AUTOCOMMIT").connect(),
    ):
        reading = Reading(telemetry)
    assert (reading.state, reading.number("max")) == ((0, 2), 12)


def test_a_new_pool_takes_the_place_of_one_that_is_disposed_of(make, telemetry):
    telemetry.instrument()
    engine = make(pool_size=2)
    old = engine.connect()
    engine.dispose()
    with engine.connect():
        reading = Reading(telemetry)
    assert (reading.state, reading.number("max")) == ((0, 1), 12)
    # Else it would lie in a pool that nobody has.
    old.detach()
    old.close()
    reading = Reading(telemetry)
    assert (reading.state, reading.times("use_time")[0]) == ((1, 0), 2)


def test_a_pool_that_is_gone_has_no_numbers(telemetry):
    telemetry.instrument()
    engine = sa.create_engine("sqlite://", poolclass=QueuePool)
    engine.connect().close()
    assert "max" in Reading(telemetry).points
    engine.dispose()
    del engine
    assert "max" not in Reading(telemetry).points


def test_engines_made_for_each_request_do_not_make_series_without_end(tmp_path, telemetry):
    telemetry.instrument()
    engines = [
        sa.create_engine(f"sqlite:///{tmp_path}/{number}.db", poolclass=NullPool)
        for number in range(120)
    ]
    for engine in engines:
        engine.connect().close()
    names = Counter(point.attributes[POOL] for point in Reading(telemetry).points["wait_time"])
    assert len(names) == 101
    assert "_OTHER" in names


def test_a_database_that_is_not_there_is_counted_as_an_error(telemetry, tmp_path):
    telemetry.instrument()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/no/such/folder", poolclass=QueuePool)
    for _ in range(2):
        with pytest.raises(sa.exc.OperationalError):
            engine.connect()
    reading = Reading(telemetry)
    assert reading.times("wait_time", "sqlite3.OperationalError")[0] == 2
    assert reading.number("timeouts") == 0
    assert reading.number("pending_requests") == 0
    assert reading.state == (0, 0)


def test_a_connection_that_is_kept_for_good_leaves_the_pool(make, telemetry):
    telemetry.instrument()
    engine = make(NullPool)
    connection = engine.connect()
    connection.detach()
    assert Reading(telemetry).state == (0, 0)
    assert Reading(telemetry).times("use_time")[0] == 1
    connection.close()
    assert Reading(telemetry).times("use_time")[0] == 1


def test_a_connection_that_is_broken_is_not_idle(make, telemetry):
    telemetry.instrument()
    engine = make(pool_size=2)
    with engine.connect() as connection:
        connection.invalidate()
    assert Reading(telemetry).state == (0, 0)
    engine.connect().close()
    assert Reading(telemetry).state == (1, 0)
    assert Reading(telemetry).times("create_time")[0] == 2


def test_a_connection_that_nobody_gives_back_returns_with_its_garbage(make, telemetry):
    telemetry.instrument()
    engine = make(pool_size=2)
    connection = engine.raw_connection()
    assert Reading(telemetry).state == (0, 1)
    del connection
    assert Reading(telemetry).state == (1, 0)
    assert Reading(telemetry).times("use_time")[0] == 1


def test_making_a_connection_takes_its_time(make, telemetry):
    telemetry.instrument()
    engine = make()

    @sa.event.listens_for(engine, "do_connect")
    def slow(*_):
        threading.Event().wait(0.02)

    engine.connect().close()
    engine.connect().close()
    count, total = Reading(telemetry).times("create_time")
    assert count == 1
    assert 0.02 <= total < 5
    assert Reading(telemetry).times("wait_time")[1] >= total


def test_nothing_of_the_pools_is_left_after_uninstrument(make, telemetry):
    telemetry.instrument()
    engine = make()
    with engine.connect() as connection:
        SQLAlchemyInstrumentor().uninstrument()
        connection.execute(sa.text("SELECT 1"))
        assert "do_execute" not in vars(engine.dialect)
    engine.connect().close()
    reading = Reading(telemetry)
    assert not {"count", "max", "idle.max", "pending_requests", "use_time"} & set(reading.points)
    assert (reading.times("wait_time")[0], telemetry.spans) == (1, ())


def test_who_has_wrapped_the_dialect_keeps_working(make, telemetry):
    telemetry.instrument()
    engine = make()
    engine.connect().close()
    ours, calls = engine.dialect.do_execute, []

    def theirs(*arguments):
        calls.append(arguments)
        ours(*arguments)

    engine.dialect.do_execute = theirs
    SQLAlchemyInstrumentor().uninstrument()
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    assert len(calls) == 1
    assert (telemetry.spans, telemetry.points("db.client.operation.duration")) == ((), [])


def test_a_dialect_that_somebody_has_wrapped_before_is_measured(make, telemetry):
    engine = make()
    original, calls = engine.dialect.do_execute, []

    def theirs(*arguments):
        calls.append(arguments)
        original(*arguments)

    engine.dialect.do_execute = theirs
    telemetry.instrument()
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    assert (len(calls), telemetry.statements) == (1, ["SELECT"])
    SQLAlchemyInstrumentor().uninstrument()
    assert engine.dialect.do_execute is theirs


def test_a_failure_in_here_is_logged_once_and_the_connection_is_given(make, telemetry, caplog):
    class Broken(NoOpHistogram):
        def record(self, *_, **__):
            raise RuntimeError("broken")

    class Meter(NoOpMeter):
        def create_histogram(self, name, *_, **__):
            return Broken(name)

    class Provider(NoOpMeterProvider):
        def get_meter(self, name, *_, **__):
            return Meter(name)

    telemetry.instrument(meter_provider=Provider())
    engine = make(pool_size=1, max_overflow=0, pool_timeout=0.01)
    for _ in range(2):
        with engine.connect(), pytest.raises(sa.exc.TimeoutError):
            engine.connect()
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.name for record in records] == ["c2cotel_instrumentation.sql_pools"]


def test_after_a_fork_the_child_has_what_is_its_own(tmp_path):
    program = """
import json, os, sys, threading
import sqlalchemy as sa
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from c2cotel_instrumentation.sqlalchemy import SQLAlchemyInstrumentor

reader = InMemoryMetricReader()
provider = MeterProvider([reader], shutdown_on_exit=False)
SQLAlchemyInstrumentor().instrument(meter_provider=provider)

def numbers():
    data = reader.get_metrics_data()
    points = [
        (m.name.removeprefix("db.client.connection."), dict(p.attributes), p.value)
        for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics
        for p in m.data.data_points if hasattr(p, "value")
    ]
    sums = {}
    for name, attributes, value in points:
        name += attributes.get("db.client.connection.state", "")
        sums[name] = sums.get(name, 0) + value
    return sums

null = sa.create_engine("sqlite:///null.db", poolclass=sa.NullPool)
held = null.connect()
small = sa.create_engine(
    "sqlite:///small.db", pool_size=1, max_overflow=0, poolclass=sa.QueuePool,
    connect_args={"check_same_thread": False},
)
busy = small.connect()
waiting = threading.Thread(target=lambda: small.connect().close())
waiting.start()
while numbers()["pending_requests"] != 1:
    pass
read, write = os.pipe()
if not (pid := os.fork()):
    small.dispose(close=False)
    with null.connect() as one, small.connect() as other:
        one.execute(sa.text("SELECT 1"))
        os.write(write, json.dumps(numbers()).encode())
    os._exit(0)
os.close(write)
os.waitpid(pid, 0)
child = json.loads(os.read(read, 10_000))
busy.close()
waiting.join()
print(json.dumps([child, numbers()]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
    )
    child, parent = json.loads(done.stdout)
    # Of the parent's threads nothing: one on each engine is the child's.
    assert (child["pending_requests"], child["countused"]) == (0, 2)
    assert (parent["pending_requests"], parent["countused"]) == (0, 1)


def test_tasks_wait_for_a_pool_as_threads_do(postgres_url, telemetry):
    telemetry.instrument()

    async def ask(engine):
        async with engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))

    async def main():
        engine = create_async_engine(postgres_url, pool_size=1, max_overflow=0)
        held = await engine.connect()
        tasks = [asyncio.create_task(ask(engine)) for _ in range(3)]
        while Reading(telemetry).number("pending_requests") != 3:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)  # its turn to wait
        full = Reading(telemetry)
        await held.close()
        await asyncio.gather(*tasks)
        free = Reading(telemetry)
        await engine.dispose()
        return full, free

    full, free = asyncio.run(main())
    url = sa.make_url(postgres_url)
    assert full.names() == {f"{url.host}:{url.port}/{url.database}"}
    assert (full.state, free.state) == ((0, 1), (1, 0))
    assert free.number("pending_requests") == 0
    assert (free.times("wait_time")[0], free.times("use_time")[0]) == (4, 4)
    assert free.times("create_time")[0] == 1
