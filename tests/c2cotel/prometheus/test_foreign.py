"""What prometheus_client collects, in the same text as ours."""

import gc
import shutil
import struct
import threading
from pathlib import Path

import pytest
from prometheus_client import Counter, Enum, Gauge, Histogram, Info, Metric, Summary, mmap_dict
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from c2cotel.metrics import foreign

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Queue:
    """A collector as the manual of prometheus_client shows it."""

    def __init__(self, value=3.0, name="queue_size"):
        self.value = value
        self.name = name

    def collect(self):
        yield GaugeMetricFamily(self.name, "Jobs that wait", value=self.value)


class Broken:
    def collect(self):
        yield GaugeMetricFamily("before_it_broke", "Complete", value=1)
        raise RuntimeError("the queue is away")


class Odd:
    def __init__(self, *given):
        self.given = given

    def collect(self):
        return self.given


def test_a_custom_collector_is_part_of_the_scrape(scraper, registry, exposed):
    registry.register(Queue())
    scraper.foreign.add(registry)
    assert (
        exposed() == "# HELP queue_size Jobs that wait\n# TYPE queue_size gauge\nqueue_size 3.0\n"
    )


def test_all_types_are_written_as_prometheus_client_writes_them(scraper, registry, exposed):
    Counter("hits", "Hits", ["path"], registry=registry).labels("/").inc(2)
    Gauge("level", "Level", registry=registry).set(-1.5)
    Histogram("took_seconds", "Time", buckets=(1, 2), registry=registry).observe(1.5)
    Summary("size_bytes", "Size", registry=registry).observe(10)
    Info("build", "Build", registry=registry).info({"version": "1"})
    Enum("state", "State", states=["on", "off"], registry=registry).state("on")
    scraper.foreign.add(registry)
    from prometheus_client import generate_latest
    from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

    assert exposed() == generate_latest(registry).decode()
    assert exposed(OPENMETRICS) == generate_openmetrics(registry).decode()
    assert len(list(parse_text(exposed()))) == 9  # with three times of creation
    assert len(list(parse_openmetrics(exposed(OPENMETRICS)))) == 6


def test_a_collector_that_raises_costs_its_own_family_only(scraper, registry, exposed, caplog):
    for collector in (Queue(1, "a"), Broken(), Queue(2, "b")):
        registry.register(collector)
    scraper.foreign.add(registry)
    for _ in range(3):
        assert [line for line in exposed().splitlines() if line[0] != "#"] == [
            "a 1.0",
            "before_it_broke 1.0",
            "b 2.0",
        ]
    (record,) = caplog.records
    assert record.getMessage() == (
        f"Collector {Broken.__module__}.Broken cannot be collected (said once). "
        "The other metrics are exposed."
    )
    assert "the queue is away" in str(record.exc_info[1])


@pytest.mark.parametrize(
    "given",
    [
        (None,),
        ("text",),
        (Metric("odd", "Odd", "gauge"), object()),
    ],
)
def test_what_is_no_metric_is_left_out_and_said(scraper, registry, exposed, caplog, given):
    registry.register(Odd(*given))
    registry.register(Queue())
    scraper.foreign.add(registry)
    for _ in range(2):
        assert "queue_size 3.0\n" in exposed()
    assert ["no metric" in message for message in caplog.messages] == [True]


def test_a_value_that_cannot_be_written_costs_its_family_only(scraper, registry, exposed, caplog):
    registry.register(Odd(GaugeMetricFamily("odd", "Odd", value="three")))
    registry.register(Queue())
    scraper.foreign.add(registry)
    for accept in ("", OPENMETRICS, ""):
        text = exposed(accept)
        assert "queue_size 3.0\n" in text
        assert "odd" not in text
    (message,) = caplog.messages
    assert message.startswith("odd of prometheus_client cannot be written: ")
    assert "three" in message


def test_a_collector_that_hangs_costs_the_scrape_it_hangs_in(
    scraper, registry, exposed, caplog, monkeypatch
):
    monkeypatch.setattr(foreign, "_PATIENCE", 0.05)
    asked, go_on = threading.Event(), threading.Event()

    class Hanging:
        def collect(self):
            asked.set()
            assert go_on.wait(20)
            yield GaugeMetricFamily("hung", "At last", value=1)

    registry.register(Hanging())
    registry.register(Queue())
    scraper.foreign.add(registry)
    told = []
    first = threading.Thread(target=lambda: told.append(exposed()))
    first.start()
    try:
        assert asked.wait(20)
        for _ in range(2):
            assert "hung" not in exposed()
            assert "queue_size 3.0" in exposed()
    finally:
        go_on.set()
        first.join()
    assert "hung 1.0" in told[0]
    assert "hung 1.0" in exposed()
    assert len(caplog.messages) == 1
    assert "has not come back from an earlier scrape" in caplog.messages[0]


