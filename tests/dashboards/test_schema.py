"""The dashboards are what Grafana's own types say that a dashboard is; see ``schema/make.py``."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parent / "schema/board.schema.json").read_text()
)
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)


def wrong(board):
    """Where it is not, and why: of a panel, what its own kind says."""
    return [told for error in VALIDATOR.iter_errors(board) for told in _told(error)]


def _told(error):
    if error.validator != "anyOf":
        yield f"{error.json_path}: {error.message}"
        return
    kinds: dict[Any, list[jsonschema.ValidationError]] = {}
    for each in error.context:
        kinds.setdefault(each.schema_path[0], []).append(each)
    # One that does not even have the type is another kind.
    nearest = min(kinds.values(), key=lambda all_: sum(list(e.path) == ["type"] for e in all_))
    for each in nearest:
        yield from _told(each)


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_it_is_a_dashboard_of_grafana(board):
    assert wrong(board) == []


def panel_of(board, kind):
    return next((each for each in board["panels"] if each["type"] == kind), None)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("stat", ("options", "colorMode"), "colour"),
        ("stat", ("options", "reduceOptions", "calcs"), "last"),
        ("timeseries", ("fieldConfig", "defaults", "custom", "drawStyle"), "curves"),
        ("timeseries", ("fieldConfig", "defaults", "custom", "lineWidth"), "1"),
        ("timeseries", ("options", "legend", "displayMode"), "rows"),
        ("table", ("options", "cellHeight"), 3),
        ("table", ("options", "sortBy"), {"displayName": "Rate"}),
        ("table", ("gridPos", "w"), "24"),
        ("timeseries", ("fieldConfig", "defaults", "thresholds", "steps"), {}),
        ("table", ("transformations",), {"id": "merge"}),
        ("timeseries", ("options", "novelty"), 1),
        ("timeseries", ("novelty",), 1),
        ("stat", ("type",), "singlestat"),
    ],
)
def test_what_grafana_would_not_understand_is_found(board, kind, path, value):
    if (panel_of(board, kind)) is None:
        return
    broken = copy.deepcopy(board)
    *outer, last = path
    place = panel_of(broken, kind)
    for key in outer:
        place = place.setdefault(key, {})
    place[last] = value
    assert wrong(broken)


@pytest.mark.parametrize(
    ("key", "value"),
    [("refresh", 30), ("graphTooltip", 7), ("tags", "c2cotel"), ("time", []), ("annotation", {})],
)
def test_what_is_wrong_with_the_whole_is_found(board, key, value):
    assert wrong({**board, key: value})
