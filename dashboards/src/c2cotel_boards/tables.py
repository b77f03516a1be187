"""Tables: a row for each set of labels, a column for each query.

::

    tables.table(
        "Which routes?",
        "…",
        keys={"http_route": "Route"},
        columns=[
            Column("Rate", promql.rate(…, "http_route"), "reqps"),
            Column("Errors", …, "percentunit", steps=look.warn_from(0.01, 0.05)),
        ],
        links={"Route": [links.to("requests", "Requests of it", route=links.VALUE)]},
    )

All queries are grouped by the labels of *keys*. What one query has and another does not is an
empty cell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import table as builders
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from c2cotel_boards import look
from c2cotel_boards.links import Link
from c2cotel_boards.look import Query, Steps, Texts
from c2cotel_boards.promql import where_set

# Without any, Grafana gives no column less than 150 pixels, and hides those that do not fit.
_LEAST_WIDTH: Final = 60
_WIDTHS: Final = {"reqps": 100, "ops": 100, "bytes": 100, "dtdurations": 110}
_USUAL_WIDTH: Final = 90
_BAR_WIDTH: Final = 220


@dataclass(frozen=True)
class Column:
    """Numbers, and what they look like.

    Attributes:
        title: Above the numbers.
        expr: Their query, of the last moment.
        unit: One of Grafana's.
        steps: Colours of the number.
        bar: Show a bar beside the number, as long as the number is large among the others. Only for
            numbers without a unit: Grafana may break their text before it.
        texts: In place of numbers.
        links: Where a click leads; of several, one is chosen.
        width: In pixels; otherwise as wide as such numbers are.
    """

    title: str
    expr: str
    unit: str
    steps: Steps | None = None
    bar: bool = False
    texts: Texts | None = None
    links: Sequence[Link] = ()
    width: int | None = None


def table(
    title: str,
    description: str,
    *,
    keys: Mapping[str, str],
    columns: Sequence[Column],
    unit: str = "short",
    width: int = 24,
    height: int = 9,
    sort: str = "",
    links: Mapping[str, Sequence[Link]] | None = None,
    widths: Mapping[str, int] | None = None,
) -> builders.Panel:
    """A row for each set of values of the labels *keys* (with their titles).

    Args:
        title: What is asked.
        description: What it means and what is bad.
        keys: Labels that every query is grouped by, and their titles.
        columns: The numbers.
        unit: Of whatever has none.
        width: In 24ths.
        height: In 30 pixels.
        sort: The title of the column whose largest numbers come first; usually the first number.
        links: Where a click on a key leads, by its title.
        widths: Of keys in pixels, by their titles; the others share what is left.
    """
    builder = builders.Panel()
    look.describe(builder, title, description, unit=unit, width=width, height=height)
    for name, column in zip(ascii_uppercase, columns, strict=False):
        asked = Query(column.expr, "")
        made = look.target(asked, name, instant=True, form=PromQueryFormat.TABLE)
        builder.with_target(made)
    builder.transformations(_transformations(keys, columns))
    builder.show_header(True).cell_height(common.TableCellHeight.SM).filterable(False)
    builder.min_width(_LEAST_WIDTH).cell_options(common.TableAutoCellOptions())
    first = common_builders.TableSortByFieldState()
    first.display_name(sort or columns[0].title).desc(True)
    builder.sort_by([first])
    for column in columns:
        builder.override_by_name(column.title, _properties(column))
    for key in keys.values():
        properties = _key_properties((links or {}).get(key, ()), (widths or {}).get(key))
        builder.override_by_name(key, properties)
    return builder


def traces(expr: str, *links: Link) -> Column:
    """A column that leads to traces, and is there only if ``tempo_datasource`` is set.

    *expr* is 1 for each row that should have links: ``promql.aggregate(…, function="group")``.
    """
    return _leading("Traces", where_set("tempo_datasource", expr), links)


def logs(expr: str, *links: Link) -> Column:
    """The same, of logs: there only if ``loki_datasource`` is set."""
    return _leading("Logs", where_set("loki_datasource", expr), links)


def _leading(title: str, expr: str, links: Sequence[Link]) -> Column:
    always: Texts = {1: (title, look.BLUE)}
    return Column(title, expr, "short", texts=always, links=links, width=80)


def _transformations(
    keys: Mapping[str, str], columns: Sequence[Column]
) -> list[models.DataTransformerConfig]:
    """One table of all queries; then its columns in order, with their titles."""
    values = [f"Value #{name}" for name, _ in zip(ascii_uppercase, columns, strict=False)]
    titles = [column.title for column in columns]
    # Where only one query has an answer, Grafana leaves its letter out.
    fields = [*keys, *values, "Value"]
    organized = {
        "excludeByName": {"Time": True},
        "indexByName": {field: index for index, field in enumerate(fields)},
        "renameByName": dict(zip(fields, [*keys.values(), *titles, titles[0]], strict=True)),
    }
    return [
        models.DataTransformerConfig(id_val="merge", options={}),
        models.DataTransformerConfig(id_val="organize", options=organized),
    ]


def _key_properties(links: Sequence[Link], width: int | None) -> list[models.DynamicConfigValue]:
    """A label is a text also where it looks like a number; one that a row does not have is said."""
    nothing = models.SpecialValueMap(
        options=models.DashboardSpecialValueMapOptions(
            match=models.SpecialValueMatch.EMPTY,
            result=models.ValueMappingResult(text="(none)", color=look.GREY, index=0),
        )
    )
    made = [
        models.DynamicConfigValue("unit", "string"),
        models.DynamicConfigValue("mappings", [nothing]),
    ]
    if links:
        made.append(models.DynamicConfigValue("links", [link.plain() for link in links]))
    if width is not None:
        made.append(models.DynamicConfigValue("custom.width", width))
    return made


def _properties(column: Column) -> list[models.DynamicConfigValue]:
    made = [models.DynamicConfigValue("unit", column.unit)]
    if column.steps is not None:
        made.append(models.DynamicConfigValue("thresholds", look.thresholds(column.steps).build()))
    if column.bar:
        gauge = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        made += [
            models.DynamicConfigValue("custom.cellOptions", gauge),
            models.DynamicConfigValue("min", 0),
            # The text of all rows is as wide as that of the first one.
            models.DynamicConfigValue("decimals", 3),
            # Or else the bars are of the largest number of all columns.
            models.DynamicConfigValue("fieldMinMax", True),
            look.fixed(look.BLUE),
        ]
    elif column.steps is not None or column.texts is not None:
        made.append(models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    if column.texts is not None:
        made.append(models.DynamicConfigValue("mappings", look.mappings(column.texts)))
    if column.links:
        made.append(models.DynamicConfigValue("links", [link.plain() for link in column.links]))
    made.append(models.DynamicConfigValue("custom.width", column.width or _width(column)))
    return made


def _width(column: Column) -> int:
    """Enough for numbers of its unit, and for its title with the arrow of the sorting."""
    if column.bar:
        return _BAR_WIDTH
    return max(_WIDTHS.get(column.unit, _USUAL_WIDTH), 8 * len(column.title) + 34)
