"""Outcomes as JSON: the body that c2cwsgiutils had, and that of the draft of the IETF."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from c2cotel.health_check.core import Outcome

HEALTH_JSON: Final = "application/health+json"
"""https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-05"""


def body(status: int, outcomes: Iterable[Outcome], *, details: bool) -> dict[str, Any]:
    """What the seed shows; with *details*, for the authorised."""
    told: dict[str, Any] = {"status": status, "successes": {}, "failures": {}}
    for outcome in outcomes:
        told["successes" if outcome.ok else "failures"][outcome.name] = _entry(
            outcome, details=details
        )
    return told


def _entry(outcome: Outcome, *, details: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if not outcome.ok:
        entry["message"] = outcome.private if details else outcome.message
    entry |= {"timing": outcome.timing, "level": outcome.level}
    result = (outcome.details if details else None) or outcome.result
    if result is not None:
        entry["result"] = msgspec.Raw(result)
    if details and outcome.stack:
        entry["stacktrace"] = outcome.stack
    return entry


def health_body(outcomes: Iterable[Outcome], *, details: bool) -> dict[str, Any]:
    """What the draft says: ``checks`` by component and measurement, times in milliseconds."""
    checks: dict[str, list[dict[str, Any]]] = {}
    passes = True
    for outcome in outcomes:
        passes = passes and outcome.ok
        entry: dict[str, Any] = {
            "componentId": outcome.name,
            "observedValue": round(outcome.timing * 1000, 3),
            "observedUnit": "ms",
            "status": "pass" if outcome.ok else "fail",
            "time": datetime.fromtimestamp(outcome.at, UTC).isoformat(timespec="milliseconds"),
        }
        if not outcome.ok:
            entry["output"] = outcome.private if details else outcome.message
        # The name of a component must not have a colon in it.
        checks[f"{outcome.name.replace(':', '%3A')}:responseTime"] = [entry]
    told: dict[str, Any] = {"status": "pass" if passes else "fail"}
    if checks:
        told["checks"] = checks
    return told