def test_one_family_of_two_registries_has_one_head(scraper, exposed):
    from prometheus_client import CollectorRegistry

    for host in ("a", "b"):
        registry = CollectorRegistry()
        Gauge("level", f"Level of {host}", ["host"], registry=registry).labels(host).set(1)
        scraper.foreign.add(registry)
        scraper.foreign.add(registry)
    assert exposed() == (
        '# HELP level Level of a\n# TYPE level gauge\nlevel{host="a"} 1.0\nlevel{host="b"} 1.0\n'
    )


def test_a_series_that_comes_twice_is_there_once(scraper, exposed):
    from prometheus_client import CollectorRegistry

    for value in (1, 2):
        registry = CollectorRegistry()
        registry.register(Queue(value))
        scraper.foreign.add(registry)
    assert exposed().splitlines()[2:] == ["queue_size 1.0"]


def test_one_name_of_two_types_is_said_and_the_first_exposed(scraper, registry, exposed, caplog):
    registry.register(Queue(1, "thing"))
    registry.register(Odd(CounterMetricFamily("thing", "Other", value=2)))
    registry.register(Odd(Metric("thing", "Third", "summary")))
    scraper.foreign.add(registry)
    # A counter is exposed as thing_total, which is no other type of thing.
    assert [line for line in exposed().splitlines() if "TYPE" in line] == [
        "# TYPE thing gauge",
        "# TYPE thing_total counter",
    ]
    exposed()
    (message,) = caplog.messages
    assert "gives thing as summary, which is gauge already" in message


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_family_that_has_our_name_stands_below_our_head(
    provider, scraper, registry, exposed, accept
):
    meter = provider.get_meter("shop")
    meter.create_counter("hits", description="Ours.").add(1, {"path": "/"})
    meter.create_up_down_counter("level", description="Ours.").add(2)
    Counter("hits", "Theirs", ["other"], registry=registry).labels("x").inc(5)
    Gauge("level", "Theirs", ["other"], registry=registry).labels("x").set(7)
    Gauge("own", "Theirs", registry=registry).set(8)
    scraper.foreign.add(registry)
    text = exposed(accept)
    suffix = "" if accept else "_total"
    assert text.count(f"# HELP hits{suffix} Ours.\n") == text.count("# HELP hits") == 1
    assert text.count("# TYPE level gauge\n") == text.count("# TYPE level") == 1
    lines = text.splitlines()
    at = lines.index(f"# TYPE hits{suffix} counter")
    assert lines[at + 1].startswith("hits_total{otel_scope")
    assert lines[at + 2] == 'hits_total{other="x"} 5.0'
    parse = parse_openmetrics if accept else parse_text
    values = {(s.name, s.labels.get("other")): s.value for f in parse(text) for s in f.samples}
    assert values["hits_total", None] == 1
    assert values["hits_total", "x"] == 5
    assert values["level", "x"] == 7
    assert values["own", None] == 8


def test_our_type_wins_over_that_of_prometheus_client(provider, scraper, registry, exposed, caplog):
    provider.get_meter("shop").create_counter("hits").add(1)
    Gauge("hits_total", "Theirs", registry=registry).set(5)
    scraper.foreign.add(registry)
    for _ in range(2):
        assert [line for line in exposed().splitlines() if "TYPE" in line] == [
            "# TYPE hits_total counter"
        ]
    (message,) = caplog.messages
    assert message == (
        "hits_total is counted by prometheus_client as gauge and by us as counter: "
        "only ours is exposed (said once)."
    )


def test_there_is_one_target(scraper, registry):
    registry.set_target_info({"env": "prod"})
    registry.register(Queue())
    scraper.foreign.add(registry)
    text = scraper.expose()[0].decode()
    assert text.count('target_info{service_name="shop"} 1.0') == 1
    assert text.count("target_info{") == 1


def test_what_quacks_like_a_registry_is_collected(scraper, exposed):
    scraper.foreign.add(Queue())
    assert "queue_size 3.0\n" in exposed()


