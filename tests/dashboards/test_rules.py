"""Recording rules, alerts, runbooks: what they name is there; alerts fire when they should."""

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from c2cotel.boards import bounds
from c2cotel_boards import catalogue, promql, reading

ROOT = Path(__file__).parents[2]
RULES = ROOT / "dashboards/rules"
RECORDING = RULES / "c2cotel-recording.yaml"
ALERTS = RULES / "c2cotel-alerts.yaml"
TESTS = sorted((RULES / "tests").glob("*.yaml"))
RUNBOOKS = ROOT / "docs/runbooks"
RUNBOOK_URL = "https://github.com/camptocamp/c2cotel/blob/main/docs/runbooks/"
# Those of Prometheus itself.
ALERTS_LABELS = {"alertname", "alertstate", "job"}
RECORDED = re.compile(r"[a-z_]+:[a-z0-9_]+:[a-z0-9_]+")
THRESHOLD = re.compile(
    r"^(?P<before>.*[^\w.])(?P<value>\d+(?:\.\d+)?(?:ms|[smhdw])?)"
    r"(?P<after> +# threshold: (?P<name>[a-z][a-z0-9_]*))$",
    re.MULTILINE,
)
TABLE = re.compile(
    r"^\| `(\w+)` \| `([\w.]+)` \| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \| [^|]+ \|$", re.MULTILINE
)
BOARDS = {
    json.loads(path.read_text())["title"].removeprefix("c2cotel / "): path
    for path in (ROOT / "dashboards").glob("*.json")
}
# "Overview, *Versions*"
PANEL = re.compile(
    r"\b(Overview|Requests|Database|Outgoing|Processes|Health and operations), \*(.+?)\*"
)
LINK = re.compile(r"/d/c2cotel-([a-z-]+)\?var-job=\{\{ \$labels\.job \| urlquery \}\}")
SECTIONS = ["## What it means", "## Look at", "## Likely causes", "## What to do", "## Silence"]


def rules(path: Path) -> list[dict[str, Any]]:
    return [rule for group in groups(path) for rule in group["rules"]]


@functools.cache
def groups(path: Path) -> list[dict[str, Any]]:
    return yaml.safe_load(path.read_text())["groups"]


def alerts() -> list[Any]:
    return [pytest.param(rule, id=rule["alert"]) for rule in rules(ALERTS)]


def recorded() -> dict[str, set[str]]:
    """The labels of each recorded series."""
    return {rule["record"]: labels_of_result(rule["expr"]) for rule in rules(RECORDING)}


def labels_of_result(expr: str) -> set[str]:
    """The labels that every series of the result of *expr* has."""
    return _labels(promql_parser.parse(expr))


def _labels(node: Any) -> set[str]:
    found: set[str] = set()
    match type(node).__name__:
        case "VectorSelector":
            found = _labels_of_series(node.name)
        case "MatrixSelector":
            found = _labels(node.vector_selector)
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            found = _labels(node.expr)
        case "AggregateExpr":
            found = set(node.modifier.labels) & _labels(node.expr)
        case "BinaryExpr" if str(node.op) == "or":
            found = _labels(node.lhs) & _labels(node.rhs)
        case "BinaryExpr":
            found = _labels(node.lhs) or _labels(node.rhs)
        case "Call":
            found = set.union(*map(_labels, node.args))
            if node.func.name == "histogram_quantile":
                found -= {"le"}
            elif node.func.name == "label_replace":
                found |= {node.args[1].val}
    return found


def _labels_of_series(name: str) -> set[str]:
    if name == "job:c2c_metrics_processes:lasting":  # which asks for itself
        return {"job"}
    if ":" in name:
        (rule,) = (rule for rule in rules(RECORDING) if rule["record"] == name)
        return labels_of_result(rule["expr"])
    if name in catalogue.OTHERS:
        return {"job", "instance"} | catalogue.OTHERS[name]
    return {"job", "instance", "le"} | catalogue.known()[name].labels


def every_rule() -> list[Any]:
    return [
        pytest.param(rule, id=rule.get("record") or rule["alert"])
        for path in (RECORDING, ALERTS)
        for rule in rules(path)
    ]


def thresholds() -> Iterator[re.Match[str]]:
    return THRESHOLD.finditer(ALERTS.read_text())


def cases() -> Iterator[tuple[str, Path, bool]]:
    """Of each case in the tests of promtool: the alert, the file, whether it is to fire."""
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                yield case["alertname"], path, bool(case["exp_alerts"])


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("No promtool: apt-get install -y --no-install-recommends prometheus")
    return found


