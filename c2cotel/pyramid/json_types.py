"""What becomes of the types that JSON does not have.

===============================  =================================================================
type                             what is written
===============================  =================================================================
datetime, date, time             ISO 8601, UTC as ``Z``
timedelta                        ISO 8601: ``PT90S``
UUID                             text
Decimal                          a number, with all its digits in the fast ones
bytes, bytearray, memoryview     base64
enumeration                      its value
dataclass, attrs, msgspec        an object of the fields
row, row mapping of SQLAlchemy   an object of the columns, whose names have to differ
other mappings                   an object
set, frozenset, deque, range     an array, as any collection that has a length
===============================  =================================================================

Derived classes are written as what they are derived from, such as the UUID of asyncpg.
"""

import base64
import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec


def known(value: Any, _request: object = None) -> Any:
    """What is written for *value*, one level deep: an adapter of Pyramid's for everything.

    Raises:
        TypeError: it is of no type in the table; says what would do.
        ValueError: two columns of a row have one name.
    """
    kind = type(value)
    if is_row(kind):
        return columns(value)
    if is_mapped(kind):
        raise _unknown(kind)
    for base, convert in _CONVERSIONS:
        if isinstance(value, base):
            return convert(value)
    if (fields := field_names(kind)) is not None:
        # A field may have no value yet.
        return {name: getattr(value, name) for name in fields if hasattr(value, name)}
    if isinstance(value, Collection):
        return list(value)
    raise _unknown(kind)


def _unknown(kind: type) -> TypeError:
    return TypeError(
        f"{kind.__module__}.{kind.__qualname__} cannot be written as JSON. Give the class a method "
        f"__json__(self, request), or say config.add_c2c_json_adapter({kind.__name__}, adapter) "
        "with a function of the object and the request."
    )


def is_row(kind: type) -> bool:
    """Whether it is SQLAlchemy's class of rows, or of row mappings."""
    # By their names: not everybody has SQLAlchemy loaded.
    return kind.__module__ == "sqlalchemy.engine.row" and kind.__name__ in ("Row", "RowMapping")


def columns(row: Any) -> dict[Any, Any]:
    """What is in a row, or a row mapping, by the names of the columns.

    Raises:
        ValueError: two of them have one name.
    """
    if isinstance(row, Mapping):
        return _mapping(row)
    # Faster than by way of a row mapping; it leaves out what has no name.
    items = dict(zip(row._fields, row, strict=False))
    return items if len(items) == len(row) else _mapping(row._mapping)  # noqa: SLF001 - is public


def _mapping(value: Mapping[Any, Any]) -> dict[Any, Any]:
    items = dict(value)
    if len(items) != len(value):  # a row mapping counts the columns
        names = ", ".join(map(str, items))
        raise ValueError(f"A row has two columns of one name, of {names}: give one a label()")
    return items


def _iso(value: datetime | time) -> str:
    text = value.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def _struct(value: msgspec.Struct) -> Any:
    config = value.__struct_config__
    if config.array_like or config.tag is not None or config.omit_defaults:
        return msgspec.to_builtins(value, enc_hook=known)
    fields = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
    return {written: getattr(value, name) for written, name in fields}


# A datetime is a date: it comes first.
_CONVERSIONS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (Enum, lambda value: value.value),
    ((datetime, time), _iso),
    (date, lambda value: value.isoformat()),
    (timedelta, lambda v: msgspec.to_builtins(timedelta(v.days, v.seconds, v.microseconds))),
    (UUID, str),
    (Decimal, lambda value: math.nan if value.is_snan() else float(value)),
    ((bytes, bytearray, memoryview), lambda value: base64.b64encode(value).decode()),
    (msgspec.Struct, _struct),
    (Mapping, _mapping),
)


def field_names(kind: type) -> tuple[str, ...] | None:
    """Of a dataclass, or a class of attrs; None for others."""
    if (fields := getattr(kind, "__dataclass_fields__", None)) is not None:
        return tuple(field.name for field in dataclasses.fields(kind)) if fields else ()
    if (fields := getattr(kind, "__attrs_attrs__", None)) is not None:
        return tuple(field.name for field in fields)
    return None


def is_mapped(kind: type) -> bool:
    """Whether it is an ORM class: its fields may ask the database, and lead in circles."""
    return hasattr(kind, "__mapper__")
