"""Thresholds, links and names in YAML: what a parser makes of it, before and after."""

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from c2cotel.boards import core, rules
from c2cotel.boards.promql import Names, metrics, rewrite

NAMES = Names("shop", "service")
FOUND = core.collection()
HERE = Path()
FILES = {**FOUND.rules, **FOUND.provisioning}

TEXT = """\
# expr: c2c_x, by job
groups:
  - name: job
    rules:
      - alert: One
        expr: |
          sum by (job) (
            c2c_x{a="job"} # c2c_x by job

          ) > 1 * 0.005 # threshold: share
        for: 15m # threshold: one_for
        annotations:
          summary: "{{ $labels.job }}: c2c_x of the job {{ $labels.jobs }}"
          description: >-
            {{ $labels.job | urlquery }}
          dashboard_url: "/d/c2cotel-requests?var-job={{ $labels.job }}"
          runbook_url: "https://github.com/camptocamp/c2cotel/blob/main/docs/runbooks/One.md"
      - alert: Two
        expr: c2c_y > 0.005 # threshold: share
      - record: job:c2c_x:sum
        expr: 'sum by (job) (c2c_x{a="b"})'
      - record: job:c2c_x:max
        expr: max by (job)
          (c2c_x)
"""


def test_thresholds_are_known_with_their_alerts():
    assert list(rules.thresholds(TEXT).values()) == [
        rules.Threshold("one_for", "15m", ("One",)),
        rules.Threshold("share", "0.005", ("One", "Two")),
    ]
    assert rules.alerts(TEXT) == ["One", "Two"]


def test_a_threshold_is_replaced_wherever_it_stands():
    made = rules.with_thresholds(TEXT, {"share": "0.1", "one_for": "1h30m"})
    assert made == (
        TEXT.replace("1 * 0.005 #", "1 * 0.1 #")
        .replace("y > 0.005", "y > 0.1")
        .replace("for: 15m", "for: 1h30m")
    )


@pytest.mark.parametrize(
    ("default", "good", "bad"),
    [
        ("5m", ["90s", "1h30m", "500ms", "0s", "1d"], ["5", "", "5 m", "1m1h", "5M", "-5m", "m"]),
        ("0.005", ["3", "0", "0.5", "10"], ["5m", "", "-1", "1e3", ".5", "nan", "1,5", "0.5%"]),
    ],
)
def test_a_threshold_keeps_its_kind(default, good, bad):
    threshold = rules.Threshold("x", default, ())
    assert [value for value in good if threshold.wrong(value)] == []
    assert [value for value in bad if not threshold.wrong(value)] == []


def test_links_get_their_bases():
    made = rules.with_links(TEXT, "https://g.example/grafana/", "https://wiki.example/runbooks")
    assert 'dashboard_url: "https://g.example/grafana/d/c2cotel-requests?var-job=' in made
    assert 'runbook_url: "https://wiki.example/runbooks/One.md"' in made
    assert rules.with_links(TEXT) == TEXT


def test_names_are_changed_in_expressions_and_templates_only():
    assert rules.with_names(TEXT, NAMES) == (
        TEXT.replace("sum by (job) (\n", "sum by (service) (\n")
        .replace('c2c_x{a="job"}', 'shop_c2c_x{a="job"}')
        .replace("expr: c2c_y", "expr: shop_c2c_y")
        .replace("by (job) (c2c_x{", "by (service) (shop_c2c_x{")
        .replace("max by (job)\n          (c2c_x)", "max by (service)\n          (shop_c2c_x)")
        .replace("$labels.job ", "$labels.service ")
        .replace("record: job:c2c_x", "record: job_by_service:shop_c2c_x")
    )


# All that there are


