"""Between what a threshold makes sense: beyond, its alert fires always, or never."""

import re
from dataclasses import dataclass
from typing import Final

_UNITS: Final = {
    "ms": 0.001,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86400,
    "w": 604800,
    "y": 31536000,
}


@dataclass(frozen=True)
class Bounds:
    """What a value has to be, as it is written; nothing where any will do.

    Attributes:
        least: At least this.
        above: More than this.
        below: Less than this.
        reason: Why, at the end of a sentence.
    """

    least: str = ""
    above: str = ""
    below: str = ""
    reason: str = ""

    def wrong(self, value: str) -> str:
        """What is wrong with *value*, a number or a duration; nothing if it will do."""
        number = _number(value)
        if (
            (self.least and number < _number(self.least))
            or (self.above and number <= _number(self.above))
            or (self.below and number >= _number(self.below))
        ):
            return f"it has to be {self}, or else {self.reason}"
        return ""

    def __str__(self) -> str:
        named = {"at least": self.least, "above": self.above, "below": self.below}
        return ", ".join(f"{how} {value}" for how, value in named.items() if value)


_ALWAYS: Final = "it would fire when nothing has happened"

BOUNDS: Final = {
    "error_budget": Bounds(
        above="0",
        below="0.0694",
        reason="14.4 times it is nothing, or all requests, and C2cotelErrorRatio fires always or "
        "never",
    ),
    "error_count": Bounds(least="1", reason=_ALWAYS),
    "latency": Bounds(
        above="0",
        below="10",
        reason="it fires always or never: 10 seconds are the last bucket",
    ),
    "latency_requests": Bounds(least="1", reason="nothing is enough to judge"),
    "pool_timeouts": Bounds(least="1", reason=_ALWAYS),
    "pool_wait": Bounds(above="0", reason="it fires for every connection that is taken"),
    "fallback_for": Bounds(above="10m", reason="one restart of the replica is enough"),
    "worker_exits": Bounds(least="1", reason=_ALWAYS),
    "dropped_for": Bounds(above="10m", reason="one burst is enough"),
    "down_for": Bounds(
        below="6h", reason="what has been taken away is forgotten before C2cotelServiceDown fires"
    ),
}
"""By the name of the threshold. The table in dashboards/rules/README.md says the same."""


def _number(text: str) -> float:
    """A number, or the seconds of a duration."""
    parts = re.findall(r"([\d.]+)(ms|[a-z]?)", text)
    return sum(float(number) * _UNITS.get(unit, 1) for number, unit in parts)
