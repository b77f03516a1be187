"""How a tree of :class:`Section` becomes environment variables and ini keys, and is read.

A section is a frozen msgspec struct: one field a setting, with its type, its default and one
sentence in ``Meta(description=…)``. The place in the tree gives the names: the field ``header`` of
the section ``request_id`` is read from ``C2C_REQUEST_ID_HEADER`` and ``c2c.request_id_header``.
``examples`` are told to whoever wrote something else. What differs is said in the field, in
``Meta(extra={…})``:

=============  ==================================================================================
``env``        the environment variable, or several, of which the first non-empty one counts; the
               field then has no ini key, unless it says one
``ini``        the ini key as documented, None for none
``telemetry``  a wrong value turns something of the telemetry off but never stops the application;
               without it, what the section says
``part``       only this part of the software uses it: a wrong value stops nothing else; without
               it, what the section says
``read``       function from text (for a tuple: from one item) to value; its ValueError says what
               is wrong
=============  ==================================================================================

A non-empty environment variable wins over the ini file, and that over the default. Dots and
underscores are the same in ini keys: ``c2c.sentry.url`` is ``c2c.sentry_url``. An empty ini value
is an empty text or list, "unset" where that is possible, and the default for everything else.
"""

import functools
import math
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

import msgspec

MASK = "***"

_TRUE = ("1", "true", "t", "yes", "y", "on")
_FALSE = ("0", "false", "f", "no", "n", "off")
_WORD = re.compile(r"\S+")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_SHOWN_LENGTH = 100
_TYPO = 0.85  # closer than this is a slip of the finger, further another program's variable


class SettingsError(ValueError):
    """A setting has a value that nothing can be done with; the message says what would do."""


class _UnusableError(ValueError):
    """Says what is wrong with a value, to be put after it."""


class Secret:
    """A text that no log line, page, error or dump ever shows; :meth:`reveal` gives it.

    ``str``, ``repr``, ``format`` and f-strings write ``***``; json and msgspec refuse it or write
    what ``default=str`` makes of it. What comes back from a pickle has no value any more, and its
    :meth:`reveal` raises: a mask must never be taken for a password.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str, /) -> None:
        self._value: str | None = value

    def reveal(self) -> str:
        """The text itself, for the one call that needs it.

        Raises:
            SettingsError: The secret comes out of a pickle, its value stayed behind.
        """
        if self._value is None:
            raise SettingsError("This secret was pickled, which drops its value: read it again.")
        return self._value

    def matches(self, candidate: str) -> bool:
        """Whether *candidate* is the secret, in a time that does not tell how much of it is."""
        import hmac

        if self._value is None:
            return False
        # A candidate from a broken header may hold lone surrogates.
        return hmac.compare_digest(
            self._value.encode(errors="surrogatepass"), candidate.encode(errors="surrogatepass")
        )

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return other._value is not None and self.matches(other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret._lost, ()

    @classmethod
    def _lost(cls) -> "Secret":
        secret = cls("")
        secret._value = None
        return secret


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A group of settings; ``telemetry`` and ``part`` say what a wrong value in it may stop."""

    telemetry: ClassVar[bool] = False
    part: ClassVar[str] = ""


S = TypeVar("S", bound=Section)


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

    def raise_for_application(self, *parts: str) -> None:
        """Stop the start if the application itself is set up wrong, telemetry aside.

        Settings of a part count only if that is one of *parts*, which are about to be used.

        Raises:
            SettingsError: Names all problems, one a line.
        """
        stopping = [
            str(problem)
            for problem in self.problems
            if not problem.telemetry and problem.part in ("", *parts)
        ]
        if stopping:
            raise SettingsError("\n".join(stopping))


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


