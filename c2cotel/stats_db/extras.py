"""Gauges of your own: ``--extra`` and ``--extra-gauge``."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from c2cotel.stats_db.numbers import EXTRA, OWN, Gauge, NumberError

# As an instrument's: https://opentelemetry.io/docs/specs/otel/metrics/api/#instrument-name-syntax
_NAME: Final = re.compile(r"[A-Za-z0-9_][-_./A-Za-z0-9]{0,200}")
_COLUMNS: Final = 2


class ExtraError(ValueError):
    """An option that cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True)
class Extra:
    """A query for rows of a name and a number, and the gauge that tells them."""

    sql: str
    gauge: Gauge

    def __str__(self) -> str:
        if self.gauge is EXTRA:
            return f"--extra {_short(self.sql)!r}"
        return f"--extra-gauge {self.gauge.name}"


def extras(queries: Sequence[str], gauges: Sequence[Sequence[str]]) -> list[Extra]:
    """Those of the options: *gauges* are of SQL, name and help each.

    Raises:
        ExtraError: a name cannot be used, or a query is empty.
    """
    found = [Extra(sql, EXTRA) for sql in queries]
    named = {name: gauge for gauge in OWN for name in gauge.taken}
    for sql, name, text in gauges:
        gauge = Gauge(_checked(name), "", text)
        other = named.setdefault(gauge.exposed, gauge)
        if other in OWN or other.name != name:
            raise ExtraError(
                f"--extra-gauge {name}: taken by {other.full_name}, which is {other.exposed} in "
                "Prometheus. Write another name."
            )
        # Several queries may tell one gauge.
        found.append(Extra(sql, other))
    for one in found:
        if not one.sql.strip():
            raise ExtraError(f"{one}: the query is empty.")
    return found


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ExtraError(
            f"--extra-gauge {name!r}: not a name for a gauge. Write letters, digits and _ . - /, "
            "for example users_active."
        )
    return name


def rows_of(rows: Sequence[Sequence[Any]]) -> list[tuple[str, float]]:
    """Names and numbers of the *rows* of a query.

    Raises:
        NumberError: one is something else.
    """
    return [_row(row) for row in rows]


def _row(row: Sequence[Any]) -> tuple[str, float]:
    if len(row) != _COLUMNS:
        raise NumberError(f"rows of {len(row)} columns, where a name and a number are expected")
    name, value = row
    if name is None:
        raise NumberError("a row without a name")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        shown = "NULL" if value is None else _short(repr(value))
        raise NumberError(f"{_short(str(name))!r} is {shown}, which is not a number")
    return str(name), number


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"  # noqa: PLR2004 - about a line
