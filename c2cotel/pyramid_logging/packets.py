"""A line of JSON in so many bytes, with a mark of what was cut."""

import json
from typing import Any, Final

from c2cotel.pyramid_logging.formatters import strict_json

_CUT: Final = "…"
# What is kept of everything, when it comes to that.
_SHORTEST: Final = 16
_LEAST: Final = 40
# So many texts are cut; beyond, what is left is not worth the time.
_MOST_CUT: Final = 8
# Fields that go last: without them nobody finds the line.
_KEPT: Final[tuple[str, ...]] = (
    "timestamp",
    "level",
    "host",
    "logger_name",
    "msg",
    "request_id",
    "trace_id",
)


def bounded(line: str, more: dict[str, Any], largest: int) -> bytes:
    """*line* (a JSON object in ASCII), and *more*, in at most *largest* bytes.

    The longest texts are cut until it fits; ``truncated`` maps their names to the number of
    characters that they had.
    """
    # Before its last brace, there is room for more.
    whole = f"{line[:-1]}, {strict_json(more)[1:]}".encode()
    if len(whole) <= largest:
        return whole
    fields = {**json.loads(line), **more}
    truncated: dict[str, int] = {}
    while len(written := _written(fields, truncated)) > largest:
        name = max(_cuttable(fields), key=lambda each: _size(fields[each]), default=None)
        if name is None or _size(fields[name]) <= _SHORTEST * 2:
            return _least(fields, truncated)
        if name not in truncated and len(truncated) >= _MOST_CUT:
            return _least(fields, truncated)
        value = fields[name]
        text = value if isinstance(value, str) else strict_json(value)
        truncated.setdefault(name, len(text))
        over = len(written) - largest
        # Of the text, as much as is too much, in the bytes of JSON; then a little more each time.
        keep = int(len(text) * (1 - over / _size(text))) - len(_CUT) - 8
        shorter = text[: max(min(keep, len(text) - 2), _SHORTEST - 1)] + _CUT
        if _size(shorter) >= _size(value):
            return _least(fields, truncated)
        fields[name] = shorter
    return written


def _least(fields: dict[str, Any], truncated: dict[str, int]) -> bytes:
    """The fields that are kept in any case, each of them short."""
    kept: dict[str, Any] = {name: fields[name] for name in _KEPT if name in fields}
    for name in _cuttable(kept):
        text = str(kept[name])[:_LEAST]
        while _size(text) > _LEAST * 2:
            text = text[: len(text) // 2]
        kept[name] = text
    return _written(kept, {name: truncated[name] for name in _KEPT if name in truncated})


def _cuttable(fields: dict[str, Any]) -> list[str]:
    return [name for name, value in fields.items() if isinstance(value, str | list | dict)]


def _written(fields: dict[str, Any], truncated: dict[str, int]) -> bytes:
    return strict_json({**fields, "truncated": truncated}).encode("ascii")


def _size(value: Any) -> int:
    return len(strict_json(value))
