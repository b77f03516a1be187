"""Rules of dashboard-linter that ours break on purpose, each with its reason.

By rule, where: the dashboard, or the dashboard, ``/``, the panel; ``*`` is any. The shape is that
of the linter's own ``.lint`` files.
"""

from fnmatch import fnmatchcase

_OWN_NAMES = (
    "c2cotel stats-db has a job of its own, so its variables are statistics_job and "
    "statistics_instance: the menu brings job and instance of services along."
)

WAIVERS = {
    "template-datasource-rule": {
        "*": "Beside tempo_datasource the linter wants prometheus_datasource. ${datasource} is in "
        "people's addresses and in Grafana's own dashboards; the others are optional.",
    },
    "template-job-rule": {"database-statistics": _OWN_NAMES},
    "template-instance-rule": {"database-statistics": _OWN_NAMES},
    "target-job-rule": {"database-statistics": _OWN_NAMES},
    "target-instance-rule": {"database-statistics": _OWN_NAMES},
    "target-rate-interval-rule": {
        "overview/Instances down": "It may be so for longer than what is shown: a week.",
        "overview/Instances": "What is down may be so for longer than what is shown: a week.",
    },
    "target-histogram-rule": {
        "*/How are the durations spread?": "A heatmap shows the buckets themselves.",
    },
}


def reason(rule: str, board: str, panel: str = "") -> str | None:
    """Why *rule* does not hold there, None if it does."""
    places = (board, f"{board}/{panel}")
    waived = WAIVERS.get(rule, {}).items()
    found = (why for pattern, why in waived if any(fnmatchcase(one, pattern) for one in places))
    return next(found, None)
