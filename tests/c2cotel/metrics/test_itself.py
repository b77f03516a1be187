"""What the store says of itself."""

import os

import pytest
from opentelemetry.sdk.resources import Resource

from c2cotel.metrics.fold import Folder
from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.scrape import Scraper
from c2cotel.metrics.serving import Serving
from c2cotel.metrics.store import Store


def told(host, name):
    return host.merged()[f"c2c.metrics.{name}"]


def of(instrument):
    return (("c2c.metrics.instrument", instrument),)


def test_the_fullest_five_instruments_are_named(small_host):
    for name, count in {"a": 7, "b": 2, "c": 9, "d": 1, "e": 3, "f": 4}.items():
        counter = small_host.meter.create_counter(name)
        for number in range(count):
            counter.add(1, {"number": number})
    assert told(small_host, "instrument.series") == {
        of(name): count for name, count in {"c": 9, "a": 7, "f": 4, "e": 3, "b": 2}.items()
    }
    assert told(small_host, "instrument.limit") == {(): 10}
    assert told(small_host, "overflowing") == {(): 0}


def test_the_series_of_all_processes_count_together(small_host):
    def count(numbers):
        counter = small_host.meter.create_counter("hits")
        for number in numbers:
            counter.add(1, {"number": number})

    count(range(6))
    small_host.ended(lambda: count(range(4, 9)))
    assert told(small_host, "instrument.series")[of("hits")] == 9
    small_host.fold()
    assert told(small_host, "instrument.series")[of("hits")] == 9
    assert told(small_host, "overflowing") == {(): 0}
    # No process has more than ten, and nobody has counted an overflow.
    small_host.ended(lambda: count(range(20, 26)))
    assert told(small_host, "instrument.series")[of("hits")] == 11
    assert told(small_host, "overflowing") == {(): 1}
    assert told(small_host, "overflowed") == {(): 0}


def test_an_instrument_that_overflows_in_one_process_is_overflowing(small_host):
    gauge = small_host.meter.create_gauge("age")
    for number in range(11):
        gauge.set(1, {"number": number})
    assert told(small_host, "overflowing") == {(): 1}
    assert told(small_host, "overflowed") == {(): 1}


def test_gauges_by_process_are_as_many_as_in_the_fullest_process(small_host):
    def measure(channel, count):
        gauge = small_host.meter.create_gauge("age")
        for number in range(count):
            gauge.set(1, {"number": number})
        channel.say("done")
        channel.hear()

    for count in (3, 8, 6):
        small_host.fork(lambda channel, count=count: measure(channel, count)).hear()
    assert told(small_host, "series") == {(): 17}
    assert told(small_host, "instrument.series") == {of("age"): 8}


def test_who_comes_into_the_first_five_and_leaves_them_is_exposed_under_its_name(small_host):
    scraper = Scraper(small_host.provider, {})

    def exposed():
        lines = scraper.expose()[0].decode().splitlines()
        found = [line for line in lines if line.startswith("c2c_metrics_instrument_series{")]
        return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in found}

    counters = {name: small_host.meter.create_counter(name) for name in "abcdef"}
    for name in "abcde":
        counters[name].add(1)
    assert exposed() == dict.fromkeys("abcde", 1)
    for number in range(3):
        counters["f"].add(1, {"number": number})
        for name in "abcd":
            counters[name].add(1, {"number": number})
    assert exposed() == {**dict.fromkeys("abcd", 4), "f": 3}


def test_the_directory_is_as_large_as_its_files_are_filled(host):
    host.meter.create_counter("hits").add(1)
    used = told(host, "directory.size")[()]
    assert 64 * 1024 <= used < 192 * 1024
    host.ended(lambda: host.meter.create_counter("hits").add(1))
    assert told(host, "directory.size")[()] >= used + 64 * 1024
    system = os.statvfs(host.path)
    free = system.f_bavail * system.f_frsize
    assert told(host, "directory.available")[()] == pytest.approx(free, rel=0.2)


def test_without_a_directory_there_is_none_to_be_told():
    text = Scraper(MeterProvider(Store(None)), {}).expose()[0].decode()
    assert "c2c_metrics_processes{" in text
    assert "c2c_metrics_directory" not in text


class Clock:
    perf_counter = iter([10.0, 12.5]).__next__


def test_a_scrape_tells_how_long_the_one_before_has_taken(host, monkeypatch):
    scraper = Scraper(host.provider, {})
    with monkeypatch.context() as patched:
        patched.setattr("c2cotel.metrics.scrape.time", Clock)
        assert b"c2c_metrics_scrape_duration_seconds" not in scraper.expose()[0]
    (line,) = (
        line
        for line in scraper.expose()[0].decode().splitlines()
        if line.startswith("c2c_metrics_scrape_duration_seconds{")
    )
    assert line.endswith(" 2.5")


def test_a_push_counts_as_a_scrape(host):
    scraper = Scraper(host.provider, {})
    scraper.metrics_data(Resource({}))
    assert b"\nc2c_metrics_scrape_duration_seconds{" in scraper.expose()[0]


def test_a_fold_that_fails_is_counted_each_time(host):
    """As when the file system is full."""
    host.meter.create_counter("hits").add(1)
    host.ended(lambda: host.meter.create_counter("hits").add(1))
    serving = Serving(host.provider, Scraper(host.provider, {}))
    # Nothing can be put in its place.
    (host.path / f"folded.slab.{os.getpid()}.tmp").mkdir()
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            serving._take_part()
    assert host.merged()["hits"] == {(): 2}
    assert told(host, "fold.failures") == {(): 2}
    (host.path / f"folded.slab.{os.getpid()}.tmp").rmdir()
    serving._take_part()
    assert Folder(host.directory).fold() == 0
    assert told(host, "fold.failures") == {(): 2}
    serving.stop(1)
