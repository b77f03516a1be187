"""Requests: by route, how many, how slow, how many fail, and where to look next."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from c2cotel_boards import house, links, look, panels, promql, tables, variables
from c2cotel_boards.house import Row
from c2cotel_boards.look import Query
from c2cotel_boards.panels import Panel
from c2cotel_boards.promql import RENDERING, REQUESTS
from c2cotel_boards.tables import Column

_ROUTE: Final = 'http_route=~"$route"'
_METHOD: Final = 'http_request_method=~"$method"'
_FAILED: Final = 'http_response_status_code=~"5.."'
_COUNT: Final = promql.series(f"{REQUESTS}_count", _ROUTE, _METHOD)
_FAILURES: Final = promql.series(f"{REQUESTS}_count", _ROUTE, _METHOD, _FAILED)
_REFUSED: Final = promql.series(
    f"{REQUESTS}_count", _ROUTE, _METHOD, 'http_response_status_code=~"4.."'
)
_BY_ROUTE: Final = "http_route"
_STATUS: Final = "http_response_status_code"
_MANY: Final = 10
_QUANTILES: Final = (0.5, 0.95, 0.99)


def board() -> Dashboard:
    return house.dashboard(
        "requests",
        "Requests",
        "Which routes are asked for, which are slow, which fail, and with what.",
        [
            Row("Is it well?", _stats()),
            Row("Which routes?", [_routes()]),
            Row("How many requests, and how many fail?", _traffic()),
            Row("How long do they take?", _durations()),
            Row("Where does the time of a request go?", _inside()),
        ],
        variables=variables.standard(
            variables.route(),
            variables.label(
                "method", "Method", f"{REQUESTS}_count", "http_request_method", "HTTP methods."
            ),
            *variables.linked(logs=True),
        ),
    )


def _stats() -> list[Panel]:
    return [
        panels.stat(
            "Requests",
            "Answered per second. Zero where there was traffic before: look at the proxy in front.",
            promql.rate(_COUNT),
            unit="reqps",
        ),
        panels.stat(
            "Failing",
            "Part of the requests that were answered with 5xx. Above 1 % users notice; the table "
            "of errors below says which ones.",
            _failing(),
            unit="percentunit",
            steps=look.warn_from(0.01, 0.05),
            decimals=2,
        ),
        panels.stat(
            "Half are faster than",
            "The median duration, until the body is handed to the server.",
            _quantile(0.5),
            unit="s",
        ),
        panels.stat(
            "95 % are faster than",
            "Above 1 s pages feel slow: see which route it is, then Database and Outgoing.",
            _quantile(0.95),
            unit="s",
            steps=look.warn_from(1, 3),
        ),
        panels.stat(
            "99 % are faster than",
            "The slowest of a hundred. Far above the 95 % means that a few requests wait for "
            "something: a lock, a pool, a time-out.",
            _quantile(0.99),
            unit="s",
            steps=look.warn_from(3, 10),
        ),
        panels.stat(
            "Being answered now",
            "Of all routes. As many as there are threads means that new requests wait in the "
            "socket, where nobody measures them.",
            promql.aggregate(promql.series("http_server_active_requests", _METHOD)),
            unit="short",
        ),
    ]


def _routes() -> Panel:
    route = links.column("Route")
    spans = ("kind = server", f'span.http.route = "{route}"')
    there = promql.aggregate(
        promql.series(f"{REQUESTS}_count", _ROUTE, _METHOD, 'http_route!=""'),
        _BY_ROUTE,
        function="group",
    )
    return tables.table(
        "Routes",
        "A row for each route, by what it takes in all: what is above costs most. A click on a "
        "route shows only it; where Tempo and Loki are set, the last columns lead to its traces "
        "and its access log.",
        keys={_BY_ROUTE: "Route"},
        columns=[
            Column(
                "Busy",
                promql.rate(promql.series(f"{REQUESTS}_sum", _ROUTE, _METHOD), _BY_ROUTE),
                "short",
                bar=True,
            ),
            Column("Rate", promql.rate(_COUNT, _BY_ROUTE), "reqps"),
            Column(
                "Failing",
                _failing(_BY_ROUTE),
                "percentunit",
                steps=look.warn_from(0.01, 0.05),
            ),
            *[
                Column(f"p{q * 100:g}", _quantile(q, _BY_ROUTE), "s", steps=look.warn_from(1, 3))
                for q in _QUANTILES
            ],
            Column("Rendering", _rendering_share(), "percentunit"),
            tables.traces(
                there,
                links.traces("Traces of it", *spans),
                links.traces("Those that failed", *spans, "status = error"),
                links.traces("Those above 1 s", *spans, "duration > 1s"),
            ),
            tables.logs(
                there,
                links.logs("Access log of it", f'route = "{route}"'),
                links.logs("Of those that failed", f'route = "{route}"', "status >= 500"),
            ),
        ],
        links={"Route": [links.to("requests", "Only this route", route=links.VALUE)]},
        height=10,
    )


def _legend(expr: str, legend: str = "{{http_route}}") -> Query:
    """By route; requests that matched none have a name, too."""
    return Query(promql.named(expr, _BY_ROUTE, "(no route)"), legend)


def _busiest(expr: str) -> Query:
    return _legend(promql.busiest(_MANY, expr))


def _failing(*by: str) -> str:
    return promql.share(promql.rate(_FAILURES, *by), promql.rate(_COUNT, *by))


def _quantile(q: float, *by: str) -> str:
    return promql.quantile(q, REQUESTS, *by, matchers=(_ROUTE, _METHOD))


def _rendering_share() -> str:
    """Part of the requests' time that renderers take; they do not know the method."""
    rendering = promql.rate(promql.series(f"{RENDERING}_sum", _ROUTE), _BY_ROUTE)
    requests = promql.rate(promql.series(f"{REQUESTS}_sum", _ROUTE), _BY_ROUTE)
    return f"{rendering} / ({requests} > 0)"


