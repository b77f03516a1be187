"""Processes: workers, what they use of the machine, and whether their telemetry gets through."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from c2cotel_boards import house, look, panels, promql, tables, telemetry, variables
from c2cotel_boards.house import Row
from c2cotel_boards.look import Query
from c2cotel_boards.panels import Panel
from c2cotel_boards.tables import Column

_INSTANCE: Final = ("job", "instance")
_PROCESS: Final = (*_INSTANCE, "pid")
_REASON: Final = "c2c_gunicorn_exit_reason"
_EXITS: Final = "c2c_gunicorn_worker_exits_total"
_FULL: Final = look.warn_from(0.8, 0.95)


def board() -> Dashboard:
    return house.dashboard(
        "processes",
        "Processes",
        "Whether workers come and go, what they use of processor, memory and descriptors, and "
        "whether their metrics, traces and logs get through.",
        [
            Row("Is it well?", _stats()),
            Row("Do workers come and go?", [*_workers(), _processes()]),
            Row("Do they have enough memory and processor?", [*_memory(), *_processor()]),
            Row("What is in them?", _inside()),
            Row("The metrics themselves", telemetry.store()),
            Row("Do traces, logs and metrics arrive?", telemetry.delivery()),
        ],
        variables=variables.standard(),
    )


def _utilization(*by: str) -> str:
    return promql.aggregate(promql.series("process_cpu_utilization"), *by)


def _descriptors(*by: str) -> str:
    """Part of the descriptors that a process may have open, by process."""
    count = promql.series("process_unix_file_descriptor_count")
    most = promql.series("c2c_process_file_descriptor_limit")
    return f"{promql.aggregate(count, *by)} / {promql.aggregate(most, *by)}"


def _stats() -> list[Panel]:
    alive = promql.aggregate(promql.series("c2c_gunicorn_workers"))
    configured = promql.aggregate(promql.series("c2c_gunicorn_workers_configured"))
    return [
        panels.stat(
            "Processes",
            "Workers and whatever else counts metrics, of all instances.",
            promql.aggregate(promql.series(promql.ALWAYS_THERE)),
            unit="short",
        ),
        panels.stat(
            "Workers missing",
            "Of those that gunicorn is to have. More than 0 for longer than a start: they cannot "
            "start; gunicorn's log says why.",
            f"{configured} - {alive}",
            unit="short",
            steps=look.warn_from(1),
        ),
        panels.stat(
            "Workers lost",
            "In the time that is shown: killed, timed out, failed; not those that gunicorn was "
            "told to end. SIGKILL that nobody has sent is the kernel, for want of memory.",
            promql.workers_lost(),
            unit="short",
            decimals=0,
            steps=look.bad_from(0.5),
            sparkline=False,
        ),
        panels.stat(
            "Busiest instance",
            "Part of the processors that it may run on, which its processes use. Near 100 % "
            "everything takes longer.",
            promql.aggregate(_utilization(*_INSTANCE), function="max"),
            unit="percentunit",
            steps=_FULL,
        ),
        panels.stat(
            "Memory",
            "Of all processes, what several share being counted once. Compare it with the limits "
            "of the containers.",
            promql.aggregate(promql.series("c2c_process_memory_map_bytes")),
            unit="bytes",
        ),
        panels.stat(
            "Descriptors",
            "Files and connections of the process that has opened most, of those that it may. "
            "At 100 % nobody can connect any more.",
            f"max({_descriptors(*_PROCESS)})",
            unit="percentunit",
            decimals=1,
            steps=_FULL,
        ),
    ]


def _workers() -> list[Panel]:
    alive = promql.aggregate(promql.series("c2c_gunicorn_workers"), *_INSTANCE)
    wanted = promql.aggregate(promql.series("c2c_gunicorn_workers_configured"), *_INSTANCE)
    ends = panels.timeseries(
        "Why did workers end?",
        "Requested and max_requests are as it should be. graceful_timeout: told to end, and cut "
        "short after --graceful-timeout. timeout: stuck for longer than "
        "--timeout. signal SIGKILL: most likely the kernel, for want of memory. failed: the "
        "application could not be loaded.",
        Query(
            promql.counted(promql.series(_EXITS), _REASON) + " > 0",
            f"{{{{{_REASON}}}}}",
        ),
        unit="short",
        bars=True,
        stacked=True,
        width=12,
        colour={"requested|max_requests": look.BLUE, "graceful_timeout": look.ORANGE},
    )
    count = panels.timeseries(
        "How many workers are there?",
        "By instance; dashed are those that gunicorn is to have. Saws are workers that end and "
        "begin anew: see why, beside.",
        Query(alive, "{{job}} {{instance}}"),
        Query(wanted, "{{job}} {{instance}} configured"),
        unit="short",
        whole=True,
        width=12,
    )
    return [count.override_by_regexp(look.whole(".* configured"), look.as_limit()), ends]


def _processes() -> Panel:
    def largest(metric: str) -> str:
        return promql.aggregate(promql.series(metric), *_PROCESS)

    return tables.table(
        "Processes that run",
        "Workers, the master, scripts; the one with most memory first. One that differs from the "
        "others is where to look: Debug on the console of c2cotel shows its stacks and its memory.",
        keys={"job": "Job", "instance": "Instance", "pid": "PID"},
        columns=[
            Column("Memory", largest("c2c_process_memory_map_bytes"), "bytes"),
            Column("With shared", largest("process_memory_usage_bytes"), "bytes"),
            Column("Processor", _utilization(*_PROCESS), "percentunit", steps=_FULL),
            Column("Threads", largest("process_thread_count"), "short"),
            Column("Descriptors", largest("process_unix_file_descriptor_count"), "short"),
            Column("Running for", largest("process_uptime_seconds"), "dtdurations"),
        ],
    )


def _memory() -> list[Panel]:
    memory = promql.series("c2c_process_memory_map_bytes")
    mappings = promql.named(promql.aggregate(memory, "c2c_mapping"), "c2c_mapping", "(not known)")
    return [
        panels.timeseries(
            "How much memory do instances use?",
            "What their processes share is counted once. A line that only rises is a leak; "
            "steps down are workers that ended.",
            Query(promql.aggregate(memory, *_INSTANCE), "{{job}} {{instance}}"),
            unit="bytes",
            width=12,
        ),
        panels.timeseries(
            "What is it used for?",
            "anonymous is most of what Python allocates, and what a leak fills; library and file "
            "are shared.",
            Query(mappings, "{{c2c_mapping}}"),
            unit="bytes",
            width=12,
            stacked=True,
        ),
    ]


def _processor() -> list[Panel]:
    faults = promql.series("process_paging_faults_total", 'system_paging_fault_type="major"')
    switches = promql.series(
        "process_context_switches_total", 'process_context_switch_type="involuntary"'
    )
    return [
        panels.timeseries(
            "How busy are the processors?",
            "Part of those that an instance may run on, which its processes use. Near 100 % all "
            "that is measured takes longer.",
            Query(_utilization(*_INSTANCE), "{{job}} {{instance}}"),
            unit="percentunit",
            limit=_FULL,
        ),
        panels.timeseries(
            "What do they do?",
            "Processors used, by mode. user is Python and its libraries; much system is files, "
            "network, or memory that is given and taken.",
            Query(
                promql.rate(promql.series("process_cpu_time_seconds_total"), "cpu_mode"),
                "{{cpu_mode}}",
            ),
            unit="short",
            stacked=True,
        ),
        panels.timeseries(
            "Do they wait for the machine?",
            "Per second. Pages that were read from disk: too little memory, it swaps. Involuntary "
            "changes to another thread: others want the processor, too.",
            Query(promql.rate(faults), "pages from disk"),
            Query(promql.rate(switches), "involuntary changes"),
            unit="cps",
        ),
    ]


def _inside() -> list[Panel]:
    generation = "cpython_gc_generation"
    threads = promql.aggregate(promql.series("process_thread_count"), *_INSTANCE, function="max")
    return [
        panels.timeseries(
            "How many threads has a process?",
            "The one that has most, of each instance: gunicorn's, and those that libraries start. "
            "A line that only rises: threads are started and never end; the table above says in "
            "which process.",
            Query(threads, "{{job}} {{instance}}"),
            unit="short",
            whole=True,
            width=12,
            height=9,
            legend="table",
        ),
        panels.timeseries(
            "How often is garbage collected?",
            "Collections per second by generation. Many of generation 2 cost all threads time: "
            "large object trees are made and dropped.",
            Query(
                promql.rate(promql.series("cpython_gc_collections_total"), generation),
                f"generation {{{{{generation}}}}}",
            ),
            unit="ops",
            width=12,
            height=9,
        ),
    ]
