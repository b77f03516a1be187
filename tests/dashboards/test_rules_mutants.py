"""A rule in which one thing is wrong is noticed by promtool's cases."""

import shutil
from pathlib import Path

import pytest

from .rules_mutants import Rules, survivors

RULES = Path(__file__).parents[2] / "dashboards/rules"
RECORDING, ALERTS = RULES / "c2cotel-recording.yaml", RULES / "c2cotel-alerts.yaml"

_ONES = "What is counted are ones."
_OTHER_WINDOW = "The other window of the pair, or the other side of the fraction, decides before."
#: What makes no difference, or none that matters, and why.
WAIVERS = {
    "C2cotelAlembicMismatch: 'count' is 'sum' in line 1": _ONES,
    "C2cotelReadonlyLeftOn: 'count' is 'sum' in line 1": _ONES,
    **{
        f"job:http_server_errors:{what}": _OTHER_WINDOW
        for what in (
            "increase1h: '1h' is '120m' in line 1",
            "increase6h: '6h' is '720m' in line 1",
            "ratio_rate5m: '5m' is '2m' in line 2",
            "ratio_rate30m: '30m' is '60m' in line 2",
            "ratio_rate2h: '2h' is '60m' in line 1",
            "ratio_rate2h: '2h' is '60m' in line 2",
            "ratio_rate2h: '2h' is '240m' in line 2",
        )
    },
    "job:http_server_request_duration_seconds:p95_1h: '1h' is '30m' in line 2": _OTHER_WINDOW,
    "job:http_server_request_duration_seconds:p95_1h: '1h' is '120m' in line 2": _OTHER_WINDOW,
    "job:http_server_requests:increase1h: '1h' is '120m' in line 1": _OTHER_WINDOW,
    "job_pool:db_client_connection_wait_time_seconds:mean5m: '5m' is '2m' in line 2": _OTHER_WINDOW,
    "job_pool:db_client_connection_wait_time_seconds:mean5m: '5m' is '10m' in line 7": (
        _OTHER_WINDOW
    ),
    **{
        f"job:c2c_metrics_processes:lasting: '6h' is '{other}' in line 3": (
            "It is asked of itself every minute, so any time is enough."
        )
        for other in ("180m", "720m")
    },
    'C2cotelErrorBudget: \'alertname="C2cotelErrorRatio", alertstate="firing", job!=""\' is '
    '\'alertname="C2cotelErrorRatio", alertstate="firing"\' in line 19': (
        "Its alerts have a job all of them."
    ),
}


def cases() -> list[Path]:
    """Those about thresholds first, which notice most; those that go on for days last."""
    every = (path for path in (RULES / "tests").glob("*.yaml") if path.stem != "nothing")
    return sorted(every, key=lambda path: (_long(path), not _notices(path), path.stem))


def _long(path: Path) -> bool:
    return path.stem in {"thresholds-days", "budget"}


def _notices(path: Path) -> bool:
    return path.stem.startswith("thresholds")


@pytest.mark.timeout(300)
def test_whatever_is_changed_in_a_rule_is_noticed_by_a_case(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("No promtool: apt-get install -y --no-install-recommends prometheus")
    rules = Rules(RECORDING, ALERTS)
    mutants = {str(mutant): mutant for mutant in rules.mutants()}
    assert set(WAIVERS) - set(mutants) == set()
    asked = [mutant for name, mutant in mutants.items() if name not in WAIVERS]
    assert survivors(promtool, rules, asked, cases(), tmp_path) == []
