import gc
import os
import resource
import sys
from types import ModuleType

import pytest
from prometheus_client import generate_latest

from c2cotel import broadcast, prometheus
from c2cotel.otel.collectors import own_collectors

SMAPS = b"""\
00400000-00500000 r--p 00000000 fe:00 260131                     /usr/bin/my python
Size:               1024 kB
Rss:                  40 kB
Pss:                  10 kB
Pss_Dirty:             7 kB
VmFlags: rd mr mw me
00500000-00600000 rw-p 00000000 fe:00 260131                     /usr/bin/my python
Size:               1024 kB
Rss:                   4 kB
Pss:                   2 kB
VmFlags: rd mr mw me
01000000-02000000 rw-p 00000000 00:00 0
Size:               4096 kB
Rss:                   8 kB
Pss:                   3 kB
VmFlags: rd wr mr mw me ac
02000000-03000000 rw-p 00000000 00:00 0                          [vdso]
Size:                  4 kB
Rss:                   4 kB
Pss:                   0 kB
VmFlags: rd wr mr mw me ac
"""


def samples(collector):
    (family,) = collector.collect()
    return {(s.name, *sorted(s.labels.items())): s.value for s in family.samples}


def test_a_prometheus_client_that_another_thread_imports_has_no_collectors_yet(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", ModuleType("prometheus_client"))
    assert own_collectors() == []


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A ``/proc`` with two processes, and one that nobody may look at."""
    for pid in ("7", "11", "9"):
        (tmp_path / pid).mkdir()
    (tmp_path / "7" / "smaps").write_bytes(SMAPS)
    (tmp_path / "11" / "smaps").write_bytes(SMAPS.replace(b"my python", b"nginx"))
    monkeypatch.setattr("c2cotel.prometheus.collectors._PROC", tmp_path)
    return tmp_path


@pytest.mark.usefixtures("proc")
def test_memory_is_told_by_mapped_file_and_process():
    def series(pid, name):
        return "process_smap_pss_bytes", ("name", name), ("pid", pid)

    assert samples(prometheus.MemoryMapCollector()) == {
        series("7", "/usr/bin/my python"): 12 * 1024,
        series("7", "[anonymous]"): 3 * 1024,
        series("11", "/usr/bin/nginx"): 12 * 1024,
        series("11", "[anonymous]"): 3 * 1024,
    }


@pytest.mark.usefixtures("proc")
def test_memory_is_told_of_the_chosen_processes_and_type():
    found = samples(prometheus.MemoryMapCollector("rss", pids=["7"]))
    assert found == {
        ("process_smap_rss_bytes", ("name", "/usr/bin/my python"), ("pid", "7")): 44 * 1024,
        ("process_smap_rss_bytes", ("name", "[anonymous]"), ("pid", "7")): 8 * 1024,
        ("process_smap_rss_bytes", ("name", "[vdso]"), ("pid", "7")): 4 * 1024,
    }


def test_a_real_process_has_its_interpreter_in_its_map():
    found = samples(prometheus.MemoryMapCollector("size", pids=[os.getpid()]))
    assert any("python" in dict(series[1:])["name"] for series in found)
    assert all(value > 0 for value in found.values())


def test_a_type_of_memory_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"memory_type='weight': expected one of size, rss, pss"):
        prometheus.MemoryMapCollector("weight")


def test_resources_are_those_that_the_kernel_counts():
    found = samples(prometheus.ResourceCollector())
    assert len(found) == 16
    usage = resource.getrusage(resource.RUSAGE_SELF)
    assert found["python_resource", ("name", "maxrss")] == usage.ru_maxrss
    assert 0 < found["python_resource", ("name", "utime")] <= usage.ru_utime


def test_memory_has_the_seven_numbers_of_the_kernel():
    gc.collect()
    found = {dict(s[1:])["name"]: v for s, v in samples(prometheus.MemoryInfoCollector()).items()}
    assert list(found) == ["vms", "rss", "shared", "text", "lib", "data", "dirty"]
    assert found["vms"] > found["rss"] > found["shared"] > 0


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("", "jobs"), ("shop", "shop_jobs"), ("c2cwsgiutils_", "c2cwsgiutils_jobs")],
)
def test_names_have_the_prefix_of_all_metrics(monkeypatch, prefix, name):
    monkeypatch.setenv("C2C_PROMETHEUS_PREFIX", prefix)
    assert prometheus.build_metric_name("jobs") == name


def test_the_collector_of_the_channels_is_one_of_any_registry(registry):
    prometheus.MULTI_PROCESS_COLLECTOR_BROADCAST_CHANNELS.append("resources")
    broadcast.subscribe(
        "resources",
        lambda: prometheus.serialize_collected_data(prometheus.ResourceCollector()),
    )
    registry.register(prometheus.MultiProcessCustomCollector())
    text = generate_latest(registry).decode()
    assert f'python_resource{{name="utime",pid="{os.getpid()}"}} ' in text


def test_starting_without_telemetry_is_harmless(run_python):
    run_python(
        "from c2cotel import prometheus\n"
        "from prometheus_client import CollectorRegistry\n"
        "prometheus.start(); prometheus.start(CollectorRegistry())\n"
        "prometheus.start_single_process(); prometheus.cleanup()\n",
        OTEL_SDK_DISABLED="true",
    )


SINGLE = """
import sys
from c2cotel import otel, prometheus
from prometheus_client import Counter
Counter("orders", "Orders").inc(2)
prometheus.start_single_process()
sys.stdout.write(otel.set_up().scraper.expose()[0].decode())
"""


def test_a_single_process_serves_its_default_registry_as_it_is(run_python):
    lines = run_python(SINGLE).splitlines()
    assert "orders_total 2.0" in lines
    assert any(line.startswith("python_info{") for line in lines)
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
    assert not any(line.startswith("orders_total{") for line in lines)
