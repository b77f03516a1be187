"""One scrape: ours, that of gunicorn.conf.py, what is broadcast, and the application's own."""

import re

import pytest

from c2cotel_acceptance.processes import pause
from c2cotel_acceptance.utils import retry_timeout


def heads(text):
    return re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)


def pids(scrape, name):
    return {sample.labels["pid"] for sample in scrape.samples if sample.name == name}


def texts(numbers):
    return {str(number) for number in numbers}


@pytest.mark.parametrize("where", ["by_port", "by_view"])
def test_everything_is_in_one_scrape(shop, promtool, where):
    workers = texts(shop.process.workers())
    before = shop.scrape().total("app_orders_total")
    counts = shop.ask_all("order")
    scrape = shop.scrape(getattr(shop, where))
    # Ours.
    assert scrape.total("http_server_request_duration_seconds_count", http_route="/order") > 0
    # The registry of gunicorn.conf.py.
    assert scrape.total("host_free_bytes") == 12
    assert scrape.by("python_resource", "name")[("maxrss",)] > 0
    # The application's own, merged by prometheus_client.
    assert scrape.total("app_orders_total", shop="zürich") == before + sum(counts.values())
    assert scrape.total("app_order_seconds_count") == scrape.total("app_orders_total")
    assert pids(scrape, "app_last_order") == workers
    # Broadcast.
    assert pids(scrape, "app_queue") == workers
    assert scrape.total("app_queue") == 8
    found = heads(scrape.text)
    assert len(found) == len(set(found))
    assert scrape.text.count("# HELP") == len(found)
    promtool(scrape.text)


def test_it_is_openmetrics_too(shop):
    scrape = shop.scrape(openmetrics=True)
    assert scrape.total("app_orders_total") > 0
    assert scrape.total("host_free_bytes") == 12


def test_a_collector_that_raises_is_said_once_by_each_process(shop):
    for _ in range(3):
        shop.scrape()
    lines = shop.process.output().splitlines()
    said = [line for line in lines if "BrokenCollector cannot be collected" in line]
    # The master, and whichever workers have been asked for the view.
    assert 1 <= len(said) <= 3
    assert "the disk is away" in shop.process.output()


def test_a_worker_that_is_stopped_does_not_hang_the_scrape(shop):
    shop.ask_all("order")
    stopped, other = shop.process.workers()
    pause(stopped)
    try:
        for _ in range(2):
            scrape = shop.scrape()
            assert pids(scrape, "app_queue") == {str(other)}
            assert scrape.total("host_free_bytes") == 12
    finally:
        shop.process.signal(18, stopped)  # SIGCONT
    assert f"Process {stopped} has not told what" in shop.process.output()
    retry_timeout(lambda: len(pids(shop.scrape(), "app_queue")) == 2, 10, 0.1)


def test_a_worker_that_ends_takes_its_own_with_it_and_leaves_the_counts(shop):
    shop.ask_all("order")
    before = shop.scrape()
    ended = shop.process.workers()[0]
    shop.process.signal(15, ended)
    retry_timeout(
        lambda: len(shop.process.workers()) == 2 and ended not in shop.process.workers(), 10, 0.05
    )
    shop.ask_all("order")
    after = shop.scrape()
    assert after.total("app_orders_total") > before.total("app_orders_total")
    assert str(ended) not in pids(after, "app_queue") | pids(after, "app_last_order")
    assert pids(after, "app_queue") == texts(shop.process.workers())


@pytest.mark.parametrize("where", ["by_port", "by_view"])
def test_without_files_each_process_tells_its_own(shop_without_files, promtool, where):
    shop = shop_without_files
    before = shop.scrape().by("app_orders_total", "pid")
    counts = shop.ask_all("order")
    scrape = shop.scrape(getattr(shop, where))
    assert scrape.by("app_orders_total", "pid") == {
        (str(pid),): before.get((str(pid),), 0) + count for pid, count in counts.items()
    }
    assert pids(scrape, "app_queue") == texts(shop.process.workers())
    assert scrape.total("host_free_bytes") == 12
    found = heads(scrape.text)
    assert len(found) == len(set(found))
    # Ours are there; those of prometheus_client's default registry would be the same again.
    assert "process_resident_memory_bytes" not in found
    promtool(scrape.text)
    assert "the queue is away" in shop.process.output()


def test_a_metric_that_a_request_makes_is_in_the_next_scrape(shop_without_files):
    shop = shop_without_files
    pid = shop.ask("late")
    assert pids(shop.scrape(), "app_late_total") == {str(pid)}


def test_preloaded_workers_tell_their_own_and_the_master_no_queue(shop_preloaded):
    shop = shop_preloaded
    before = shop.scrape().by("app_orders_total", "pid")
    counts = shop.ask_all("order")
    scrape = shop.wait(lambda s: len(pids(s, "app_queue")) == 2)
    assert pids(scrape, "app_queue") == texts(shop.process.workers())
    assert scrape.by("app_orders_total", "pid") == {
        (str(pid),): before.get((str(pid),), 0) + count for pid, count in counts.items()
    }
