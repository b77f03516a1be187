"""The rules of Grafana's dashboard-linter, as far as JSON and PromQL tell.

Each test is called by its rule; what ours break on purpose is in ``waivers.py``. Of Grafana's
units, those that the house uses are allowed.

Source: https://github.com/grafana/dashboard-linter, docs/index.md and lint/rule_*.go.
"""

import json

import promql_parser
import pytest

from c2cotel_boards import build, catalogue, promql, reading

from .waivers import WAIVERS, reason

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNITS = {
    "short",
    "s",
    "dtdurations",
    "bytes",
    "percentunit",
    "reqps",
    "ops",
    "cps",
    "none",
    "string",
}
GROWTH = {"rate", "irate", "increase"}
# What the linter puts in place of variables, so that it is found again in the tree.
SIGNS = {**reading.VALUES, "job": "$job", "instance": "$instance"}


class Findings:
    """What breaks *rule* somewhere in the dashboard *name*, but for what is waived."""

    def __init__(self, rule, name):
        self.rule, self.name = rule, name
        self.found = []

    def add(self, what, panel=""):
        if reason(self.rule, self.name, panel) is None:
            self.found.append(f"{panel}: {what}")


@pytest.fixture
def findings(request, name):
    """Collects; the rule is what the test is called, and nothing may be found."""
    rule = request.node.originalname.removeprefix("test_").replace("_", "-")
    collected = Findings(rule, name)
    yield collected
    assert collected.found == []


def variable(board, name):
    return next((each for each in board["templating"]["list"] if each["name"] == name), {})


def check_template(board, name, findings):
    """As ``checkTemplate`` of the linter, for the job and the instance."""
    found = variable(board, name)
    wanted = {
        "type": "query",
        "datasource": DATASOURCE,
        "label": name.title(),
        "multi": True,
        "allValue": ".+",
    }
    for key, value in wanted.items():
        if found.get(key) != value:
            findings.add(f"{name}: {key} is {found.get(key)!r}, not {value!r}")


def trees(board):
    """The queries of panels as trees, with the title of the panel."""
    for asked in reading.targets(board):
        yield asked.where, reading.parsed(asked.expr, SIGNS)


def test_template_datasource_rule(board, findings):
    sources = [each for each in board["templating"]["list"] if each["type"] == "datasource"]
    for source in sources:
        named = {f"{source['query']}_datasource": f"{source['query'].title()} data source"}
        if len(sources) == 1:
            named["datasource"] = "Data source"
        if named.get(source["name"]) != source["label"]:
            findings.add(f"{source['name']}, {source['label']!r}: expected {named}")
    assert "datasource" in {source["name"] for source in sources}


def test_template_job_rule(board, findings):
    check_template(board, "job", findings)


def test_template_instance_rule(board, findings):
    check_template(board, "instance", findings)


def test_template_label_promql_rule(board, findings):
    for each in board["templating"]["list"]:
        if each["type"] == "query":
            try:
                reading.parsed(reading.label_values(each["query"]["query"])[0])
            except ValueError as error:
                findings.add(f"{each['name']}: {error}")


def test_template_on_time_change_reload_rule(board, findings):
    for each in board["templating"]["list"]:
        if each["type"] == "query" and each["refresh"] != 2:
            findings.add(f"{each['name']}: refreshed on {each['refresh']}")


def test_template_unused_rule(board, findings):
    """But for ``service``, which links to traces and logs use."""
    used = set().union(*(reading.variables(each.expr) for each in reading.targets(board)))
    for each in board["templating"]["list"]:
        if each["type"] == "query" and each["name"] not in {*used, "service"}:
            findings.add(each["name"])


def test_uneditable_dashboard_rule(board, findings):
    if board["editable"]:
        findings.add("editable")


def test_panel_datasource_rule(board, findings):
    """No data source is named but by its variable, in panels, queries and annotations."""
    for panel in reading.panels(board):
        for each in (panel, *panel["targets"]):
            if each["datasource"] != DATASOURCE:
                findings.add(f"{each['datasource']}", panel["title"])
    for annotation in board["annotations"]["list"]:
        if annotation["datasource"] != DATASOURCE:
            findings.add(f"{annotation['name']}: {annotation['datasource']}")


def test_panel_title_description_rule(board, findings):
    """Beyond the linter: a description is a sentence that fits into the little window."""
    for panel in reading.panels(board):
        title, text = panel.get("title", ""), panel.get("description", "")
        if not title:
            findings.add(f"panel {panel['id']} has no title")
        if not (text.endswith(".") and 30 <= len(text) <= 300):
            findings.add(f"the description is {text!r}", title)


