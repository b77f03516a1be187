"""Merged series as Prometheus text, and as OpenMetrics.

Names, units and labels are those that ``opentelemetry-exporter-prometheus`` gives; its mapping is
used. What does not change from one scrape to the next (everything but the numbers) is kept.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/,
https://prometheus.io/docs/specs/om/open_metrics_spec/,
https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/.
"""

import json
import logging
import math
import weakref
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from opentelemetry.exporter.prometheus._mapping import (
    map_unit,
    sanitize_attribute,
    sanitize_full_name,
)
from prometheus_client import Metric
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.utils import floatToGoString as _untyped_go_string  # noqa: N813 - a function

from c2cotel.metrics.families import Family, Row
from c2cotel.metrics.instruments import Description, Scope
from c2cotel_instrumentation.once import Once

LOGGER = logging.getLogger(__name__)

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# From here on Go writes numbers with an exponent, and so does prometheus_client.
_EXPONENT_FROM = 1e6


@dataclass(slots=True)
class _Lines:
    """The unchanging parts of a family's lines, valid while its *changes* are the same."""

    changes: int
    label_names: list[str]
    prefixes: dict[int, list[str]] = field(default_factory=dict)


class Exposition:
    """Writes what :meth:`c2cotel.metrics.merge.Merge.read` gives.

    *prefix* comes before every name; *target* are the resource's attributes for ``target_info``.
    """

    def __init__(self, prefix: str = "", target: Mapping[str, Any] | None = None) -> None:
        self._prefix = prefix
        self._target = _target_info(target or {})
        self._lines: weakref.WeakKeyDictionary[Family, _Lines] = weakref.WeakKeyDictionary()
        self._new = Once()

    def write(
        self,
        families: Iterable[tuple[Family, list[Row]]],
        foreign: Mapping[str, Metric] | None = None,
        *,
        openmetrics: bool,
    ) -> str:
        """The whole document; *foreign* are prometheus_client's families, by exposed name.

        One that has the name of ours stands below the same head.
        """
        theirs = dict(foreign or {})
        theirs.pop("target_info", None)
        output = [self._target_lines(openmetrics=openmetrics)] if self._target else []
        for name, members in self._by_name(families).items():
            first = members[0][0].description
            output.append(_head(name, first, openmetrics=openmetrics))
            for family, rows in members:
                lines = self._unchanging(name, family, rows)
                if first.kind == "histogram":
                    _write_histograms(output, rows, lines)
                else:
                    _write_numbers(output, rows, lines)
            output += self._same_name(name, first, theirs, openmetrics=openmetrics)
        for metric in theirs.values():
            output.append(self._foreign(metric, openmetrics=openmetrics))
        if openmetrics:
            output.append("# EOF\n")
        return "".join(output)

    def _same_name(
        self,
        name: str,
        ours: Description,
        theirs: MutableMapping[str, Metric],
        *,
        openmetrics: bool,
    ) -> Iterable[str]:
        """The series of a foreign family that has our name, without its head."""
        kind = _type(ours)
        exposed = f"{name}_total" if kind == "counter" else name
        metric = theirs.pop(exposed, None)
        if metric is None:
            return ()
        if metric.type != kind:
            self._warn(
                exposed,
                "%s is counted by prometheus_client as %s and by us as %s: only ours is exposed "
                "(said once).",
                *(exposed, metric.type, kind),
            )
            return ()
        lines = self._foreign(metric, openmetrics=openmetrics).splitlines(keepends=True)
        return (line for line in lines if not line.startswith("# "))

    def _foreign(self, metric: Metric, *, openmetrics: bool) -> str:
        """A family of prometheus_client, written by itself."""
        generate = generate_openmetrics if openmetrics else generate_text
        try:
            return generate(_Only(metric)).decode().removesuffix("# EOF\n")
        except Exception as error:  # noqa: BLE001 - whatever a collector has put in there
            self._warn(
                f"{metric.name} written",
                "%s of prometheus_client cannot be written: %r (said once). The other metrics are "
                "exposed.",
                metric.name,
                # prometheus_client puts the whole family behind its own arguments.
                error.args[0] if error.args else error,
            )
            return ""

    def _target_lines(self, *, openmetrics: bool) -> str:
        name, kind = ("target", "info") if openmetrics else ("target_info", "gauge")
        return f"# HELP {name} Target metadata\n# TYPE {name} {kind}\n{self._target}"

    def _by_name(
        self, families: Iterable[tuple[Family, list[Row]]]
    ) -> dict[str, list[tuple[Family, list[Row]]]]:
        """Instruments of several scopes may share a name, if they are of one type.

        Of one scope there is one: when a new release that a reload has started describes an
        instrument otherwise (other buckets), the new one, or it would never be seen.
        """
        named: dict[str, dict[Scope, tuple[Family, list[Row]]]] = {}
        for family, rows in families:
            description = family.description
            name = self._name(description)
            members = named.setdefault(name, {})
            other = next((f.description for f, _ in members.values()), description)
            if description.scope in members:
                other = members[description.scope][0].description
                if other.name != description.name:
                    self._say(name, other, description, "first")
                    continue
                self._say(name, other, description, "newer")
                if _type(other) != _type(description):
                    members.clear()
            elif _type(other) != _type(description):
                self._say(name, other, description, "first")
                continue
            members[description.scope] = (family, rows)
        return {name: list(members.values()) for name, members in named.items()}

    def _say(self, name: str, one: Description, other: Description, kept: str) -> None:
        self._warn(
            name,
            "%s is counted in two ways, as %s and as %s: only the %s is exposed (said once).",
            *(name, _way(one), _way(other), kept),
        )

    def _warn(self, about: str, message: str, *values: object) -> None:
        if self._new(about):
            LOGGER.warning(message, *values)

    def _name(self, description: Description) -> str:
        """As exporter and prometheus_client together make it."""
        prefix = f"{self._prefix}_" if self._prefix else ""
        name: str = sanitize_full_name(prefix + description.name)
        if _type(description) == "counter":
            name = name.removesuffix("_total")
        unit = map_unit(description.unit)
        return name if not unit or name.endswith(f"_{unit}") else f"{name}_{unit}"

    def _unchanging(self, name: str, family: Family, rows: list[Row]) -> _Lines:
        lines = self._lines.get(family)
        if lines is None or lines.changes != family.changes:
            names = {sanitize_attribute(key) for row in family.rows.values() for key, _ in row.key}
            lines = _Lines(family.changes, sorted(names))
            self._lines[family] = lines
        for row in rows:
            if id(row) not in lines.prefixes:
                lines.prefixes[id(row)] = _prefixes(name, family.description, row, lines)
        return lines


