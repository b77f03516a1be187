"""Whatever is asked for is emitted, metrics and labels; the catalogue is what the code makes."""

import ast
import itertools
import re
from pathlib import Path

import pytest

from c2cotel.boards import core
from c2cotel_boards import catalogue, reading

ROOT = Path(__file__).parents[2]
SOURCES = ("c2cotel", "instrumentation/c2cotel_instrumentation")
KINDS = {
    "create_counter": "counter",
    "create_observable_counter": "counter",
    "create_histogram": "histogram",
    "create_gauge": "gauge",
    "create_observable_gauge": "gauge",
    "create_up_down_counter": "gauge",
    "create_observable_up_down_counter": "gauge",
    "gauge": "gauge",
}
TOLD_KINDS = {"counter", "gauge", "histogram", "up-down"}
# OpenTelemetry's own SDK makes these.
NOT_OURS = ("otel.sdk.",)


def test_every_metric_and_label_that_is_asked_for_is_emitted(board):
    wrong = [
        f"{asked.where}: {why}"
        for asked in reading.queries(board)
        for name, labels in reading.labels_of(asked.expr)
        if (why := catalogue.unknown(name, labels)) is not None
    ]
    assert wrong == []


def test_every_label_in_a_legend_is_one_that_the_series_are_grouped_by(board):
    for panel in reading.panels(board):
        for target in panel["targets"]:
            for label in re.findall(r"{{\s*(\w+)\s*}}", target.get("legendFormat", "")):
                grouped = re.findall(r" by \(([^)]*)\)", target["expr"])
                assert any(label in by.split(", ") for by in grouped), (panel["title"], label)


def literals(tree):
    """The instruments that are made with a name as it stands: name, kind, unit if that stands."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if called not in KINDS:
            continue
        texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
        named = [text for text in texts if isinstance(text, str) and "." in text]
        units = [
            each.value.value
            for each in node.keywords
            if each.arg == "unit" and isinstance(each.value, ast.Constant)
        ]
        if named:
            yield named[0], KINDS[called], units[0] if units else None


def sources():
    return (path for source in SOURCES for path in (ROOT / source).rglob("*.py"))


def test_every_instrument_in_the_source_is_in_the_catalogue():
    known = {metric.name: metric for metric in catalogue.EMITTED}
    made = [found for path in sources() for found in literals(ast.parse(path.read_text()))]
    assert len(made) > 20
    for name, kind, unit in made:
        assert name in known, f"{name}: add it to c2cotel_boards/catalogue.py"
        assert known[name].kind == kind, name
        assert unit in {None, known[name].unit}, name


def emission_table(docstring):
    """The first words of the rows below a head that says ``name`` and ``kind``."""
    lines = iter(docstring.splitlines())
    for line in lines:
        if line.split()[:2] == ["name", "kind"]:
            next(lines)
            rows = itertools.takewhile(lambda row: not row.startswith("="), lines)
            words = (row.split() for row in rows if not row.startswith(" "))
            yield from (name.strip("`") for name, kind, *_ in words if kind in TOLD_KINDS)


def test_every_metric_of_an_emission_table_is_in_the_catalogue():
    """Modules say in their docstrings what they emit, also where names are put together."""
    docstrings = [ast.get_docstring(ast.parse(path.read_text())) or "" for path in sources()]
    told = {name for text in docstrings for name in emission_table(text)}
    assert len(told) > 30
    # Those of prometheus_client have no dots; telemetry's own have several in a line, in braces.
    plain = {
        name for name in told if "." in name and not ("{" in name or name.startswith(NOT_OURS))
    }
    assert plain - {metric.name for metric in catalogue.EMITTED} == set()


def test_every_metric_of_the_catalogue_is_in_the_source():
    texts = "".join(path.read_text() for path in sources())
    missing = [
        metric.name
        for metric in catalogue.EMITTED
        if metric.name not in texts
        and metric.name.rpartition(".")[2] not in texts
        and not metric.name.startswith(NOT_OURS)
    ]
    assert missing == []


def test_names_in_prometheus_are_those_of_the_exposition():
    names = {metric.name: metric.series for metric in catalogue.EMITTED}
    assert names["http.server.request.duration"] == (
        "http_server_request_duration_seconds_bucket",
        "http_server_request_duration_seconds_count",
        "http_server_request_duration_seconds_sum",
    )
    assert names["process.cpu.time"] == ("process_cpu_time_seconds_total",)
    assert names["process.memory.usage"] == ("process_memory_usage_bytes",)
    assert names["process.cpu.utilization"] == ("process_cpu_utilization",)
    assert len({metric.name for metric in catalogue.EMITTED}) == len(catalogue.EMITTED)


@pytest.mark.parametrize(
    ("expr", "why"),
    [
        ("c2c_nothing", "c2cotel emits no such metric"),
        ('c2c_db_fallbacks_total{route="x"}', "has no label route"),
        ("sum by (pid) (rate(c2c_db_fallbacks_total[1m]))", "has no label pid"),
        ("c2c_metrics_series and on (pid) up", "has no label pid"),
        ("http_server_request_duration_seconds", "c2cotel emits no such metric"),
        ("sum by (le) (http_server_request_duration_seconds_count)", "has no label le"),
    ],
)
def test_a_name_that_nobody_emits_is_found(expr, why):
    told = [catalogue.unknown(*found) for found in reading.labels_of(expr)]
    assert any(why in each for each in told if each)


def test_a_label_that_a_query_makes_itself_need_not_be_emitted():
    expr = 'sum by (short) (label_replace(up{job="a"}, "short", "$1", "instance", "(.*):.*"))'
    assert [catalogue.unknown(*found) for found in reading.labels_of(expr)] == [None]


def test_differences_between_the_catalogue_and_a_scrape_are_told():
    scrape = (
        "# TYPE c2c_db_fallbacks_total counter\n"
        'c2c_db_fallbacks_total{route="x"} 1.0\n'
        "# TYPE c2c_novelty gauge\nc2c_novelty 1.0\n"
        "# TYPE c2c_metrics_series counter\nc2c_metrics_series 1.0\n"
    )
    told = catalogue.differences(scrape, absent=["c2c.metrics.lost"])
    assert "c2c.db.fallbacks has the labels ['route'], too" in told
    assert "c2c.db.fallbacks has nowhere the labels ['c2c_engine']" in told
    assert "c2c_novelty (gauge) is exposed, and is not in the catalogue" in told
    assert "c2c.metrics.series is a counter, not a gauge" in told
    assert "process.cpu.time is in the catalogue, and is not exposed" in told
    assert not [sentence for sentence in told if sentence.startswith("c2c.metrics.lost ")]


def test_no_label_that_we_emit_can_stand_for_the_job():
    emitted = (*catalogue.EMITTED, *catalogue.STATISTICS)
    labels = {label for metric in emitted for label in metric.labels} - {"job"}
    for label in sorted(labels):
        with pytest.raises(core.ChoiceError, match="this label says something else"):
            core.changes(core.collection(), job_label=label)
