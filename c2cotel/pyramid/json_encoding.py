"""JSON as ujson wrote it, by msgspec.

msgspec knows most of the types of :mod:`c2cotel.pyramid.json_types` by itself. So that ``__json__``
and adapters come first, as in Pyramid's renderer, the types in a value are looked at before, at the
speed of C; only where one of them is the user's affair, the value is converted in Python.
"""

import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from gc import get_referents
from typing import Any, Final
from uuid import UUID

import msgspec

from c2cotel.pyramid.json_types import columns, field_names, is_mapped, is_row, known

Default = Callable[[Any], Any]

# What msgspec writes as the table says, and nothing is inside of.
_SINGLE: Final = frozenset(
    {*(datetime, date, time, timedelta, UUID), *(bytes, bytearray, memoryview)}
)
# JSON's own: nobody is asked about these, nor by Pyramid's renderer.
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_MOST_KINDS: Final = 2000
_DEEPEST: Final = 200
# From here on it may be a cycle, with several ways around.
_SUSPICIOUS: Final = 8


# How msgspec writes the objects of a class; to be added up, and plain numbers for their speed.
_RIGHT: Final = 0
_HOLDS: Final = 1  # right, but look into them
_ASKS: Final = 2
_NUMBER: Final = 4  # right, unless it is not finite
_ROW: Final = 8 | _ASKS  # SQLAlchemy's
_WRONG: Final = 16  # in its own way, where the user wants another one


_WAYS: Final = {
    **dict.fromkeys(_SINGLE, _RIGHT),
    Decimal: _NUMBER,
    set: _HOLDS,
    frozenset: _HOLDS,
}


