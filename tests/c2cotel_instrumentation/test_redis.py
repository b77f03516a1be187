import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest
import redis
import redis.asyncio
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from redis.client import Pipeline, PubSub
from redis.cluster import ClusterNode, RedisCluster

from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers.places import temporary_directory
from c2cotel_acceptance.servers.valkeys import ask, running, valkey
from c2cotel_acceptance.utils import retry_timeout
from c2cotel_instrumentation.redis import RedisInstrumentor

from .conftest import Telemetry as Base

METHODS = [
    (redis.Redis, "execute_command"),
    (PubSub, "execute_command"),
    (Pipeline, "execute"),
    (Pipeline, "immediate_execute_command"),
    (RedisCluster, "execute_command"),
    (redis.asyncio.Redis, "execute_command"),
    (redis.asyncio.client.Pipeline, "execute"),
]


@dataclass
class Telemetry(Base):
    def instrument(self, **options):
        RedisInstrumentor().instrument(
            **{"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}
            | options
        )

    @property
    def durations(self):
        """Operation and count."""
        points = self.points("db.client.operation.duration")
        return {attributes["db.operation.name"]: count for attributes, count in points}

    @property
    def below(self):
        """The spans within the view."""
        *spans, view = self.spans
        assert view.name == "view"
        assert {span.parent.span_id for span in spans} <= {view.context.span_id}
        return spans

    def view(self):
        return self.tracer_provider.get_tracer("test").start_as_current_span("view")


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture(autouse=True)
def unwrapped():
    """The instrumentor of a test is gone after it."""
    before = [getattr(*method) for method in METHODS]
    yield
    instrumentor = RedisInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    assert [getattr(*method) for method in METHODS] == before


@pytest.fixture(scope="module")
def server():
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(valkey())
        except MissingError as error:
            pytest.skip(str(error))
        yield server


@pytest.fixture
def client(server):
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        client.flushall()
        client.script_flush()
        yield client


def of(server, operation, **more):
    """The attributes of the duration."""
    attributes = {
        "db.system.name": "redis",
        "db.namespace": "0",
        "db.operation.name": operation,
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }
    return attributes | more


def test_a_command_has_a_span_and_a_duration(server, client, telemetry):
    telemetry.instrument()
    with telemetry.view():
        client.set("session:4711", "hunter2", ex=10)

    (span,) = telemetry.below
    assert (span.name, span.kind, span.status.status_code) == (
        f"SET 127.0.0.1:{server.port}",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert dict(span.attributes) == of(server, "SET") | {"db.query.text": "SET ? ? ? ?"}
    assert telemetry.points("db.client.operation.duration") == [(of(server, "SET"), 1)]


def test_outside_of_a_trace_there_is_a_duration_only(client, telemetry):
    telemetry.instrument()
    client.get("a")
    client.get("b")
    assert telemetry.spans == ()
    assert telemetry.durations == {"GET": 2}


def test_a_pipeline_is_one_operation(server, client, telemetry):
    telemetry.instrument()
    with telemetry.view(), client.pipeline(transaction=False) as pipeline:
        pipeline.set("a", "hunter2").set("b", "2").get("a")
        assert pipeline.execute() == [True, True, "hunter2"]

    (span,) = telemetry.below
    assert span.name == f"PIPELINE 127.0.0.1:{server.port}"
    assert span.attributes["db.operation.batch.size"] == 3
    assert span.attributes["db.query.text"] == "SET ? ?\nSET ? ?\nGET ?"
    assert telemetry.durations == {"PIPELINE": 1}


def test_a_transaction_of_one_kind_is_called_after_it(client, telemetry):
    telemetry.instrument()
    with telemetry.view(), client.pipeline() as pipeline:
        pipeline.incr("a").incr("b").execute()
        pipeline.incr("a").execute()
        assert pipeline.execute() == []
    first, second = telemetry.below
    assert first.attributes["db.operation.batch.size"] == 2
    assert "db.operation.batch.size" not in second.attributes
    assert telemetry.durations == {"MULTI INCRBY": 2}


def test_a_long_pipeline_is_cut_in_the_text_only(client, telemetry):
    telemetry.instrument()
    with telemetry.view(), client.pipeline() as pipeline:
        for number in range(100):
            pipeline.rpush("list", *range(100), number)
        pipeline.execute()
    (span,) = telemetry.below
    assert span.attributes["db.operation.batch.size"] == 100
    lines = span.attributes["db.query.text"].splitlines()
    assert len(lines) == 17
    assert lines[0] == "RPUSH" + " ?" * 16 + " …"
    assert lines[-1] == "…"


def test_the_commands_of_a_watching_pipeline_are_operations(client, telemetry):
    telemetry.instrument()
    with client.pipeline() as pipeline:
        pipeline.watch("a")
        pipeline.get("a")
        pipeline.multi()
        pipeline.set("a", "1").execute()
    assert telemetry.durations == {"WATCH": 1, "GET": 1, "MULTI SET": 1}


def test_a_transaction_that_somebody_has_disturbed_has_failed(client, telemetry):
    telemetry.instrument()
    with telemetry.view(), client.pipeline() as pipeline:
        pipeline.watch("a")
        client.set("a", "2")
        pipeline.multi()
        pipeline.set("a", "1")
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    span = telemetry.below[-1]
    assert span.attributes["error.type"] == "redis.exceptions.WatchError"


def test_what_redis_refuses_is_an_error(server, client, telemetry):
    telemetry.instrument()
    client.set("a", "text")
    with telemetry.view(), pytest.raises(redis.ResponseError):
        client.lpush("a", "hunter2")

    (span,) = telemetry.below
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["db.response.status_code"] == "WRONGTYPE"
    assert span.events[0].name == "exception"
    failed = of(server, "LPUSH") | {"error.type": "redis.exceptions.ResponseError"}
    assert (failed, 1) in telemetry.points("db.client.operation.duration")


def test_the_error_of_a_pipeline_does_not_show_what_was_sent(client, telemetry):
    telemetry.instrument()
    client.set("a", "text")
    with telemetry.view(), client.pipeline() as pipeline:
        pipeline.lpush("a", "hunter2")
        with pytest.raises(redis.ResponseError, match="hunter2"):
            pipeline.execute()
    (span,) = telemetry.below
    assert span.attributes["db.response.status_code"] == "WRONGTYPE"
    assert "(LPUSH REDACTED) of pipeline" in span.status.description
    assert "hunter2" not in span.to_json()


def test_an_unknown_command_does_not_show_its_arguments(client, telemetry):
    telemetry.instrument()
    with telemetry.view(), pytest.raises(redis.ResponseError, match="hunter2"):
        client.execute_command("NOSUCH", "hunter2")
    (span,) = telemetry.below
    assert span.attributes["db.response.status_code"] == "ERR"
    assert "hunter2" not in span.to_json()


def test_errors_that_a_pipeline_returns_are_the_applications(client, telemetry):
    telemetry.instrument()
    client.set("a", "text")
    with telemetry.view(), client.pipeline(transaction=False) as pipeline:
        pipeline.lpush("a", "1").get("a")
        assert pipeline.execute(raise_on_error=False)[1] == "text"
    (span,) = telemetry.below
    assert span.status.status_code is StatusCode.UNSET


def test_a_script_that_is_not_there_yet_is_loaded_in_three_commands(client, telemetry):
    telemetry.instrument()
    script = client.register_script("return redis.call('GET', KEYS[1])")
    with telemetry.view():
        script(keys=["a"])
        script(keys=["a"])
    assert [span.attributes["db.operation.name"] for span in telemetry.below] == [
        *("EVALSHA", "SCRIPT LOAD", "EVALSHA", "EVALSHA")
    ]
    failed, load, *_ = telemetry.below
    assert failed.attributes["db.response.status_code"] == "NOSCRIPT"
    assert failed.attributes["db.stored_procedure.name"] == script.sha
    assert load.attributes["db.query.text"] == "SCRIPT LOAD ?"


def test_a_blocking_command_takes_as_long_as_it_blocks(client, telemetry):
    telemetry.instrument()
    pushed = threading.Timer(0.1, lambda: client.rpush("list", "a"))
    with telemetry.view():
        pushed.start()
        assert client.blpop("list", timeout=5) == ("list", "a")
    pushed.join()
    (span,) = telemetry.below
    assert span.end_time - span.start_time > 50_000_000
    assert telemetry.durations == {"BLPOP": 1, "RPUSH": 1}


def test_of_pub_sub_waiting_is_not_measured(client, telemetry):
    telemetry.instrument()
    with telemetry.view(), client.pubsub() as pubsub:
        pubsub.subscribe("news")
        client.publish("news", "hunter2")
        heard = [pubsub.get_message(timeout=5) for _ in range(2)]
    assert [message["type"] for message in heard] == ["subscribe", "message"]
    names = [span.attributes["db.operation.name"] for span in telemetry.below]
    assert names == ["SUBSCRIBE", "PUBLISH"]
    assert telemetry.durations == {"SUBSCRIBE": 1, "PUBLISH": 1}


def test_a_redis_that_is_away_is_an_error(telemetry):
    telemetry.instrument()
    client = redis.Redis(port=1, retry=None)
    with client, telemetry.view(), pytest.raises(redis.ConnectionError):
        client.get("a")
    (span,) = telemetry.below
    assert span.name == "GET localhost:1"
    assert span.attributes["error.type"] == "redis.exceptions.ConnectionError"
    assert "db.response.status_code" not in span.attributes
    assert telemetry.durations == {"GET": 1}


def test_a_password_is_not_shown(telemetry):
    telemetry.instrument()
    client = redis.Redis.from_url("redis://me:hunter2@localhost:1/3", retry=None)
    with client, telemetry.view(), pytest.raises(redis.ConnectionError):
        client.auth("hunter2", "me")
    assert "hunter2" not in "".join(span.to_json() for span in telemetry.spans)
    assert telemetry.below[0].attributes["db.namespace"] == "3"


@pytest.mark.parametrize(
    ("words", "operation"),
    [
        (("get", "a"), "GET"),
        ((b"GET", "a"), "GET"),
        (("CLIENT ID",), "CLIENT ID"),
        (("config get", "port"), "CONFIG GET"),
        (("SET a hunter2",), "SET"),
        (("\N{SNOWMAN}", "a"), "_OTHER"),
        (("X" * 100,), "_OTHER"),
    ],
)
def test_an_operation_is_the_name_of_a_command(client, telemetry, words, operation):
    telemetry.instrument()
    with contextlib.suppress(redis.RedisError, IndexError):
        client.execute_command(*words)
    assert telemetry.durations == {operation: 1}


def test_a_socket_and_a_service_of_sentinels_are_told_as_such(telemetry, tmp_path):
    telemetry.instrument()
    client = redis.Redis(unix_socket_path=f"{tmp_path}/s", retry=None)
    with client, telemetry.view(), pytest.raises(redis.ConnectionError):
        client.get("a")
    (span,) = telemetry.below
    assert span.name == f"GET {tmp_path}/s"
    assert "server.port" not in span.attributes

    telemetry.exporter.clear()
    sentinel = redis.Sentinel([("localhost", 1)], sentinel_kwargs={"retry": None}, retry=None)
    client = sentinel.master_for("mymaster", db=2)
    with client, telemetry.view(), pytest.raises(redis.ConnectionError):
        client.get("a")
    names = {span.name for span in telemetry.spans}
    assert "GET mymaster" in names


def test_what_is_suppressed_is_left_alone(client, telemetry):
    telemetry.instrument()
    with suppress_instrumentation(), telemetry.view():
        client.get("a")
        client.pipeline().get("a").execute()
    assert telemetry.durations == {}
    assert len(telemetry.spans) == 1


def test_what_is_not_sampled_is_counted(client):
    telemetry = Telemetry(sampler=ALWAYS_OFF)
    telemetry.instrument()
    with telemetry.view():
        client.get("a")
    assert telemetry.spans == ()
    assert telemetry.durations == {"GET": 1}


def test_a_failure_in_here_does_not_reach_the_application(client, telemetry, caplog):
    telemetry.instrument()

    class Odd(str):
        __slots__ = ()

        def __hash__(self):
            raise ZeroDivisionError

    assert client.execute_command(Odd("PING")) is True
    assert client.execute_command(Odd("PING")) is True
    assert len(caplog.records) == 1
    assert telemetry.durations == {}


def test_a_client_for_asyncio_is_measured(server, telemetry):
    telemetry.instrument()

    async def main():
        async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
            with telemetry.view():
                await client.set("a", "hunter2")
                async with client.pipeline() as pipeline:
                    assert await pipeline.get("a").get("b").execute() == ["hunter2", None]
                with pytest.raises(redis.ResponseError):
                    await client.lpush("a", "1")
                async with client.pubsub() as pubsub:
                    await pubsub.subscribe("news")

    asyncio.run(main())
    spans = telemetry.below
    assert [span.attributes["db.operation.name"] for span in spans] == [
        *("SET", "MULTI GET", "LPUSH", "SUBSCRIBE")
    ]
    assert spans[2].attributes["db.response.status_code"] == "WRONGTYPE"
    assert spans[0].attributes["server.port"] == server.port
    assert telemetry.durations == {"SET": 1, "MULTI GET": 1, "LPUSH": 1, "SUBSCRIBE": 1}


def test_a_task_that_is_cancelled_ends_its_span(server, telemetry):
    telemetry.instrument()

    async def main():
        async with redis.asyncio.Redis.from_url(server.url) as client:
            with telemetry.view(), pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.blpop("nothing", timeout=5)

    asyncio.run(main())
    (span,) = telemetry.below
    assert span.attributes["error.type"] == "asyncio.exceptions.CancelledError"


def test_tasks_have_their_own_spans(server, telemetry):
    telemetry.instrument()

    async def view(client, name):
        with telemetry.tracer_provider.get_tracer("test").start_as_current_span(name):
            await client.get(name)

    async def main():
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await asyncio.gather(*(view(client, f"view {number}") for number in range(10)))

    asyncio.run(main())
    views = {it.context.span_id for it in telemetry.spans if it.name.startswith("view")}
    commands = [it for it in telemetry.spans if it.name.startswith("GET")]
    assert {it.parent.span_id for it in commands} == views
    assert len(commands) == 10


@pytest.fixture(scope="module")
def cluster():
    """A cluster of one."""
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(temporary_directory("cluster"))
            options = ("--cluster-enabled", "yes", "--save", "")
            server = stack.enter_context(running(folder, "cluster", options))
        except MissingError as error:
            pytest.skip(str(error))
        ask(server.port, "CLUSTER ADDSLOTSRANGE 0 16383")
        retry_timeout(lambda: "cluster_state:ok" in ask(server.port, "CLUSTER INFO"), 10, 0.05)
        yield server


def test_the_commands_to_a_cluster_are_measured(cluster, telemetry):
    client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", cluster.port)])
    telemetry.instrument()
    with telemetry.view():
        client.set("a", "hunter2")
        with client.pipeline() as pipeline:
            pipeline.get("a").get("a")
            assert pipeline.execute() == [b"hunter2"] * 2
    client.close()
    assert [span.name for span in telemetry.below] == ["SET", "PIPELINE GET"]
    assert telemetry.below[1].attributes["db.operation.batch.size"] == 2


def test_the_commands_to_a_cluster_by_asyncio_are_measured(cluster, telemetry):
    telemetry.instrument()

    async def main():
        async with redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster.port) as client:
            with telemetry.view():
                await client.set("a", "1")
                await client.pipeline().get("a").set("a", "2").execute()

    asyncio.run(main())
    assert [span.name for span in telemetry.below] == ["SET", "PIPELINE"]


# Pools


def counted(telemetry, name="count"):
    points = telemetry.points(f"db.client.connection.{name}")
    keys = ("db.client.connection.pool.name", "db.client.connection.state")
    return {tuple(it[key] for key in keys if key in it): value for it, value in points}


def test_the_connections_of_a_pool_are_counted(server, telemetry):
    telemetry.instrument()
    name = f"127.0.0.1:{server.port}/0"
    with redis.Redis.from_url(server.url, max_connections=7) as client, client.pubsub() as pubsub:
        client.ping()
        assert counted(telemetry) == {(name, "idle"): 1, (name, "used"): 0}
        pubsub.subscribe("news")
        assert counted(telemetry) == {(name, "idle"): 0, (name, "used"): 1}
        client.ping()
        assert counted(telemetry) == {(name, "idle"): 1, (name, "used"): 1}
        assert counted(telemetry, "max") == {(name,): 7}
    client.connection_pool.disconnect()
    # Closed ones are kept by the pool, but are none.
    assert counted(telemetry) == {(name, "idle"): 0, (name, "used"): 0}


def test_a_blocking_pool_is_counted_alike(server, telemetry):
    telemetry.instrument()
    name = f"127.0.0.1:{server.port}/1"
    pool = redis.BlockingConnectionPool.from_url(f"{server.url[:-1]}1", max_connections=3)
    with redis.Redis(connection_pool=pool) as client, client.pubsub() as pubsub:
        client.ping()
        pubsub.subscribe("news")
        client.ping()
        assert counted(telemetry) == {(name, "idle"): 1, (name, "used"): 1}
        assert counted(telemetry, "max") == {(name,): 3}
    pool.disconnect()


def test_pools_of_one_database_are_counted_together(server, telemetry):
    telemetry.instrument()
    clients = [redis.Redis.from_url(server.url, max_connections=5) for _ in range(2)]
    for client in clients:
        client.ping()
    name = f"127.0.0.1:{server.port}/0"
    assert counted(telemetry)[name, "idle"] == 2
    assert counted(telemetry, "max") == {(name,): 10}
    clients.pop().close()
    del client
    gc.collect()
    assert counted(telemetry)[name, "idle"] == 1
    clients.pop().close()


def test_the_connections_of_asyncio_are_counted(server, telemetry):
    telemetry.instrument()
    name = f"127.0.0.1:{server.port}/0"

    async def main():
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await client.ping()
            assert counted(telemetry) == {(name, "idle"): 1, (name, "used"): 0}

    asyncio.run(main())


def test_pools_beyond_a_number_share_a_series(telemetry):
    telemetry.instrument()
    clients = [redis.Redis(port=1, db=number, retry=None) for number in range(105)]
    for client in clients:
        with pytest.raises(redis.ConnectionError):
            client.ping()
        client.close()
    names = {name for name, _ in counted(telemetry)}
    assert len(names) == 101
    assert "_OTHER" in names


# Its surroundings


def test_a_client_made_before_is_measured_and_left_alone_afterwards(client, telemetry):
    client.ping()
    telemetry.instrument()
    client.ping()
    RedisInstrumentor().uninstrument()
    client.ping()
    assert telemetry.durations == {"PING": 1}
    assert counted(telemetry) == {}


@pytest.mark.parametrize("first", ["import redis", ""])
def test_redis_may_be_imported_before_or_after(server, first):
    code = f"""
{first}
import os, sys
from c2cotel_instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
assert bool({first!r}) == ("redis" in sys.modules)
reader = InMemoryMetricReader()
RedisInstrumentor().instrument(meter_provider=MeterProvider([reader], shutdown_on_exit=False))
import redis

def told(name):
    (resource,) = reader.get_metrics_data().resource_metrics
    metrics = [it for scope in resource.scope_metrics for it in scope.metrics if it.name == name]
    return [getattr(it, "value", None) for metric in metrics for it in metric.data.data_points]

with redis.Redis.from_url("{server.url}") as client:
    client.ping()
    assert len(told("db.client.operation.duration")) == 1
    assert sorted(told("db.client.connection.count")) == [0, 1]
    if pid := os.fork():
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    # The connection is the parent's.
    assert told("db.client.connection.count") == [0, 0]
    client.ping()
    assert sorted(told("db.client.connection.count")) == [0, 1]
    os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stderr, done.returncode) == ("", 0)
