"""Every request is counted, traced and logged, in every worker, whatever happens to the workers."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from c2cotel_acceptance.traffic import Call
from c2cotel_acceptance.utils import retry_timeout

HELLO = Call("/api/hello", route="/api/hello")
MIX = (
    HELLO,
    Call("/api/hello", "POST", "/api/hello", b'{"text": "again"}'),
    Call("/api/error?kind=http&status=404", route="/api/error"),
    Call("/api/error?kind=view", route="/api/error"),
    Call("/no/such/page"),
)


def without_ping(counted):
    """The fixture asks /api/ping until the application is there: nobody knows how often."""
    return {key: count for key, count in counted.items() if key[0] != "/api/ping"}


def assert_counted(service, traffic):
    """What was answered is what is counted, by route and status, scrape after scrape."""
    assert traffic.failed == 0
    for _ in range(6):
        assert without_ping(service.counted()) == traffic.by_route()


@pytest.fixture
def send_while():
    """``send_while(service, what, count=2000)``: send, call *what* in the middle; the traffic."""

    def run(service, what, count=2000):
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(service.send, *MIX, count=count)
            what()
            return sending.result()

    return run


def test_1000_requests_are_1000_everywhere(serve, otlp, prometheus):
    service = serve(otlp=otlp)
    watching = prometheus(service)
    traffic = service.send(*MIX, count=1000)
    assert traffic.total == 1000
    assert_counted(service, traffic)
    asked = 'sum(http_server_request_duration_seconds_count{http_route!="/api/ping"})'
    watching.wait_value(asked, 1000)

    def spans():
        return [s for s in otlp.server_spans() if s.attributes.get("http.route") != "/api/ping"]

    otlp.wait(lambda _: len(spans()) >= 1000)
    assert len(spans()) == 1000
    assert {span.attributes["c2c.request.id"] for span in spans()} == set(traffic.request_ids)
    assert len(set(traffic.request_ids)) == 1000


@pytest.mark.parametrize(
    "options",
    [
        ("--preload",),
        ("--preload", "--max-requests", "50"),
        ("--threads", "1"),
        ("--preload", "--threads", "1"),
    ],
    ids=" ".join,
)
def test_the_count_is_exact_with(serve, options):
    service = serve(*options)
    with service.watched() as totals:
        traffic = service.send(*MIX, count=1000)
    assert_counted(service, traffic)
    assert totals == sorted(totals)


def assert_bounded(service, traffic, totals, *, interrupted=0):
    """All that was answered is counted; and nothing but *interrupted* requests was lost.

    A request whose answer was lost may have been counted: so at most that many more.
    """
    counted = sum(without_ping(service.counted()).values())
    assert traffic.total <= counted <= traffic.total + traffic.failed
    assert traffic.failed <= interrupted
    assert totals == sorted(totals)
    assert len(totals) > 5


def test_twelve_workers_killed_under_load_lose_only_what_was_in_flight(serve, send_while):
    service = serve()
    killed = set()

    def kill():
        while len(killed) < 12:
            (victim,) = retry_timeout(lambda: sorted(set(service.workers()) - killed)[:1])
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)

    with service.watched() as totals:
        traffic = send_while(service, kill, count=3000)
    assert len(killed) == 12
    # Each had four threads, and connections that it had taken and not begun with.
    assert_bounded(service, traffic, totals, interrupted=12 * 8)


def test_the_count_survives_hup(serve, send_while):
    service = serve()
    before = service.workers()

    def renew():
        time.sleep(0.3)
        service.process.signal(signal.SIGHUP)
        retry_timeout(
            lambda: len(service.workers()) == 4 and not set(before) & set(service.workers())
        )

    with service.watched() as totals:
        traffic = send_while(service, renew)
    assert_bounded(service, traffic, totals, interrupted=4 * 8)


def test_the_count_goes_on_in_a_new_master(serve, send_while):
    service = serve()
    old = service.workers()

    def replace():
        time.sleep(0.3)
        service.process.signal(signal.SIGUSR2)
        retry_timeout(lambda: len(service.process.members()) == 10, interval=0.05)
        service.process.signal(signal.SIGTERM)

    with service.watched() as totals:
        traffic = send_while(service, replace)
    service.process.wait(60)
    assert not set(old) & set(service.process.members())
    retry_timeout(service.counted, timeout=5)
    assert_bounded(service, traffic, totals, interrupted=4 * 8)


def test_a_subprocess_counts_in_the_same_totals(serve):
    service = serve()
    with service.watched() as totals:
        traffic = service.send(Call("/api/subprocess", route="/api/subprocess"), count=4)
    assert_counted(service, traffic)
    assert totals == sorted(totals)
    assert service.scrape().total("app_reports_total") == 4


def test_two_applications_on_one_machine_count_apart(serve):
    one, two = serve(workers=2), serve(workers=2)
    with one.watched() as ones, two.watched() as twos:
        first, second = one.send(HELLO, count=300), two.send(HELLO, count=200)
    assert_counted(one, first)
    assert_counted(two, second)
    assert (ones, twos) == (sorted(ones), sorted(twos))


def test_a_metrics_port_in_use_does_not_stop_the_application(serve):
    one = serve(workers=2)
    two = serve(workers=2, env={"C2C_PROMETHEUS_PORT": str(one.metrics_port)})
    assert two.send(HELLO, count=50).by_route() == {("/api/hello", 200): 50}
    assert without_ping(one.counted()) == {}


@pytest.mark.parametrize("ini", ["production.ini", "production-include.ini"])
def test_including_c2cotel_sets_up_the_same(serve, ini):
    service = serve(ini=ini, instrument=ini == "production.ini")
    assert_counted(service, service.send(*MIX, count=200))


def test_including_c2cotel_under_opentelemetry_instrument_is_harmless(serve):
    service = serve(ini="production-include.ini")
    assert_counted(service, service.send(*MIX, count=200))


def test_pserve_counts_in_its_one_process(serve_alone):
    service = serve_alone()
    assert_counted(service, service.send(*MIX, count=300))


def test_the_calls_of_ourselves_have_one_request_id(serve, otlp):
    service = serve(otlp=otlp)
    traffic = service.send(Call("/api/tracking/2", headers={"X-Request-ID": "find-me"}))
    assert traffic.request_ids == ["find-me"]

    def spans():
        return [s for s in otlp.server_spans() if s.attributes.get("c2c.request.id") == "find-me"]

    otlp.wait(lambda _: len(spans()) == 3)
    assert len({span.trace_id for span in spans()}) == 1
    retry_timeout(lambda: service.output().count("find-me") >= 3, timeout=5)


def test_a_collector_that_lives_loses_nothing_at_the_end(serve, otlp):
    service = serve("--preload", "--max-requests", "50", otlp=otlp)
    traffic = service.send(HELLO, count=400)
    service.process.stop()
    spans = [s for s in otlp.server_spans() if s.attributes.get("http.route") == "/api/hello"]
    assert len(spans) == traffic.total