class FastEncoder:
    """Writes compact JSON, as ujson did: neither slashes nor what is not ASCII is escaped.

    Infinity and NaN, which JSON does not have, become null; lone surrogates are escaped.

    Args:
        adapted: Whether the user has said how objects of a class are written.
        indent: Blanks by which each level stands further right; everything on one line if None.
        sort_keys: The keys of objects in their order.
    """

    def __init__(
        self, adapted: Callable[[type], bool], *, indent: int | None = None, sort_keys: bool = False
    ) -> None:
        self._adapted = adapted
        self._indent = indent
        self._sort_keys = sort_keys
        self.forget()
        self._encoder = self._new_encoder(None)

    def forget(self) -> None:
        """What :meth:`adapted` says has changed."""
        self._ways: dict[type, int] = {}
        self._right = set(_PLAIN)

    def dumps(self, value: Any, default: Default = known) -> str:
        """The text; *default* is asked what to write for what JSON does not have.

        Raises:
            TypeError: *default* does not know.
            ValueError: the value contains itself, or is too deep.
        """
        try:
            text = self._usual(value, default)
            return self._unusual(value, default) if text is None else self._laid_out(text)
        except RecursionError as error:
            raise ValueError("The value contains itself, or is too deep for JSON") from error

    def _usual(self, value: Any, default: Default) -> bytes | None:
        """What msgspec makes of *value*; None if that is not what is wanted."""
        ways = self._ways_in(value)
        if ways >= _WRONG:
            return None
        encoder = self._asking(default) if ways & _ASKS else self._encoder
        try:
            text = encoder.encode(value)
        except (TypeError, UnicodeEncodeError):
            # A key that only Python takes for one, or a surrogate; or it fails once more.
            return None
        return None if ways & _NUMBER and (b"NaN" in text or b"Infinity" in text) else text

    def _unusual(self, value: Any, default: Default) -> str:
        converted = self._converted(value, default)
        try:
            return self._laid_out(self._encoder.encode(converted))
        except UnicodeEncodeError:
            return json.dumps(
                converted,
                default=known,
                separators=(",", ": " if self._indent else ":"),
                indent=self._indent,
                sort_keys=self._sort_keys,
            )

    def _laid_out(self, text: bytes) -> str:
        if self._indent:
            text = msgspec.json.format(text, indent=self._indent)
        return text.decode()

    def _asking(self, default: Default) -> msgspec.json.Encoder:
        def hook(unknown: Any) -> Any:
            # First: of these there are thousands.
            if self._ways.get(type(unknown)) == _ROW:
                answer = columns(unknown)
                return (
                    answer if self._right.issuperset(map(type, answer.values())) else look(answer)
                )
            if unknown is None or isinstance(unknown, bool):  # as keys only
                return _key(unknown)
            if isinstance(unknown, str | int | float):
                return _exact(unknown)
            if isinstance(unknown, list | tuple | dict):
                raise _no_key(unknown)
            return look(default(unknown))

        def look(answer: Any) -> Any:
            unusual = self._ways_in(answer) & (_WRONG | _NUMBER)
            return self._converted(answer, default) if unusual else answer

        return self._new_encoder(hook)

    def _new_encoder(self, hook: Default | None) -> msgspec.json.Encoder:
        return msgspec.json.Encoder(
            enc_hook=hook,
            decimal_format="number",
            order="sorted" if self._sort_keys else None,
        )

    def _ways_in(self, value: Any) -> int:
        """All the ways of what is in *value*, looked at level by level, without recursion."""
        level = [value]
        ways, found = self._ways, 0
        for depth in range(_DEEPEST):
            kinds = set(map(type, level))
            holders = set()
            for kind in kinds:
                way = ways.get(kind)
                if way is None:
                    way = self._way(kind)
                if way == _HOLDS:
                    holders.add(kind)
                found |= way
            if not holders or found >= _WRONG:
                return found
            if len(holders) < len(kinds):
                level = [item for item in level if type(item) in holders]
            if depth > _SUSPICIOUS:
                level = list({id(item): item for item in level}.values())
            level = get_referents(*level)
        return _WRONG

    def _way(self, kind: type) -> int:
        if len(self._ways) > _MOST_KINDS:  # classes made for one request
            self.forget()
        way = self._ways[kind] = self._native_way(kind)
        if way == _RIGHT:
            self._right.add(kind)
        return way

    def _native_way(self, kind: type) -> int:
        # Classes: an object refers to its own.
        if kind in _PLAIN or issubclass(kind, type):
            return _RIGHT
        if issubclass(kind, dict | list | tuple):
            return _HOLDS
        if issubclass(kind, Enum):
            return self._way_of_enumeration(kind)
        asked = hasattr(kind, "__json__") or self._adapted(kind)
        if issubclass(kind, msgspec.Struct) or field_names(kind) is not None:
            return _WRONG if asked or is_mapped(kind) else _HOLDS
        if is_row(kind) and not asked:
            return _ROW
        way = _WAYS.get(kind, _ASKS)
        return _WRONG if asked and way != _ASKS else way

    def _way_of_enumeration(self, kind: type[Enum]) -> int:
        # A combination of flags is no member.
        if issubclass(kind, Flag):
            return _WRONG
        if issubclass(kind, str | int):
            return _RIGHT
        simple = all(type(one.value) in (str, int) for one in kind)
        asked = hasattr(kind, "__json__") or self._adapted(kind)
        return _RIGHT if simple and not asked else _WRONG

    def _converted(self, value: Any, default: Default) -> Any:
        """*value* made of what msgspec writes without asking."""
        kind = type(value)
        if kind is float:
            return value if math.isfinite(value) else None
        if kind is Decimal and self._way(kind) == _NUMBER:
            return value if value.is_finite() else None
        if kind in _PLAIN or (kind in _SINGLE and self._way(kind) == _RIGHT):
            return value
        if isinstance(value, dict):
            return {
                self._key(key, default): self._converted(item, default)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._converted(item, default) for item in value]
        exact = isinstance(value, str | int | float)
        return self._converted(_exact(value) if exact else default(value), default)

    def _key(self, key: Any, default: Default) -> str:
        if not isinstance(key, str | int | float | None):
            key = msgspec.to_builtins(key, enc_hook=default)
        if not isinstance(key, str | int | float | None):
            raise _no_key(key)
        return _key(key)


def _no_key(value: Any) -> TypeError:
    return TypeError(f"{type(value).__qualname__}: this is no key of an object in JSON")


def _exact(value: str | float) -> str | float:
    """*value* of a derived class as what it is derived from, whatever that class says of it."""
    if isinstance(value, str):
        return str.__str__(value)
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def _key(value: str | float | None) -> str:
    """*value* as the key that it is for :mod:`json`."""
    if isinstance(value, str):
        return str.__str__(value)
    return json.dumps(value)
