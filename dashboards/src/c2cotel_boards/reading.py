"""What a dashboard's JSON asks, for those who check it: its queries, selectors and labels."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import promql_parser

JSON = dict[str, Any]

# What Grafana puts in place of its own variables, and here of all others.
VALUES: Final[Mapping[str, str]] = {
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "3h",
}
ANYTHING: Final = ".*"
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_LABEL_VALUES: Final = re.compile(r"label_values\((.+),\s*(\w+)\)")


@dataclass(frozen=True)
class Asked:
    """One query: of a panel, of an annotation, or of a variable.

    Attributes:
        where: The panel's title, or ``annotation NAME``.
        name: Its letter on the panel.
        expr: With Grafana's variables in it.
        instant: Asked for the last moment only.
    """

    where: str
    name: str
    expr: str
    instant: bool = False


def panels(board: JSON) -> Iterator[JSON]:
    """All panels, those in closed rows too, but not the rows."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def targets(board: JSON) -> Iterator[Asked]:
    """The queries of panels."""
    for panel in panels(board):
        for target in panel["targets"]:
            instant = target.get("instant", False)
            yield Asked(panel["title"], target["refId"], target["expr"], instant)


def queries(board: JSON) -> Iterator[Asked]:
    """The queries of panels and annotations, and what is in those of variables."""
    yield from targets(board)
    for annotation in board["annotations"]["list"]:
        if "expr" in (target := annotation.get("target", {})):
            yield Asked(f"annotation {annotation['name']}", target["refId"], target["expr"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            expr, label = label_values(variable["query"]["query"])
            yield Asked(f"variable {variable['name']}", "", f"group by ({label}) ({expr})")


def label_values(query: str) -> tuple[str, str]:
    """The series and the label of ``label_values(series, label)``.

    Raises:
        ValueError: It is another function.
    """
    if (found := _LABEL_VALUES.fullmatch(query)) is None:
        raise ValueError(f"{query!r} is not label_values(series, label)")
    return found[1], found[2]


def addresses(board: JSON) -> Iterator[str]:
    """Where clicks on panels lead."""
    for panel in panels(board):
        field = panel["fieldConfig"]
        properties = [each for one in field["overrides"] for each in one["properties"]]
        for links in (
            panel.get("links", []),
            field["defaults"].get("links", []),
            *(each["value"] for each in properties if each["id"] == "links"),
        ):
            yield from (link["url"] for link in links)


def filled(expr: str, values: Mapping[str, str] = VALUES) -> str:
    """*expr* with *values* in place of variables, and with ``.*`` in place of others."""
    return _VARIABLE.sub(lambda found: values.get(found[1] or found[2], ANYTHING), expr)


def variables(text: str) -> set[str]:
    """The variables that *text* uses."""
    return {found[1] or found[2] for found in _VARIABLE.finditer(text)}


def parsed(expr: str, values: Mapping[str, str] = VALUES) -> Any:
    """The tree of *expr*.

    Raises:
        ValueError: It is no PromQL.
    """
    return promql_parser.parse(filled(expr, values))


def walk(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Every node of a tree with those above it, the outermost first."""
    yield node, above
    for child in _children(node):
        yield from walk(child, (*above, node))


def _children(node: Any) -> list[Any]:
    match type(node).__name__:
        case "Call":
            return list(node.args)
        case "BinaryExpr":
            return [node.lhs, node.rhs]
        case "AggregateExpr":
            return [node.expr, *([] if node.param is None else [node.param])]
        case "MatrixSelector":
            return [node.vector_selector]
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            return [node.expr]
    return []


def selectors(expr: str, values: Mapping[str, str] = VALUES) -> list[Any]:
    """The selectors in *expr*."""
    nodes = (node for node, _ in walk(parsed(expr, values)))
    return [node for node in nodes if isinstance(node, promql_parser.VectorSelector)]


def labels_of(expr: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric in *expr* with the labels that are asked of it.

    These are the labels of its matchers, and those by which it is grouped; up to where labels are
    made anew.
    """
    for node, above in walk(parsed(expr)):
        if isinstance(node, promql_parser.VectorSelector):
            yield (
                node.name or "",
                {matcher.name for matcher in node.matchers.matchers} | _grouped(above),
            )


def _grouped(above: tuple[Any, ...]) -> set[str]:
    labels: set[str] = set()
    made: set[str] = set()
    for node in reversed(above):
        kind = type(node).__name__
        if kind == "Call" and node.func.name in {"label_replace", "label_join"}:
            made.add(node.args[1].val)
        elif kind == "Call" and node.func.name == "histogram_quantile":
            labels.add("le")
        elif kind == "AggregateExpr" and node.modifier is not None:
            by = node.modifier.type == promql_parser.AggModifierType.By
            labels |= set(node.modifier.labels) - made if by else set()
        elif kind == "BinaryExpr" and node.modifier is not None:
            return labels | _matched(node.modifier) - made
    return labels


def _matched(modifier: Any) -> set[str]:
    matching = modifier.matching
    if matching is None or matching.type != promql_parser.LabelModifierType.Include:
        return set()
    return set(matching.labels)