def test_promtool_finds_nothing_to_complain_about(promtool):
    argv = [promtool, "check", "rules", "--lint=all", "--lint-fatal", RECORDING, ALERTS]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_only(promtool, path):
    argv = [promtool, "test", "rules", path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_a_test_evaluates_all_groups_in_their_order(path):
    """Else promtool takes them in any order, and what is recorded comes too late by chance."""
    names = [group["name"] for file in (RECORDING, ALERTS) for group in groups(file)]
    assert yaml.safe_load(path.read_text())["group_eval_order"] == names


@pytest.mark.parametrize("rule", alerts())
def test_each_alert_has_a_case_in_which_it_fires_and_others_in_which_it_does_not(rule):
    found = {(path.stem, fires) for alert, path, fires in cases() if alert == rule["alert"]}
    assert any(fires for _, fires in found)
    assert any(not fires for name, fires in found if name != "nothing")
    assert ("nothing", False) in found
    assert ("nothing", True) not in found


def test_every_case_is_about_an_alert_that_there_is():
    assert {alert for alert, _, _ in cases()} == {rule["alert"] for rule in rules(ALERTS)}


@pytest.mark.parametrize("rule", every_rule())
def test_every_metric_and_label_is_one_that_we_emit_or_record(rule):
    names = recorded()
    for name, labels in reading.labels_of(rule["expr"]):
        if name == "ALERTS":
            assert labels <= ALERTS_LABELS
        elif ":" in name:
            assert labels <= names[name], name
        else:
            assert catalogue.unknown(name, labels) is None


def test_what_is_recorded_is_named_and_used():
    names = set(recorded())
    assert [name for name in names if not RECORDED.fullmatch(name)] == []
    asked = {name for rule in every_rule() for name, _ in reading.labels_of(rule.values[0]["expr"])}
    assert names - asked == set()


@pytest.mark.parametrize("rule", alerts())
def test_an_alert_says_how_bad_it_is_and_where_to_look(rule):
    assert re.fullmatch(r"C2cotel[A-Z]\w+", rule["alert"])
    assert rule["labels"]["severity"] in {"warning", "critical"}
    texts = rule["annotations"]
    assert list(texts) == ["summary", "description", "dashboard_url", "runbook_url"]
    assert "$labels.job" in texts["summary"]
    assert len(texts["summary"]) < 100
    assert texts["runbook_url"] == f"{RUNBOOK_URL}{rule['alert']}.md"
    link = re.match(
        r"/d/c2cotel-([a-z-]+)\?var-job=\{\{ \$labels\.job \| urlquery \}\}", texts["dashboard_url"]
    )
    assert link is not None
    assert (ROOT / f"dashboards/{link[1]}.json").exists()


@pytest.mark.parametrize("rule", alerts())
def test_what_an_alert_names_is_left_after_its_aggregations(rule):
    """Else there are holes in its texts; and a process is nothing that anybody looks for."""
    there = labels_of_result(rule["expr"])
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    assert named <= there
    assert "job" in named
    assert "pid" not in there
    # Where it is about an instance, it says which, and its dashboard shows that one.
    assert ("instance" in there) == ("var-instance=" in rule["annotations"]["dashboard_url"])


@pytest.mark.parametrize("rule", alerts())
def test_an_alert_has_a_runbook_whose_panels_there_are(rule):
    text = (RUNBOOKS / f"{rule['alert']}.md").read_text()
    lines = text.splitlines()
    assert lines[0] == f"# {rule['alert']}"
    assert [line for line in lines if line.startswith("## ")] == SECTIONS
    assert len(lines) < 60
    panels = PANEL.findall(text)
    assert panels
    for board, title in panels:
        content = json.loads(BOARDS[board].read_text())
        titles = {panel["title"] for panel in reading.panels(content)}
        assert title in titles, f"{board} has {sorted(titles)}"


def test_there_is_no_runbook_without_an_alert():
    names = {rule["alert"] for rule in rules(ALERTS)}
    assert {path.stem for path in RUNBOOKS.glob("C2cotel*.md")} == names


def test_every_number_to_be_chosen_is_marked_and_one_name_has_one_value():
    text = ALERTS.read_text()
    found = list(thresholds())
    # Nothing that looks like a mark is none.
    assert len(found) == sum("# threshold:" in line for line in text.splitlines()) - 1
    values: dict[str, set[str]] = {}
    for each in found:
        values.setdefault(each["name"], set()).add(each["value"])
    assert {name: each for name, each in values.items() if len(each) > 1} == {}
    assert "threshold:" not in RECORDING.read_text()


def test_the_table_of_thresholds_is_that_of_the_alerts():
    where: dict[str, set[str]] = {}
    lines = ALERTS.read_text().splitlines()
    alert = ""
    for line in lines:
        if named := re.match(r" +- alert: (\w+)", line):
            alert = named[1]
        elif (marked := THRESHOLD.match(line)) is not None:
            where.setdefault(marked["name"], set()).add(alert)
    values = {each["name"]: each["value"] for each in thresholds()}
    table = TABLE.findall((RULES / "README.md").read_text())
    assert {name: value for name, value, *_ in table} == values
    assert {name: set(re.findall(r"C2cotel\w+", told)) for name, _, _, _, told in table} == where
    told = {name: may_be for name, _, _, may_be, _ in table if may_be != "any"}
    assert told == {name: str(each) for name, each in bounds.BOUNDS.items()}
    units = {name: unit for name, _, unit, _, _ in table}
    assert {name for name, unit in units.items() if unit == "duration"} == {
        name for name, value in values.items() if not value.replace(".", "").isdigit()
    }


def test_the_panels_leave_out_the_ends_of_workers_that_the_alert_leaves_out():
    (rule,) = [r for r in rules(RECORDING) if r["record"].endswith("worker_exits:lost")]
    (matcher,) = re.findall(r"c2c_gunicorn_exit_reason!~\"[^\"]*\"", rule["expr"])
    assert matcher == promql.NOBODY_ASKED
    for board in ("overview", "processes"):
        content = json.loads((ROOT / f"dashboards/{board}.json").read_text())
        (panel,) = [p for p in reading.panels(content) if p["title"] == "Workers lost"]
        assert promql.NOBODY_ASKED in panel["targets"][0]["expr"]


def test_the_table_of_alerts_is_complete():
    text = (RULES / "README.md").read_text()
    told = re.findall(
        r"^\| \[(C2cotel\w+)\]\(../../docs/runbooks/\1\.md\) \| (\w+) \|", text, re.MULTILINE
    )
    assert told == [(rule["alert"], rule["labels"]["severity"]) for rule in rules(ALERTS)]
