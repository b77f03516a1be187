"""Every query of every dashboard is answered by a real Prometheus, after good and bad times.

Variables are filled in as Grafana does where All is chosen; what is asked for one moment is asked
for every second of these times, as somebody may look at any of them.
"""

import contextlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from c2cotel_acceptance.processes import MissingError
from c2cotel_boards import build, catalogue, reading

from . import statistics, times

#: Emitted only where something is used that the example has no use for.
ABSENT = {
    "c2c.prometheus.collectors": "The example has no collectors of prometheus_client.",
}
STEP = 1


@dataclass
class Times:
    """Prometheus, when what has happened, and what the services tell of themselves after it."""

    prometheus: Any
    begin: float
    end: float
    scrape: str
    statistics: str

    def values(self, asked: reading.Asked) -> dict[str, str]:
        return {
            "__rate_interval": times.WINDOW,
            "__interval": "1s",
            "__range": f"{math.ceil(self.end - self.begin)}s",
            "tempo_datasource": "tempo",
            "loki_datasource": "loki",
        }

    def answer(self, asked: reading.Asked) -> list[dict[str, Any]]:
        """The series, each with its labels and its numbers."""
        query = reading.filled(asked.expr, self.values(asked))
        when = {"start": self.begin, "end": self.end, "step": STEP}
        # Some are longer than an address may be.
        found = requests.post(
            f"{self.prometheus.url}/api/v1/query_range", {"query": query, **when}, timeout=30
        ).json()
        assert found["status"] == "success", f"{query}: {found}"
        return [
            {"labels": each["metric"], "numbers": [float(number) for _, number in each["values"]]}
            for each in found["data"]["result"]
        ]


def happened(scene: times.Scene) -> None:
    times.good_times(scene)
    for happens in times.BAD_TIMES:
        happens(scene)


@pytest.fixture(scope="module")
def after(tmp_path_factory) -> Iterator[Times]:
    with contextlib.ExitStack() as stack:
        told = stack.enter_context(statistics.exporter())
        try:
            scene = times.scene(stack, tmp_path_factory.mktemp("panels"), told)
        except MissingError as error:
            pytest.skip(str(error))
        happened(scene)
        text = requests.get(f"http://{told}/metrics", timeout=10).text
        yield Times(scene.prometheus, scene.since, time.time(), scene.shop.scrape(), text)


@pytest.fixture(params=build.NAMES)
def board(request) -> dict[str, Any]:
    return json.loads((build.FOLDER / f"{request.param}.json").read_text())


def test_every_query_of_every_panel_and_variable_has_an_answer(board, after):
    silent = [
        f"{asked.where}, {asked.name}: {reading.filled(asked.expr, after.values(asked))}"
        for asked in reading.queries(board)
        if not any(
            math.isfinite(number) for series in after.answer(asked) for number in series["numbers"]
        )
    ]
    assert silent == []


def test_no_answer_is_a_number_that_is_none(board, after):
    wrong = {
        f"{asked.where}, {asked.name}"
        for asked in reading.targets(board)
        for series in after.answer(asked)
        if not all(map(math.isfinite, series["numbers"]))
    }
    assert wrong == set()


def test_the_rows_of_a_table_are_of_the_labels_that_are_its_columns(board, after):
    for panel in reading.panels(board):
        if panel["type"] != "table":
            continue
        organized = panel["transformations"][1]["options"]["indexByName"]
        keys = {name for name in organized if not name.startswith("Value")}
        for asked in reading.targets({"panels": [panel]}):
            labels = {name for series in after.answer(asked) for name in series["labels"]}
            assert labels <= keys, (panel["title"], asked.name)


def test_of_a_thousand_tables_those_are_shown_that_matter(after):
    board = json.loads((build.FOLDER / "database-statistics.json").read_text())
    (count,) = after.prometheus.query("count(c2c_database_table_rows)")
    assert count[1] == statistics.TABLES
    for asked in reading.targets(board):
        query = reading.filled(asked.expr, after.values(asked))
        assert 0 < len(after.prometheus.query(query)) <= 50, (asked.where, asked.name)


def test_the_catalogue_is_what_the_example_tells(after):
    assert catalogue.differences(after.scrape, absent=ABSENT) == []


def test_the_catalogue_of_the_statistics_is_what_is_told_here(after):
    assert catalogue.differences(after.statistics, of=catalogue.STATISTICS) == []
