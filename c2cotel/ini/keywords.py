"""The keyword arguments of a handler, as an ini file has them."""

import ast
from collections.abc import Collection
from typing import Any, Final

from c2cotel.ini.reading import Ini

_STREAMS: Final = ("stdout", "stderr")


def keywords(ini: Ini, section: str, others: Collection[str]) -> dict[str, Any]:
    """The ``kwargs`` of *section*; *others* are keys of the section, and none of them.

    Raises:
        SettingsError: they are not a dictionary of literals.
    """
    text = ini.get(section, "kwargs")
    if not text or not text.strip():
        return {}
    try:
        made = _literal(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        made = None
    if not isinstance(made, dict) or not all(isinstance(name, str) for name in made):
        # Not what is there: it may hold a password.
        ini.fail(
            section,
            "kwargs",
            "not a dictionary of Python's literals. Write for example {'stream': sys.stdout}",
        )
    for name in made:
        if name in others or name == "args":
            ini.fail(section, "kwargs", f"{name!r} is a key of the section. Write it there")
    return made


def _literal(node: ast.expr) -> Any:
    """As :func:`ast.literal_eval`, and the two streams by their names in :mod:`sys`."""
    match node:
        case ast.Attribute(value=ast.Name(id="sys"), attr=attribute) if attribute in _STREAMS:
            return f"ext://sys.{attribute}"
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {
                _literal(key): _literal(value)
                for key, value in zip(keys, values, strict=True)
                if key is not None
            }
        case ast.List(elts=items):
            return [_literal(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_literal(item) for item in items)
    return ast.literal_eval(node)


def as_kwargs(args: str) -> str:
    """What to write instead of *args*."""
    for stream in _STREAMS:
        if f"sys.{stream}" in args:
            return f"{{'stream': sys.{stream}}}"
    return "{…}"
