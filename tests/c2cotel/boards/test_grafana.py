"""Names and data source in the JSON of dashboards: a small one, and all those that there are."""

import json
import re

import promql_parser
import pytest

from c2cotel.boards import core, grafana
from c2cotel.boards.promql import Names, PromqlError, metrics

NAMES = Names("shop", "service")
BOARDS = core.collection().boards
PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}


def test_promql_is_rewritten_wherever_it_stands():
    panel = {
        "title": "c2c_x by job",
        "description": "c2c_x",
        "datasource": PROMETHEUS,
        "targets": [
            {"expr": 'sum by (job) (c2c_x{job=~"$job"})', "legendFormat": "{{job}} {{ job }} job"},
            {"expr": '{job="x"} |= "c2c_x"', "datasource": {"type": "loki", "uid": "l"}},
        ],
    }
    board = {
        "title": "c2c_x",
        "panels": [panel, {"type": "row", "title": "job", "panels": [panel]}],
        "annotations": {
            "list": [
                {
                    "datasource": PROMETHEUS,
                    "expr": "c2c_x",
                    "target": {"expr": "c2c_x", "legendFormat": "{{job}}"},
                    "tagKeys": "c2c_switch, job",
                    "titleFormat": "{{job}}: job",
                    "name": "job",
                }
            ]
        },
    }
    made = grafana.with_names(board, NAMES)
    changed = {
        **panel,
        "targets": [
            {
                "expr": 'sum by (service) (shop_c2c_x{service=~"$job"})',
                "legendFormat": "{{service}} {{ service }} job",
            },
            panel["targets"][1],
        ],
    }
    assert made == {
        "title": "c2c_x",
        "panels": [changed, {"type": "row", "title": "job", "panels": [changed]}],
        "annotations": {
            "list": [
                {
                    "datasource": PROMETHEUS,
                    "expr": "shop_c2c_x",
                    "target": {"expr": "shop_c2c_x", "legendFormat": "{{service}}"},
                    "tagKeys": "c2c_switch,service",
                    "titleFormat": "{{service}}: job",
                    "name": "job",
                }
            ]
        },
    }


def test_columns_of_tables_and_links_have_the_label_too():
    panel = {
        "transformations": [
            {
                "id": "organize",
                "options": {
                    "indexByName": {"job": 0, "Value": 1},
                    "renameByName": {"job": "job", "Value": "job"},
                },
            },
            {"id": "joinByField", "options": {"byField": "job", "mode": "outer"}},
        ],
        "links": [{"title": "job", "url": "/d/x?var-job=${__field.labels.job}&${job:queryparam}"}],
    }
    (made,) = grafana.with_names({"panels": [panel]}, NAMES)["panels"]
    assert made == {
        "transformations": [
            {
                "id": "organize",
                "options": {
                    "indexByName": {"service": 0, "Value": 1},
                    "renameByName": {"service": "job", "Value": "job"},
                },
            },
            {"id": "joinByField", "options": {"byField": "service", "mode": "outer"}},
        ],
        "links": [
            {"title": "job", "url": "/d/x?var-job=${__field.labels.service}&${job:queryparam}"}
        ],
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("label_values(c2c_x, job)", "label_values(shop_c2c_x, service)"),
        (
            'label_values(c2c_x{job=~"$job",a="b,c"}, job)',
            'label_values(shop_c2c_x{service=~"$job",a="b,c"}, service)',
        ),
        ("label_values(job)", "label_values(service)"),
        ("label_values(up, instance)", "label_values(up, instance)"),
        ("query_result(topk(3, c2c_x) by (job))", "query_result(topk(3, shop_c2c_x) by (service))"),
        ("label_names()", "label_names()"),
        ('c2c_x{a="b"}', 'shop_c2c_x{a="b"}'),
    ],
)
def test_queries_of_variables_have_functions_of_their_own(query, expected):
    assert grafana.query_of_variable(query, NAMES) == expected
    variable = {"type": "query", "name": "job", "label": "Job", "definition": query}
    for form in (query, {"query": query, "refId": "a"}):
        board = {"templating": {"list": [{**variable, "query": form}]}}
        (made,) = grafana.with_names(board, NAMES)["templating"]["list"]
        asked = made["query"] if isinstance(form, str) else made["query"]["query"]
        assert (asked, made["definition"]) == (expected, expected)
        assert (made["name"], made["label"]) == ("job", "Job")


def test_a_variable_that_asks_by_a_pattern_cannot_have_a_prefix():
    with pytest.raises(PromqlError, match="by a pattern"):
        grafana.query_of_variable("metrics(c2c_.*)", NAMES)


def test_only_prometheus_is_chosen():
    variables = [
        {"type": "datasource", "name": "datasource", "query": "prometheus"},
        {"type": "datasource", "name": "tempo_datasource", "query": "tempo"},
    ]
    made = grafana.with_datasource({"templating": {"list": variables}, "title": "x"}, "Main")
    current = {"selected": True, "text": "Main", "value": "Main"}
    assert made == {
        "templating": {"list": [{**variables[0], "current": current}, variables[1]]},
        "title": "x",
    }


# All that there are


def _strings(value, path=()):
    """Every string, with the keys that lead to it."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield (*path, "key"), key
            yield from _strings(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _strings(one, (*path, number))
    elif isinstance(value, str):
        yield path, value


def _queries(content):
    for path, text in _strings(content):
        if path[-1] == "expr":
            yield text


@pytest.mark.parametrize("name", BOARDS)
def test_every_query_of_every_dashboard_gets_the_prefix(name):
    made = json.loads(core.changed_board(BOARDS[name], core.Changes(NAMES)).text)
    queries = list(_queries(made))
    assert queries
    for query in queries:
        promql_parser.parse(re.sub(r"\$(?:\{\w+\}|\w+)", "5m", query))
        assert [one for one in metrics(query) if not re.match("shop_|up$|target_info$", one)] == []


@pytest.mark.parametrize("name", BOARDS)
def test_what_people_read_stays_as_it_is(name):
    content = BOARDS[name].content
    made = core.changed_board(BOARDS[name], core.Changes(NAMES)).content
    texts = ("title", "description", "name", "uid", "label", "tooltip", "unit")
    told = [[text for path, text in _strings(one) if path[-1] in texts] for one in (content, made)]
    assert told[0] == told[1]


@pytest.mark.parametrize("name", BOARDS)
def test_the_label_job_is_nowhere_left(name):
    made = core.changed_board(BOARDS[name], core.Changes(NAMES)).content
    ours = re.compile(r"\$job|\$\{job[:}]|var-job|refId|variable-job")
    left = [
        (path, text)
        for path, text in _strings(made)
        if path[-1] not in ("title", "description", "name", "label")
        if re.search(r"\bjob\b", ours.sub("", text))
    ]
    assert left == []


@pytest.mark.parametrize("name", BOARDS)
def test_what_is_changed_is_written_as_the_generator_writes(name):
    board = BOARDS[name]
    text = json.dumps(board.content, indent=2, sort_keys=True, ensure_ascii=False)
    assert f"{text}\n" == board.text
    assert core.changed_board(board, core.Changes()) is board
