"""Rules of dashboard-linter that ours break on purpose, each with its reason.

By rule, where: the dashboard, ``/``, the panel; ``*`` is any. The shape is that of the linter's
own ``.lint`` files.
"""

from fnmatch import fnmatchcase

WAIVERS = {
    "template-datasource-rule": {
        "*": "Beside tempo_datasource the linter wants prometheus_datasource. ${datasource} is in "
        "people's addresses and in Grafana's own dashboards; the others are optional.",
    },
    "template-instance-rule": {
        "database-statistics": "What is pushed to a Pushgateway has no instance; All matches it.",
    },
    "target-histogram-rule": {
        "*/How are the durations spread?": "A heatmap shows the buckets themselves.",
    },
}


def reason(rule: str, board: str, panel: str = "") -> str | None:
    """Why *rule* does not hold there, None if it does."""
    where = f"{board}/{panel}" if panel else board
    found = (why for pattern, why in WAIVERS.get(rule, {}).items() if fnmatchcase(where, pattern))
    return next(found, None)
