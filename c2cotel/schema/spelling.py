"""How names of settings are written, and names that are none."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from c2cotel.schema.keys import Section, keys
from c2cotel.schema.values import LONGEST_SHOWN, shown_wrong

Spellings: TypeAlias = Mapping[str, Mapping[str, Any]]
"""By what :func:`same` makes of them, the ini keys as written, with their values."""

_TYPO = 0.85  # closer than this is a slip of the finger, further another program's variable


def same(ini_key: str) -> str:
    """What two spellings of an ini key have in common."""
    return ini_key.removeprefix("c2c.").replace(".", "_")


def spellings(ini: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The keys of *ini* that are ours."""
    spelled: dict[str, dict[str, Any]] = {}
    for ini_key, value in ini.items():
        if isinstance(ini_key, str) and ini_key.startswith("c2c."):
            spelled.setdefault(same(ini_key), {})[ini_key] = value
    return spelled


def unknown_ini(schema: type[Section], spelled: Spellings) -> Iterator[str]:
    """A sentence for each ini key that nobody reads."""
    known = {same(key.ini): key.ini for key in keys(schema) if key.ini is not None}
    only_environment = {"_".join(key.path): key.env[0] for key in keys(schema) if key.ini is None}
    for name, found in spelled.items():
        if name in known:
            used = known[name] if known[name] in found else next(iter(found))
            for ini_key in found:
                if ini_key != used:
                    yield f"{ini_key} is ignored: {used} is the same setting and is there too."
            continue
        for ini_key in found:
            shown = shown_wrong(ini_key)[1:-1]
            if name in only_environment:
                yield (
                    f"{shown} is ignored: this setting is read from the environment only, "
                    f"as {only_environment[name]}."
                )
            elif nearest := _nearest(name, known, 0.6):
                yield f"{shown} is not a setting of c2cotel. Is {known[nearest]} meant?"
            else:
                yield f"{shown} is not a setting of c2cotel."


def misspelt_environment(schema: type[Section], environ: Mapping[str, str]) -> Iterator[str]:
    """Variables that differ by a letter or two; others may belong to the application."""
    known = {variable for key in keys(schema) for variable in key.env}
    ours = {name.removeprefix("C2C_"): name for name in known if name.startswith("C2C_")}
    for variable in environ:
        if variable.startswith("C2C_") and variable not in known:
            nearest = _nearest(variable.removeprefix("C2C_"), ours, _TYPO)
            if nearest:
                yield (
                    f"{shown_wrong(variable)[1:-1]} is not a setting of c2cotel. "
                    f"Is {ours[nearest]} meant?"
                )


def _nearest(name: str, known: Mapping[str, str], cutoff: float) -> str | None:
    import difflib

    if len(name) > LONGEST_SHOWN:
        return None
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)
