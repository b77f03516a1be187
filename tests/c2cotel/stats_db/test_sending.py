"""Pushes to a Pushgateway and to a collector, and the one scrape."""

import http.client
import socket
import threading

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from werkzeug import Response

from c2cotel.settings import load
from c2cotel.stats_db import sending
from c2cotel.stats_db.numbers import EXTRA, ROWS, SIZE, Numbers
from c2cotel.stats_db.sending import OneScrape, SendingError, Text
from c2cotel_acceptance import servers, telemetry
from c2cotel_acceptance.utils import retry_timeout


@pytest.fixture
def numbers():
    made = Numbers("app")
    made.put(SIZE, 8e6)
    for table in ("one", "two"):
        made.put(ROWS, 10.0, {"schema": "public", "table": table})
    return made


# The Pushgateway


@pytest.mark.parametrize(
    ("gateway", "database", "instance", "url"),
    [
        ("http://gw:9091", "app", None, "http://gw:9091/metrics/job/db_counts/db_namespace/app"),
        ("gw:9091", "app", None, "http://gw:9091/metrics/job/db_counts/db_namespace/app"),
        (
            "https://me:pw@gw/push/",
            "app",
            "cron 1",
            "https://me:pw@gw/push/metrics/job/db_counts/db_namespace/app/instance/cron%201",
        ),
        # An own way for slashes: https://github.com/prometheus/pushgateway#url.
        (
            "gw",
            "a/b",
            None,
            "http://gw/metrics/job/db_counts/db_namespace@base64/YS9i",
        ),
    ],
)
def test_each_database_has_a_group_of_its_own(gateway, database, instance, url):
    assert sending.group_url(gateway, database, instance) == url


@pytest.mark.parametrize("gateway", ["", "ftp://gw", "http://", "http://gw:x", "http://gw?a=1"])
def test_what_is_no_address_is_refused(gateway):
    with pytest.raises(ValueError):  # noqa: PT011 - what is said is the caller's
        sending.group_url(gateway, "app", None)


def test_the_text_is_put_in_the_place_of_the_group(httpserver, numbers):
    got = []

    def take(request):
        got.append((request.headers["Content-Type"], request.get_data(as_text=True)))
        return Response(status=202)

    httpserver.expect_request("/metrics/job/x", method="PUT").respond_with_handler(take)
    sending.push(numbers, httpserver.url_for("/metrics/job/x"), "shop")
    ((content_type, text),) = got
    assert content_type.startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    # Nothing about who pushes: that is in the group's labels.
    assert set(families) == {"shop_c2c_database_size_bytes", "shop_c2c_database_table_rows"}


@pytest.mark.parametrize(
    ("status", "passing"), [(400, False), (404, False), (302, False), (500, True), (503, True)]
)
def test_a_refusal_is_told_with_its_reason(httpserver, numbers, status, passing):
    answer = Response("pushed metrics are\ninvalid", status, {"Location": "/other"})
    httpserver.expect_request("/metrics/x").respond_with_response(answer)
    url = httpserver.url_for("/metrics/x").replace("://", "://me:hunter2@")
    with pytest.raises(SendingError) as error:
        sending.push(numbers, url)
    place = f"http://me:***@localhost:{httpserver.port}"
    assert str(error.value) == f"{place} answers {status}: pushed metrics are invalid"
    assert error.value.passing is passing


def test_nobody_there_is_told_on_one_line(numbers):
    with servers.closed_port() as port, pytest.raises(SendingError) as error:
        sending.push(numbers, f"http://me:hunter2@127.0.0.1:{port}/metrics/x")
    assert str(error.value) == (
        f"http://me:***@127.0.0.1:{port} cannot be reached: Connection refused"
    )
    assert error.value.passing


# Trying again


def failing(times, *, passing=True):
    left = [SendingError("no", passing=passing)] * times

    def send():
        if left:
            raise left.pop()

    return send


def test_what_may_pass_is_tried_again_after_a_pause():
    pauses = []
    sending.attempts(failing(2), tries=3, pause=1.5, sleep=pauses.append)
    assert pauses == [1.5, 1.5]


@pytest.mark.parametrize(("passing", "pauses"), [(True, [1, 1]), (False, [])])
def test_what_does_not_pass_is_raised(passing, pauses):
    slept = []
    with pytest.raises(SendingError):
        sending.attempts(failing(3, passing=passing), tries=3, pause=1, sleep=slept.append)
    assert slept == pauses


