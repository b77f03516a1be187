"""What other processes of this host tell of prometheus_client."""

import json
import os
import threading
import time

import pytest
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families as parse_text
from pyramid.config import Configurator

from c2cotel import broadcast, prometheus
from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.metrics.foreign import Foreign
from c2cotel.metrics.serialized import deserialize
from c2cotel.otel import collectors
from c2cotel.otel.collectors import CHANNEL, MARK, Processes

PID = str(os.getpid())


class Pool:
    def __init__(self, size=2):
        self.size = size

    def collect(self):
        family = GaugeMetricFamily("pool_size", "Connections", labels=["state"])
        family.add_metric(["used"], self.size)
        yield family


@pytest.fixture
def peer(directory):
    """``peer(answer)``: another one of this host, which answers scrapes with *answer*."""
    made = []

    def start(answer):
        other = Broadcaster(host="other")
        made.append(other)
        other.subscribe(CHANNEL, answer)
        other.start(directory.path, None, "")
        (directory.path / MARK).touch()
        return other

    yield start
    for other in made:
        other.stop()


@pytest.fixture
def collected(directory):
    processes = Processes(directory, Foreign())

    def collect():
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in processes.collect()
            for sample in family.samples
        }

    return collect


def serialized(value, **labels):
    return [
        {
            "type": "gauge",
            "args": {"name": "jobs", "documentation": "Jobs"},
            "samples": [{"name": "jobs", "labels": labels, "value": value}],
        }
    ]


def test_serialized_metrics_are_json_with_the_pid():
    told = prometheus.serialize_collected_data(Pool())
    assert json.loads(json.dumps(told)) == [
        {
            "type": "gauge",
            "args": {"name": "pool_size", "documentation": "Connections", "unit": ""},
            "samples": [
                {"name": "pool_size", "labels": {"pid": PID, "state": "used"}, "value": 2.0}
            ],
        }
    ]


def test_a_pid_that_the_collector_gives_stays():
    class Other:
        def collect(self):
            family = GaugeMetricFamily("rss", "Of another process", labels=["pid"])
            family.add_metric(["1"], 5)
            yield family

    (metric,) = prometheus.serialize_collected_data(Other())
    assert metric["samples"][0]["labels"] == {"pid": "1"}


@pytest.mark.parametrize("kind", [Counter, Gauge, Histogram])
def test_every_type_survives_the_way_to_another_process(kind, registry):
    metric = kind("thing_seconds", "Thing", ["a"], registry=registry, unit="seconds").labels("x")
    (metric.observe if kind is Histogram else metric.inc)(3)
    (there,) = registry.collect()
    (back,) = deserialize(
        json.loads(json.dumps(prometheus.serialize_collected_data(registry))), os.getpid()
    )
    assert (back.name, back.type, back.documentation, back.unit) == (
        *(there.name, there.type),
        *(there.documentation, there.unit),
    )
    assert [(s.name, s.labels, s.value) for s in back.samples] == [
        (s.name, {**s.labels, "pid": PID}, s.value) for s in there.samples
    ]


@pytest.mark.parametrize(
    "told",
    [
        None,
        {"status": 500, "message": "no", "hostname": "x", "pid": 1},
        [None],
        [{"type": "gauge"}],
        [{"type": "gauge", "args": {"name": 3}, "samples": []}],
        [{"type": "strange", "args": {"name": "a"}, "samples": []}],
        [{"type": "gauge", "args": {"name": "a"}, "samples": ["a"]}],
        [{"type": "gauge", "args": {"name": "a"}, "samples": [{"name": "a"}]}],
        [
            {
                "type": "gauge",
                "args": {"name": "a"},
                "samples": [{"name": "a", "labels": {}, "value": "3"}],
            }
        ],
    ],
)
def test_an_answer_that_is_none_costs_its_own_metrics(peer, collected, caplog, told):
    peer(lambda **_: told)
    peer(lambda **_: serialized(4.0, pid="1"))
    for _ in range(2):
        assert collected() == {("jobs", ("pid", "1")): 4.0}
    (message,) = caplog.messages
    assert message.startswith(f"What process {PID} tells cannot be read (said once): ")


def test_the_processes_of_the_host_are_asked_together(peer, collected):
    for number in range(3):
        peer(lambda number=number, **_: serialized(number, pid=str(number)))
    assert collected() == {("jobs", ("pid", str(n))): float(n) for n in range(3)}


def test_an_answer_without_a_pid_gets_that_of_its_process(peer, collected):
    peer(lambda **_: serialized(1.0, queue="a"))
    assert collected() == {("jobs", ("pid", PID), ("queue", "a")): 1.0}


@pytest.mark.alone
def test_a_process_that_does_not_answer_is_left_out_and_said_once(
    peer, collected, caplog, monkeypatch
):
    monkeypatch.setattr(collectors, "_PATIENCE", 0.2)
    go_on = threading.Event()
    peer(lambda **_: go_on.wait(20) and [])
    peer(lambda **_: serialized(4.0, pid="1"))
    try:
        for _ in range(2):
            began = time.monotonic()
            assert collected() == {("jobs", ("pid", "1")): 4.0}
            assert time.monotonic() - began < 2
    finally:
        go_on.set()
    (message,) = caplog.messages
    assert message == (
        f"Process {PID} has not told what prometheus_client collects there within 0.2 s: "
        "it is left out of the scrape (said once)."
    )


