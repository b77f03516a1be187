"""What the overview says of an instance that has been down for longer than what is shown."""

import json
import subprocess
from pathlib import Path

import yaml

BOARD = Path(__file__).parents[2] / "dashboards/overview.json"
#: Down since the second hour, replaced in the third, always there; one of somebody else's.
SERIES = {
    'up{job="shop", instance="down"}': "1x60 0x1440",
    'c2c_metrics_processes{job="shop", instance="down"}': "2x60 stale",
    'up{job="shop", instance="replaced"}': "1x180 stale",
    'c2c_metrics_processes{job="shop", instance="replaced"}': "2x180 stale",
    'up{job="shop", instance="well"}': "1x1500",
    'c2c_metrics_processes{job="shop", instance="well"}': "2x1500",
    'up{job="other", instance="down"}': "0x1500",
}


def asked(title):
    """The first query of a panel, of everything, in three hours."""
    panels = json.loads(BOARD.read_text())["panels"]
    (panel,) = (panel for panel in panels if panel["title"] == title)
    text = panel["targets"][0]["expr"]
    for name, value in {"$job": ".*", "$instance": ".*", "$__range": "3h"}.items():
        text = text.replace(name, value)
    assert "$" not in text
    return text


def test_an_instance_is_down_until_it_is_up_or_no_target_any_more(promtool, tmp_path):
    down, instances = asked("Instances down"), asked("Instances")
    cases = [
        {"expr": down, "eval_time": at, "exp_samples": [{"labels": "{}", "value": 1}]}
        for at in ("2h", "5h", "20h")
    ]
    for at, gone in (("4h", [("replaced", -1)]), ("20h", [])):
        rows = [("down", 0), ("well", 1), *gone]
        expected = [
            {"labels": f'{{job="shop", instance="{name}"}}', "value": value} for name, value in rows
        ]
        cases.append({"expr": instances, "eval_time": at, "exp_samples": expected})
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in SERIES.items()],
        "promql_expr_test": cases,
    }
    path = tmp_path / "down.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    done = subprocess.run(
        [promtool, "test", "rules", path], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
