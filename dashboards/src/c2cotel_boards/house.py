"""A dashboard: what all of them have, and rows of panels.

::

    def board() -> Dashboard:
        return house.dashboard(
            "requests",
            "Requests",
            "Which routes are slow, and which fail?",
            [
                Row("Is it well?", [panels.stat(…), …]),
                Row("Which routes?", [tables.table(…)]),
            ],
            variables=variables.standard(variables.route(), variables.tempo()),
        )

Panels flow from left to right, 24 wide, in rows whose heights are those of their highest panel. The
order of the rows is that in which an operator asks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models import dashboard as models

from c2cotel_boards import look
from c2cotel_boards.panels import Panel
from c2cotel_boards.promql import ALWAYS_THERE, WINDOW, series
from c2cotel_boards.variables import DATASOURCE, Variable

TAG: Final = "c2cotel"
UID: Final = "c2cotel-{}"
_WIDTH: Final = 24
# Grafana migrates to newer ones by itself; older ones lack what the panels say.
_SCHEMA: Final = 42


@dataclass(frozen=True)
class Row:
    """Panels below a title; *closed* ones are opened by a click, and ask nothing until then."""

    title: str
    panels: Sequence[Panel]
    closed: bool = False


def dashboard(
    name: str,
    title: str,
    description: str,
    rows: Iterable[Row],
    *,
    variables: Iterable[Variable],
    since: str = "now-3h",
    refresh: str = "30s",
    changes: bool = True,
) -> models.Dashboard:
    """The dashboard ``c2cotel-NAME``.

    It shows what was *since* then, asks anew every *refresh*, and has lines for the *changes* by
    operators of the services that are chosen.
    """
    builder = builders.Dashboard(f"c2cotel / {title}").uid(UID.format(name))
    builder.description(description).tags([TAG]).timezone("browser").readonly()
    builder.tooltip(models.DashboardCursorSync.CROSSHAIR).refresh(refresh).time(since, "now")
    builder.links([_menu()]).annotations([_changes()] if changes else [])
    for variable in variables:
        builder.with_variable(variable)
    made = builder.build()
    made.schema_version = _SCHEMA
    made.panels = _placed(rows)
    return made


def _menu() -> builders.DashboardLink:
    link = builders.DashboardLink("c2cotel").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    link.icon("external link").tooltip("The other dashboards, for the same time and services")
    return link.as_dropdown(True).keep_time(True).include_vars(True)


def _changes() -> builders.AnnotationQuery:
    """Lines where an operator has changed something: read-only, log levels, the profiler."""
    target = prometheus.Dataquery().datasource(DATASOURCE).ref_id("Changes").range()
    query = builders.AnnotationQuery().name("Changes by operators").datasource(DATASOURCE)
    query.target(target.expr(_new_changes()).interval("30s")).icon_color(look.PURPLE)
    query.enable(True).hide(False).tag_keys("c2c_switch")
    return query.title_format("{{c2c_switch}}: {{c2c_switch_action}}").text_format(
        "{{job}} {{instance}}"
    )


def _new_changes() -> str:
    """Where more changes are counted than an interval ago; the first one, too.

    A target that Prometheus did not know then has brought its past with it, which is no change.
    """
    by = "job, instance, c2c_switch, c2c_switch_action"
    changes = series("c2c_switch_changes_total")
    now, before = (f"sum by ({by}) ({changes}{at})" for at in ("", f" offset {WINDOW}"))
    known = f"{series(ALWAYS_THERE)} offset {WINDOW}"
    return f"({now} - ({before} or {now} * 0)) > 0 and on (job, instance) {known}"


def _placed(rows: Iterable[Row]) -> list[models.Panel | models.RowPanel]:
    placed: list[models.Panel | models.RowPanel] = []
    top, number = 0, 0
    for row in rows:
        number += 1
        position = models.GridPos(h=1, w=_WIDTH, x=0, y=top)
        head = models.RowPanel(
            title=row.title, id_val=number, collapsed=row.closed, grid_pos=position
        )
        placed.append(head)
        below, top = _flow(row.panels, top + 1)
        for panel in below:
            number += 1
            panel.id_val = number
        if row.closed:
            head.panels = below
            top = position.y + 1
        else:
            placed += below
    return placed


def _flow(panels: Iterable[Panel], top: int) -> tuple[list[models.Panel], int]:
    """*panels* from left to right, and where the next row begins."""
    made, left, height = [], 0, 0
    for builder in panels:
        panel = builder.build()
        position = panel.grid_pos
        if left + position.w > _WIDTH:
            left, top, height = 0, top + height, 0
        position.x, position.y = left, top
        left, height = left + position.w, max(height, position.h)
        made.append(panel)
    return made, top + height