def test_nobody_is_asked_before_somebody_has_something(peer, collected, directory):
    asked = []
    peer(lambda **_: asked.append(1) or [])
    (directory.path / MARK).unlink()
    assert collected() == {}
    assert asked == []
    # Of what has been appended in gunicorn.conf.py, only its workers know.
    prometheus.MULTI_PROCESS_COLLECTOR_BROADCAST_CHANNELS.append("app_pool")
    collected()
    assert asked == [1]


def test_the_channels_of_the_asker_and_of_the_asked_are_answered(collected):
    broadcast.subscribe("here", lambda: serialized(1.0, what="here"))
    broadcast.subscribe("there", lambda: serialized(2.0, what="there"))
    prometheus.MULTI_PROCESS_COLLECTOR_BROADCAST_CHANNELS.append("here")
    told = collectors.tell(["there", "here", "nobody"])
    assert [metric["samples"][0]["value"] for metric in told] == [1.0, 2.0]
    assert collected() == {("jobs", ("pid", PID), ("what", "here")): 1.0}


def test_a_callback_that_raises_costs_its_own_channel(collected, caplog):
    def fail():
        raise RuntimeError("the pool is away")

    channels = prometheus.MULTI_PROCESS_COLLECTOR_BROADCAST_CHANNELS
    channels.extend(["fails", "odd", "works"])
    broadcast.subscribe("fails", fail)
    broadcast.subscribe("odd", lambda: {"no": "list"})
    broadcast.subscribe("works", lambda: prometheus.serialize_collected_data(Pool()))
    for _ in range(2):
        assert collected() == {("pool_size", ("pid", PID), ("state", "used")): 2.0}
    assert caplog.messages == [
        f"Channel {name} cannot be collected in process {PID} (said once). "
        "The other metrics are exposed."
        for name in ("fails", "odd")
    ]


def test_the_default_registry_is_told_without_what_is_in_there_anyway(collected):
    assert collected() == {}
    Counter("app_orders", "Orders", ["shop"]).labels("a").inc(3)
    REGISTRY.register(Pool())
    told = collected()
    assert told.pop(("app_orders_created", ("pid", PID), ("shop", "a"))) > 0
    assert told == {
        ("app_orders_total", ("pid", PID), ("shop", "a")): 3.0,
        ("pool_size", ("pid", PID), ("state", "used")): 2.0,
    }


def test_a_broken_collector_in_the_default_registry_costs_itself(collected, caplog):
    class Broken:
        def describe(self):
            return []

        def collect(self):
            raise RuntimeError

    REGISTRY.register(Broken())
    REGISTRY.register(Pool())
    for _ in range(2):
        assert list(collected()) == [("pool_size", ("pid", PID), ("state", "used"))]
    assert len(caplog.messages) == 1


def test_with_files_the_default_registry_is_not_told_again(collected, monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    REGISTRY.register(Pool())
    assert collected() == {}


def test_a_default_registry_that_has_been_given_is_not_told_again(directory):
    REGISTRY.register(Pool())
    given = Foreign()
    assert len(list(Processes(directory, given).collect())) == 1
    given.add(REGISTRY)
    assert list(Processes(directory, given).collect()) == []


def test_an_application_says_that_it_has_something(provider, directory, exposed):
    collectors.listen(directory, provider)
    collectors.listen(directory, provider)
    assert "c2c_prometheus_collectors" not in exposed()
    assert not (directory.path / MARK).exists()
    REGISTRY.register(Pool())
    assert 'c2c_prometheus_collectors{otel_scope_name="c2cotel.prometheus"' in exposed()
    values = {s.name: s.value for f in parse_text(exposed()) for s in f.samples}
    assert values["c2c_prometheus_collectors"] == 1.0
    assert (directory.path / MARK).stat().st_mode & 0o777 == 0o600


def test_the_run_directory_is_emptied_of_the_mark(directory):
    from c2cotel.metrics.directory import own_files

    (directory.path / MARK).touch()
    assert directory.path / MARK in own_files(directory.path)


def test_an_application_answers_when_it_includes_the_feature(directory, monkeypatch):
    config = Configurator(settings={})
    config.add_directive("add_c2c_view", lambda *_, **__: None)
    monkeypatch.setenv("C2C_RUN_DIR", str(directory.path))
    config.include("c2cotel.prometheus")
    assert broadcast.broadcaster().subscribed(CHANNEL) is collectors.tell


def test_a_registry_that_a_worker_is_given_is_told_by_it(run_python):
    """The one who serves is gunicorn's master; the application gives its registry in a worker."""
    run_python(GIVEN)


GIVEN = """
import json, os
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from c2cotel import otel, prometheus
from c2cotel.otel import collectors
inherited, own = CollectorRegistry(), CollectorRegistry()
Gauge("inherited", "Of the master", registry=inherited)
Gauge("own", "Of the worker", registry=own).set(2)
Counter("orders", "In the default registry")
otel.set_up()
prometheus.start(inherited)
def names():
    return [metric["args"]["name"] for metric in collectors.tell()]
assert names() == ["orders", "inherited"], names()
pid = os.fork()
if pid == 0:
    assert names() == ["orders"], names()
    prometheus.start(own)
    assert names() == ["orders", "own"], names()
    prometheus.start(REGISTRY)
    assert names()[0] == "own" and names().count("orders") == 1, names()
    text = otel.set_up().scraper.expose()[0].decode()
    assert text.count("# TYPE orders_total counter") == 1, text
    assert "own 2.0" in text and "inherited 0.0" in text, text
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
