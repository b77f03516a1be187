"""What all panels share: colours, thresholds, legends, the form of a query.

Green, orange and red are kept for what is good, to be looked at, and bad. What is neither is blue.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Final, Literal

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from c2cotel_boards.variables import DATASOURCE

GREEN: Final = "green"
ORANGE: Final = "orange"
RED: Final = "red"
BLUE: Final = "blue"
PURPLE: Final = "purple"
YELLOW: Final = "yellow"
GREY: Final = "#8e8e99"

BY_STATUS: Final[Mapping[str, str]] = {
    r"\(.*\)": GREY, "1..": GREY, "2..": GREEN, "3..": BLUE, "4..": ORANGE, "5..": RED,
}  # fmt: skip
"""Colours of series that are called by their HTTP status."""
BY_QUANTILE: Final[Mapping[str, str]] = {"p50": BLUE, "p95": ORANGE, "p99": RED}
"""Colours of series that are called p50, p95, p99."""

Legend = Literal["list", "table", "hidden"]
Steps = Sequence[tuple[float | None, str]]
"""From which value on there is which colour; the first is None, for all below."""
Texts = Mapping[float, tuple[str, str]]
"""In place of a value, a text and its colour."""

PLAIN: Final[Steps] = ((None, BLUE),)


def warn_from(warning: float, bad: float | None = None) -> Steps:
    """Green, orange from *warning* on and red from *bad* on."""
    red = () if bad is None else ((bad, RED),)
    return ((None, GREEN), (warning, ORANGE), *red)


def bad_from(bad: float) -> Steps:
    """Green, and red from *bad* on."""
    return ((None, GREEN), (bad, RED))


def bad_below(good: float) -> Steps:
    """Red, and green from *good* on."""
    return ((None, RED), (good, GREEN))


@dataclass(frozen=True)
class Query:
    """A query of series, and what they are called (``{{http_route}}``)."""

    expr: str
    legend: str = "__auto"


def describe(
    builder: Any, title: str, description: str, *, unit: str, width: int, height: int
) -> None:
    """What every panel has."""
    builder.title(title).description(description).datasource(DATASOURCE)
    builder.unit(unit).span(width).height(height)


def ask(builder: Any, queries: Iterable[Query], *, instant: bool) -> None:
    """Put *queries* on a panel, as A, B and so on."""
    for name, query in zip(ascii_uppercase, queries, strict=False):
        builder.with_target(target(query, name, instant=instant))


def target(
    query: Query, name: str, *, instant: bool, form: PromQueryFormat | None = None
) -> prometheus.Dataquery:
    """One query, for the range that is shown or for its last moment."""
    made = prometheus.Dataquery().datasource(DATASOURCE).ref_id(name)
    made.expr(query.expr).legend_format(query.legend)
    made.instant() if instant else made.range()
    if form is not None:
        made.format(form)
    return made


def bounds(builder: Any, minimum: float | None, maximum: float | None) -> None:
    if minimum is not None:
        builder.min(minimum)
    if maximum is not None:
        builder.max(maximum)


def thresholds(steps: Steps) -> builders.ThresholdsConfig:
    made = [models.Threshold(value, colour) for value, colour in steps]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def legend(kind: Legend) -> common_builders.VizLegendOptions:
    """A table on the right, largest value first, or a list below."""
    made = common_builders.VizLegendOptions()
    if kind == "hidden":
        return made.show_legend(False).display_mode(common.LegendDisplayMode.LIST).calcs([])
    made.show_legend(True)
    if kind == "list":
        made.display_mode(common.LegendDisplayMode.LIST).calcs([])
        return made.placement(common.LegendPlacement.BOTTOM)
    made.display_mode(common.LegendDisplayMode.TABLE).placement(common.LegendPlacement.RIGHT)
    return made.calcs(["lastNotNull", "max"]).sort_by("Last *").sort_desc(True)


def tooltip() -> common_builders.VizTooltipOptions:
    """All series of the moment, the largest first."""
    made = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    return made.sort(common.SortOrder.DESCENDING)


def classic() -> builders.FieldColor:
    """Another colour for each series."""
    return builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC)


def fixed(colour: str) -> models.DynamicConfigValue:
    """One colour, for a series that is overridden."""
    return models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def as_limit() -> list[models.DynamicConfigValue]:
    """A series that is a limit: grey, dashed, empty below."""
    return [
        fixed(GREY),
        models.DynamicConfigValue("custom.fillOpacity", 0),
        models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
        models.DynamicConfigValue("custom.stacking", {"group": "limit", "mode": "none"}),
    ]


def on_the_right() -> models.DynamicConfigValue:
    """An axis of its own, for a series that is much larger than the others."""
    return models.DynamicConfigValue("custom.axisPlacement", "right")


def mappings(texts: Texts) -> list[models.ValueMapping]:
    """Texts in place of values."""
    options = {
        f"{value:g}": models.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(texts.items())
    }
    return [models.ValueMap(options=options)]


def whole(pattern: str) -> str:
    """The regular expression that matches names that are *pattern* from beginning to end."""
    return f"/^{pattern}$/"
