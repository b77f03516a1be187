import gc
import mmap
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from c2cotel_instrumentation import proc, process
from c2cotel_instrumentation.process import ProcessInstrumentor

MEBIBYTE = 1024 * 1024


class Observed:
    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def metrics(self):
        data = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource_metrics in (data.resource_metrics if data else ())
            for scope in resource_metrics.scope_metrics
            for metric in scope.metrics
        }

    def series(self, name):
        return {
            tuple(sorted(point.attributes.items())): point.value
            for point in self.metrics()[name].data.data_points
        }

    def value(self, name):
        (value,) = self.series(name).values()
        return value


@pytest.fixture
def observed(monkeypatch):
    # pytest may just have been started.
    monkeypatch.setattr(process, "_MAP_AFTER", 0.0)
    made = Observed()
    ProcessInstrumentor().instrument(meter_provider=made.provider)
    yield made
    if ProcessInstrumentor().is_instrumented_by_opentelemetry:
        ProcessInstrumentor().uninstrument()
    made.provider.shutdown()


def of_this_process(**more):
    return tuple(sorted({"pid": os.getpid(), **more}.items()))


def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_every_metric_has_the_name_unit_and_kind_of_the_conventions(observed, monkeypatch):
    monkeypatch.setattr(process, "_LEAST_WINDOW", 0.0)
    found = {
        name: (type(m.data).__name__, getattr(m.data, "is_monotonic", None), m.unit)
        for name, m in observed.metrics().items()
    }
    assert found == {
        "process.cpu.time": ("Sum", True, "s"),
        "process.cpu.utilization": ("Gauge", None, "1"),
        "process.memory.usage": ("Sum", False, "By"),
        "process.memory.virtual": ("Sum", False, "By"),
        "c2c.process.memory.map": ("Sum", False, "By"),
        "process.paging.faults": ("Sum", True, "{fault}"),
        "process.context_switches": ("Sum", True, "{context_switch}"),
        "process.thread.count": ("Sum", False, "{thread}"),
        "process.unix.file_descriptor.count": ("Sum", False, "{file_descriptor}"),
        "c2c.process.file_descriptor.limit": ("Sum", False, "{file_descriptor}"),
        "process.uptime": ("Gauge", None, "s"),
        "cpython.gc.collections": ("Sum", True, "{collection}"),
        "cpython.gc.collected_objects": ("Sum", True, "{object}"),
        "cpython.gc.uncollectable_objects": ("Sum", True, "{object}"),
    }


def test_cpu_seconds_grow_by_what_is_burnt(observed):
    before = sum(observed.series("process.cpu.time").values())
    burn(0.2)
    series = observed.series("process.cpu.time")
    assert 0.15 <= sum(series.values()) - before < 1.0
    assert set(series) == {(("cpu.mode", "system"),), (("cpu.mode", "user"),)}


def test_a_busy_process_uses_one_of_its_cpus(observed, monkeypatch):
    monkeypatch.setattr(process, "_LEAST_WINDOW", 0.2)
    monkeypatch.setattr(proc, "cpus", lambda: 4)
    burn(0.25)
    share = sum(observed.series("process.cpu.utilization").values())
    # One of four, or less where others want it, too.
    assert 0 < share <= 0.26
    assert observed.series("process.cpu.utilization").keys() == {
        (("cpu.mode", "system"),),
        (("cpu.mode", "user"),),
    }


def test_the_utilization_of_a_moment_is_not_asked_of_the_clock(observed):
    """Ten milliseconds are a tick: over less, it would be 0 or 1."""
    assert "process.cpu.utilization" not in observed.metrics()