# A collector


def about(instance=None):
    return sending.target(load().settings, "db:5432/app", instance)


def test_a_collector_gets_all_of_it(monkeypatch, numbers):
    with telemetry.OtlpReceiver() as otlp:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint)
        sending.export(numbers, about(), "otlp")
    points = {(p.name, p.attributes.get("table")): (p.kind, p.unit, p.value) for p in otlp.points}
    assert points == {
        ("c2c.database.size", None): ("gauge", "By", 8e6),
        ("c2c.database.table.rows", "one"): ("gauge", "{row}", 10),
        ("c2c.database.table.rows", "two"): ("gauge", "{row}", 10),
    }
    (resource,) = {tuple(sorted(point.resource.items())) for point in otlp.points}
    assert dict(resource)["service.name"] == "db_counts"
    assert dict(resource)["service.instance.id"] == "db:5432/app"
    assert "process.pid" not in dict(resource)
    assert {point.attributes["db.namespace"] for point in otlp.points} == {"app"}


def test_what_the_user_says_of_the_service_wins(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=mine")
    assert about()["service.name"] == "shop"
    assert about()["service.instance.id"] == "mine"
    assert about("cron")["service.instance.id"] == "cron"


def test_more_than_a_collector_takes_at_once_is_sent_in_parts(monkeypatch):
    numbers = Numbers("app")
    for number in range(9000):
        numbers.put(EXTRA, float(number), {"metric": str(number)})
    with telemetry.OtlpReceiver() as otlp:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint)
        sending.export(numbers, about(), "otlp")
    assert otlp.requests["/v1/metrics"] == 3
    assert {point.value for point in otlp.points} == set(range(9000))


def test_a_collector_that_is_not_there_may_come(monkeypatch, numbers):
    with servers.closed_port() as port:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://me:hunter2@127.0.0.1:{port}")
        with pytest.raises(SendingError, match="Connection refused") as error:
            sending.export(numbers, about(), "otlp")
    assert error.value.passing
    assert "hunter2" not in str(error.value)


def test_a_collector_that_refuses_is_told(monkeypatch, numbers):
    with telemetry.OtlpReceiver(status=401) as otlp:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint)
        with pytest.raises(SendingError, match="401") as error:
            sending.export(numbers, about(), "otlp")
    assert not error.value.passing


# A scrape


@pytest.fixture
def served(numbers):
    """Where it is served, and the thread that ends with the scrape."""
    server = OneScrape("127.0.0.1", 0, Text(numbers))
    thread = threading.Thread(target=server.wait)
    thread.start()
    yield server.port, thread
    server._over.set()
    thread.join(5)


def test_it_ends_when_somebody_has_got_the_text(served):
    port, thread = served
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    thread.join(5)
    assert not thread.is_alive()
    assert 'c2c_database_table_rows{db_namespace="app"' in text
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)


def test_openmetrics_is_spoken_with_who_asks_for_it(served):
    port, _ = served
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = requests.get(f"http://127.0.0.1:{port}/", headers=headers, timeout=5)
    assert answer.text.endswith("# EOF\n")
    assert "# UNIT c2c_database_size_bytes bytes\n" in answer.text


def test_who_only_looks_whether_it_is_there_does_not_end_it(served):
    port, thread = served
    socket.create_connection(("127.0.0.1", port), 1).close()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("HEAD", "/")
    assert connection.getresponse().status == 200
    connection.close()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", "/")
    assert connection.getresponse().status == 501
    connection.close()
    assert thread.is_alive()
    assert requests.get(f"http://127.0.0.1:{port}/", timeout=5).ok


def test_who_breaks_off_does_not_end_it():
    numbers = Numbers("app")
    for number in range(40_000):
        numbers.put(EXTRA, float(number), {"metric": f"{number:0100}"})
    server = OneScrape("127.0.0.1", 0, Text(numbers))
    thread = threading.Thread(target=server.wait)
    thread.start()
    with socket.create_connection(("127.0.0.1", server.port), 5) as impatient:
        impatient.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert impatient.recv(10)
    # The text is long, and another thread writes it.
    retry_timeout(lambda: not server._connections, 5, 0.01)
    assert thread.is_alive()
    assert requests.get(f"http://127.0.0.1:{server.port}/", timeout=10).text.count("\n") > 40_000
    thread.join(5)
    assert not thread.is_alive()
