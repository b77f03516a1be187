"""The settings of a tree of sections, as they are seen from outside."""

import functools
import types
import typing
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from c2cotel.schema.secrets import Secret


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A group of settings; ``telemetry`` and ``part`` say what a wrong value in it may stop."""

    telemetry: ClassVar[bool] = False
    part: ClassVar[str] = ""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as seen from outside: where it is read and what may be written there."""

    path: tuple[str, ...]
    env: tuple[str, ...]
    ini: str | None
    type: Any
    optional: bool
    default: Any
    telemetry: bool
    part: str
    meta: msgspec.Meta
    bounds: msgspec.Meta

    @property
    def name(self) -> str:
        """The place in the tree, for example ``prometheus.port``."""
        return ".".join(self.path)

    @property
    def secret(self) -> bool:
        """Whether the value must never be shown."""
        return self.type is Secret


@functools.cache
def keys(schema: type[Section]) -> tuple[Key, ...]:
    """All settings of *schema*, in the order in which they are written there."""
    return tuple(_keys(schema, schema(), ()))


def _keys(schema: type[Section], defaults: Section, path: tuple[str, ...]) -> Iterator[Key]:
    for field, hint in typing.get_type_hints(schema, include_extras=True).items():
        if field not in schema.__struct_fields__:
            continue
        here, default = (*path, field), getattr(defaults, field)
        if isinstance(default, Section):
            yield from _keys(type(default), default, here)
            continue
        kind, meta = typing.get_args(hint)
        extra = meta.extra or {}
        env = extra.get("env", "C2C_" + "_".join(here).upper())
        ini = extra.get("ini", None if "env" in extra else "c2c." + "_".join(here))
        choices = typing.get_args(kind) if _is_union(kind) else (kind,)
        value = next(each for each in choices if each is not types.NoneType)
        # Where a value is optional, its bounds stand at the number: msgspec wants them there.
        value, bounds = typing.get_args(value) if _is_annotated(value) else (value, meta)
        yield Key(
            path=here,
            env=(env,) if isinstance(env, str) else tuple(env),
            ini=ini,
            type=value,
            optional=types.NoneType in choices,
            default=default,
            telemetry=extra.get("telemetry", schema.telemetry),
            part=extra.get("part", schema.part),
            meta=meta,
            bounds=bounds,
        )


def _is_annotated(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Annotated


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)
