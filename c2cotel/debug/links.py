"""What an object has, and under which name.

Nothing of the application's is called: attributes are read where they are kept. What other threads
change meanwhile is told as it is at one moment.
"""

from collections import deque
from collections.abc import Iterator
from functools import partial
from types import CellType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Final

from c2cotel.debug.heap import referents
from c2cotel.debug.texts import attributes_of, shown
from c2cotel.debug.undisturbed import first

_LONGEST_NAME: Final = 40
# Of a long list, so many things are looked at.
_MOST: Final = 10_000
_PARTS: Final[dict[type, tuple[str, ...]]] = {
    FunctionType: (
        *("__code__", "__globals__", "__closure__", "__defaults__", "__kwdefaults__", "__dict__"),
        "__annotations__",
    ),
    MethodType: ("__self__", "__func__"),
    ModuleType: ("__dict__",),
    CellType: ("cell_contents",),
}
_CONTAINERS: Final = (dict, list, tuple, deque, set, frozenset)
_KEYS: Final = (str, bytes, int, float)
Link = tuple[str, Any, Any]
"""How it is written, the name to be judged by, and what has it."""


def links(thing: Any) -> Iterator[Link]:
    """What *thing* has, each once for each name; its class is left out, and texts among keys."""
    seen = {id(type(thing)), id(attributes := attributes_of(thing))}
    named = _items(thing) if not attributes else _attributes(attributes)
    for text, name, value in named:
        seen.add(id(value))
        yield text, name, value
    # The names of the others would have to be looked for among very many.
    container = issubclass(type(thing), _CONTAINERS)
    for each in referents([thing]):
        if id(each) in seen or (container and type(each) in _KEYS):
            continue
        seen.add(id(each))
        text, name = ("", None) if container else link_of(thing, each)
        yield text, name, each


def link_of(owner: Any, thing: Any) -> tuple[str, Any]:
    """How the name is written, and what it is to be judged by."""
    kind = type(owner)
    if thing is kind:
        return "class", None
    if (attributes := attributes_of(owner)) is thing and attributes:
        return "__dict__", None
    for part in _PARTS.get(kind, ()):
        if _part(owner, part) is thing:
            return part, None
    for text, name, value in _attributes(attributes) if attributes else _items(owner):
        if value is thing:
            return text, name
    for name, member in _slots(kind):
        if _slot(member, owner) is thing:
            return f".{name}", name
    return "", None


def _part(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except ValueError:  # an empty cell
        return None


def _attributes(attributes: dict[str, Any]) -> Iterator[Link]:
    for name, value in first(lambda: iter(attributes.items()), _MOST):
        yield f".{shown_name(name)}", name, value


def _items(thing: Any) -> Iterator[Link]:
    """What containers of Python's own have."""
    kind = type(thing)
    if issubclass(kind, dict):
        for key, value in first(lambda: iter(dict.items(thing)), _MOST):
            yield f"[{shown_name(key)}]", key, value
    for base in (list, tuple, deque):
        if issubclass(kind, base):
            before: Any = None
            for index, value in enumerate(first(partial(base.__iter__, thing), _MOST)):
                # The value of a header, or of an option.
                yield f"[{index}]", before if index else None, value
                before = value if type(value) is str else None


def _slots(kind: type) -> Iterator[tuple[str, Any]]:
    for each in type.__dict__["__mro__"].__get__(kind):
        attributes = type.__dict__["__dict__"].__get__(each)
        for name, member in first(partial(iter, attributes.items()), _MOST):
            if type(member) is MemberDescriptorType:
                yield name, member


def _slot(member: Any, owner: Any) -> Any:
    try:
        return MemberDescriptorType.__get__(member, owner)
    except Exception:  # noqa: BLE001 - it is empty, or of another class
        return None


def shown_name(name: Any) -> str:
    """The name of an attribute as it is, any other key as Python writes it."""
    if type(name) is str and name.isidentifier():
        return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    return shown(name, _LONGEST_NAME)