def _traffic() -> list[Panel]:
    return [
        panels.timeseries(
            "How many requests are there, by status?",
            "Stacked. Red are our failures, orange what clients did wrong: many 404 may be a "
            "broken link or a scanner.",
            Query(promql.by_status(_COUNT), "{{http_response_status_code}}"),
            unit="reqps",
            height=9,
            stacked=True,
            colour=look.BY_STATUS,
        ),
        panels.timeseries(
            f"Which {_MANY} routes are asked for most?",
            "A peak of one route alone is a client; of all of them, load.",
            _busiest(promql.rate(_COUNT, _BY_ROUTE)),
            unit="reqps",
            width=16,
            height=9,
            legend="table",
        ),
        panels.timeseries(
            "Which part fails, by route?",
            "5xx of all requests of a route, where there are any. One route alone: its code or "
            "its data. All at once: the database, or a service that they call.",
            _legend(f"{_failing(_BY_ROUTE)} > 0"),
            unit="percentunit",
            maximum=1,
            legend="table",
            width=10,
        ),
        _errors(),
        panels.timeseries(
            "What do clients do wrong?",
            "4xx by route and status. 404 without a route is a broken link, or a scanner; 401 and "
            "403 after a deployment: a session or a right was lost.",
            _legend(
                promql.busiest(_MANY, promql.rate(_REFUSED, _BY_ROUTE, _STATUS)),
                "{{http_response_status_code}} {{http_route}}",
            ),
            unit="reqps",
            width=24,
            legend="table",
        ),
    ]


def _errors() -> Panel:
    by = ("http_route", "error_type", _STATUS)
    failures = promql.series(f"{REQUESTS}_count", _ROUTE, _METHOD, 'error_type!=""')
    route, kind, status = map(links.column, ("Route", "Error", "Status"))
    there = promql.aggregate(failures, *by, function="group")
    return tables.table(
        "Which errors were there?",
        "In the time that is shown, by the class of the exception; also one that happened once. "
        "The log has its text: where Tempo and Loki are set, the last columns lead there.",
        keys={"error_type": "Error", "http_route": "Route", "http_response_status_code": "Status"},
        columns=[
            Column("Count", promql.counted(failures, *by, window="$__range") + " > 0.5", "short"),
            tables.traces(
                there,
                links.traces(
                    "Traces with it",
                    "kind = server",
                    f'span.http.route = "{route}"',
                    f'span.error.type = "{kind}"',
                ),
            ),
            tables.logs(
                there,
                links.logs("Access log", f'route = "{route}"', f'status = "{status}"'),
                links.logs("Errors of all routes", links.FAILURES),
            ),
        ],
        width=14,
        height=8,
        widths={"Route": 200, "Status": 80},
    )


def _durations() -> list[Panel]:
    buckets = promql.series(f"{REQUESTS}_bucket", _ROUTE, _METHOD)
    return [
        panels.timeseries(
            "How long do requests take?",
            "50, 95 and 99 % are faster. All three rise: something that all need is slow. Only the "
            "last: one route, or a lock.",
            *[Query(_quantile(q), f"p{q * 100:g}") for q in _QUANTILES],
            unit="s",
            width=12,
            colour=look.BY_QUANTILE,
        ),
        panels.heatmap(
            "How are the durations spread?",
            "Two bands are two kinds of requests, such as those that find something in a cache "
            "and those that do not; a new band above is where to look.",
            promql.rate(buckets, "le"),
            unit="s",
        ),
        panels.timeseries(
            f"Which {_MANY} routes are slowest?",
            "The 95 % of each. A route that grows while its rate does not has more data, or waits.",
            _busiest(_quantile(0.95, _BY_ROUTE)),
            unit="s",
            width=12,
            height=9,
            legend="table",
        ),
        panels.timeseries(
            f"Which {_MANY} routes keep the threads busy?",
            "Requests being answered at once, on average: rate times duration. The sum is how "
            "many threads are needed.",
            _busiest(promql.rate(promql.series(f"{REQUESTS}_sum", _ROUTE, _METHOD), _BY_ROUTE)),
            unit="short",
            width=12,
            height=9,
            legend="table",
            stacked=True,
        ),
    ]


def _inside() -> list[Panel]:
    return [
        panels.timeseries(
            "How many are being answered?",
            "Waiting in the server's threads, by method. A plateau means that all threads are "
            "busy.",
            Query(
                promql.aggregate(
                    promql.series("http_server_active_requests", _METHOD), "http_request_method"
                ),
                "{{http_request_method}}",
            ),
            unit="short",
            whole=True,
            height=9,
            stacked=True,
        ),
        panels.timeseries(
            "How long does rendering take?",
            "The 95 % of templates and JSON, by route, BeforeRender included. What is lazily "
            "loaded from the database there counts, too.",
            _busiest(promql.quantile(0.95, RENDERING, _BY_ROUTE, matchers=(_ROUTE,))),
            unit="s",
            width=16,
            height=9,
            legend="table",
        ),
    ]