def read(schema: type[S], environ: Mapping[str, str], ini: Mapping[str, Any]) -> Loaded[S]:
    """Read *schema*; whatever stands in *environ* and *ini*, this does not raise.

    The values of *ini* are texts, or already what the field wants: Pyramid's settings may be both.
    """
    spelled = _spellings(ini)
    values: dict[tuple[str, ...], Any] = {}
    origins: dict[str, str] = {}
    problems: list[Problem] = []
    for key in keys(schema):
        origins[key.name] = "default"
        if (found := _find(key, environ, spelled)) is None:
            continue
        where, source, raw = found
        try:
            values[key.path] = _value(key, raw)
            origins[key.name] = f"{where} {source}"
        except ValueError as error:
            problems.append(
                Problem(
                    key=source,
                    value=MASK if key.secret else _shown_wrong(raw),
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
        warnings=(*_unknown_ini(schema, spelled), *_misspelt_environment(schema, environ)),
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


def _same(ini_key: str) -> str:
    """What two spellings of an ini key have in common."""
    return ini_key.removeprefix("c2c.").replace(".", "_")


def _spellings(ini: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    spelled: dict[str, dict[str, Any]] = {}
    for ini_key, value in ini.items():
        if isinstance(ini_key, str) and ini_key.startswith("c2c."):
            spelled.setdefault(_same(ini_key), {})[ini_key] = value
    return spelled


def _find(
    key: Key, environ: Mapping[str, str], spelled: Mapping[str, Mapping[str, Any]]
) -> tuple[str, str, Any] | None:
    for variable in key.env:
        if text := environ.get(variable, "").strip():
            return "environment", variable, environ[variable] if key.secret else text
    if key.ini is None or not (found := spelled.get(_same(key.ini))):
        return None
    ini_key = key.ini if key.ini in found else next(iter(found))
    value = found[ini_key]
    if isinstance(value, str) and not key.secret:
        value = value.strip()
    if value is None or value == "":
        if key.optional:
            return "ini", ini_key, None
        if value is None or key.type in (bool, int, float) or _is_choice(key.type):
            return None
    return "ini", ini_key, value


def _is_choice(kind: Any) -> bool:
    return typing.get_origin(kind) is Literal


def _value(key: Key, raw: Any) -> Any:
    """What *raw* means for *key*; a ValueError says why it means nothing."""
    if raw is None:
        return None
    if scalar := _SCALARS.get(key.type):
        return scalar(key, raw)
    if _is_choice(key.type):
        return _choice(typing.get_args(key.type), _text(raw))
    one: Callable[[str], Any] = (key.meta.extra or {}).get("read", str)
    origin = typing.get_origin(key.type)
    if origin is tuple:
        return tuple(one(item) for item in _items(raw))
    if origin is Mapping:
        return _pairs(raw, typing.get_args(typing.get_args(key.type)[1]))
    return one(_text(raw))


def _text(raw: Any) -> str:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise _UnusableError(f"a text is expected, not {type(raw).__name__}")
    return str(raw)


def _secret(key: Key, raw: Any) -> Secret:
    text = raw.reveal() if isinstance(raw, Secret) else _text(raw)
    return Secret((key.meta.extra or {}).get("read", str)(text))


def _boolean(_: Key, raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    text = _text(raw).lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise _UnusableError("neither true nor false")


def _bounded(key: Key, raw: Any) -> int | float:
    whole = key.type is int
    expected = _expected_number(key)
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise _UnusableError(f"not {expected}")
    text = str(raw) if not isinstance(raw, int) or abs(raw) < 10**18 else ""
    if not (_WHOLE if whole else _NUMBER).fullmatch(text):
        raise _UnusableError(f"not {expected}")
    number = int(text) if whole else float(text)
    bounds = key.bounds
    if (
        not math.isfinite(number)
        or (bounds.ge is not None and number < bounds.ge)
        or (bounds.gt is not None and number <= bounds.gt)
        or (bounds.le is not None and number > bounds.le)
        or (bounds.lt is not None and number >= bounds.lt)
    ):
        raise _UnusableError(f"not {expected}")
    return number


_SCALARS: Mapping[Any, Callable[[Key, Any], Any]] = {
    Secret: _secret,
    bool: _boolean,
    int: _bounded,
    float: _bounded,
}


def _expected_number(key: Key) -> str:
    kind, bounds = "a whole number" if key.type is int else "a number", key.bounds
    if bounds.ge is not None and bounds.le is not None:
        return f"{kind} from {bounds.ge} to {bounds.le}"
    limits = {
        "greater than": bounds.gt,
        "at least": bounds.ge,
        "less than": bounds.lt,
        "at most": bounds.le,
    }
    said = [f"{words} {limit}" for words, limit in limits.items() if limit is not None]
    return " ".join(filter(None, (kind, " and ".join(said))))


def _choice(choices: tuple[str, ...], text: str) -> str:
    for choice in choices:
        if choice.lower() == text.lower():
            return choice
    raise _UnusableError("not one of those known")


def _items(raw: Any) -> list[str]:
    texts = (
        [_text(item) for item in raw] if isinstance(raw, list | tuple) else _text(raw).split(",")
    )
    return [item for text in texts if (item := text.strip())]


def _pairs(raw: Any, choices: tuple[str, ...]) -> dict[str, str]:
    given = raw.items() if isinstance(raw, Mapping) else [i.split("=", 1) for i in _items(raw)]
    pairs: dict[str, str] = {}
    for pair in given:
        name, value = (_text(part).strip() for part in pair) if len(pair) > 1 else ("", "")
        if not name:
            raise _UnusableError("not name=value pairs separated by commas")
        try:
            pairs[name] = _choice(choices, value) if choices else value
        except ValueError:
            raise _UnusableError(
                f"{_shown_wrong(value)} is not one of {', '.join(choices)}"
            ) from None
    return pairs


def remedy(key: Key) -> str:
    """The sentence that says what may be written for *key*."""
    end = ", or leave it empty." if key.optional else "."
    example = f"for example {key.meta.examples[0]}" if key.meta.examples else ""
    if key.type is bool:
        return f"Write true or false (or {', '.join(_TRUE)}; {', '.join(_FALSE)})."
    if _is_choice(key.type):
        return f"Write one of {', '.join(typing.get_args(key.type))}{end}"
    if key.type in (int, float):
        return f"Write {_expected_number(key)}{example and ', ' + example}{end}"
    text = "a longer one" if key.secret and (key.meta.extra or {}).get("read") else "a text"
    return f"Write {example or text}{end}"


def without_password(text: str) -> str:
    """*text* with ``***`` for the passwords and tokens of the URLs in it."""
    return _WORD.sub(_without_credentials, text) if "://" in text and "@" in text else text


def _without_credentials(word: re.Match[str]) -> str:
    # From "://" to the last "@": nobody escapes a password as he should.
    before, at, host = word[0].rpartition("@")
    scheme, slashes, credentials = before.partition("://")
    if not at or not slashes:
        return word[0]
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user if colon else ''}{colon}{MASK}@{host}"


def _shown_wrong(raw: Any) -> str:
    if isinstance(raw, str):
        # Masked before it is cut: the "@" that marks a password may lie behind the cut.
        text = without_password(raw)
        return repr(text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…")
    if isinstance(raw, bool | float) or (isinstance(raw, int) and abs(raw) < 10**18):
        return repr(raw)
    return f"({type(raw).__name__})"


def _unknown_ini(schema: type[Section], spelled: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    known = {_same(key.ini): key.ini for key in keys(schema) if key.ini is not None}
    only_environment = {"_".join(key.path): key.env[0] for key in keys(schema) if key.ini is None}
    for same, found in spelled.items():
        if same in known:
            used = known[same] if known[same] in found else next(iter(found))
            for ini_key in found:
                if ini_key != used:
                    yield f"{ini_key} is ignored: {used} is the same setting and is there too."
            continue
        for ini_key in found:
            shown = _shown_wrong(ini_key)[1:-1]
            if same in only_environment:
                yield (
                    f"{shown} is ignored: this setting is read from the environment only, "
                    f"as {only_environment[same]}."
                )
            elif nearest := _nearest(same, known, 0.6):
                yield f"{shown} is not a setting of c2cotel. Is {known[nearest]} meant?"
            else:
                yield f"{shown} is not a setting of c2cotel."


def _misspelt_environment(schema: type[Section], environ: Mapping[str, str]) -> Iterator[str]:
    """Variables that differ by a letter or two; others may belong to the application."""
    known = {variable for key in keys(schema) for variable in key.env}
    ours = {name.removeprefix("C2C_"): name for name in known if name.startswith("C2C_")}
    for variable in environ:
        if variable.startswith("C2C_") and variable not in known:
            nearest = _nearest(variable.removeprefix("C2C_"), ours, _TYPO)
            if nearest:
                yield (
                    f"{_shown_wrong(variable)[1:-1]} is not a setting of c2cotel. "
                    f"Is {ours[nearest]} meant?"
                )


def _nearest(name: str, known: Mapping[str, str], cutoff: float) -> str | None:
    import difflib

    if len(name) > _SHOWN_LENGTH:
        return None
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)
