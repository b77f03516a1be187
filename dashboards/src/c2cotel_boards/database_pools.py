"""The pools of the dashboard Database: whether there is a connection for everybody."""

from typing import Final

from c2cotel_boards import look, panels, promql
from c2cotel_boards.look import Query
from c2cotel_boards.panels import Panel

# Pools of Redis have the same metrics; an engine may have no name, but each has its scope.
_OURS: Final = ('otel_scope_name="c2cotel_instrumentation.sqlalchemy"', 'c2c_engine=~"$engine"')
_POOL: Final = ("c2c_engine", "db_client_connection_pool_name")
_NAME: Final = "{{c2c_engine}} {{db_client_connection_pool_name}}"
_METRIC: Final = "db_client_connection"


def _named(expression: str) -> str:
    """With a name for engines that have none."""
    return promql.named(expression, "c2c_engine", "(no name)")


def _series(name: str, *matchers: str) -> str:
    return promql.series(f"{_METRIC}_{name}", *_OURS, *matchers)


def fullness() -> str:
    """Connections used, of those that there may be, by instance and pool."""
    used = _series("count", f'{_METRIC}_state="used"')
    by = ("job", "instance", *_POOL)
    return f"{promql.aggregate(used, *by)} / {promql.aggregate(_series('max'), *by)}"


def waiting(*by: str) -> str:
    """Threads that wait for a connection."""
    return promql.aggregate(_series("pending_requests"), *by)


def _time(name: str) -> str:
    """The 95 % of the histogram *name*, by pool."""
    return _named(promql.quantile(0.95, f"{_METRIC}_{name}_seconds", *_POOL, matchers=_OURS))


def pools() -> list[Panel]:
    return [_connections(), *_waiting(), *_times()]


def _waiting() -> list[Panel]:
    return [
        panels.timeseries(
            "Who waits for a connection?",
            "Threads, by pool, at that moment. Any line above 0 is requests that take longer than "
            "their statements.",
            Query(_named(waiting(*_POOL)), _NAME),
            unit="short",
            whole=True,
            width=12,
        ),
        panels.timeseries(
            "Who gave up waiting?",
            "Requests that got no connection within pool_timeout, and failed. One is too many: "
            "raise pool_size, if the database may have more connections, or shorten transactions.",
            Query(_named(promql.counted(_series("timeouts_total"), *_POOL)), _NAME),
            unit="short",
            width=12,
            bars=True,
        ),
    ]


def _connections() -> Panel:
    state = f"{_METRIC}_state"
    panel = panels.timeseries(
        "How many connections are there?",
        "Of all processes, used and idle; dashed are those that there may be. Used ones that "
        "only grow are not given back.",
        Query(
            _named(promql.aggregate(_series("count"), "c2c_engine", state)),
            f"{{{{c2c_engine}}}} {{{{{state}}}}}",
        ),
        Query(_named(promql.aggregate(_series("max"), "c2c_engine")), "{{c2c_engine}} at most"),
        unit="short",
        whole=True,
        width=12,
    )
    return panel.override_by_regexp(look.whole(".* at most"), look.as_limit())


def _times() -> list[Panel]:
    return [
        panels.timeseries(
            "How long does it take to get a connection?",
            "The 95 %, with the time to open one where it is new. Far above that, it is waiting "
            "for others to give one back.",
            Query(_time("wait_time"), f"{_NAME} in all"),
            Query(_time("create_time"), f"{_NAME} to open one"),
            unit="s",
            width=12,
        ),
        panels.timeseries(
            "How long is a connection kept?",
            "The 95 %, until it is given back. Longer than the statements take: a transaction "
            "is open while the application does something else, such as an outgoing call.",
            Query(_time("use_time"), _NAME),
            unit="s",
            width=12,
        ),
        panels.timeseries(
            "How many connections are opened?",
            "Per second. Not 0 under a steady load: pool_size is too small (the overflow is "
            "closed each time), or something between closes idle connections.",
            Query(_named(promql.rate(_series("create_time_seconds_count"), *_POOL)), _NAME),
            unit="ops",
            width=12,
        ),
    ]
