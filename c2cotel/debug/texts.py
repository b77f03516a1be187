"""Values as people may see them: short, without secrets, and without running the application.

:func:`shown` is for what a debug view finds in a living process. It calls no method of the
application's classes: a ``__repr__`` there may query a database, take a lock or never end. Types of
Python's own are written as Python would, anything else by its class and its attributes.

What stands under a name like ``password``, ``token`` or ``cookie`` (:func:`names_secret`) is
``REDACTED``, and so are passwords and secret parameters in URLs, and ``password=…`` in texts.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import Any, Final

from c2cotel_instrumentation import redaction
from c2cotel_instrumentation.redaction import REDACTED, redacted_text

LONGEST: Final = 200
"""Characters of a value, unless somebody asks for more."""

_TEXTS: Final = (str, bytes, bytearray)
_SESSIONS: Final = ("session", b"session")
_MOST_ITEMS: Final = 6
_DEEPEST: Final = 3
# Of a text, so many times what is shown is looked at: a secret may begin before the cut.
_AHEAD: Final = 4
# Digits; Python writes longer integers slowly, or not at all.
_LONGEST_INTEGER: Final = 10**100

# password='…', "token": "…", C2C_SECRET=…: the name with what separates it, then the value. Names
# are taken whole and looked at then, or one like "secretsecret…" would take for ever.
_ASSIGNED: Final = re.compile(
    r"""(?<![\w.-])([\w.-]++)(['"]?\s?[=:]\s?)
    ( (?:(?:basic|bearer)\s++)?
      (?: [bB]?'[^'\\]*+(?:\\.[^'\\]*+)*(?:'|\Z) | [bB]?"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\Z)
        | [^\s,;&)}\]'"]++ ) )""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
# CREATE ROLE x PASSWORD '…'
_STATED: Final = re.compile(
    r"""(\b(?:password|identified\s+by)\s++)('(?:[^'\\]|\\.|'')*+(?:'|\Z)|"[^"]*+(?:"|\Z))""",
    re.IGNORECASE | re.DOTALL,
)
# curl -u bob:…, also as items of a list.
_LOGIN: Final = re.compile(
    r"""((?<![\w-])(?:-u|--(?:proxy-)?user)(?:['"]?,?\s{1,4}['"]?|=['"]?)[^\s:'"/]{1,80}:)[^\s'"]++"""
)
# "Authorization: Basic dXNlcjpwYXNz", wherever it stands.
_HEADER: Final = re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9+/._~=-]{6,}")


def names_secret(name: object) -> bool:
    """Whether *name*, of an attribute, a key, a header or a parameter, is that of a secret."""
    if isinstance(name, bytes):
        name = name[:LONGEST].decode("latin-1")
    return type(name) is str and redaction.names_secret(name[:LONGEST])


def hides(name: object, value: object) -> bool:
    """Whether *value*, found under *name*, is not to be shown."""
    # That it is none, or on, says nothing.
    if value is None or type(value) is bool:
        return False
    # A session may be SQLAlchemy's; what a cookie of this name has is a text.
    return names_secret(name) or (name in _SESSIONS and type(value) in _TEXTS)


def masked(text: str) -> str:
    """*text* without passwords of URLs, secret parameters and ``password=…``."""
    text = redacted_text(text)
    text = _LOGIN.sub(rf"\1{REDACTED}", _HEADER.sub(rf"\1 {REDACTED}", text))
    text = _STATED.sub(rf"\1{REDACTED}", text)
    return _ASSIGNED.sub(_without_value, text) if redaction.names_secret(text) else text


def _without_value(found: re.Match[str]) -> str:
    name, separator, value = found.groups()
    if not names_secret(name) or value == REDACTED:
        return found[0]
    return f"{name}{separator}{REDACTED}"


def truncated(text: str, longest: int = LONGEST) -> str:
    """*text*, at most *longest* characters of it; cut ones end with ``…``."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def printable(text: str) -> str:
    """*text* with escapes for control characters and for halves of pairs of UTF-16."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def type_name(kind: type) -> str:
    """``module.name`` of a class, as the predecessor wrote it."""
    # What these two say may be anything once a metaclass or a class body has its say.
    name = type.__dict__["__name__"].__get__(kind)
    try:
        module = type.__dict__["__module__"].__get__(kind)
    except AttributeError:
        module = None
    return printable(f"{module}.{name}" if type(module) is str else name)


def shown(value: object, longest: int = LONGEST, *, name: object = None) -> str:
    """*value* in one short line; ``REDACTED`` if *name*, under which it was found, is a secret's.

    Never raises, and calls nothing of the application's.
    """
    if hides(name, value):
        return REDACTED
    try:
        text = _Writer(longest).write(value)
    except Exception as error:  # noqa: BLE001 - another thread may change it meanwhile
        text = f"<{type_name(type(value))}: {type(error).__name__}>"
    return truncated(printable(masked(text)), longest)


class _Writer:
    """Writes one value, and not much more of it than will be shown."""

    def __init__(self, longest: int) -> None:
        self._room = longest * _AHEAD

    def write(self, value: Any, depth: int = 0) -> str:
        kind = type(value)
        if (write := _KINDS.get(kind)) is not None:
            return write(value)
        # By class, not isinstance: a proxy would ask what it stands for.
        for base, brackets in _SEQUENCES:
            if issubclass(kind, base):
                return self._sequence(value, base, brackets, depth)
        if issubclass(kind, dict):
            return self._dictionary(value, depth)
        for base in _PLAIN:
            if issubclass(kind, base):
                written = self._plain(value, base)
                same = kind is base or base is type
                return written if same else f"{type_name(kind)}({written})"
        return self._instance(value, depth)

    def _plain(self, value: Any, base: Any) -> str:
        """*value* as *base* writes it, whatever is derived from that."""
        if base is type:
            return f"<class {type_name(value)}>"
        if base not in _TEXTS:
            return _number(value, base)
        cut = base.__getitem__(value, slice(self._room))
        # Without secrets first: they are harder to see among the escapes.
        if base is str:
            written = repr(masked(cut))
        else:
            written = repr(base(masked(cut.decode("latin-1")).encode("latin-1")))
        return f"{written}…" if base.__len__(value) > self._room else written

    def _sequence(self, value: Any, base: Any, brackets: str, depth: int) -> str:
        opening, closing = brackets.split("|")
        length = base.__len__(value)
        if depth >= _DEEPEST and length:
            return f"{opening}…{closing}"
        written = self._joined(self._items(base.__iter__(value), length, depth), length)
        comma = "," if base is tuple and length == 1 else ""
        return f"{opening}{written}{comma}{closing}"

    def _items(self, items: Iterator[Any], length: int, depth: int) -> Iterator[str]:
        before: Any = None
        for item in islice(items, _MOST_ITEMS):
            # A header as a pair, or what follows "--password" among arguments.
            pair = length == 2 or (type(before) is str and before.startswith("-"))  # noqa: PLR2004
            yield REDACTED if pair and hides(before, item) else self.write(item, depth + 1)
            before = item

    def _dictionary(self, value: dict[Any, Any], depth: int) -> str:
        length = dict.__len__(value)
        if depth >= _DEEPEST and length:
            return "{…}"
        pairs = islice(dict.items(value), _MOST_ITEMS)
        written = (
            f"{self.write(key, depth + 1)}: {self._under(key, v, depth)}" for key, v in pairs
        )
        return "{" + self._joined(written, length) + "}"

    def _under(self, name: Any, value: Any, depth: int) -> str:
        """*value*, which has been found under *name*."""
        return REDACTED if hides(name, value) else self.write(value, depth + 1)

    def _joined(self, items: Iterator[str], length: int) -> str:
        parts: list[str] = []
        size = 0
        for each in items:
            parts.append(each)
            size += len(each)
            if size > self._room:
                break
        if (rest := length - len(parts)) > 0:
            parts.append(f"… {rest} more")
        return ", ".join(parts)

    def _instance(self, value: object, depth: int) -> str:
        name = type_name(type(value))
        attributes = attributes_of(value)
        if not attributes or depth >= _DEEPEST:
            return f"<{name}>"
        pairs = islice(attributes.items(), _MOST_ITEMS)
        written = (f"{key}={self._under(key, v, depth)}" for key, v in pairs if type(key) is str)
        return f"<{name} {self._joined(written, len(attributes))}>"


def attributes_of(value: object) -> dict[str, Any]:
    """What is in the ``__dict__`` of *value*; nothing where there is none."""
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except Exception:  # noqa: BLE001 - a property of the application's
        return {}
    # In a class with a property of this name, it may be anything.
    return attributes if type(attributes) is dict else {}


def _number(value: Any, base: Any) -> str:
    if base is int and abs(number := int.__index__(value)) >= _LONGEST_INTEGER:
        return f"an integer of {number.bit_length()} bits"
    written: str = base.__repr__(value)
    return written


def _function(value: FunctionType) -> str:
    module = value.__globals__.get("__name__")
    place = f"{module}." if type(module) is str else ""
    return f"<function {place}{value.__qualname__}>"


def _method(value: MethodType) -> str:
    function = value.__func__
    # Of a callable object there is no name.
    name = function.__qualname__ if type(function) is FunctionType else type_name(type(function))
    return f"<method {name} of {type_name(type(value.__self__))}>"


def _code(value: CodeType) -> str:
    return f"<code {value.co_qualname} {value.co_filename}:{value.co_firstlineno}>"


def _frame(value: FrameType) -> str:
    code = value.f_code
    return f"<frame {code.co_qualname} {code.co_filename}:{value.f_lineno}>"


def _module(value: ModuleType) -> str:
    name = attributes_of(value).get("__name__")
    return f"<module {name}>" if type(name) is str else "<module>"


_PLAIN: Final = (*_TEXTS, int, float, complex, type)
_KINDS: Final[dict[type, Callable[[Any], str]]] = {
    type(None): repr,
    type(Ellipsis): repr,
    type(NotImplemented): repr,
    bool: repr,
    FunctionType: _function,
    BuiltinFunctionType: lambda value: f"<built-in function {value.__name__}>",
    MethodType: _method,
    CodeType: _code,
    FrameType: _frame,
    ModuleType: _module,
}
_SEQUENCES: Final[tuple[tuple[type, str], ...]] = (
    (list, "[|]"),
    (tuple, "(|)"),
    (set, "{|}"),
    (frozenset, "frozenset({|})"),
    (deque, "deque([|])"),
)
