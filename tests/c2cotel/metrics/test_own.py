"""What one process knows of its own numbers."""

import pytest
from opentelemetry.metrics import NoOpMeterProvider

from c2cotel.metrics import own
from c2cotel.metrics.directory import RunDirectory
from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.store import Store


@pytest.fixture
def directory(tmp_path):
    joined = RunDirectory(tmp_path, temporary=False)
    yield joined
    joined.leave()


@pytest.fixture(params=["file", "memory"])
def provider(request, directory):
    provider = MeterProvider(Store(directory if request.param == "file" else None))
    yield provider
    if provider.store.slab is not None:
        provider.store.slab.close()


def test_the_measurements_of_a_histogram_are_counted_over_all_its_series(provider):
    histogram = provider.get_meter("m").create_histogram("asked", "s")
    for seconds in (0.001, 3.0, 100_000.0):
        histogram.record(seconds, {"route": "/a"})
    histogram.record(0.5, {"route": "/b"})
    assert own.measurements("asked", provider) == 4


def test_those_of_another_scope_are_counted_with_them_and_other_instruments_are_not(provider):
    provider.get_meter("m").create_histogram("asked", "s").record(1)
    provider.get_meter("n").create_histogram("asked", "s").record(1)
    provider.get_meter("m").create_histogram("asked.not", "s").record(1)
    provider.get_meter("m").create_counter("other").add(7)
    provider.get_meter("n").create_counter("asked.too").add(7)
    assert own.measurements("asked", provider) == 2


def test_before_the_first_measurement_there_are_none(provider):
    provider.get_meter("m").create_histogram("asked", "s")
    assert own.measurements("asked", provider) == 0


def test_another_provider_counts_nothing_here():
    assert own.measurements("asked", NoOpMeterProvider()) is None
    assert own.group_instance(NoOpMeterProvider()) is None


def test_the_instance_is_that_of_the_group(directory):
    provider = MeterProvider(Store(directory))
    assert own.group_instance(provider) == directory.group.instance
    assert own.group_instance(MeterProvider(Store(None))) is None
