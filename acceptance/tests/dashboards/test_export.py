"""What ``c2cotel dashboards export`` writes, checked by Prometheus' own tool."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_CHANGES = (
    *("--prefix", "shop.eu", "--job-label", "service"),
    *(
        "--dashboard-url",
        "https://grafana.example.org/",
        "--runbook-url",
        "https://wiki.example.org",
    ),
)


@pytest.fixture
def promtool():
    """``promtool("check", …)`` passes, or its output is shown."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing: sudo apt-get install prometheus")

    def run(*arguments):
        done = subprocess.run(
            ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def export(folder: Path, *options: str) -> None:
    command = (sys.executable, "-m", "c2cotel", "dashboards", "export", str(folder), *options)
    subprocess.run(command, check=True, timeout=60, capture_output=True)


@pytest.mark.parametrize(
    "options", [(), _CHANGES, (*_CHANGES, "--threshold", "latency=3", "--threshold", "down_for=9m")]
)
def test_exported_rules_are_good(promtool, tmp_path, options):
    export(tmp_path, "rules", *options)
    files = sorted((tmp_path / "rules").glob("*.yaml"))
    assert len(files) == 2
    promtool("check", "rules", "--lint=all", "--lint-fatal", *files)


# Half a minute of a processor, which beside other tests may be some minutes.
@pytest.mark.timeout(600)
def test_exported_rules_pass_their_exported_tests(promtool, tmp_path):
    """With other metrics, another label and other links, in the rules and in what is expected."""
    export(tmp_path, "rules", *_CHANGES)
    tests = sorted((tmp_path / "rules/tests").glob("*.yaml"))
    assert tests
    promtool("test", "rules", *tests)
