"""How many values are set now: one number for the host, whoever is asked."""

import signal

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from c2cotel.broadcast.active import Active
from c2cotel.broadcast.records import Record
from c2cotel.metrics.merge import Merge

from .service import soon

LABELS = {"debug": "DEBUG", "info": "INFO"}
NOTHING = {"DEBUG": 0, "INFO": 0, "other": 0}


@pytest.fixture
def counting(service):
    """Makes processes of one host that count together."""

    def make(**options):
        process = service.process(start=False, use=False)
        process.share_metrics()
        process.use(labels=LABELS)
        process.start(**options)
        return process

    return make


@pytest.fixture
def active(tmp_path):
    """What a scrape of the host says, by label."""

    def read():
        return {
            dict(row.key).get("c2c.switch.value"): row.values[0]
            for family, rows in Merge(tmp_path / "host").read()
            if family.description.name == "c2c.switch.active"
            for row in rows
            if dict(row.key)["c2c.switch"] == "level"
        }

    return read


def test_nothing_set_is_zero_from_the_start(counting, active):
    counting()
    assert active() == NOTHING


def test_what_is_set_counts_once_for_all_processes(counting, active):
    one, other = counting(), counting()
    one.set("DEBUG", key="a")
    other.set("DEBUG", key="b")
    other.set("ERROR", key="c")
    assert active() == {"DEBUG": 2, "INFO": 0, "other": 1}
    one.set("INFO", key="b")
    assert active() == {"DEBUG": 1, "INFO": 1, "other": 1}
    one.reset("a")
    other.reset("c")
    assert active() == {"DEBUG": 0, "INFO": 1, "other": 0}


def test_what_has_expired_counts_no_more(counting, active):
    one, _ = counting(), counting()
    one.set("DEBUG", key="a", ttl=0.3)
    assert active()["DEBUG"] == 1
    soon(active, NOTHING)


def test_a_new_process_goes_on_with_what_is_set(counting, active):
    one = counting()
    one.set("DEBUG", key="a")
    counting()
    assert active()["DEBUG"] == 1
    one.kill()
    assert active()["DEBUG"] == 1


def test_what_ends_while_nobody_is_there_is_over_for_the_next(counting, active):
    one = counting()
    one.set("DEBUG", key="a", ttl=0.2)
    one.kill()
    assert active()["DEBUG"] == 1

    def next_one():
        process = counting()
        try:
            return active()
        finally:
            process.kill()

    soon(next_one, NOTHING)


def test_before_it_has_read_what_is_set_a_process_says_nothing(counting, active, service):
    counting().set("DEBUG", key="a")
    starting = service.process(start=False, use=False)
    starting.share_metrics()
    starting.use(labels=LABELS)
    assert active()["DEBUG"] == 1
    starting.start()
    assert active()["DEBUG"] == 1


def test_a_stopped_process_does_not_hold_the_number_back(counting, active):
    one, other = counting(), counting()
    one.set("DEBUG", key="a", ttl=0.5)
    other.signal(signal.SIGSTOP)
    try:
        soon(active, NOTHING)
    finally:
        other.signal(signal.SIGCONT)
    soon(other.effective, {})
    assert active() == NOTHING


def test_with_another_sdk_it_is_one_process_s(service):
    process = service.process(start=False, use=False)
    process.measure()
    process.use()
    process.start()
    process.set("DEBUG")
    found = process.measured()[0]
    assert found["c2c.switch.active", "{override}", ("c2c.switch", "level")] == 1


def test_what_is_set_to_false_is_not_active():
    reader = InMemoryMetricReader()
    active = Active(MeterProvider([reader]))
    active.labels["readonly"] = {}

    def told(value):
        active.tell([Record(kind="readonly", key="", value=value, n=1, token="a")])
        (resource,) = reader.get_metrics_data().resource_metrics
        (point,) = resource.scope_metrics[0].metrics[0].data.data_points
        return dict(point.attributes), point.value

    assert [told(value) for value in (True, False, None)] == [
        ({"c2c.switch": "readonly"}, number) for number in (1, 0, 0)
    ]
