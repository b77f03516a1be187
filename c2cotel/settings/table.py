"""The settings as people see them: a row each, nothing secret in it."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from c2cotel import schema
from c2cotel.schema import MASK, Secret, without_password
from c2cotel.settings.all import Loaded, Settings


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as ``c2cotel settings`` shows it: nothing secret is in it."""

    name: str
    value: Any
    origin: str
    environment: tuple[str, ...]
    ini: str | None
    default: Any
    description: str


def rows(loaded: Loaded) -> list[Row]:
    """One row a setting, in the order of the schema; secrets and passwords of URLs are masked.

    Values and defaults are made of what JSON has: None, bool, numbers, text, lists, dictionaries.
    """
    return [
        Row(
            name=key.name,
            value=_showable(_at(loaded.settings, key.path)),
            origin=loaded.origins[key.name],
            environment=key.env,
            ini=key.ini,
            default=_showable(key.default),
            description=key.meta.description or "",
        )
        for key in schema.keys(Settings)
    ]


def _at(settings: Settings, path: tuple[str, ...]) -> Any:
    value: Any = settings
    for field in path:
        value = getattr(value, field)
    return value


def _showable(value: Any) -> Any:
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, str):
        # What the system could not decode is in there as surrogates, which nothing can write.
        return without_password(value).encode(errors="backslashreplace").decode()
    if isinstance(value, tuple):
        return [_showable(item) for item in value]
    if isinstance(value, Mapping):
        return {_showable(name): _item(name, item) for name, item in value.items()}
    return value


def _item(name: str, value: Any) -> Any:
    """The value of *name* in a mapping: options of Redis may be its password."""
    return MASK if re.search("(?i)passw|secret|token", name) else _showable(value)