def test_panel_units_rule(board, findings):
    for panel in reading.panels(board):
        field = panel["fieldConfig"]
        units = [field["defaults"].get("unit")]
        for override in field["overrides"]:
            units += [each["value"] for each in override["properties"] if each["id"] == "unit"]
        for unit in units:
            if unit not in UNITS:
                findings.add(f"{unit!r}", panel["title"])


def test_panel_no_targets_rule(board, findings):
    for panel in reading.panels(board):
        if not panel.get("targets"):
            findings.add("asks nothing", panel["title"])


def test_target_promql_rule(board, findings):
    for asked in reading.queries(board):
        try:
            reading.parsed(asked.expr)
        except ValueError as error:
            findings.add(f"{asked.expr}: {error}", asked.where)


def test_target_rate_interval_rule(board, findings):
    """Every range is ``$__rate_interval``, or all that is shown; none is a number.

    But for how long a series is remembered that was away, whatever is shown.
    """
    ranges = {"[$__rate_interval]", "[$__range]", f"[{promql.REMEMBERED}]"}
    for asked in reading.queries(board):
        asked_for = {f"[{part.partition(']')[0]}]" for part in asked.expr.split("[")[1:]}
        if more := asked_for - ranges:
            findings.add(f"{more} in {asked.expr}", asked.where)
    for where, tree in trees(board):
        for node, above in reading.walk(tree):
            if isinstance(node, promql_parser.MatrixSelector):
                call = above[-1]
                if not isinstance(call, promql_parser.Call):
                    findings.add(f"{node.prettify()} is of no function", where)


def check_matcher(board, name, findings):
    wanted = (name, promql_parser.MatchOp.Re, f"${name}")
    for asked in reading.queries(board):
        # What a variable chooses from depends on those before it, not on itself.
        if asked.where in {f"variable {name}", "variable job"}:
            continue
        for selector in reading.selectors(asked.expr, SIGNS):
            found = [(each.name, each.op, each.value) for each in selector.matchers.matchers]
            if wanted not in found:
                findings.add(f"{selector.prettify()} has no {name}", asked.where)


def test_target_job_rule(board, findings):
    check_matcher(board, "job", findings)


def test_target_instance_rule(board, findings):
    check_matcher(board, "instance", findings)


def is_counted(node, above):
    """Whether *node* is beside its own increase, as in ``promql.counted``: for what began."""
    aggregates = [each for each in above if isinstance(each, promql_parser.AggregateExpr)]
    if not aggregates:
        return False
    inner = list(reading.walk(aggregates[-1].expr))
    increased = {one.name for one, those in inner if is_selector(one) and is_increased(those)}
    return node.name in increased and any(is_unless(one) for one, _ in inner)


def is_selector(node):
    return isinstance(node, promql_parser.VectorSelector)


def is_unless(node):
    return isinstance(node, promql_parser.BinaryExpr) and str(node.op) == "unless"


def test_target_counter_agg_rule(board, findings):
    """Counters grow: what is asked is by how much. The first value of one is its growth, too.

    Beyond the linter: histograms, too. ``group`` asks whether there is one at all.
    """
    counters = {name for name, each in catalogue.known().items() if each.kind != "gauge"}
    for where, tree in trees(board):
        for node, above in reading.walk(tree):
            if not is_selector(node) or node.name not in counters:
                continue
            if not (is_increased(above) or is_grouped(above) or is_counted(node, above)):
                findings.add(f"{node.prettify()} is not increased", where)


def is_increased(above):
    calls = [each.func.name for each in above if isinstance(each, promql_parser.Call)]
    return bool(GROWTH & set(calls[-1:]))


def is_grouped(above):
    aggregates = [each for each in above if isinstance(each, promql_parser.AggregateExpr)]
    return "group" in {str(each.op) for each in aggregates}


def test_target_histogram_rule(board, findings):
    for where, tree in trees(board):
        for node, above in reading.walk(tree):
            if isinstance(node, promql_parser.VectorSelector) and node.name.endswith("_bucket"):
                calls = [each.func.name for each in above if isinstance(each, promql_parser.Call)]
                if "histogram_quantile" not in calls:
                    findings.add(node.prettify(), where)


def test_every_waiver_is_of_something_that_there_is():
    boards = {name: json.loads(build.text_of(name)) for name in build.NAMES}
    places = {
        f"{name}/{panel['title']}" for name in boards for panel in reading.panels(boards[name])
    }
    for waived in WAIVERS.values():
        for pattern, why in waived.items():
            assert why.endswith(".")
            assert pattern in {"*", *boards} or any(reason_fits(pattern, place) for place in places)


def reason_fits(pattern, place):
    board, _, title = pattern.partition("/")
    return place.endswith(f"/{title}") and (board in {"*", place.partition("/")[0]})
