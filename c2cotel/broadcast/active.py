"""How many values are set now, over what was configured: what an operator may have left on.

===================  =====  ==========  ===============================================
name                 kind   unit        attributes
===================  =====  ==========  ===============================================
c2c.switch.active    gauge  {override}  c2c.switch, for some kinds c2c.switch.value
===================  =====  ==========  ===============================================

``c2c.switch.value`` is one of the labels of the kind, for log levels the names of the levels, or
``other``. A switch that is set to false is not active.

It is one number for the host: of its processes, the one that has followed a change last decides.
All of them follow every change, and the end of a value's time.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from opentelemetry.metrics import MeterProvider, get_meter

from c2cotel.broadcast.records import Record
from c2cotel.metrics.gauges import gauge

OTHER: Final = "other"


class Active:
    """The gauge, made when it is first told.

    Attributes:
        labels: By kind, what its values are counted as: a label for each text, in lower case.
    """

    def __init__(self, provider: MeterProvider | None = None) -> None:
        self.labels: dict[str, Mapping[str, str]] = {}
        self._provider = provider
        self._gauge: Any = None

    def tell(self, records: Iterable[Record]) -> None:
        """Set it to how many of *records* count, also where that is none."""
        counts: Counter[tuple[str, str]] = Counter()
        for kind, labels in self.labels.items():
            for label in {*labels.values(), OTHER} if labels else ("",):
                counts[kind, label] = 0
        for record in records:
            if record.kind in self.labels and not record.over and record.value is not False:
                counts[record.kind, self._label(record)] += 1
        if self._gauge is None:
            self._gauge = gauge(
                get_meter("c2cotel.broadcast", meter_provider=self._provider),
                "c2c.switch.active",
                "last",
                "Values that are set over what was configured, at the moment.",
                unit="{override}",
            )
        for (kind, label), count in counts.items():
            value = {"c2c.switch.value": label} if label else {}
            self._gauge.set(count, {"c2c.switch": kind, **value})

    def _label(self, record: Record) -> str:
        labels = self.labels[record.kind]
        return labels.get(str(record.value).lower(), OTHER) if labels else ""
