"""How many there were in a time, also for the first time; Prometheus says so."""

import shutil
import subprocess

import pytest
import yaml

from c2cotel_boards import promql

#: One value a minute until now; the window has the last eleven.
MINUTES = 80
WINDOW = "10m"
#: What a series has, and how many were counted in the window; `_` is no value.
COUNTED = {
    "there all the time, and nothing was counted": ("7 7 7 7 7 7 7 7 7 7 7", 0),
    "there all the time": ("7 7 7 7 7 9 9 9 9 9 12", 5),
    "has just begun": ("1", 1),
    "has begun, and stays as it is": ("4 4 4 4", 4),
    "has begun, and goes on": ("1 1 3 3 4", 4),
    "has begun and ended, with one value": ("3 stale _ _ _", 3),
    "has begun and ended": ("2 2 5 5 stale _ _", 5),
    "was there before, and has ended": ("7 7 7 7 7 9 9 9 9 stale _", 2),
    "was there before, and has begun again": ("7 7 7 7 7 9 9 1 2 2 2", 4),
    "was there before, and has begun again after a while": ("7 7 7 7 7 stale _ _ _ 3 3", 3),
    "has begun, and begun again": ("1 5 5 5 2 2 2 2", 7),
    "has begun, and begun again after a while": ("1 5 5 5 5 stale 2 2 2", 7),
    "was away at first, and has begun again": ("7 7 7 stale" + " _" * 12 + " 3 3", 3),
    "was away at first, as a scrape had failed": ("400 stale" + " 400" * 10, 0),
    "was away for half an hour, and goes on": ("400 stale" + " _" * 32 + " 400 400 402 402", 2),
}


@pytest.fixture(scope="module")
def promtool():
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("No promtool: apt-get install -y --no-install-recommends prometheus")
    return found


def until_now(values):
    """*values*, the last of them now."""
    return f"_x{MINUTES + 1 - len(values.split())} {values}"


def test_what_began_ended_or_was_restarted_in_the_window_is_counted(promtool, tmp_path):
    # `increase` guesses what was between two values: so to the next whole number.
    each = f"round({promql.counted('errors_total', 'route', window=WINDOW)})"
    expected = [
        {"labels": f'{{route="{name}"}}', "value": count} for name, (_, count) in COUNTED.items()
    ]
    test = {
        "interval": "1m",
        "input_series": [
            {"series": f'errors_total{{route="{name}"}}', "values": until_now(values)}
            for name, (values, _) in COUNTED.items()
        ],
        "promql_expr_test": [
            {"expr": each, "eval_time": f"{MINUTES}m", "exp_samples": expected},
        ],
    }
    path = tmp_path / "cases.yaml"
    path.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    argv = [promtool, "test", "rules", path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