@dataclass(frozen=True)
class _Only:
    """One family, as a collector."""

    metric: Metric

    def collect(self) -> tuple[Metric]:
        return (self.metric,)


def _go(number: float) -> str:
    """As Go writes it."""
    return str(_untyped_go_string(number))  # type: ignore[no-untyped-call]  # it says no types


def _write_numbers(output: list[str], rows: list[Row], lines: _Lines) -> None:
    for row in rows:
        value = row.values[0]
        number = repr(value) if -math.inf < value < _EXPONENT_FROM else _go(value)
        output.append(f"{lines.prefixes[id(row)][0]} {number}\n")


def _write_histograms(output: list[str], rows: list[Row], lines: _Lines) -> None:
    for row in rows:
        *counts, total = row.values
        numbers = [*accumulate(counts)]
        # prometheus_client writes the buckets, then the count, then the sum.
        numbers += (numbers[-1], total)
        prefixes = lines.prefixes[id(row)]
        if max(numbers[-1], total) < _EXPONENT_FROM:
            output += [f"{p} {n!r}\n" for p, n in zip(prefixes, numbers, strict=True)]
        else:
            output += [f"{p} {_go(n)}\n" for p, n in zip(prefixes, numbers, strict=True)]


def _type(description: Description) -> str:
    if description.is_monotonic:
        return "counter"
    return "histogram" if description.kind == "histogram" else "gauge"


def _way(description: Description) -> str:
    how = f"merged by {description.merge}" if description.is_gauge else description.bounds
    return f"{description.kind} {description.name} {how or ''}".rstrip()


def _head(name: str, description: Description, *, openmetrics: bool) -> str:
    kind = _type(description)
    text = description.text.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        unit = map_unit(description.unit)
        unit_line = f"# UNIT {name} {unit}\n" if unit else ""
        text = text.replace('"', r"\"")
        return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{unit_line}"
    name = f"{name}_total" if kind == "counter" else name
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _prefixes(name: str, description: Description, row: Row, lines: _Lines) -> list[str]:
    """Name and labels of each line of a series, without the number."""
    labels = dict.fromkeys(lines.label_names, "")
    labels |= {sanitize_attribute(key): _label(value) for key, value in row.key}
    labels |= _scope_labels(description.scope)
    kind = _type(description)
    if kind == "counter":
        return [f"{name}_total{_braces(labels)}"]
    if kind == "gauge":
        return [f"{name}{_braces(labels)}"]
    bounds = [_go(bound) for bound in (*description.bounds, math.inf)]
    return [
        *(f"{name}_bucket{_braces(labels | {'le': bound})}" for bound in bounds),
        f"{name}_count{_braces(labels)}",
        f"{name}_sum{_braces(labels)}",
    ]


def _scope_labels(scope: Scope) -> dict[str, str]:
    return {
        **{
            sanitize_attribute(f"otel_scope_{key}"): _label(value)
            for key, value in scope.attributes
        },
        "otel_scope_name": scope.name,
        "otel_scope_version": scope.version,
        "otel_scope_schema_url": scope.schema_url,
    }


def _label(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _braces(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in sorted(labels.items()))
    return f"{{{pairs}}}" if pairs else ""


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _target_info(target: Mapping[str, Any]) -> str:
    if not target:
        return ""
    labels = {sanitize_attribute(key): _label(value) for key, value in target.items()}
    return f"target_info{_braces(labels)} 1.0\n"
