"""Health and operations: what the checks say, what operators have set, who does not answer."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from c2cotel_boards import house, links, look, panels, promql, tables, variables
from c2cotel_boards.house import Row
from c2cotel_boards.look import Query
from c2cotel_boards.panels import Panel
from c2cotel_boards.tables import Column

_SHOWN: Final = "$__range"
_CHECK: Final = "c2c_check_name"
_STATUS: Final = promql.series("c2c_health_check_status", 'c2c_check_name=~"$check"')
_CHECKS: Final = "c2c_health_check_duration_seconds"
_OF_CHECK: Final = ('c2c_check_name=~"$check"',)
_SWITCH: Final = "c2c_switch"
_VALUE: Final = "c2c_switch_value"
_LEVELS: Final = 'c2c_switch="logging_level"'
_PROFILER: Final = 'c2c_switch="sql_profiler"'
_ACTIVE: Final = promql.series("c2c_switch_active")
_CHANGES: Final = promql.series("c2c_switch_changes_total")
_READONLY: Final = promql.series("c2c_db_maintenance_readonly")
_CHANNEL: Final = "c2c_broadcast_channel"
_QUESTIONS: Final = "c2c_broadcast_duration_seconds"
_SILENT: Final = promql.series("c2c_broadcast_silent_total")
_SLOW: Final = look.warn_from(1, 5)


def board() -> Dashboard:
    names = "The health checks that were asked for."
    return house.dashboard(
        "operations",
        "Health and operations",
        "What the health checks say, whether the migrations fit, what operators have set and left "
        "on, and which processes do not answer.",
        [
            Row("Is it well?", _stats()),
            Row("Which checks fail?", _checks()),
            Row("Do the migrations fit?", _migrations()),
            Row("What have operators set?", _operators()),
            Row("Do all processes answer?", _answers()),
        ],
        variables=variables.standard(
            variables.label("check", "Check", "c2c_health_check_status", _CHECK, names)
        ),
    )


def _set(*matchers: str) -> str:
    """How many values are set; each once for a job, as its processes and hosts agree."""
    active = promql.series("c2c_switch_active", *matchers)
    each = promql.aggregate(active, "job", _SWITCH, _VALUE, function="max")
    return promql.or_zero(promql.aggregate(each))


def _stats() -> list[Panel]:
    readonly = promql.or_zero(promql.aggregate(_READONLY, function="max"))
    return [
        panels.stat(
            "Checks failing",
            "Of all instances, when they were asked last. The load balancer may have taken these "
            "out.",
            f"sum(1 - {_STATUS})",
            unit="short",
            steps=look.bad_from(1),
            sparkline=False,
        ),
        panels.stat(
            "Read-only",
            "Whether the database is read-only for maintenance. Who writes is refused: it may "
            "have been left on.",
            readonly,
            unit="short",
            texts={0: ("no", look.GREEN), 1: ("READ-ONLY", look.RED)},
            sparkline=False,
        ),
        panels.stat(
            "Log levels",
            "Loggers whose level an operator has set over the configuration. DEBUG costs time "
            "and disk, and may log what nobody should read.",
            _set(_LEVELS),
            unit="short",
            steps=look.warn_from(1),
            sparkline=False,
        ),
        panels.stat(
            "SQL profiler",
            "Whether the plans of statements are being asked for: it costs each statement up to "
            "0.25 ms.",
            f"clamp_max({_set(_PROFILER)}, 1)",
            unit="short",
            texts={0: ("off", look.GREEN), 1: ("ON", look.ORANGE)},
            sparkline=False,
        ),
        panels.stat(
            "Changes",
            "What operators have set or taken back in the time that is shown; the lines in the "
            "other panels are these.",
            promql.or_zero(promql.counted(_CHANGES, window=_SHOWN)),
            unit="short",
            decimals=0,
            sparkline=False,
        ),
        panels.stat(
            "No answer",
            "Times in the time that is shown that a process did not answer others: it was stuck, "
            "starting, or ending.",
            promql.or_zero(promql.counted(_SILENT, window=_SHOWN)),
            unit="short",
            decimals=0,
            steps=look.warn_from(0.5),
            sparkline=False,
        ),
    ]


def _checks() -> list[Panel]:
    by = ("job", _CHECK)
    return [
        tables.table(
            "Checks",
            "A row for each check, those that fail first, of all instances. The console of c2cotel "
            "shows what they say.",
            keys={"job": "Job", _CHECK: "Check"},
            columns=[
                Column(
                    "Failing on",
                    promql.aggregate(f"1 - {_STATUS}", *by),
                    "short",
                    steps=look.bad_from(1),
                ),
                Column("Instances", promql.aggregate(_STATUS, *by, function="count"), "short"),
                Column(
                    "p95",
                    promql.quantile(0.95, _CHECKS, *by, matchers=_OF_CHECK),
                    "s",
                    steps=_SLOW,
                ),
                Column(
                    "Asked for",
                    promql.rate(promql.series(f"{_CHECKS}_count", *_OF_CHECK), *by),
                    "ops",
                ),
            ],
            links={"Check": [links.to("operations", "Only this check", check=links.VALUE)]},
        ),
        panels.timeseries(
            "When did which check fail?",
            "Instances on which it failed. All checks at once: the process hangs, or its network. "
            "Nothing at all: nobody asks.",
            Query(promql.aggregate(f"1 - {_STATUS}", _CHECK), f"{{{{{_CHECK}}}}}"),
            unit="short",
            whole=True,
            width=12,
        ),
        panels.timeseries(
            "How long do checks take?",
            "The 95 % of each. One that comes near the time-out of whoever asks fails next, "
            "though nothing is wrong.",
            Query(promql.quantile(0.95, _CHECKS, _CHECK, matchers=_OF_CHECK), f"{{{{{_CHECK}}}}}"),
            unit="s",
            width=12,
        ),
    ]


def _migrations() -> list[Panel]:
    version = promql.series("c2c_alembic_version")
    keys = {"job": "Job", "name": "Name", "configuration": "Configuration", "version": "Version"}
    mismatch = promql.series("c2c_alembic_mismatch")
    return [
        tables.table(
            "Which version has the database?",
            "As the checks found it. Two rows of a configuration: a migration is under way, or "
            "instances use different databases.",
            keys=keys,
            columns=[
                Column("Instances", promql.aggregate(version, *keys, function="count"), "short")
            ],
            width=16,
            height=6,
            widths={"Job": 120, "Version": 150},
        ),
        panels.timeseries(
            "Is it the version that the code is made for?",
            "Instances whose check last found another version. Above 0 after a deployment: the "
            "migration has not run, or was undone. A check that fails otherwise says nothing here.",
            Query(promql.aggregate(mismatch, _CHECK), f"{{{{{_CHECK}}}}}"),
            unit="short",
            whole=True,
            height=6,
        ),
    ]


def _operators() -> list[Panel]:
    by = ("job", _SWITCH, _VALUE)
    action = "c2c_switch_action"
    active = promql.aggregate(_ACTIVE, *by, function="max")
    refusals = promql.series("c2c_db_maintenance_refusals_total")
    return [
        tables.table(
            "What is set now?",
            "Over what was configured. Each costs something, and most of it was forgotten by who "
            "set it: the console of c2cotel says since when, and takes it back.",
            keys={"job": "Job", _SWITCH: "What", _VALUE: "Value"},
            columns=[Column("Set", f"{active} > 0", "short")],
            width=12,
            height=7,
        ),
        panels.timeseries(
            "What was set when?",
            "How many loggers have which level, whether the SQL profiler is on, the database "
            "read-only. A line that does not come down was left on.",
            Query(
                promql.aggregate(f"{active} > 0", _SWITCH, _VALUE),
                f"{{{{{_SWITCH}}}}} {{{{{_VALUE}}}}}",
            ),
            unit="short",
            whole=True,
            width=12,
            height=7,
        ),
        panels.timeseries(
            "What have operators changed?",
            "By what and how. Changes that you do not know of: ask who else knows the secret; the "
            "log has the address.",
            Query(
                promql.counted(_CHANGES, _SWITCH, action) + " > 0",
                f"{{{{{_SWITCH}}}}} {{{{{action}}}}}",
            ),
            unit="short",
            width=12,
            height=7,
            bars=True,
            stacked=True,
        ),
        panels.timeseries(
            "Who is refused while the database is read-only?",
            "Requests that wanted to write, per second, by instance. They were told to try again; "
            "users notice.",
            Query(promql.rate(refusals, "job", "instance"), "{{job}} {{instance}}"),
            unit="reqps",
            width=12,
            height=7,
        ),
    ]


def _answers() -> list[Panel]:
    return [
        panels.timeseries(
            "What do processes ask each other?",
            "Questions per second: of the console, of health checks, of the application.",
            Query(
                promql.rate(promql.series(f"{_QUESTIONS}_count"), _CHANNEL), f"{{{{{_CHANNEL}}}}}"
            ),
            unit="ops",
        ),
        panels.timeseries(
            "How long until all have answered?",
            "The 95 %. A second and more: somebody does not answer, and all the time was waited.",
            Query(promql.quantile(0.95, _QUESTIONS, _CHANNEL), f"{{{{{_CHANNEL}}}}}"),
            unit="s",
        ),
        panels.timeseries(
            "How many did not answer in time?",
            "Processes, by question. Ever again, without restarts: one hangs. Processes shows "
            "which has no processor time, or all of it.",
            Query(promql.counted(_SILENT, _CHANNEL) + " > 0", f"{{{{{_CHANNEL}}}}}"),
            unit="short",
            bars=True,
            stacked=True,
            links=[links.to("processes", "Processes")],
        ),
    ]
