"""The numbers are right, and the application serves, whatever happens around them."""

import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from c2cotel_acceptance.servers import free_port
from c2cotel_acceptance.traffic import Call
from c2cotel_acceptance.utils import retry_timeout

HELLO = Call("/api/hello", route="/api/hello")
COUNT = "http_server_request_duration_seconds_count"


def hellos(service):
    return service.scrape().total(COUNT, http_route="/api/hello")


def with_shm(options):
    """A command that runs another one with a /dev/shm of its own."""
    mount = f"mount -t tmpfs -o {options} tmpfs /dev/shm"
    return ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")


@pytest.fixture
def _may_mount():
    tried = subprocess.run(
        [*with_shm("size=64k"), "true"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"A tmpfs cannot be mounted here, run this as root: {tried.stderr}")


@pytest.mark.usefixtures("_may_mount")
@pytest.mark.parametrize("options", ["size=64k", "ro"], ids=["full", "not writable"])
def test_the_count_is_exact_when_dev_shm_is(serve, options):
    service = serve("--preload", within=with_shm(options))
    with service.watched() as totals:
        assert service.send(HELLO, count=400).by_route() == {("/api/hello", 200): 400}
    assert [hellos(service) for _ in range(6)] == [400] * 6
    assert totals == sorted(totals)


@pytest.mark.alone
@pytest.mark.usefixtures("_may_mount")
def test_a_dev_shm_that_fills_up_later_costs_series_not_the_application(serve):
    # Room for the master and two workers, and for the fold of none.
    service = serve("--preload", workers=2, within=with_shm("size=320k"))
    warm = service.send(HELLO, count=200)
    for pid in service.workers():
        os.kill(pid, signal.SIGKILL)
    retry_timeout(lambda: len(service.workers()) == 2)
    traffic = service.send(HELLO, count=200)
    assert (warm.failed, traffic.by_route()) == (0, {("/api/hello", 200): 200})
    assert warm.total <= hellos(service) <= warm.total + traffic.total
    assert service.process.stop() < 10


def test_scrapes_go_on_when_the_master_is_killed(serve):
    service = serve()
    service.send(HELLO, count=100)
    with ThreadPoolExecutor(8) as pool, service.watched() as totals:
        # Workers finish what they do before they follow their master.
        busy = [
            pool.submit(requests.get, f"{service.url}/api/slow?seconds=6", timeout=30)
            for _ in range(8)
        ]
        time.sleep(1)
        os.kill(service.process.pid, signal.SIGKILL)
        scraped = retry_timeout(lambda: hellos(service), timeout=5, interval=0.2)
        after = len(totals)
        retry_timeout(lambda: len(totals) > after + 5, timeout=5)
        [request.exception() or request.result() for request in busy]
    assert scraped == 100
    assert totals == sorted(totals)


@pytest.fixture
def longest_end(serve):
    """Seconds: C2C_EXIT_TIMEOUT, gunicorn's own without a collector, and some for the machine."""
    alone = serve()
    alone.send(HELLO, count=100)
    return 5 + alone.process.stop() + 0.5


@pytest.mark.alone
def test_a_dead_collector_does_not_hold_up_the_end(serve, longest_end):
    service = serve(
        "--preload", env={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    )
    service.send(HELLO, count=100)
    assert service.process.stop() <= longest_end
    said = [line for line in service.output().splitlines() if "undelivered" in line]
    assert 1 <= len(said) <= 4
    assert all("spans" in line for line in said)


@pytest.mark.alone
def test_a_collector_that_hangs_does_not_hold_up_the_end(serve, longest_end, hanging_collector):
    service = serve("--preload", otlp=hanging_collector)
    service.send(HELLO, count=100)
    assert service.process.stop() <= longest_end
    assert "undelivered: the collector did not take them within 2.8 s." in service.output()


def test_prometheus_port_of_opentelemetry_is_the_same_server(serve):
    port = free_port()
    service = serve(
        scraped=False,
        env={"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": str(port)},
    )
    service.metrics_port = port
    service.send(HELLO, count=300)
    assert [hellos(service) for _ in range(6)] == [300] * 6


def test_the_push_has_the_same_totals_and_one_instance(serve, otlp):
    service = serve(
        "--preload", "--max-requests", "50", otlp=otlp, env={"OTEL_METRIC_EXPORT_INTERVAL": "500"}
    )
    traffic = service.send(HELLO, count=300)

    def hello_points():
        return [
            point
            for point in otlp.points
            if point.name == "http.server.request.duration"
            and point.attributes.get("http.route") == "/api/hello"
        ]

    otlp.wait(lambda _: hello_points() and hello_points()[-1].count == traffic.total)
    counts = [point.count for point in hello_points()]
    assert counts == sorted(counts)
    instances = {point.resource["service.instance.id"] for point in hello_points()}
    assert len(instances) == 1
    processes = {span.resource["service.instance.id"] for span in otlp.server_spans()}
    assert len(processes) >= 4
    assert not instances & processes


def test_a_request_is_found_in_log_and_collector_by_its_id(serve, otlp):
    service = serve("--preload", otlp=otlp)
    answer = requests.get(f"{service.url}/api/hello", timeout=10)
    request_id = answer.headers["X-Request-ID"]
    found = otlp.wait(
        lambda o: [r for r in o.logs if r.attributes.get("c2c.request.id") == request_id]
    )
    assert {record.body for record in found} == {f"Message {answer.json()['id']} is read"}
    (span,) = otlp.wait(
        lambda o: [s for s in o.server_spans() if s.attributes["c2c.request.id"] == request_id]
    )
    # The default id is the trace id: the one finds the other.
    assert request_id.replace("-", "") == span.trace_id == found[0].trace_id

    def lines():
        told = [json.loads(line) for line in service.output().splitlines() if line[:1] == "{"]
        return {line["name"] for line in told if line.get("request_id") == request_id}

    retry_timeout(lambda: lines() == {"c2cotel_app.views", "gunicorn.access"}, timeout=5)


def test_a_secret_is_nowhere(serve, otlp):
    service = serve("--preload", otlp=otlp)
    for path in (
        "/api/hello?secret=SEKRET",
        "/api/hello?x=1&access_token=SEKRET",
        "/api/error?kind=unhandled&password=SEKRET",
        "/no/such?X-Amz-Signature=SEKRET",
    ):
        requests.get(f"{service.url}{path}", timeout=10)
    otlp.wait(lambda o: [s for s in o.server_spans() if "http://" not in s.name][3:])
    otlp.wait(lambda o: len(o.logs) >= 2)
    service.process.stop()
    assert len([s for s in otlp.server_spans() if "url.query" in s.attributes]) == 4
    for seen in (otlp.spans, otlp.logs, otlp.points, service.output()):
        assert "SEKRET" not in str(seen)


def test_the_exposition_satisfies_promtool(serve):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing: sudo apt-get install prometheus")
    service = serve()
    service.send(HELLO, Call("/api/error?kind=view", route="/api/error"), count=50)
    text = requests.get(service.metrics_url, headers={"Accept": "text/plain"}, timeout=10).text
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    # What it has against a name is a convention that OpenTelemetry's names do not keep.
    names = ("target_info", 'should not have "_count" suffix')
    complaints = [it for it in checked.stderr.splitlines() if not any(name in it for name in names)]
    assert (checked.returncode in (0, 3), complaints) == (True, [])
    service.scrape(openmetrics=True)


def test_without_the_sdk_requests_have_their_id_all_the_same(serve):
    service = serve("--preload", scraped=False, env={"OTEL_SDK_DISABLED": "true"})
    traffic = service.send(Call("/api/tracking/2", headers={"X-Request-ID": "find-me"}))
    assert traffic.request_ids == ["find-me"]
    answer = requests.get(
        f"{service.url}/api/tracking/2", headers={"X-Request-ID": "find-me"}, timeout=10
    )
    assert answer.json()["request_ids"] == ["find-me"] * 3
    assert len(set(service.send(HELLO, count=20).request_ids)) == 20
