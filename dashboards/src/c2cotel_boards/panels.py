"""The kinds of panels, with one look; tables are in :mod:`c2cotel_boards.tables`.

A panel has a title, a description that says what it means and what is bad, and queries::

    panels.timeseries(
        "How many requests are there?",
        "By method. A sudden drop means that somebody in front of us has gone.",
        Query(promql.rate(…, "http_request_method"), "{{http_request_method}}"),
        unit="reqps",
    )

Widths are in 24ths of the page; heights in units of 30 pixels. Colours, thresholds and ``Query``
are in :mod:`c2cotel_boards.look`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import bargauge as bargauge_builders
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import heatmap as heatmap_builders
from grafana_foundation_sdk.builders import stat as stat_builders
from grafana_foundation_sdk.builders import timeseries as timeseries_builders
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from c2cotel_boards import look
from c2cotel_boards.links import Link
from c2cotel_boards.look import Legend, Query, Steps, Texts

Panel = Any
"""A builder of the SDK for some kind of panel: ``build()`` makes a ``models.dashboard.Panel``."""


def timeseries(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 8,
    height: int = 8,
    legend: Legend = "list",
    stacked: bool = False,
    bars: bool = False,
    whole: bool = False,
    minimum: float | None = 0,
    maximum: float | None = None,
    limit: Steps | None = None,
    colour: Mapping[str, str] | None = None,
    dashed: Iterable[str] = (),
    links: Sequence[Link] = (),
) -> Panel:
    """Numbers over time.

    Args:
        title: What is asked.
        description: What it means and what is bad.
        queries: Of the series.
        unit: One of Grafana's.
        width: In 24ths.
        height: In 30 pixels.
        legend: ``table`` where there are many series: on the right, with the last and the largest
            value; ``list`` below.
        stacked: Areas on top of each other.
        bars: For counts of seldom events; they are whole numbers.
        whole: There are no halves on the axis, which goes to 1 where all is 0.
        minimum: Of the axis; None for what may be negative.
        maximum: Of the axis.
        limit: Lines at these values.
        colour: Of the series whose names match the regular expression.
        dashed: Names of series that are limits rather than measurements.
        links: Where a click on a series leads.
    """
    builder = timeseries_builders.Panel()
    look.describe(builder, title, description, unit=unit, width=width, height=height)
    look.ask(builder, queries, instant=False)
    builder.legend(look.legend(legend)).tooltip(look.tooltip())
    builder.line_width(1).show_points(common.VisibilityMode.NEVER)
    builder.draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
    # Areas of many series on top of each other would be mud.
    builder.fill_opacity(70 if bars else 30 if stacked else 0 if legend == "table" else 10)
    builder.color_scheme(look.classic())
    if stacked:
        mode = common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
        builder.stacking(mode)
    look.bounds(builder, minimum, maximum)
    if whole or bars:
        builder.decimals(0).axis_soft_max(1)
    if limit is not None:
        builder.thresholds(look.thresholds(limit))
        style = common_builders.GraphThresholdsStyleConfig()
        builder.thresholds_style(style.mode(common.GraphThresholdsStyleMode.DASHED))
    for pattern, name in (colour or {}).items():
        builder.override_by_regexp(look.whole(pattern), [look.fixed(name)])
    for name in dashed:
        builder.override_by_name(name, look.as_limit())
    if links:
        builder.data_links([link.build() for link in links])
    return builder


def stat(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str,
    steps: Steps = look.PLAIN,
    width: int = 4,
    height: int = 5,
    sparkline: bool = True,
    decimals: int | None = None,
    texts: Texts | None = None,
    nothing: str = "-",
    legend: str = "",
    link: Link | None = None,
) -> Panel:
    """One big number, coloured by *steps*, over the curve of the time that is shown.

    Args:
        title: What is asked.
        description: What it means and what is bad.
        expr: Of one series; of several with *legend*, each is shown with its name.
        unit: One of Grafana's.
        steps: From which value on it has which colour.
        width: In 24ths.
        height: In 30 pixels.
        sparkline: Whether there is a curve; without it only the last moment is asked for.
        decimals: Of the number; Grafana chooses.
        texts: In place of a value a text and its colour.
        nothing: Shown where there are no data.
        legend: The names of several series.
        link: Where a click leads.
    """
    builder = stat_builders.Panel()
    look.describe(builder, title, description, unit=unit, width=width, height=height)
    look.ask(builder, [Query(expr, legend or "__auto")], instant=not sparkline)
    builder.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    builder.color_mode(common.BigValueColorMode.VALUE).thresholds(look.thresholds(steps))
    graph = common.BigValueGraphMode.AREA if sparkline else common.BigValueGraphMode.NONE
    text = common.BigValueTextMode.VALUE_AND_NAME if legend else common.BigValueTextMode.VALUE
    builder.graph_mode(graph).text_mode(text).justify_mode(common.BigValueJustifyMode.CENTER)
    # In a wide layout the curve goes through the number.
    builder.wide_layout(False)
    builder.no_value(nothing)
    if decimals is not None:
        builder.decimals(decimals)
    if texts:
        builder.mappings(look.mappings(texts))
    if link is not None:
        builder.data_links([link.build()])
    return builder


def bargauge(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    steps: Steps = look.PLAIN,
    width: int = 8,
    height: int = 8,
    minimum: float | None = 0,
    maximum: float | None = None,
    links: Sequence[Link] = (),
) -> Panel:
    """The values of now as bars, one a series; what *queries* say is sorted, as they stand."""
    builder = bargauge_builders.Panel()
    look.describe(builder, title, description, unit=unit, width=width, height=height)
    look.ask(builder, queries, instant=True)
    builder.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    builder.orientation(common.VizOrientation.HORIZONTAL)
    builder.display_mode(common.BarGaugeDisplayMode.BASIC)
    builder.value_mode(common.BarGaugeValueMode.TEXT).show_unfilled(True)
    # Beside the bars, long names are cut.
    builder.name_placement(common.BarGaugeNamePlacement.TOP)
    builder.thresholds(look.thresholds(steps))
    look.bounds(builder, minimum, maximum)
    if links:
        builder.data_links([link.build() for link in links])
    return builder


def heatmap(
    title: str, description: str, expr: str, *, unit: str, width: int = 12, height: int = 8
) -> Panel:
    """How often a histogram had which values over time; *expr* is the rate of buckets by ``le``."""
    builder = heatmap_builders.Panel()
    look.describe(builder, title, description, unit=unit, width=width, height=height)
    asked = Query(expr, "{{le}}")
    builder.with_target(look.target(asked, "A", instant=False, form=PromQueryFormat.HEATMAP))
    builder.calculate(False).cell_gap(1)
    options = heatmap_builders.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME)
    builder.color(options.scheme("Oranges").steps(64).exponent(0.5))
    axis = heatmap_builders.YAxisConfig().unit(unit).axis_placement(common.AxisPlacement.LEFT)
    builder.y_axis(axis)
    builder.show_legend()
    tooltip = heatmap_builders.HeatmapTooltip().mode(common.TooltipDisplayMode.SINGLE)
    builder.tooltip(tooltip.y_histogram(True).show_color_scale(True))
    return builder