def _structure(value, key="", above=""):  # noqa: PLR0911 - a table
    """What a parser has made of YAML, with other names."""
    if isinstance(value, dict):
        as_label = NAMES.label if key == "exp_labels" else str
        return {as_label(k): _structure(v, k, key) for k, v in value.items()}
    if isinstance(value, list):
        if key == "group_eval_order":
            return [f"{one}-shop-by-service" for one in value]
        return [_structure(one, key, above) for one in value]
    if not isinstance(value, str):
        return value
    if (key, above) == ("name", "groups"):
        return f"{value}-shop-by-service"
    if key in ("record", "expr", "series") or (key, above) == ("query", "queries"):
        return rewrite(value, NAMES)
    if (key, above) == ("value", "tags"):
        return NAMES.label(value)
    return re.sub(r"\$labels\.job\b", "$labels.service", value)


@pytest.mark.parametrize("path", FILES)
def test_a_parser_finds_the_other_names_in_every_file(path):
    text = FILES[path]
    made = rules.with_names(text, NAMES)
    assert yaml.safe_load(made) == _structure(yaml.safe_load(text))
    assert len(made.splitlines()) == len(text.splitlines())


def test_every_expression_of_the_rules_gets_the_prefix():
    names = set()
    for path, text in core.exported(FOUND, [core.RULES], core.Changes(NAMES), HERE).items():
        if "/tests/" not in path:
            groups = yaml.safe_load(text)["groups"]
            names |= {n for g in groups for r in g["rules"] for n in metrics(r["expr"])}
    assert {name for name in names if not re.match("shop_|.*:|up$|ALERTS$", name)} == set()


CHOICES = {
    "plain": Names(),
    "prefixed": Names("shop"),
    "dotted": Names("maps.eu"),
    "labelled": Names(job="service"),
    "both": NAMES,
}


def _written(folder: Path) -> dict[str, list[Path]]:
    """The rules as they are exported for each of CHOICES, in folders of their own."""
    made: dict[str, list[Path]] = {}
    for choice, names in CHOICES.items():
        for path, text in core.exported(FOUND, [core.RULES], core.Changes(names), HERE).items():
            if "/tests/" not in path:
                target = folder / choice / Path(path).name
                target.parent.mkdir(exist_ok=True)
                target.write_text(text)
                made.setdefault(choice, []).append(target)
    return made


def test_what_is_recorded_for_one_choice_of_names_is_not_recorded_for_another(tmp_path):
    recorded, names = {}, {}
    for choice, paths in _written(tmp_path).items():
        groups = [g for path in paths for g in yaml.safe_load(path.read_text())["groups"]]
        names[choice] = {group["name"] for group in groups}
        rules_ = [rule for group in groups for rule in group["rules"]]
        recorded[choice] = {rule["record"] for rule in rules_ if "record" in rule}
        asked = {name for rule in rules_ for name in metrics(rule["expr"]) if ":" in name}
        assert asked == recorded[choice]
    for one, other in itertools.combinations(CHOICES, 2):
        assert recorded[one] & recorded[other] == set()
        assert names[one] & names[other] == set()


TOGETHER = """
evaluation_interval: 1m
rule_files: [{files}]
group_eval_order: [{groups}]
tests:
  - interval: 1m
    input_series:
      - {{series: '{count}{{job="plain", instance="a:1", {ok}}}', values: 0+100x60}}
      - {{series: 'shop_{count}{{job="shop", instance="b:1", {ok}}}', values: 0+90x60}}
      - {{series: 'shop_{count}{{job="shop", instance="b:1", {bad}}}', values: 0+10x60}}
    promql_expr_test:
      - expr: count by (job) (ALERTS{{alertname="C2cotelErrorRatio", alertstate="firing"}})
        eval_time: 30m
        exp_samples: [{{labels: '{{job="shop"}}', value: 1}}]
      - expr: sum by (job) (instance:http_server_errors:sum)
        eval_time: 30m
        exp_samples: [{{labels: '{{job="plain"}}', value: 0}}]
      - expr: sum by (job) (instance:shop_http_server_errors:sum)
        eval_time: 30m
        exp_samples: [{{labels: '{{job="shop"}}', value: 300}}]
"""


