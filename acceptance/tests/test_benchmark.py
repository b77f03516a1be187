"""``make bench`` works, and what is ours stays well ahead of what it is compared with.

The ratios have a large margin. The targets, and the overhead of requests, are for ``make bench``,
which takes longer, to judge.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone

BENCH = Path(__file__).parents[1] / "benchmark" / "bench.py"
SAMPLED = "overhead of a sampled statement / contrib"
UNSAMPLED = "overhead of an unsampled statement / contrib"


def bench(part, folder):
    """The ratios of *part*, by their names, and what is printed."""
    result = folder / "bench.json"
    result.unlink(missing_ok=True)
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


@pytest.mark.timeout(240)  # for both times
def test_statements_cost_a_fraction_of_what_they_cost_with_contrib(tmp_path):
    ratios, output = bench("statements", tmp_path)
    if ratios[SAMPLED] >= 3 / 4 or ratios[UNSAMPLED] >= 1 / 2:
        # Once more: the machine may have been at something else.
        ratios, output = bench("statements", tmp_path)
    assert ratios[SAMPLED] < 3 / 4
    assert ratios[UNSAMPLED] < 1 / 2
    assert "CPU of a request, and of a statement" in output
