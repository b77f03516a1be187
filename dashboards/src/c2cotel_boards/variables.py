"""The variables of the dashboards.

All have :func:`standard`: the data source, ``job``, ``instance``. The others narrow down what one
dashboard shows; :func:`label` makes more of them. Those of :func:`linked` are for links to traces
and logs; ``tempo_datasource`` and ``loki_datasource`` may be empty: then nothing leads there.
"""

from collections.abc import Iterable
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
        query(
            "job",
            "Job",
            f"label_values({promql.ALWAYS_THERE}, job)",
            "The service.",
            all_value=".+",
        ),
        query(
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


def linked(*, logs: bool) -> tuple[Variable, ...]:
    """Where the traces are, and the *logs*, for links; and whose they are."""
    text = "Where {} are, for the links of tables. Without one there are no links."
    kinds = {"tempo": "traces", **({"loki": "logs"} if logs else {})}
    sources = [
        source(f"{kind}_datasource", kind, f"{kind.title()} data source").description(
            text.format(what)
        )
        for kind, what in kinds.items()
    ]
    return (*sources, service())


def service() -> builders.QueryVariable:
    """What Tempo and Loki call the services that are chosen; use it as ``${service:pipe}``.

    Nobody chooses it: it is hidden, and always has all of them.
    """
    text = "What the chosen services are called in traces and logs."
    asked = f"label_values({promql.series('target_info')}, service_name)"
    variable = query("service", "Service", asked, text, all_value=None)
    return variable.hide(models.VariableHide.HIDE_VARIABLE)


def label(
    name: str,
    title: str,
    metric: str,
    label_name: str,
    text: str,
    *matchers: str,
    of: Iterable[str] = promql.OURS,
) -> builders.QueryVariable:
    """The values that a label of *metric* has; All includes that there is none."""
    asked = f"label_values({promql.series(metric, *matchers, of=of)}, {label_name})"
    return query(name, title, asked, text, all_value=".*")


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


def query(
    name: str, title: str, asked: str, text: str, *, all_value: str | None
) -> builders.QueryVariable:
    """What *asked* (``label_values(…)``) finds.

    *all_value* stands for All; without one, All is all that were found.
    """
    made = (
        builders.QueryVariable(name)
        .label(title)
        .description(text)
        .datasource(DATASOURCE)
        .query(
            {"query": asked, "refId": "PrometheusVariableQueryEditor-VariableQuery", "qryType": 1}
        )
        .definition(asked)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )
    return made if all_value is None else made.all_value(all_value)
