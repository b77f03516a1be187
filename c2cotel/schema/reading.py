"""From the environment and an ini file to settings; what is wrong with them is told, not raised."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

from c2cotel.schema.keys import Key, Section, keys
from c2cotel.schema.secrets import MASK, SettingsError
from c2cotel.schema.spelling import Spellings, misspelt_environment, same, spellings, unknown_ini
from c2cotel.schema.values import is_choice, remedy, shown_wrong, value_of

S = TypeVar("S", bound=Section)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A value that cannot be used; ``str()`` is the sentence to print.

    *key* is the environment variable or the ini key that holds it, *value* the value as it may be
    shown, *text* what is wrong with it, *remedy* what would do. *part* is empty, or what alone uses
    the setting.
    """

    key: str
    value: str
    text: str
    remedy: str
    telemetry: bool
    part: str = ""

    def __str__(self) -> str:
        return f"{self.key} = {self.value}: {self.text}. {self.remedy}"


class Loaded(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """Settings and how they came about.

    *origins* maps each :attr:`Key.name` to ``environment C2C_X``, ``ini c2c.x`` or ``default``.
    A field with a problem holds its default. *warnings* name keys that nobody reads.
    """

    settings: S
    origins: dict[str, str]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    def raise_for_application(self, *parts: str, telemetry: bool = False) -> None:
        """Stop the start if the application itself is set up wrong.

        Settings of a part count only if that is one of *parts*, which are about to be used; those
        of telemetry only if *telemetry* is what it is all about.

        Raises:
            SettingsError: Names all problems, one a line.
        """
        stopping = [
            str(problem)
            for problem in self.problems
            if (telemetry or not problem.telemetry) and problem.part in ("", *parts)
        ]
        if stopping:
            raise SettingsError("\n".join(stopping))


def read(schema: type[S], environ: Mapping[str, str], ini: Mapping[str, Any]) -> Loaded[S]:
    """Read *schema*; whatever stands in *environ* and *ini*, this does not raise.

    The values of *ini* are texts, or already what the field wants: Pyramid's settings may be both.
    """
    spelled = spellings(ini)
    values: dict[tuple[str, ...], Any] = {}
    origins: dict[str, str] = {}
    problems: list[Problem] = []
    for key in keys(schema):
        origins[key.name] = "default"
        if (found := _find(key, environ, spelled)) is None:
            continue
        where, source, raw = found
        try:
            values[key.path] = value_of(key, raw)
            origins[key.name] = f"{where} {source}"
        except ValueError as error:
            problems.append(
                Problem(
                    key=source,
                    value=MASK if key.secret else shown_wrong(raw),
                    text=str(error),
                    remedy=remedy(key),
                    telemetry=key.telemetry,
                    part=key.part,
                )
            )
    return Loaded(
        settings=_build(schema, schema(), (), values),
        origins=origins,
        problems=tuple(problems),
        warnings=(*unknown_ini(schema, spelled), *misspelt_environment(schema, environ)),
    )


def _build(
    schema: type[S], defaults: S, path: tuple[str, ...], values: Mapping[tuple[str, ...], Any]
) -> S:
    fields: dict[str, Any] = {}
    for field in schema.__struct_fields__:
        here, default = (*path, field), getattr(defaults, field)
        if isinstance(default, Section):
            fields[field] = _build(type(default), default, here, values)
        else:
            fields[field] = values.get(here, default)
    return schema(**fields)


def _find(key: Key, environ: Mapping[str, str], spelled: Spellings) -> tuple[str, str, Any] | None:
    for variable in key.env:
        if text := environ.get(variable, "").strip():
            return "environment", variable, environ[variable] if key.secret else text
    if key.ini is None or not (found := spelled.get(same(key.ini))):
        return None
    ini_key = key.ini if key.ini in found else next(iter(found))
    value = found[ini_key]
    if isinstance(value, str) and not key.secret:
        value = value.strip()
    if value is None or value == "":
        if key.optional:
            return "ini", ini_key, None
        if value is None or key.type in (bool, int, float) or is_choice(key.type):
            return None
    return "ini", ini_key, value
