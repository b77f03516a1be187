"""The settings, by what they are for, each with what may be written."""

import re
import typing
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from c2cotel import schema
from c2cotel.schema import Key
from c2cotel.settings import Settings, load, rows
from c2cotel_docs.markdown import code, listed, table

# Titles of the sections of the schema; what stands in none is of the views.
_TITLES: Final[Mapping[str, str]] = {
    "": "The views, and what is switched on",
    "json": "JSON",
    "requests": "Outgoing requests",
    "client_info": "Proxies",
    "sentry": "Sentry",
    "auth": "Who may",
    "redis": "Redis",
    "broadcast": "Questions to all processes",
    "db": "Databases",
    "stats_db": "Database statistics",
    "health_check": "Health checks",
    "request_id": "The request id",
    "prometheus": "The scrape",
    "metrics": "The metrics store",
    "exit": "The end of a process",
    "service": "The service",
    "logging": "Logs",
    "gunicorn": "gunicorn",
    "otel": "OpenTelemetry",
    "instrumentation": "Instrumentors",
}
_HEAD: Final = ("Environment, and key of the ini", "Value", "Default", "What it does")


def tables() -> str:
    """A table for each section of the schema.

    Raises:
        KeyError: A section has no title here.
    """
    described = {row.name: row for row in rows(load({}, {}))}
    parts = []
    for section, keys in groupby(schema.keys(Settings), _section):
        lines = [
            (
                _names(key),
                _value(key),
                _default(described[key.name].default),
                described[key.name].description,
            )
            for key in keys
        ]
        title = _TITLES[section]
        parts.append("\n\n".join([f"## {title}", *_about(section), table(_HEAD, lines)]))
    return "\n\n".join(parts)


def _section(key: Key) -> str:
    return key.path[0] if len(key.path) > 1 else ""


def _about(section: str) -> Iterator[str]:
    """The first sentence of the section's docstring."""
    if section:
        text = (type(getattr(Settings(), section)).__doc__ or "").split("\n\n")[0]
        told = re.sub(r":mod:`([^`]*)`", r"`\1`", " ".join(text.split()))
        yield told.replace("``", "`")


def _names(key: Key) -> str:
    """The variable, others that are looked at, the key of the ini."""
    others = (f"else {code(name)}" for name in key.env[1:])
    return "<br>".join([code(key.env[0]), *others, *map(code, filter(None, [key.ini]))])


def _value(key: Key) -> str:
    """What may be written."""
    if key.type is bool:
        return "`true`, `false`"
    if typing.get_origin(key.type) is typing.Literal:
        return listed(typing.get_args(key.type))
    if key.secret:
        return "a text"
    # The sentence of an error: "Write a whole number from 1 to 1000, for example 2."
    words = schema.remedy(key).removeprefix("Write ").removesuffix(".")
    words = words.removesuffix(", or leave it empty")
    kind, told, example = words.rpartition("for example ")
    return f"{kind}for example {code(example)}" if told else words


def _default(value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, bool):
        return code(str(value).lower())
    return listed(value) if isinstance(value, list) else code(value)