def test_a_collector_that_has_been_unregistered_is_gone(scraper, registry, exposed):
    queue = Queue()
    registry.register(queue)
    scraper.foreign.add(registry)
    assert "queue_size" in exposed()
    registry.unregister(queue)
    gc.collect()
    assert "queue_size" not in exposed()


WORKERS = """
import os, sys
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from c2cotel import prometheus
hits = Counter("hits", "Hits", ["path"])
took = Histogram("took_seconds", "Time", buckets=(1, 2))
alive = Gauge("alive", "Alive", multiprocess_mode="livesum")
own = CollectorRegistry()
levels = Gauge("levels", "In a registry of the application's", registry=own)
class Queue:
    def collect(self):
        yield GaugeMetricFamily("queue_size", "Jobs", value=3)
own.register(Queue())
pids = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        hits.labels("/").inc(number + 1)
        took.observe(1.5)
        alive.set(1)
        levels.set(number)
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
from prometheus_client import multiprocess
multiprocess.mark_process_dead(pids[0])
prometheus.start(own)
from c2cotel import otel
sys.stdout.write(otel.set_up().scraper.expose()[0].decode())
"""


def test_the_files_of_prometheus_client_are_merged(run_python, tmp_path):
    folder = tmp_path / "prometheus"
    folder.mkdir()
    text = run_python(WORKERS, PROMETHEUS_MULTIPROC_DIR=str(folder))
    lines = text.splitlines()
    assert 'hits_total{path="/"} 6.0' in lines
    assert "took_seconds_count 3.0" in lines
    assert "alive 2.0" in lines
    assert "queue_size 3.0" in lines
    # From the files, where each process has its own; not from the registry of this one.
    assert min(line for line in lines if line.startswith("levels")).startswith("levels{pid=")
    assert text.count("# TYPE levels gauge") == 1
    assert "levels 0.0" not in lines
    assert len(list(parse_text(text))) > 5


def test_a_directory_that_is_none_is_said_and_the_rest_exposed(
    monkeypatch, tmp_path, scraper, registry, exposed, caplog
):
    missing = tmp_path / "missing"
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(missing))
    registry.register(Queue())
    scraper.foreign.add(registry)
    for _ in range(2):
        assert "queue_size 3.0\n" in exposed()
    (record,) = caplog.records
    assert f"PROMETHEUS_MULTIPROC_DIR = {missing} cannot be collected" in record.getMessage()
    assert "make it before the application starts" in str(record.exc_info[1])
    assert not Path(missing).exists()


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A directory where a process of prometheus_client has left its metrics."""
    made = tmp_path / "files"
    made.mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(made))
    hits = mmap_dict.MmapedDict(str(made / "counter_7.db"))
    hits.write_value(mmap_dict.mmap_key("hits", "hits_total", ["path"], ["/"], "Hits"), 3.0, 0.0)
    hits.close()
    return made


BROKEN = {
    "a directory": lambda path: path.mkdir(),
    "a link into nowhere": lambda path: path.symlink_to("/nowhere/at/all"),
    "what is no file of it": lambda path: path.write_bytes(b"\x7f" * 4096),
    "a few bytes": lambda path: path.write_bytes(b"ab"),
    "no text": lambda path: path.write_bytes(
        struct.pack("ii4sdd", 40, 4, b"{{{{", 1.0, 0.0) + bytes(4096)
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("name", ["counter_1.db", "gauge.db", "strange_9.db"])
def test_a_broken_entry_costs_no_metrics_but_its_own_and_is_said_once(
    folder, exposed, caplog, kind, name
):
    BROKEN[kind](folder / name)
    for _ in range(2):
        assert 'hits_total{path="/"} 3.0\n' in exposed()
    if kind == "a link into nowhere":
        assert not caplog.records
        return
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{folder / name} cannot be read, and is left out; ")
    assert record.exc_info


def test_a_file_that_a_process_begins_is_nothing_to_complain_of(folder, exposed, caplog):
    (folder / "counter_8.db").touch()
    assert 'hits_total{path="/"} 3.0\n' in exposed()
    assert not caplog.records


def test_a_broken_entry_that_is_mended_counts_again(folder, exposed):
    path = folder / "counter_8.db"
    path.mkdir()
    exposed()
    path.rmdir()
    shutil.copy(folder / "counter_7.db", path)
    assert 'hits_total{path="/"} 6.0\n' in exposed()
