"""Memory, CPU and the rest of the master and of its workers."""

from pathlib import Path

from c2cotel_acceptance.utils import retry_timeout


def of_processes(scrape, name):
    return {int(pid): value for (pid,), value in scrape.by(name, "pid").items()}


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def cpu(scrape):
    return scrape.total("process_cpu_time_seconds_total")


def test_the_master_and_each_worker_tell_of_themselves(shop):
    group = {shop.process.pid, *shop.process.workers()}
    scrape = shop.wait(lambda s: group <= of_processes(s, "process_memory_usage_bytes").keys())
    memory = of_processes(scrape, "process_memory_usage_bytes")
    assert memory.keys() == group
    for pid in group:
        assert abs(memory[pid] - resident(pid)) < 0.2 * memory[pid]
    for name in ("process_thread_count", "process_unix_file_descriptor_count"):
        assert of_processes(scrape, name).keys() == group
    uptime = of_processes(scrape, "process_uptime_seconds")
    assert uptime.keys() == group
    assert max(uptime.values()) == uptime[shop.process.pid]
    files = of_processes(scrape, "process_unix_file_descriptor_count")
    assert files[shop.process.pid] >= 4


def test_the_memory_map_has_few_kinds_and_adds_up(shop):
    group = {shop.process.pid, *shop.process.workers()}
    name = "c2c_process_memory_map_bytes"
    scrape = shop.wait(lambda s: of_processes(s, name).keys() >= group)
    kinds = {kind for (kind,) in scrape.by(name, "c2c_mapping")}
    assert {"anonymous", "heap", "library"} <= kinds
    assert len(kinds) <= 8
    for pid, size in of_processes(scrape, name).items():
        assert 0 < size <= 1.2 * resident(pid)


def test_cpu_time_of_a_worker_that_was_killed_is_not_lost(shop):
    pid = shop.ask("burn")
    before = shop.wait(lambda s: s.total("process_cpu_time_seconds_total") > 0.3)
    worn = sum(
        value
        for (of,), value in before.by("process_cpu_utilization_ratio", "pid").items()
        if int(of) == pid
    )
    assert worn >= 0
    # What it has observed last is what stays.
    shop.process.signal(9, pid)
    retry_timeout(lambda: pid not in shop.process.workers(), 10, 0.05)
    after = shop.wait(lambda s: pid not in of_processes(s, "process_memory_usage_bytes"))
    assert cpu(after) >= cpu(before)
    assert after.total("cpython_gc_collections_total") >= before.total(
        "cpython_gc_collections_total"
    )
