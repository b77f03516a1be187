"""Overview: is it well, what is wrong, and which dashboard says more."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from c2cotel_boards import (
    house,
    links,
    look,
    overview_unusual,
    panels,
    promql,
    tables,
    variables,
)
from c2cotel_boards.house import Row
from c2cotel_boards.look import Query
from c2cotel_boards.panels import Panel
from c2cotel_boards.promql import CALLS, OPERATIONS, RENDERING, REQUESTS
from c2cotel_boards.tables import Column

_COUNT: Final = promql.series(f"{REQUESTS}_count")
_FAILURES: Final = promql.series(f"{REQUESTS}_count", 'http_response_status_code=~"5.."')
_INSTANCE: Final = ("job", "instance")
_POOL: Final = "db_client_connection_pool_name"
_QUANTILES: Final = (0.5, 0.95, 0.99)


def board() -> Dashboard:
    return house.dashboard(
        "overview",
        "Overview",
        "Is it well? Rate, errors, durations, saturation, versions, and what operators have "
        "changed.",
        [
            Row("Is it well?", _well()),
            Row("What is not as it should be?", overview_unusual.stats()),
            Row("What do users notice?", _users()),
            Row("What is scarce?", _saturation()),
            Row("What runs where?", [_instances(), _versions()]),
        ],
        variables=variables.standard(),
    )


def _ours(since: str) -> str:
    """What has exposed metrics of c2cotel: Prometheus scrapes others, too."""
    return f"last_over_time({promql.series(promql.ALWAYS_THERE)}[{since}])"


def _up() -> str:
    """Whether Prometheus can scrape each instance that it knows.

    What is ours is looked for in a week, not in what is shown: it may be down for longer than that.
    """
    return f"{promql.series('up')} and on (job, instance) {_ours('7d')}"


def _well() -> list[Panel]:
    return [
        panels.stat(
            "Instances down",
            "Addresses that Prometheus cannot scrape. Above 0: that gunicorn has ended, or hangs.",
            f"sum(1 - {_up()})",
            unit="short",
            steps=look.bad_from(1),
        ),
        panels.stat(
            "Checks failing",
            "Health checks that failed the last time that anybody asked. The load balancer may "
            "have taken an instance out.",
            f"sum(1 - {promql.series('c2c_health_check_status')})",
            unit="short",
            steps=look.bad_from(1),
            link=links.to("operations", "Which checks?"),
        ),
        panels.stat(
            "Requests",
            "Answered per second. Zero where there was traffic before: look at the proxy in front.",
            promql.rate(_COUNT),
            unit="reqps",
            link=links.to("requests", "Of which routes?"),
        ),
        panels.stat(
            "Failing",
            "Part of the requests that were answered with 5xx. Above 1 % users notice.",
            promql.share(promql.rate(_FAILURES), promql.rate(_COUNT)),
            unit="percentunit",
            steps=look.warn_from(0.01, 0.05),
            decimals=2,
            link=links.to("requests", "Which routes, and why?"),
        ),
        panels.stat(
            "95 % are faster than",
            "Duration of requests. Above 1 s pages feel slow; below is where the time goes.",
            promql.quantile(0.95, REQUESTS),
            unit="s",
            steps=look.warn_from(1, 3),
            link=links.to("requests", "Which routes are slow?"),
        ),
        panels.stat(
            "Fullest pool",
            "Of any instance: connections that its processes use, of those that they may open. At "
            "100 % requests wait for one; one process may be full before.",
            f"max({_pool_use()})",
            unit="percentunit",
            decimals=0,
            steps=look.warn_from(0.8, 0.95),
            link=links.to("database", "Which pool?"),
        ),
    ]


def _pool_use() -> str:
    used = promql.series("db_client_connection_count", 'db_client_connection_state="used"')
    most = promql.series("db_client_connection_max")
    by = (*_INSTANCE, "c2c_engine", _POOL)
    return f"{promql.aggregate(used, *by)} / {promql.aggregate(most, *by)}"


def _users() -> list[Panel]:
    return [
        panels.timeseries(
            "How many requests are there, by status?",
            "Stacked. Red are our failures, orange what clients did wrong.",
            Query(promql.by_status(_COUNT), "{{http_response_status_code}}"),
            unit="reqps",
            stacked=True,
            colour=look.BY_STATUS,
            links=[links.to("requests", "Of which routes?")],
        ),
        panels.timeseries(
            "How long do they take?",
            "50, 95 and 99 % are faster. All three rise: something that all need is slow. Only "
            "the last: one route, or a lock.",
            *[Query(promql.quantile(q, REQUESTS), f"p{q * 100:g}") for q in _QUANTILES],
            unit="s",
            colour=look.BY_QUANTILE,
            links=[links.to("requests", "Which routes are slow?")],
        ),
        panels.timeseries(
            "Where does the time of a request go?",
            "Of an average one. What is left is the application itself, waiting for the processor "
            "included. Statements within rendering are in both; what is done outside of requests "
            "counts, too.",
            *_parts(),
            unit="s",
            stacked=True,
            links=[
                links.to("database", "Database"),
                links.to("outgoing", "HTTP and Redis"),
                links.to("requests", "Requests"),
            ],
        ),
    ]


def _parts() -> list[Query]:
    requests = promql.rate(_COUNT)
    parts = {
        "SQL": promql.series(f"{OPERATIONS}_sum", 'db_system_name!="redis"'),
        "Redis": promql.series(f"{OPERATIONS}_sum", 'db_system_name="redis"'),
        "HTTP calls": promql.series(f"{CALLS}_sum"),
        "rendering": promql.series(f"{RENDERING}_sum"),
    }
    rates = {name: promql.or_zero(promql.rate(selector)) for name, selector in parts.items()}
    total = promql.rate(promql.series(f"{REQUESTS}_sum"))
    rest = f"clamp_min({total} - {' - '.join(rates.values())}, 0)"
    rates["the application"] = rest
    return [Query(f"{rate} / ({requests} > 0)", name) for name, rate in rates.items()]


def _saturation() -> list[Panel]:
    return [
        panels.timeseries(
            "How many requests are being answered?",
            "By instance. As many as there are threads means that new requests wait in the "
            "socket, where nobody measures them.",
            Query(
                promql.aggregate(promql.series("http_server_active_requests"), *_INSTANCE),
                "{{job}} {{instance}}",
            ),
            unit="short",
            whole=True,
            width=6,
        ),
        panels.timeseries(
            "How busy are the processors?",
            "Part of those that an instance may run on, which its processes use. Near 100 % "
            "everything takes longer.",
            Query(
                promql.aggregate(promql.series("process_cpu_utilization"), *_INSTANCE),
                "{{job}} {{instance}}",
            ),
            unit="percentunit",
            limit=look.warn_from(0.8, 0.95),
            width=6,
            links=[links.to("processes", "Processes")],
        ),
        panels.timeseries(
            "How much memory?",
            "By instance, what processes share being counted once. A line that only rises is a "
            "leak.",
            Query(
                promql.aggregate(promql.series("c2c_process_memory_map_bytes"), *_INSTANCE),
                "{{job}} {{instance}}",
            ),
            unit="bytes",
            width=6,
            links=[links.to("processes", "Which process?")],
        ),
        panels.timeseries(
            "How full are the pools?",
            "Of the instance where it is fullest: connections that its processes use, of those "
            "that they may open. At 100 % requests wait; one process may be full before.",
            Query(promql.aggregate(_pool_use(), _POOL, function="max"), f"{{{{{_POOL}}}}}"),
            unit="percentunit",
            maximum=1,
            limit=look.warn_from(0.8, 0.95),
            width=6,
            links=[links.to("database", "Who waits?")],
        ),
    ]


def _instances() -> Panel:
    # Who was there is in it also when nothing else is known of it any more.
    there = promql.aggregate(_up(), *_INSTANCE, function="max")
    gone = promql.aggregate(_ours("$__range"), *_INSTANCE, function="group")
    up = f"{there} or -1 * {gone}"
    texts: look.Texts = {1: ("up", look.GREEN), 0: ("DOWN", look.RED), -1: ("gone", look.GREY)}
    failing = promql.share(promql.rate(_FAILURES, *_INSTANCE), promql.rate(_COUNT, *_INSTANCE))
    uptime = promql.series("process_uptime_seconds")
    # The link of the row is to this instance alone.
    url = "/d/c2cotel-processes?${__url_time_range}&${datasource:queryparam}&${job:queryparam}"
    only = links.Link("Its processes", f"{url}&var-instance={links.VALUE}")
    return tables.table(
        "Instances",
        "A row for each address that was scraped in the time that is shown. DOWN: Prometheus "
        "cannot scrape it; gone: it is no target any more. One that differs from the others: "
        "its machine, or its version.",
        keys={"job": "Job", "instance": "Instance"},
        columns=[
            Column("Up", up, "short", texts=texts),
            Column("Rate", promql.rate(_COUNT, *_INSTANCE), "reqps"),
            Column("Failing", failing, "percentunit", steps=look.warn_from(0.01, 0.05)),
            Column(
                "p95",
                promql.quantile(0.95, REQUESTS, *_INSTANCE),
                "s",
                steps=look.warn_from(1, 3),
            ),
            Column("Processes", promql.aggregate(uptime, *_INSTANCE, function="count"), "short"),
            Column("Oldest", promql.aggregate(uptime, *_INSTANCE, function="max"), "dtdurations"),
            Column("Newest", promql.aggregate(uptime, *_INSTANCE, function="min"), "dtdurations"),
        ],
        links={"Instance": [only]},
        sort="Rate",
        height=6,
    )


def _versions() -> Panel:
    info = promql.series("c2c_build_info")
    packages = ("application", "git_tag", "git_hash", "c2cotel", "pyramid", "gunicorn")
    return tables.table(
        "Versions",
        "What runs, and on how many instances now, and in the time that is shown. Two rows of a "
        "job that run now: a roll-out is under way, or has stopped half-way. None: it is down.",
        keys={
            "job": "Job",
            "application": "Application",
            "git_tag": "Tag",
            "git_hash": "Commit",
            "c2cotel": "c2cotel",
            "pyramid": "Pyramid",
            "gunicorn": "gunicorn",
        },
        columns=[
            Column(
                "Instances",
                promql.aggregate(info, "job", *packages, function="count"),
                "short",
            ),
            Column(
                "Were there",
                promql.aggregate(
                    f"last_over_time({info}[$__range])", "job", *packages, function="count"
                ),
                "short",
            ),
        ],
        height=6,
    )
