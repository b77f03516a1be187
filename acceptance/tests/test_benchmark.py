"""``make bench`` works, and our store stays well ahead of what it is compared with.

The ratios have a large margin; the overhead of a request is for ``make bench`` to judge.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone

BENCH = Path(__file__).parents[1] / "benchmark" / "bench.py"


def test_measurements_cost_a_fraction_of_what_they_cost_elsewhere(tmp_path):
    result = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, BENCH, "--quick", "--only", "instruments", "--json", result],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.exists(), done.stderr
    ratios = {
        target["name"]: target["ratio"] for target in json.loads(result.read_text())["targets"]
    }
    assert ratios["counter.add / SDK"] < 1 / 3
    assert ratios["histogram.record / SDK"] < 1 / 3
    assert ratios["counter.add / prometheus_client"] < 1
    assert ratios["histogram.record / prometheus_client"] < 1
    assert "counter.add" in done.stdout