def test_rules_of_two_prefixes_in_one_prometheus_leave_each_other_alone(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("No promtool: apt-get install -y --no-install-recommends prometheus")
    made = _written(tmp_path)
    files = [path for choice in ("plain", "prefixed") for path in sorted(made[choice])[::-1]]
    groups = [g["name"] for path in files for g in yaml.safe_load(path.read_text())["groups"]]
    text = TOGETHER.format(
        files=", ".join(map(str, files)),
        groups=", ".join(groups),
        count="http_server_request_duration_seconds_count",
        ok='http_route="/", http_response_status_code="200"',
        bad='http_route="/", http_response_status_code="500"',
    )
    (tmp_path / "together.yaml").write_text(text)
    argv = [promtool, "test", "rules", tmp_path / "together.yaml"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", list(FOUND.rules))
def test_a_prefix_that_ends_in_a_colon_leaves_yaml(path):
    content = yaml.safe_load(rules.with_names(FOUND.rules[path], Names("shop:")))
    names = content.get("group_eval_order") or [group["name"] for group in content["groups"]]
    assert {name.removeprefix("c2cotel-").rpartition("-")[2] for name in names} == {"shop_"}


def test_every_alert_gets_its_links():
    changed = core.Changes(dashboard_url="https://g.example", runbook_url="https://wiki.example")
    files = core.exported(FOUND, [core.RULES], changed, HERE)
    groups = yaml.safe_load(files["rules/c2cotel-alerts.yaml"])["groups"]
    alerts = [rule for group in groups for rule in group["rules"]]
    assert len(alerts) == len(FOUND.alerts)
    for rule in alerts:
        told = rule["annotations"]
        assert told["dashboard_url"].startswith("https://g.example/d/c2cotel-")
        assert told["runbook_url"] == f"https://wiki.example/{rule['alert']}.md"


def test_every_threshold_can_be_another():
    new = {name: "7h" if t.is_duration else "0.7" for name, t in FOUND.thresholds.items()}
    changed = core.Changes(thresholds=new)
    text = "\n".join(core.exported(FOUND, [core.RULES], changed, HERE).values())
    assert {name: t.value for name, t in rules.thresholds(text).items()} == new


# Provisioning


@pytest.mark.parametrize("path", FOUND.provisioning)
def test_the_examples_of_provisioning_are_of_the_first_version(path):
    assert yaml.safe_load(FOUND.provisioning[path])["apiVersion"] == 1


def test_the_data_sources_lead_to_each_other():
    sources = yaml.safe_load(FOUND.provisioning["provisioning/datasources.yaml"])["datasources"]
    uids = {source["uid"] for source in sources}
    assert uids == {"prometheus", "tempo", "loki"}
    text = FOUND.provisioning["provisioning/datasources.yaml"]
    assert set(re.findall(r"datasourceUid: (\w+)", text)) == uids
    # A single dollar would be a variable of the environment.
    settings = "\n".join(line.partition("#")[0] for line in text.splitlines())
    assert re.findall(r"(?<!\$)\$(?!\$)", settings) == []


def test_the_provider_of_dashboards_reads_the_folder_that_its_comment_exports_to():
    text = FOUND.provisioning["provisioning/dashboards.yaml"]
    (provider,) = yaml.safe_load(text)["providers"]
    assert f"c2cotel dashboards export {provider['options']['path']}\n" in text


def test_the_wheel_has_every_file_that_is_exported():
    import tomllib

    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    paths = [*(f"{name}.json" for name in FOUND.boards), *FOUND.rules, *FOUND.provisioning]
    covered = [
        path
        for path in paths
        for source, target in included.items()
        if f"dashboards/{path}".startswith(source)
        and f"c2cotel/dashboards/{path}".startswith(target)
    ]
    assert covered == paths
    assert "dashboards" not in included, "the generator is not for the wheel"
