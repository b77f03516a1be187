"""Metric families of prometheus_client as JSON, for the way from one process to another.

A family is ``{"type": "gauge", "args": {"name": …, "documentation": …, "unit": …}, "samples":
[{"name": …, "labels": {…}, "value": …}]}``. Each sample says its process in the label ``pid``:
what several processes tell of one family stands side by side. Time stamps and exemplars stay
behind.
"""

import os
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric


class Collector(Protocol):
    """What prometheus_client calls a collector."""

    def collect(self) -> "Iterable[Metric]": ...


class SerializedSample(TypedDict):
    """One number."""

    name: str
    labels: dict[str, str]
    value: float


class SerializedMetric(TypedDict):
    """One family; *args* are those that make its ``Metric``."""

    type: str
    args: dict[str, Any]
    samples: list[SerializedSample]


def serialize_collected_data(collector: Collector) -> list[SerializedMetric]:
    """What *collector* collects, as JSON, with the ``pid`` of this process where it says none."""
    pid = str(os.getpid())
    return [
        {
            "type": metric.type,
            "args": {
                "name": metric.name,
                "documentation": metric.documentation,
                "unit": metric.unit,
            },
            "samples": [
                {
                    "name": sample.name,
                    "labels": {"pid": pid, **sample.labels},
                    "value": float(sample.value),
                }
                for sample in metric.samples
            ],
        }
        for metric in collector.collect()
    ]


def deserialize(told: Any, pid: int) -> "list[Metric]":
    """The families in *told*, which process *pid* has answered.

    Raises:
        TypeError, ValueError: it is not what :func:`serialize_collected_data` returns.
    """
    from prometheus_client import Metric

    if not isinstance(told, list):
        raise TypeError(f"a list of metrics is expected, not {_shown(told)}")
    families = []
    for each in told:
        match each:
            case {"type": str(kind), "args": {"name": str(name), **more}, "samples": list(samples)}:
                text, unit = str(more.get("documentation", "")), str(more.get("unit") or "")
                family = Metric(name, text, kind, unit)
            case _:
                raise TypeError(
                    f"a metric has type, args with a name, and samples; this one is {_shown(each)}"
                )
        for sample in samples:
            name, labels, value = _sample(sample, pid)
            family.add_sample(name, labels, value)
        families.append(family)
    return families


def _sample(sample: Any, pid: int) -> tuple[str, dict[str, str], float]:
    match sample:
        case {"name": str(name), "labels": dict(labels), "value": int() | float() as value}:
            named = {str(label): str(text) for label, text in labels.items()}
            return name, {"pid": str(pid), **named}, float(value)
    raise TypeError(f"a sample has name, labels and value; this one is {_shown(sample)}")


def _shown(value: object) -> str:
    return repr(value)[:200]
