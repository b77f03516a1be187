"""Who answers Prometheus, what it answers, and who takes over."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest
from opentelemetry.metrics import Observation

from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.scrape import BusyError, Scraper
from c2cotel.metrics.server import MetricsServer
from c2cotel.metrics.serving import Address, Serving
from c2cotel.metrics.store import Store


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def request(port, method="GET", **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, "/metrics", headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def answers(port):
    try:
        return request(port)[2]
    except OSError:
        return b""


@pytest.fixture
def serve(host):
    """Take part in serving, in whatever process it is called; ends with the test."""
    made = []

    def start(port, **options):
        scraper = Scraper(host.provider, {})
        serving = Serving(host.provider, scraper, Address("127.0.0.1", port), **options)
        host.store.on_use = serving.start
        serving.lead_now()
        made.append((os.getpid(), serving))
        return serving

    yield start
    for pid, serving in made:
        if pid == os.getpid():
            serving.stop(5)


# --- the server -----------------------------------------------------------------------------------


@pytest.fixture
def server():
    made = MetricsServer("127.0.0.1", 0, lambda accept: (b"x" * 5000, f"text/{accept or 'none'}"))
    made.start()
    yield made
    made.stop()


def test_get_head_and_compression(server):
    status, headers, body = request(server.port)
    assert (status, body, headers["Content-Length"]) == (200, b"x" * 5000, "5000")
    assert "Content-Encoding" not in headers
    status, head, body = request(server.port, "HEAD")
    assert (status, body, head["Content-Length"]) == (200, b"", "5000")
    status, headers, body = request(server.port, **{"Accept-Encoding": "deflate, gzip"})
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert len(body) == int(headers["Content-Length"]) < 100
    assert gzip.decompress(body) == b"x" * 5000
    assert request(server.port, Accept="html")[1]["Content-Type"] == "text/html"
    assert request(server.port, "POST")[0] == 501


@pytest.mark.alone
def test_a_client_that_says_nothing_does_not_keep_others_waiting(server):
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    begun = time.monotonic()
    assert request(server.port)[0] == 200
    assert time.monotonic() - begun < 2
    for client in silent:
        client.sendall(b"GET / HTT")
        client.close()
    assert request(server.port)[0] == 200


@pytest.mark.parametrize(
    ("error", "status"), [(BusyError("busy"), 503), (OSError("gone"), 500), (KeyError("x"), 500)]
)
def test_what_goes_wrong_is_a_status_and_the_next_is_answered(error, status, caplog):
    failures = [error]

    def expose(_):
        if failures:
            raise failures.pop()
        return b"fine", "text/plain"

    server = MetricsServer("127.0.0.1", 0, expose)
    server.start()
    assert [request(server.port)[0] for _ in range(2)] == [status, 200]
    assert len([r for r in caplog.records if r.exc_info]) == (status == 500)
    server.stop()


@pytest.mark.alone
def test_a_stopped_server_has_let_go_of_its_port_and_rests():
    server = MetricsServer("127.0.0.1", 0, lambda _: (b"", ""))
    server.start()
    server.stop()
    before = time.process_time()
    MetricsServer("127.0.0.1", server.port, lambda _: (b"", "")).server_close()
    time.sleep(0.2)
    assert time.process_time() - before < 0.15
    assert not any(t.name == "c2cotel-metrics" for t in threading.enumerate())


def test_it_listens_on_ipv6_and_ipv4():
    server = MetricsServer("", 0, lambda _: (b"x", "text/plain"))
    server.start()
    assert request(server.port)[0] == 200
    if socket.has_dualstack_ipv6():
        with socket.create_connection(("::1", server.port)) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.0 200"
    server.stop()


# --- a scrape -------------------------------------------------------------------------------------


def test_the_accept_header_chooses_the_format(host, serve):
    host.meter.create_counter("hits").add(3)
    serving = serve(0)
    port = serving.server.port
    _, headers, text = request(port)
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"\nhits_total{" in text
    assert b"# EOF" not in text
    prometheus = (
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    )
    _, headers, text = request(port, Accept=prometheus)
    assert headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert text.endswith(b"# EOF\n")


def test_one_scrape_waits_for_another_only_so_long(host, monkeypatch):
    monkeypatch.setattr("c2cotel.metrics.scrape._PATIENCE", 0.05)
    scraper = Scraper(host.provider, {})
    with scraper._alone(), pytest.raises(BusyError, match="is under way"):
        scraper.expose()
    assert scraper.expose()


def test_any_process_can_answer(host):
    host.meter.create_counter("hits").add(3)
    child = host.fork(
        lambda channel: (
            host.meter.create_counter("hits").add(4),
            channel.say(Scraper(host.provider, {}).expose()[0]),
            channel.hear(),
        )
    )
    for text in (child.hear(), Scraper(host.provider, {}).expose()[0]):
        assert b'hits_total{otel_scope_name="tests",otel_scope_schema_url="",' in text
        assert b'otel_scope_version=""} 7.0\n' in text


def test_without_a_directory_a_process_serves_itself():
    provider = MeterProvider(Store(None))
    provider.get_meter("tests").create_counter("hits").add(2)
    serving = Serving(provider, Scraper(provider, {}), Address("127.0.0.1", 0))
    serving.lead_now()
    assert serving.leading
    assert b'otel_scope_version=""} 2.0\n' in request(serving.server.port)[2]
    serving.stop(1)
    provider.store.slab.close()


# --- who serves -----------------------------------------------------------------------------------


def test_a_port_in_use_is_said_once_and_taken_when_it_is_free(host, serve, caplog, eventually):
    host.meter.create_counter("hits").add(3)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        serving = serve(port)
        time.sleep(1.2)
        assert serving.server is None
        assert len(caplog.messages) == 1
        assert caplog.messages[0].startswith(
            f"C2C_PROMETHEUS_PORT = {port}: cannot listen on 127.0.0.1: Address already in use"
        )
    eventually(lambda: b"hits_total" in answers(port), 3)
    assert len(caplog.messages) == 1


@pytest.mark.alone
def test_a_child_stands_back_while_its_parent_lives(host, serve, eventually):
    port = free_port()
    counter = host.meter.create_counter("hits")

    def master(channel):
        counter.add(1)
        serve(port)
        channel.say(host.orphan(lambda: counter.add(10)))
        channel.hear()

    parent = host.fork(master)
    worker = parent.hear()
    eventually(lambda: b"} 11.0\n" in answers(port))
    time.sleep(1.2)
    assert owners(port) == {parent.pid}
    parent.kill()
    begun = time.monotonic()
    eventually(lambda: b"} 11.0\n" in answers(port), 5)
    assert time.monotonic() - begun < 3
    assert owners(port) == {worker}
    assert host.directory.hold("serve") is None
    os.kill(worker, signal.SIGKILL)


def test_a_worker_does_not_take_over_from_its_masters_neighbour(host, serve):
    """It could be recycled at any time, and the next one, and the next one."""
    host.meter.create_counter("hits").add(1)
    serving = serve(free_port())
    serving.stop(1)  # the role is free, and this process does not want it any more

    def worker(channel):
        host.meter.create_counter("hits").add(1)
        serving._tick()
        channel.say((serving.leading, serving._may_lead()))

    assert host.fork(worker).hear() == (False, False)


def owners(port):
    """The processes that have a socket listening on *port*."""
    listening = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, address, _, state, *rest = line.split()
        if state == "0A" and address.endswith(f":{port:04X}"):
            listening.add(f"socket:[{rest[5]}]")
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in listening for fd in (process / "fd").iterdir()):
                found.add(int(process.name))
        except OSError:
            continue
    return found


@pytest.mark.alone
def test_after_the_leader_dies_exactly_one_takes_over(host, serve, eventually):
    port = free_port()
    counter = host.meter.create_counter("hits")

    def member(channel):
        counter.add(1)
        serve(port)
        channel.say(0)
        channel.hear()

    def independent(channel):
        """As a process that was started, not forked: it waits for nobody."""
        host.store.check_process()
        member(channel)

    members = [host.fork(independent) for _ in range(3)]
    for process in members:
        process.hear()
    left = {process.pid: process for process in members}
    for _ in range(2):
        (leader,) = eventually(lambda: owners(port))
        assert leader in left
        left.pop(leader).kill()
        begun = time.monotonic()
        eventually(lambda: b"} 3.0\n" in answers(port), 5)
        assert time.monotonic() - begun < 3
        assert len(owners(port)) == 1


@pytest.mark.parametrize("hooks", [True, False], ids=["with hooks", "without hooks"])
def test_a_child_does_not_keep_the_port_of_its_dead_parent(host, serve, hooks):
    """Prometheus would connect to a socket at which nobody accepts, and wait."""
    port = free_port()
    counter = host.meter.create_counter("hits")

    def master(channel):
        serve(port)
        counter.add(1)
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"GET ")
        channel.say(host.orphan(worker_that_serves_nobody, hooks=hooks))
        channel.hear()

    def worker_that_serves_nobody():
        host.store.on_use = lambda: None
        counter.add(1)

    parent = host.fork(master)
    worker = parent.hear()
    assert b"} 2.0\n" in answers(port)
    parent.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)
    os.kill(worker, signal.SIGKILL)  # it was alive


def test_stopping_lets_another_take_over_at_once(host, serve, eventually):
    port = free_port()
    host.meter.create_counter("hits").add(1)
    serving = serve(port)

    def successor(channel):
        host.store.check_process()
        serve(port)
        host.meter.create_counter("hits").add(2)
        channel.say(0)
        channel.hear()

    child = host.fork(successor)
    child.hear()
    assert owners(port) == {os.getpid()}
    serving.stop(5)
    assert not serving.leading
    eventually(lambda: owners(port) == {child.pid}, 3)
    eventually(lambda: b"} 3.0\n" in answers(port), 3)


def test_the_leader_folds_the_dead_and_observes(host, serve, eventually):
    host.meter.create_observable_gauge("level", [lambda _: []], merge="last")
    host.meter.create_counter("hits").add(1)
    serving = serve(free_port())
    for _ in range(3):
        host.ended(lambda: host.meter.create_counter("hits").add(1))
    eventually(lambda: len(host.slabs()) == 2, 5)
    assert host.merged()["hits"] == {(): 4}
    assert serving.leading


class Recorded:
    """A push that writes down when it runs."""

    def __init__(self, events):
        self.events = events

    def start(self):
        self.events.append("start")

    def stop(self, timeout):
        self.events.append(("stop", timeout))


def test_only_who_leads_pushes_and_the_last_push_is_bounded(host):
    events = []
    scraper = Scraper(host.provider, {})
    leader, other = (
        Serving(host.provider, scraper, None, lambda: Recorded(events)) for _ in range(2)
    )
    leader.lead_now()
    other.lead_now()
    assert (leader.leading, other.leading) == (True, False)
    leader._tick()
    other._tick()
    assert events == ["start"]
    leader.stop(2.5)
    other.stop(2.5)
    started, (stopped, seconds) = events
    assert (started, stopped) == ("start", "stop")
    assert 1 < seconds <= 2.5
    other._tick()
    assert other.leading
    other.stop(1)


def test_a_fold_that_fails_does_not_stop_the_observing(host, serve, caplog, eventually):
    asked = []
    host.meter.create_observable_gauge("level", [lambda _: asked.append(1) or []])
    serving = serve(free_port())
    host.ended(lambda: host.meter.create_counter("hits").add(1))
    (host.path / "folded.slab").mkdir()
    eventually(lambda: [m for m in caplog.messages if "Looking after" in m], 5)
    asked.clear()
    serving._observed = 0.0
    eventually(lambda: asked, 5)
    assert len([m for m in caplog.messages if "Looking after" in m]) == 1
    assert host.merged()["hits"] == {(): 1}


@pytest.mark.parametrize("hooks", [True, False], ids=["with hooks", "without hooks"])
def test_a_child_that_measures_nothing_is_observed_too(host, serve, eventually, hooks):
    """Without hooks only when it measures: nothing else tells it that it is another process."""
    port = free_port()
    host.meter.create_observable_counter("seen", [lambda _: [Observation(5)]])
    serve(port)

    def worker(channel):
        if not hooks:
            host.meter.create_counter("hits").add(1)
        channel.hear()

    children = [host.fork(worker, hooks=hooks) for _ in range(2)]
    eventually(lambda: b"} 15.0\n" in answers(port), 5)
    for child in children:
        child.kill()


def test_whoever_leaves_the_port_to_us_is_told(serve, caplog):
    serving = serve(0)
    assert f"Metrics are served on port {serving.server.port}." in caplog.messages


def test_a_daemon_that_measures_nothing_serves_when_its_launcher_has_ended(host, serve, eventually):
    """Gunicorn --daemon: the launcher forks twice and ends, and the master only forks workers."""
    port = free_port()

    def launcher(channel):
        serve(port)

        def between():
            def master():
                worker = host.orphan(lambda: host.meter.create_counter("hits").add(7))
                return os.getpid(), worker

            return host.orphan(master)

        channel.say(host.orphan(between))
        channel.hear()

    parent = host.fork(launcher)
    parent.hear()
    parent.kill()
    eventually(lambda: b"} 7.0\n" in answers(port), 6)


def test_without_threads_to_be_had_measuring_goes_on(host, monkeypatch, caplog):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    serving = Serving(host.provider, Scraper(host.provider, {}))
    host.store.on_use = serving.start
    monkeypatch.setattr(threading.Thread, "start", refuse)
    host.meter.create_counter("hits").add(3)
    assert host.merged()["hits"] == {(): 3.0}
    assert "can't start new thread" in caplog.text
    serving.stop(1)


@pytest.mark.alone
def test_a_callback_that_hangs_costs_neither_scrapes_nor_the_end(host, serve):
    entered, leave = threading.Event(), threading.Event()

    def hanging(_):
        entered.set()
        leave.wait(30)
        return []

    host.meter.create_observable_gauge("stuck", [hanging])
    counter = host.meter.create_counter("hits")
    port = free_port()
    serving = serve(port)
    counter.add(2)
    assert entered.wait(10)
    assert b"} 2.0\n" in answers(port)
    begun = time.monotonic()
    serving.stop(2)
    assert time.monotonic() - begun < 3
    leave.set()


def test_a_scrape_during_an_observation_has_what_is_observed_last(host):
    """Of a process that has just started, else, there would be half of the gauges."""
    entered = threading.Event()

    def slow(_):
        entered.set()
        time.sleep(0.2)
        return [Observation(1)]

    host.meter.create_observable_gauge("first", [slow])
    host.meter.create_observable_gauge("last", [lambda _: [Observation(7)]])
    other = threading.Thread(target=host.provider.observe)
    other.start()
    assert entered.wait(10)
    text, _ = Scraper(host.provider, {}).expose()
    other.join()
    assert b"} 7.0\n" in text


def test_a_worker_that_gives_up_root_counts(host, monkeypatch):
    """With ``gunicorn --user`` they are forked as root, and count as somebody else."""
    monkeypatch.setitem(sys.modules, "gunicorn", sys)
    counter = host.meter.create_counter("hits")
    counter.add(1)

    def worker(channel):
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        for _ in range(3):
            counter.add(1)
        channel.say("counted")

    child = host.fork(worker)
    child.hear()
    assert host.merged()["hits"] == {(): 4.0}


FORKING = """
import importlib.abc, os, signal, sys, threading, time

beginning = threading.Event()


class Slow(importlib.abc.MetaPathFinder):
    # What the first scrape imports takes a while, as on a busy machine.
    def find_spec(self, name, path=None, target=None):
        if name == "urllib.request":
            sys.meta_path.remove(self)
            beginning.set()
            time.sleep(0.5)


from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.scrape import Scraper
from c2cotel.metrics.store import Store


assert "urllib.request" not in sys.modules
scraper = Scraper(MeterProvider(Store(None, 100)), {})
sys.meta_path.insert(0, Slow())
threading.Thread(target=scraper.expose).start()
assert beginning.wait(30)
if not (pid := os.fork()):
    signal.alarm(20)
    import urllib.request
    os._exit(0)
print(os.waitpid(pid, 0)[1])
"""


def test_a_fork_waits_until_the_first_scrape_has_imported_what_it_needs():
    """Else the child waits for ever when it imports the same, as all of gunicorn's workers do."""
    argv = [sys.executable, "-W", "ignore", "-c", FORKING]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")
