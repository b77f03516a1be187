"""The variables of the dashboards.

All have :func:`standard`: the data source, ``job``, ``instance``. The others narrow down what one
dashboard shows; :func:`label` makes more of them. ``tempo_datasource`` and ``loki_datasource`` may
be empty: then nothing leads there.
"""

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from c2cotel_boards import promql

DATASOURCE: Final = common.DataSourceRef(type_val="prometheus", uid="${datasource}")

Variable = builders.DatasourceVariable | builders.QueryVariable


_Standard = tuple[
    builders.DatasourceVariable,
    builders.QueryVariable,
    builders.QueryVariable,
    *tuple[Variable, ...],
]


def standard(*more: Variable) -> _Standard:
    """The data source, the job and the instance, and *more*."""
    return (
        source("datasource", "prometheus", "Data source"),
        _query(
            "job",
            "Job",
            f"label_values({promql.ALWAYS_THERE}, job)",
            "The service.",
            all_value=".+",
        ),
        _query(
            "instance",
            "Instance",
            f'label_values({promql.ALWAYS_THERE}{{job=~"$job"}}, instance)',
            "The addresses that Prometheus scrapes: one for each gunicorn.",
            all_value=".+",
        ),
        *more,
    )


def source(name: str, kind: str, title: str) -> builders.DatasourceVariable:
    """A data source of a *kind*; empty where Grafana has none."""
    return builders.DatasourceVariable(name).label(title).type(kind).multi(False).include_all(False)


def tempo() -> builders.DatasourceVariable:
    """Where the traces are, for links; may be empty."""
    text = "Where traces are, for the links of tables. Without one there are no links."
    return source("tempo_datasource", "tempo", "Tempo data source").description(text)


def loki() -> builders.DatasourceVariable:
    """Where the logs are, for links; may be empty."""
    text = "Where logs are, for the links of tables. Without one there are no links."
    return source("loki_datasource", "loki", "Loki data source").description(text)


def label(
    name: str, title: str, metric: str, label_name: str, text: str, *matchers: str
) -> builders.QueryVariable:
    """The values that a label of *metric* has; All includes that there is none."""
    query = f"label_values({promql.series(metric, *matchers)}, {label_name})"
    return _query(name, title, query, text, all_value=".*")


def route() -> builders.QueryVariable:
    """Use it as ``http_route=~"$route"``."""
    text = "Patterns of Pyramid's routes. All has also the requests that matched none."
    return label("route", "Route", f"{promql.REQUESTS}_count", "http_route", text)


def engine() -> builders.QueryVariable:
    """Use it as ``c2c_engine=~"$engine"``."""
    text = "SQLAlchemy's engines, by their c2c_name. All has also those without a name."
    return label("engine", "Engine", f"{promql.OPERATIONS}_count", "c2c_engine", text)


def server() -> builders.QueryVariable:
    """Use it as ``server_address=~"$server"``."""
    text = "Whom the application calls over HTTP."
    return label("server", "Server", f"{promql.CALLS}_count", "server_address", text)


def _query(
    name: str, title: str, query: str, text: str, *, all_value: str
) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(title)
        .description(text)
        .datasource(DATASOURCE)
        .query(
            {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery", "qryType": 1}
        )
        .definition(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(all_value)
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )
