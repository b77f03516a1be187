"""Every query of every dashboard is answered by a real Prometheus, after good and bad times.

Variables are filled in as Grafana does where All is chosen; what is asked for one moment is asked
for every second of these times, as somebody may look at any of them.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from c2cotel_acceptance import servers
from c2cotel_acceptance.processes import MissingError
from c2cotel_boards import build, catalogue, reading

from . import times
from .scene import WINDOW, begin

# Beside other tests, the good and bad times take longer than a test may.
pytestmark = pytest.mark.timeout(600)

#: Emitted only where something is used, or happens, that is not here.
ABSENT = {
    "c2c.prometheus.collectors": "The example has no collectors of prometheus_client.",
    "c2c.metrics.fold.failures": "The file system with the run directory is not full.",
}
#: What the catalogue has besides, for the same reason.
OTHER_DIFFERENCES = {
    "c2c.pyramid.render.duration has nowhere the labels ['error_type']": "No renderer fails here.",
}
#: Seconds.
STEP, LONG_STEP = 1, 5
#: Rows of a table that somebody looks through, and lines that fit into a picture.
MOST = 50


@dataclass(frozen=True)
class Series:
    """Labels and numbers of one series; *ends* when the last number is."""

    labels: dict[str, str]
    numbers: tuple[float, ...]
    ends: float


@dataclass
class Times:
    """Prometheus, when what has happened, and what the services tell of themselves after it."""

    prometheus: servers.Prometheus
    begin: int
    end: int
    scrape: str
    statistics: str
    tables: int
    answers: dict[str, list[Series]] = field(default_factory=dict)

    def filled(self, expr: str) -> str:
        """*expr* as Grafana sends it."""
        values = {
            "__rate_interval": WINDOW,
            "__interval": "1s",
            "__range": f"{self.end - self.begin}s",
            "tempo_datasource": "tempo",
            "loki_datasource": "loki",
        }
        return reading.filled(expr, values)

    def answer(self, asked: reading.Asked) -> list[Series]:
        """What Prometheus says to it."""
        query = self.filled(asked.expr)
        if query not in self.answers:
            # What looks back at all of the time says the same a second later.
            step = STEP if "$__rate_interval" in asked.expr else LONG_STEP
            when = {"start": self.begin, "end": self.end, "step": step}
            # Some are longer than an address may be.
            answer = requests.post(
                f"{self.prometheus.url}/api/v1/query_range", {"query": query, **when}, timeout=30
            ).json()
            assert answer["status"] == "success", f"{query}: {answer}"
            self.answers[query] = [_series(each) for each in answer["data"]["result"]]
        return self.answers[query]

    def at_the_end(self, asked: reading.Asked) -> list[Series]:
        """Of these series, those that have a number at the last moment."""
        return [series for series in self.answer(asked) if series.ends > self.end - LONG_STEP]

    def choices(self, query: str) -> list[str]:
        """What there is for a variable, but for nothing; as Grafana asks."""
        series, label = reading.label_values(self.filled(query))
        return [value for value in self._look_up(f"label/{label}/values", series) if value]

    def exists(self, series: str) -> bool:
        """Whether there ever were such *series*."""
        return bool(self._look_up("series", series))

    def _look_up(self, what: str, series: str) -> list[Any]:
        when = {"start": self.begin, "end": self.end, "match[]": series}
        found = requests.get(f"{self.prometheus.url}/api/v1/{what}", when, timeout=30).json()
        assert found["status"] == "success", f"{series}: {found}"
        return list(found["data"])


def _series(result: dict[str, Any]) -> Series:
    numbers = tuple(float(number) for _, number in result["values"])
    return Series(result["metric"], numbers, result["values"][-1][0])


@pytest.fixture(scope="module")
def after(tmp_path_factory) -> Iterator[Times]:
    with contextlib.ExitStack() as stack:
        try:
            scene = begin(stack, tmp_path_factory.mktemp("panels"))
        except MissingError as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))
        for happens in (times.good_times, *times.BAD_TIMES):
            happens(scene)
        # The next full second, so that the last moment is one that is asked for.
        end = int(time.time()) + STEP
        told = scene.shop.scrape(), scene.statistics.text(), scene.statistics.tables
        scene.until(f"time() > bool {end}")
        # How they end is of no interest here, and takes long without a collector and Redis.
        for service in (scene.shop, scene.small):
            service.gunicorn.kill()
        yield Times(scene.prometheus, int(scene.since), end, *told)


@pytest.fixture(params=build.NAMES)
def board(request) -> dict[str, Any]:
    return json.loads((build.FOLDER / f"{request.param}.json").read_text())


def test_every_query_of_every_panel_has_an_answer(board, after):
    # Those of variables are asked below, in Grafana's way.
    asked_for = [each for each in reading.queries(board) if not each.where.startswith("variable ")]
    silent = [
        f"{asked.where}, {asked.name}: {after.filled(asked.expr)}"
        for asked in asked_for
        if not any(map(math.isfinite, numbers_of(after.answer(asked))))
    ]
    assert silent == []


def numbers_of(answer):
    return [number for series in answer for number in series.numbers]


def test_every_part_of_a_query_finds_something(board, after):
    """Also where its absence would be zero, as for errors."""
    wanted = {
        str(selector.prettify()).partition(" offset ")[0]: asked.where
        for asked in reading.queries(board)
        for selector in reading.selectors(after.filled(asked.expr))
    }
    assert len(wanted) > 10
    assert [found for found in wanted.items() if not after.exists(found[0])] == []


def test_every_variable_has_something_to_choose_from(board, after):
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            assert after.choices(variable["query"]["query"]), variable["name"]


def test_no_answer_is_a_number_that_is_none(board, after):
    wrong = [
        f"{asked.where}, {asked.name}"
        for asked in reading.targets(board)
        if not all(map(math.isfinite, numbers_of(after.answer(asked))))
    ]
    assert wrong == []


def test_the_rows_of_a_table_are_of_the_labels_that_are_its_columns(board, after):
    for panel in reading.panels(board):
        if panel["type"] != "table":
            continue
        organized = panel["transformations"][1]["options"]["indexByName"]
        keys = {name for name in organized if not name.startswith("Value")}
        for asked in reading.targets({"panels": [panel]}):
            labels = {name for series in after.answer(asked) for name in series.labels}
            assert labels <= keys, (panel["title"], asked.name)


def test_of_a_thousand_tables_those_are_shown_that_matter(after):
    board = json.loads((build.FOLDER / "database-statistics.json").read_text())
    (tables,) = [asked for asked in reading.targets(board) if asked.where == "Tables"]
    assert after.tables > 1000
    assert after.at_the_end(tables)[0].numbers[-1] == after.tables
    for asked in reading.targets(board):
        assert 0 < len(after.at_the_end(asked)) <= MOST, (asked.where, asked.name)


def test_databases_of_one_name_on_two_servers_are_two(after):
    board = json.loads((build.FOLDER / "database-statistics.json").read_text())
    (sizes,) = [
        asked for asked in reading.targets(board) if asked.where == "How large are the databases?"
    ]
    found = after.at_the_end(sizes)
    assert [each.labels["db_namespace"] for each in found] == ["app", "app"]
    (total,) = [asked for asked in reading.targets(board) if asked.where == "Size"]
    assert after.at_the_end(total)[0].numbers[-1] == sum(each.numbers[-1] for each in found)


def test_the_catalogue_is_what_the_example_tells(after):
    differences = catalogue.differences(after.scrape, absent=ABSENT)
    assert sorted(differences) == sorted(OTHER_DIFFERENCES)
    absent = [metric.family for metric in catalogue.EMITTED if metric.name in ABSENT]
    assert [family for family in absent if f"# TYPE {family}" in after.scrape] == []


def test_the_catalogue_of_the_statistics_is_what_is_told_here(after):
    assert catalogue.differences(after.statistics, of=catalogue.STATISTICS) == []
