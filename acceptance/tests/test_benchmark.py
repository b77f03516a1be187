"""``make bench`` works, and our store stays well ahead of what it is compared with.

The ratios have a large margin. The overhead of requests and statements is for ``make bench``, which
takes longer, to judge.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone

BENCH = Path(__file__).parents[1] / "benchmark" / "bench.py"


def bench(part, folder):
    """The ratios of *part*, by their names, and what is printed."""
    result = folder / "bench.json"
    done = subprocess.run(
        [sys.executable, BENCH, "--quick", "--only", part, "--json", result],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.exists(), done.stderr
    targets = json.loads(result.read_text())["targets"]
    return {target["name"]: target["ratio"] for target in targets}, done.stdout


def test_measurements_cost_a_fraction_of_what_they_cost_elsewhere(tmp_path):
    ratios, output = bench("instruments", tmp_path)
    assert ratios["counter.add / SDK"] < 1 / 3
    assert ratios["histogram.record / SDK"] < 1 / 3
    assert ratios["counter.add / prometheus_client"] < 1
    assert ratios["histogram.record / prometheus_client"] < 1
    assert "counter.add" in output
