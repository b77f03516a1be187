"""What the settings say about outgoing requests and Redis, in a process that is instrumented."""

import json
import socket

import pytest

from c2cotel_acceptance.processes import MissingError
from c2cotel_acceptance.servers import valkey
from c2cotel_acceptance.telemetry import OtlpReceiver


@pytest.fixture(scope="module")
def redis_server():
    try:
        with valkey() as server:
            yield server
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture
def silent():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


GET = """
import requests, sys
from c2cotel import otel
{first}
try:
    requests.get({url!r})
except requests.ReadTimeout as error:
    print(error.__class__.__name__)
"""


def test_the_default_timeout_comes_from_the_environment(instrumented, silent):
    code = GET.format(first="", url=silent)
    done = instrumented(code, C2C_REQUESTS_DEFAULT_TIMEOUT="0.1")
    assert (done.output, done.errors) == ("ReadTimeout\n", [])


def test_the_default_timeout_comes_from_the_ini_of_the_application(instrumented, silent):
    first = 'otel.set_up(ini={"c2c.requests_default_timeout": "0.1"})'
    done = instrumented(GET.format(first=first, url=silent))
    assert (done.output, done.errors) == ("ReadTimeout\n", [])


def test_without_one_there_is_a_warning_and_the_request_is_sent(instrumented):
    with OtlpReceiver() as server:
        done = instrumented(GET.format(first="", url=f"{server.endpoint}/a"))
    (line,) = done.errors
    assert "is sent without a timeout" in line
    assert "/script.py:6: GET to 127.0.0.1" in line


CALL = """
import json, requests
from c2cotel import otel
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
for path in ("/a", "/quiet"):
    requests.get({url!r} + path, timeout=5, headers={{"X-Kind": "a", "X-Private": "b"}})
print(json.dumps([dict(span.attributes) for span in exporter.get_finished_spans()]))
"""


def test_the_options_that_contrib_reads_are_those_of_ours(instrumented):
    with OtlpReceiver() as server:
        done = instrumented(
            CALL.format(url=server.endpoint),
            OTEL_PYTHON_REQUESTS_EXCLUDED_URLS="quiet$",
            OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST="x-.*",
            OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE="content-type",
            OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS="x-private",
        )
    (span,) = json.loads(done.output)
    assert span["url.full"].endswith("/a")
    assert span["http.request.header.x_kind"] == ["a"]
    assert span["http.request.header.x_private"] == ["[REDACTED]"]
    assert "http.response.header.content_type" in span


COUNT = """
import sys, redis, sqlalchemy
from c2cotel import otel
{first}
with redis.Redis.from_url(sys.argv[1] if sys.argv[1:] else {url!r}) as client:
    client.set("a", "1")
with sqlalchemy.create_engine("sqlite://").connect() as connection:
    connection.execute(sqlalchemy.text("SELECT 1"))
telemetry = otel.set_up()
print([part.state for part in telemetry.parts if part.name == "instrumentor redis"])
print(telemetry.scraper.expose()[0].decode())
"""


def test_commands_and_statements_are_one_family(instrumented, redis_server):
    done = instrumented(COUNT.format(first="", url=redis_server.url))
    assert done.errors == []
    state, *lines = done.output.splitlines()
    assert state == "['on']"
    family = "db_client_operation_duration_seconds"
    assert sum(line.startswith(f"# TYPE {family} ") for line in lines) == 1
    counts = [line for line in lines if line.startswith(f"{family}_count")]
    (set_,) = [line for line in counts if 'db_operation_name="SET"' in line]
    assert 'db_system_name="redis"' in set_
    assert f'server_port="{redis_server.port}"' in set_
    assert set_.endswith((" 1", " 1.0"))
    assert any('db_system_name="sqlite"' in line for line in counts)
    pool = f'pool_name="127.0.0.1:{redis_server.port}/0",db_client_connection_state="idle"'
    assert sum(f"db_client_connection_{pool}" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("environ", "first"),
    [
        ({"C2C_TRACK_REDIS": "false"}, ""),
        ({}, 'otel.set_up(ini={"c2c.track_redis": "false"})'),
    ],
)
def test_redis_is_left_alone_if_the_settings_say_so(instrumented, redis_server, environ, first):
    done = instrumented(COUNT.format(first=first, url=redis_server.url), **environ)
    assert done.errors == []
    assert done.output.startswith("['off']\n")
    assert 'db_system_name="redis"' not in done.output
    assert 'pool_name="127.0.0.1:' not in done.output


BROADCAST = """
import redis
from c2cotel import otel
from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.redis import connect
from c2cotel.settings import Redis
broadcaster = Broadcaster()
broadcaster.subscribe("who", lambda: 1)
broadcaster.start(None, connect(Redis(url={url!r})), "p_")
broadcaster.subscribe("later", lambda: 1)
# From another process, as far as the broadcaster can tell.
with redis.Redis.from_url({url!r}) as client, client.pubsub() as pubsub:
    pubsub.subscribe("p_answer")
    while pubsub.get_message(timeout=5)["type"] != "subscribe":
        pass
    client.publish("p_later", '{{"params": {{}}, "answer_channel": "p_answer"}}')
    print(pubsub.get_message(timeout=5)["data"])
print(otel.set_up().scraper.expose()[0].decode())
broadcaster.stop()
"""


def test_the_broadcast_is_no_command_of_the_application(instrumented, redis_server):
    done = instrumented(BROADCAST.format(url=redis_server.url))
    assert done.errors == []
    answer, *lines = done.output.splitlines()
    assert answer == "b'1'"
    counts = {
        line.partition('db_operation_name="')[2].partition('"')[0]: line.rsplit(" ", 1)[1]
        for line in lines
        if line.startswith("db_client_operation_duration_seconds_count")
    }
    assert {name: float(count) for name, count in counts.items()} == {"SUBSCRIBE": 1, "PUBLISH": 1}
