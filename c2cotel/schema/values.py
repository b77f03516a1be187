"""From the text of a setting to its value, and what is said of one that has none."""

import math
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

from c2cotel.schema.keys import Key
from c2cotel.schema.secrets import Secret, without_password

_TRUE = ("1", "true", "t", "yes", "y", "on")
_FALSE = ("0", "false", "f", "no", "n", "off")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
LONGEST_SHOWN = 100


class _UnusableError(ValueError):
    """Says what is wrong with a value, to be put after it."""


def is_choice(kind: Any) -> bool:
    return typing.get_origin(kind) is Literal


def value_of(key: Key, raw: Any) -> Any:
    """What *raw* means for *key*; a ValueError says why it means nothing."""
    if raw is None:
        return None
    if scalar := _SCALARS.get(key.type):
        return scalar(key, raw)
    if is_choice(key.type):
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
                f"{shown_wrong(value)} is not one of {', '.join(choices)}"
            ) from None
    return pairs


def remedy(key: Key) -> str:
    """The sentence that says what may be written for *key*."""
    end = ", or leave it empty." if key.optional else "."
    example = f"for example {key.meta.examples[0]}" if key.meta.examples else ""
    if key.type is bool:
        return f"Write true or false (or {', '.join(_TRUE)}; {', '.join(_FALSE)})."
    if is_choice(key.type):
        return f"Write one of {', '.join(typing.get_args(key.type))}{end}"
    if key.type in (int, float):
        return f"Write {_expected_number(key)}{example and ', ' + example}{end}"
    text = "a longer one" if key.secret and (key.meta.extra or {}).get("read") else "a text"
    return f"Write {example or text}{end}"


def shown_wrong(raw: Any) -> str:
    """*raw* as an error may show it."""
    if isinstance(raw, str):
        # Masked before it is cut: the "@" that marks a password may lie behind the cut.
        text = without_password(raw)
        return repr(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…")
    if isinstance(raw, bool | float) or (isinstance(raw, int) and abs(raw) < 10**18):
        return repr(raw)
    return f"({type(raw).__name__})"