def test_memory_that_is_touched_is_counted(observed):
    before = observed.series("process.memory.usage")[of_this_process()]
    virtual = observed.series("process.memory.virtual")[of_this_process()]
    with mmap.mmap(-1, 32 * MEBIBYTE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[:] = bytes([1]) * len(page)
        after = observed.series("process.memory.usage")[of_this_process()]
        assert (
            observed.series("process.memory.virtual")[of_this_process()] - virtual > 31 * MEBIBYTE
        )
    assert after - before > 31 * MEBIBYTE


def test_threads_are_those_of_the_process(observed):
    before, stop = observed.value("process.thread.count"), threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert observed.value("process.thread.count") == before + 3
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_open_files_are_counted_as_the_system_lists_them(observed):
    before = observed.value("process.unix.file_descriptor.count")
    assert before == sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1
    descriptors = [os.dup(0) for _ in range(5)]
    assert observed.value("process.unix.file_descriptor.count") == before + 5
    for descriptor in descriptors:
        os.close(descriptor)
    assert (
        observed.value("c2c.process.file_descriptor.limit")
        == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    )


def test_faults_and_switches_are_those_of_the_kernel(observed):
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(0.001)  # gives the CPU away: a voluntary switch
    faults = observed.series("process.paging.faults")
    switches = observed.series("process.context_switches")
    after = resource.getrusage(resource.RUSAGE_SELF)
    kind = "system.paging.fault.type"
    assert before.ru_minflt <= faults[((kind, "minor"),)] <= after.ru_minflt
    assert before.ru_majflt <= faults[((kind, "major"),)] <= after.ru_majflt
    kind = "process.context_switch.type"
    assert before.ru_nvcsw < switches[((kind, "voluntary"),)] <= after.ru_nvcsw
    assert before.ru_nivcsw <= switches[((kind, "involuntary"),)] <= after.ru_nivcsw


def test_uptime_is_the_age_of_the_process(observed):
    started = Path(f"/proc/{os.getpid()}").stat().st_ctime
    assert observed.value("process.uptime") == pytest.approx(time.time() - started, abs=1.0)


def test_collections_are_counted_by_generation(observed):
    before = observed.series("cpython.gc.collections")
    gc.collect()
    after = observed.series("cpython.gc.collections")
    grown = {dict(key)["cpython.gc.generation"]: after[key] - before[key] for key in after}
    assert list(grown) == [0, 1, 2]
    assert grown[2] == 1


def test_objects_of_a_cycle_are_collected(observed):
    def total():
        return sum(observed.series("cpython.gc.collected_objects").values())

    gc.collect()
    before = total()
    for _ in range(101):  # the last one stays
        cycle = []
        cycle.append(cycle)
    gc.collect()
    assert total() - before >= 100


def test_the_memory_map_is_what_the_process_takes(observed):
    series = observed.series("c2c.process.memory.map")
    kinds = {dict(key)["c2c.mapping"]: value for key, value in series.items()}
    others = {"shared", "device", "kernel"}
    assert set(kinds) - others == {"anonymous", "heap", "library", "stack", "file"}
    assert {dict(key)["pid"] for key in series} == {os.getpid()}
    assert sum(kinds.values()) == pytest.approx(pss(), rel=0.1)


def pss():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def test_a_short_script_does_not_read_the_memory_map(observed, monkeypatch):
    monkeypatch.setattr(process, "_MAP_AFTER", 1e9)
    assert "c2c.process.memory.map" not in observed.metrics()


def test_the_memory_map_is_read_seldom(observed, monkeypatch):
    read = []
    monkeypatch.setattr(proc, "memory_map", lambda: read.append(1) or {"heap": len(read)})
    assert observed.value("c2c.process.memory.map") == 1
    assert observed.value("c2c.process.memory.map") == 1
    monkeypatch.setattr(process, "_MAP_EVERY", 0.0)
    assert observed.value("c2c.process.memory.map") == 2


SMAPS = b"""\
00400000-00500000 r--p 00000000 fe:00 260131                     /usr/bin/python3.11
Size:               1024 kB
Pss:                 100 kB
Pss_Dirty:             7 kB
VmFlags: rd mr mw me
01000000-02000000 rw-p 00000000 00:00 0                          [heap]
Size:               4096 kB
Pss:                 200 kB
VmFlags: rd wr mr mw me ac
7f0000000000-7f0000100000 rw-p 00000000 00:00 0
Size:               1024 kB
Pss:                  30 kB
VmFlags: rd wr mr mw me ac
7f0000100000-7f0000200000 rw-p 00000000 00:00 0                  [anon:glibc: malloc]
Size:               1024 kB
Pss:                   1 kB
VmFlags: rd wr mr mw me ac
7f0000200000-7f0000300000 r-xp 00000000 fe:00 2                  /opt/my app/lib x.cpython-311.so
Size:               1024 kB
Pss:                   2 kB
VmFlags: rd ex mr mw me
7f0000300000-7f0000400000 r-xp 00000000 fe:00 3                  /lib/libc.so.6 (deleted)
Size:               1024 kB
Pss:                   3 kB
VmFlags: rd ex mr mw me
7f0000400000-7f0000500000 rw-s 00000000 00:1a 4                  /dev/shm/c2cotel-1-2/3-4.slab
Size:               1024 kB
Pss:                   4 kB
VmFlags: rd wr sh mr mw me
7f0000500000-7f0000600000 rw-s 00000000 00:01 5                  /memfd:x (deleted)
Size:               1024 kB
Pss:                   5 kB
VmFlags: rd wr sh mr mw me
7f0000600000-7f0000700000 rw-s 00000000 00:05 6                  /dev/nvidia0
Size:               1024 kB
Pss:                   6 kB
VmFlags: rd wr sh mr mw me
7ffe00000000-7ffe00100000 rw-p 00000000 00:00 0                  [stack]
Size:                132 kB
Pss:                  50 kB
VmFlags: rd wr mr mw me gd ac
7ffe00200000-7ffe00201000 r-xp 00000000 00:00 0                  [vdso]
Size:                  4 kB
Pss:                   0 kB
VmFlags: rd ex mr mw me de
"""


def test_mappings_are_of_a_few_kinds():
    found = {kind: size // 1024 for kind, size in proc.by_kind(SMAPS).items()}
    assert found == {
        "file": 100,
        "heap": 200,
        "anonymous": 31,
        "library": 5,
        "shared": 9,
        "device": 6,
        "stack": 50,
        "kernel": 0,
    }


def test_what_the_kernel_cuts_short_is_left_out():
    """A mapping may go while the file is read."""
    assert proc.by_kind(b"") == {}
    assert proc.by_kind(SMAPS[: SMAPS.index(b"[heap]") + 30]) == {"file": 100 * 1024}


def test_where_there_is_no_proc_there_is_less(monkeypatch, tmp_path):
    monkeypatch.setattr(proc, "_SELF", tmp_path)
    monkeypatch.setattr(proc, "_SMAPS", tmp_path / "smaps")
    made = Observed()
    ProcessInstrumentor().instrument(meter_provider=made.provider)
    try:
        assert made.value("process.thread.count") == threading.active_count()
        assert made.value("process.unix.file_descriptor.count") > 2
        assert made.value("process.uptime") < 60
        missing = {"process.memory.usage", "process.memory.virtual", "c2c.process.memory.map"}
        assert not missing & set(made.metrics())
        assert "process.cpu.time" in made.metrics()
    finally:
        ProcessInstrumentor().uninstrument()
        made.provider.shutdown()


def test_what_may_not_be_read_is_missing_and_said_once(observed, monkeypatch, caplog):
    def refuse():
        raise PermissionError(13, "Permission denied", "/proc/self/smaps")

    monkeypatch.setattr(proc, "memory_map", refuse)
    monkeypatch.setattr(process, "_MAP_EVERY", 0.0)
    caplog.set_level("INFO")
    for _ in range(2):
        assert "c2c.process.memory.map" not in observed.metrics()
    assert observed.value("process.uptime") > 0
    (message,) = caplog.messages
    assert message == (
        f"Process {os.getpid()} cannot read /proc/self/smaps: Permission denied. "
        "Its metrics go without."
    )


def test_uninstrument_silences_it(observed):
    ProcessInstrumentor().uninstrument()
    assert observed.metrics() == {}
    ProcessInstrumentor().instrument(meter_provider=observed.provider)
    assert observed.value("process.uptime") > 0


FORKING = """
import gc, os, sys, time
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from c2cotel_instrumentation.process import ProcessInstrumentor
import ctypes

reader = InMemoryMetricReader()
ProcessInstrumentor().instrument(meter_provider=MeterProvider([reader], shutdown_on_exit=False))

def series(name):
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name == name:
                    return metric.data.data_points
    return []

until = time.process_time() + 0.3
while time.process_time() < until:
    pass
for _ in range(7):
    gc.collect()
assert sum(point.value for point in series("process.cpu.time")) >= 0.3
assert series("cpython.gc.collections")[2].value >= 7
forked = time.monotonic()
child = os.fork() if sys.argv[1] == "hooks" else ctypes.PyDLL(None).fork()
if child == 0:
    gc.collect()
    cpu = sum(point.value for point in series("process.cpu.time"))
    pids = {point.attributes["pid"] for point in series("process.memory.usage")}
    collections = series("cpython.gc.collections")[2].value
    uptime = series("process.uptime")[0].value
    # The kernel counts the one and the other in hundredths of a second.
    used, lived = time.process_time() + 0.02, time.monotonic() - forked + 0.02
    good = cpu <= used and pids == {os.getpid()} and uptime <= lived
    good = good and collections <= 1 and (collections == 1 or sys.argv[1] != "hooks")
    print(cpu, pids, collections, uptime, flush=True)
    os._exit(not good)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("how", ["hooks", "none"])
def test_a_forked_process_counts_from_its_fork_on(how):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, how],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_asking_costs_little(observed):
    """It was 0.15 ms without the map; ten times that would be a mistake of ours."""
    observed.metrics()
    began = time.process_time()
    for _ in range(10):
        observed.metrics()
    assert (time.process_time() - began) / 10 < 0.02
