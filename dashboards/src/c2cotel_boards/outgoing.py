"""Outgoing: whom the application calls over HTTP, and Redis; who is slow, and who fails."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from c2cotel_boards import house, links, look, panels, promql, tables, variables
from c2cotel_boards.house import Row
from c2cotel_boards.look import Query
from c2cotel_boards.panels import Panel
from c2cotel_boards.promql import CALLS, OPERATIONS, REQUESTS
from c2cotel_boards.tables import Column

_SERVER: Final = 'server_address=~"$server"'
_CALLS: Final = promql.series(f"{CALLS}_count", _SERVER)
_CALLS_FAILED: Final = promql.series(f"{CALLS}_count", _SERVER, 'error_type!=""')
_BY_SERVER: Final = ("server_address", "server_port")

_IS_REDIS: Final = 'db_system_name="redis"'
_REDIS: Final = (_IS_REDIS, 'db_operation_name=~"$command"')
_COMMANDS: Final = promql.series(f"{OPERATIONS}_count", *_REDIS)
_COMMANDS_FAILED: Final = promql.series(f"{OPERATIONS}_count", *_REDIS, 'error_type!=""')
# Pools of SQL have the same metrics; an engine may have no name, but each has its scope.
_REDIS_POOL: Final = 'otel_scope_name="c2cotel_instrumentation.redis"'

_QUANTILES: Final = (0.5, 0.95, 0.99)
_MANY: Final = 10


def board() -> Dashboard:
    commands = "Names of Redis' commands; PIPELINE and MULTI are several at once."
    return house.dashboard(
        "outgoing",
        "Outgoing",
        "Whom the application waits for over HTTP, and Redis: how often, how long, with which "
        "errors.",
        [
            Row("Are those well whom we need?", _stats()),
            Row("Whom do we wait for over HTTP?", [_servers(), *_calls()]),
            Row("Which calls fail?", _failures()),
            Row("Redis", _redis()),
        ],
        variables=variables.standard(
            variables.server(),
            variables.label(
                *("command", "Redis command", f"{OPERATIONS}_count", "db_operation_name"),
                commands,
                _IS_REDIS,
            ),
            *variables.linked(logs=False),
        ),
    )


def _stats() -> list[Panel]:
    return [
        panels.stat(
            "HTTP calls",
            "Exchanges with other services per second; each redirect is one.",
            promql.rate(_CALLS),
            unit="reqps",
        ),
        panels.stat(
            "HTTP calls failing",
            "Part of the calls without an answer, or with a status from 400 on. The tables below "
            "say whose.",
            promql.share(promql.rate(_CALLS_FAILED), promql.rate(_CALLS)),
            unit="percentunit",
            steps=look.warn_from(0.01, 0.1),
        ),
        panels.stat(
            "95 % of HTTP calls",
            "are faster, until the body has been read. A request of ours waits at least that long.",
            _slowness(0.95),
            unit="s",
            steps=look.warn_from(1, 3),
        ),
        panels.stat(
            "Redis commands",
            "Commands and pipelines per second. What c2cotel listens to is not among them.",
            promql.rate(_COMMANDS),
            unit="ops",
        ),
        panels.stat(
            "Redis commands failing",
            "Part of the commands that failed. All of them: Redis is away, or its pool is "
            "exhausted.",
            promql.share(promql.rate(_COMMANDS_FAILED), promql.rate(_COMMANDS)),
            unit="percentunit",
            steps=look.warn_from(0.001, 0.01),
        ),
        panels.stat(
            "95 % of Redis commands",
            "are faster. More than 10 ms means a slow network, a busy Redis or large values; a "
            "blocking command takes as long as it blocks.",
            promql.quantile(0.95, OPERATIONS, matchers=_REDIS),
            unit="s",
            steps=look.warn_from(0.01, 0.1),
        ),
    ]


def _slowness(q: float, *by: str) -> str:
    return promql.quantile(q, CALLS, *by, matchers=(_SERVER,))


def _servers() -> Panel:
    server, port = links.column("Server"), links.column("Port")
    spans = (
        "kind = client",
        f'span.server.address = "{server}"',
        f"span.server.port = {port}",
    )
    failing = promql.share(
        promql.rate(_CALLS_FAILED, *_BY_SERVER), promql.rate(_CALLS, *_BY_SERVER)
    )
    return tables.table(
        "Servers",
        "A row for each server, by how many threads of ours wait for it on average. A click shows "
        "only that server; where Tempo is set, the last column shows its traces.",
        keys={"server_address": "Server", "server_port": "Port"},
        columns=[
            Column(
                "Waiting",
                promql.rate(promql.series(f"{CALLS}_sum", _SERVER), *_BY_SERVER),
                "short",
                bar=True,
            ),
            Column("Rate", promql.rate(_CALLS, *_BY_SERVER), "reqps"),
            Column("Failing", failing, "percentunit", steps=look.warn_from(0.01, 0.1)),
            *[
                Column(f"p{q * 100:g}", _slowness(q, *_BY_SERVER), "s", steps=look.warn_from(1, 3))
                for q in _QUANTILES
            ],
            tables.traces(
                promql.aggregate(_CALLS, *_BY_SERVER, function="group"),
                links.traces("Traces with calls of it", *spans),
                links.traces("Those where it failed", *spans, "status = error"),
                links.traces("Those where it took above 1 s", *spans, "duration > 1s"),
            ),
        ],
        links={"Server": [links.to("outgoing", "Only this server", server=links.VALUE)]},
        height=8,
    )


def _calls() -> list[Panel]:
    waiting = promql.rate(promql.series(f"{CALLS}_sum", _SERVER))
    answering = promql.rate(promql.series(f"{REQUESTS}_sum"))
    return [
        panels.timeseries(
            f"Which {_MANY} servers are called most?",
            "Calls per second. More of them for the same number of our requests means loops or "
            "repetitions.",
            Query(
                promql.busiest(_MANY, promql.rate(_CALLS, "server_address")), "{{server_address}}"
            ),
            unit="reqps",
        ),
        panels.timeseries(
            "How long do calls take?",
            "50, 95 and 99 % are faster. A flat line at the top is a time-out that is reached.",
            *[Query(_slowness(q), f"p{q * 100:g}") for q in _QUANTILES],
            unit="s",
            colour=look.BY_QUANTILE,
        ),
        panels.timeseries(
            "Which part of our requests' time is that?",
            "Waiting for HTTP, of all the time in which requests are answered. Near 100 % the "
            "application is as fast as those whom it calls. Calls outside of requests count, too.",
            Query(f"{waiting} / ({answering} > 0)", "waiting for HTTP"),
            unit="percentunit",
        ),
    ]


def _failures() -> list[Panel]:
    by = ("server_address", "error_type", "http_response_status_code")
    server, kind = links.column("Server"), links.column("Error")
    failing = promql.share(
        promql.rate(_CALLS_FAILED, "server_address"), promql.rate(_CALLS, "server_address")
    )
    return [
        panels.timeseries(
            "Which part fails, by server?",
            "Without an answer, or with a status from 400 on. One server alone: it, or the way to "
            "it. All at once: our network, our DNS, our proxy.",
            Query(f"{failing} > 0", "{{server_address}}"),
            unit="percentunit",
            maximum=1,
            width=10,
        ),
        tables.table(
            "Which errors were there?",
            "In the time that is shown, also one that happened once: a status from 400 on, or the "
            "exception that requests raised.",
            keys={
                "server_address": "Server",
                "error_type": "Error",
                "http_response_status_code": "Status",
            },
            columns=[
                Column(
                    "Count",
                    promql.counted(_CALLS_FAILED, *by, window="$__range") + " > 0.5",
                    "short",
                ),
                tables.traces(
                    promql.aggregate(_CALLS_FAILED, *by, function="group"),
                    links.traces(
                        "Traces with it",
                        "kind = client",
                        f'span.server.address = "{server}"',
                        f'span.error.type = "{kind}"',
                    ),
                ),
            ],
            width=14,
            height=8,
            widths={"Server": 220, "Status": 80},
        ),
    ]


def _redis() -> list[Panel]:
    by = "db_operation_name"
    return [
        panels.timeseries(
            f"Which {_MANY} commands are there most?",
            "Per second. A pipeline is one, by the name of its commands if they are all the same.",
            Query(promql.busiest(_MANY, promql.rate(_COMMANDS, by)), "{{db_operation_name}}"),
            unit="ops",
            width=12,
            height=9,
            legend="table",
        ),
        panels.timeseries(
            f"Which {_MANY} commands are slowest?",
            "The 95 % of each. KEYS, HGETALL and long scripts keep everybody else waiting.",
            Query(
                promql.busiest(_MANY, promql.quantile(0.95, OPERATIONS, by, matchers=_REDIS)),
                "{{db_operation_name}}",
            ),
            unit="s",
            width=12,
            height=9,
            legend="table",
        ),
        panels.timeseries(
            "Which commands fail?",
            "How many at a time, by what redis-py raised; also a single one.",
            Query(
                promql.counted(_COMMANDS_FAILED, by, "error_type") + " > 0",
                "{{db_operation_name}} {{error_type}}",
            ),
            unit="short",
            bars=True,
            stacked=True,
        ),
        *_redis_pools(),
    ]


def _redis_pools() -> list[Panel]:
    pool = "db_client_connection_pool_name"
    count = promql.series("db_client_connection_count", _REDIS_POOL)
    used = promql.series(
        "db_client_connection_count", _REDIS_POOL, 'db_client_connection_state="used"'
    )
    most = promql.series("db_client_connection_max", _REDIS_POOL)
    by = ("job", "instance", pool)
    fullness = f"{promql.aggregate(used, *by)} / {promql.aggregate(most, *by)}"
    return [
        panels.timeseries(
            "How many connections has the pool?",
            "Of all processes, by pool: used and idle. Used ones that only grow are not given "
            "back.",
            Query(
                promql.aggregate(count, pool, "db_client_connection_state"),
                f"{{{{{pool}}}}} {{{{db_client_connection_state}}}}",
            ),
            unit="short",
            whole=True,
            stacked=True,
        ),
        panels.timeseries(
            "How full is the pool?",
            "Of the instance where it is fullest: used, of those that its processes may open. At "
            "100 % the next command fails: raise max_connections.",
            Query(
                promql.aggregate(fullness, pool, function="max"),
                f"{{{{{pool}}}}}",
            ),
            unit="percentunit",
            maximum=1,
            limit=look.warn_from(0.8, 0.95),
        ),
    ]
