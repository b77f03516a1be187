"""The pages that are made of the code are committed as they are made; each metric is told whole."""

import json
import logging
import re

import pytest

from c2cotel import schema
from c2cotel.pyramid_logging import JsonFormatter
from c2cotel.settings import Settings
from c2cotel_boards import catalogue, reading
from c2cotel_docs import DOCS, blocks, build, definitions, metrics, pages, spans

OURS = ("c2c_", "http_", "db_client_", "process_", "cpython_", "otel_sdk_")
NAMES = [metric.name for metric in metrics.METRICS]


@pytest.mark.parametrize("name", build.NAMES)
def test_the_committed_page_is_what_the_code_says(name):
    committed = (DOCS / name).read_text()
    assert committed == build.text_of(name), "run `make docs-generated`"


def test_a_page_without_a_place_for_what_is_made_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "DOCS", tmp_path)
    (tmp_path / "metrics.md").write_text("# Metrics\n")
    with pytest.raises(ValueError, match=r"docs/metrics\.md has no lines '<!-- made by"):
        build.text_of("metrics.md")


def test_every_metric_is_said_once_by_the_source_or_here():
    told = definitions.descriptions(NAMES)
    assert set(told) | set(metrics.SAID) == set(NAMES)
    assert set(told) & set(metrics.SAID) == set()


def test_what_the_source_says_is_what_stands_beside_the_name():
    told = definitions.descriptions(NAMES)
    assert told["http.server.request.duration"] == "Duration of HTTP server requests."
    assert told["process.thread.count"] == "Threads."
    assert told["c2c.metrics.processes"] == "Living processes that count."
    assert (
        told["db.client.connection.create_time"] == "The time it took to create a new connection."
    )
    assert told["c2c.database.size"].startswith("Size of the database")


def test_every_histogram_has_its_buckets():
    histograms = [metric.name for metric in metrics.METRICS if metric.kind == "histogram"]
    bounds = definitions.buckets(histograms)
    assert sorted(bounds) == sorted(histograms)
    assert all(list(limits) == sorted(limits) for limits in bounds.values())
    # https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
    assert bounds["http.server.request.duration"][:3] == (0.005, 0.01, 0.025)
    assert bounds["db.client.operation.duration"][-1] == 10


def test_every_attribute_has_its_values_and_no_other_is_told():
    used = {attribute for metric in metrics.METRICS for attribute in metric.attributes}
    assert set(metrics.ATTRIBUTES) == used


def test_every_metric_is_in_one_group():
    grouped = {metric.name: metrics.group_of(metric).title for metric in metrics.METRICS}
    assert set(grouped.values()) == {group.title for group in metrics.GROUPS}
    text = metrics.tables()
    for metric in metrics.METRICS:
        assert text.count(f"| `{metric.name}`<br>") == 1


def test_every_attribute_of_a_span_is_in_the_source():
    source = "".join(path.read_text() for path, _ in definitions._trees())
    for name in {name for each in spans.SPANS for name in each.attributes}:
        # Those of the conventions stand there as constants: HTTP_REQUEST_METHOD.
        constant = re.sub(r"[.]", "_", name).upper()
        assert name in source or constant in source, name


def test_the_fields_of_a_json_line_are_those_of_the_page():
    made = logging.makeLogRecord(
        {"levelno": logging.INFO, "request_id": "a", "trace_id": "b", "span_id": "c"}
    )
    made.exc_info = (ValueError, ValueError("no"), None)
    fields = set(json.loads(JsonFormatter().format(made)))
    in_a_request = {"client_addr", "method", "path", "matched_route"}
    assert fields == set(spans.JSON_LINE) - in_a_request | set(spans.RECORD)


def test_every_setting_is_in_the_table():
    text = (DOCS / "configuration.md").read_text()
    for key in schema.keys(Settings):
        assert f"| `{key.env[0]}`" in text, key.name


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(DOCS).as_posix())
def test_variables_that_a_page_names_exist(path):
    known = {name for key in schema.keys(Settings) for name in key.env}
    named = set(re.findall(r"\bC2C(?:OTEL|WSGIUTILS)?_[A-Z0-9_]*[A-Z0-9]\b(?!_)", path.read_text()))
    of_tests = {name for name in named if name.startswith("C2C_ACCEPTANCE_")}
    beginnings = {name for name in named if any(each.startswith(f"{name}_") for each in known)}
    assert named - known - of_tests - beginnings == set()


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(DOCS).as_posix())
def test_metrics_and_labels_that_a_query_names_exist(path):
    """Those of the application that a page is about begin with other words."""
    queries = [
        query
        for block in blocks.read(path, DOCS).blocks
        if block.language == "promql"
        for query in block.text.replace("$__rate_interval", "5m").split("\n\n")
    ]
    asked = [found for query in queries for found in reading.labels_of(query)]
    ours = [(name, labels) for name, labels in asked if name.startswith(OURS)]
    assert [told for found in ours if (told := catalogue.unknown(*found))] == []
