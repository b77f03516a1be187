"""Comments that say whose a statement is, in the way of sqlcommenter.

``/*application='shop',framework='pyramid',route='/hello/%7Bname%7D'*/``, at the end. Of a value,
only ``A-Z a-z 0-9 _ . - ~ /`` are written as they are and anything else in its percent code:
nothing in a value ends the comment, opens one, a text or a name, or is a parameter.

Source: https://google.github.io/sqlcommenter/spec/.
"""

from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote

_LONGEST: Final = 128
_OURS_OR_ALIKE: Final = "'*/"


class Keys(NamedTuple):
    """What does not change from one request of a route to the next."""

    application: str | None = None
    framework: str | None = None
    route: str | None = None


@lru_cache(1024)
def constant(keys: Keys) -> str:
    """The comment with these *keys*; empty if there are none."""
    text = ",".join(part for part in _parts(keys) if part)
    return f"/*{text}*/" if text else ""


def changing(keys: Keys, request_id: str | None, traceparent: str) -> str:
    """The comment with these *keys* and those of one request."""
    before, after = _parts(keys)
    parts = (
        before,
        "" if request_id is None else f"request_id='{_quoted(request_id)}'",
        after,
        f"traceparent='{traceparent}'",
    )
    return f"/*{','.join(filter(None, parts))}*/"


def commented(statement: str, comment: str) -> str:
    """*statement* with *comment*, which becomes a part of nothing that the statement says.

    One that ends in such a comment already keeps that alone, and nothing stays nothing. One in
    which a comment may be open stays as it is: ours would end it, where comments do not nest.
    """
    text = statement.rstrip()
    if not text or text.endswith(_OURS_OR_ALIKE):
        return statement
    if (opened := text.rfind("/*")) >= 0 and "*/" not in text[opened + 2 :]:
        return statement
    end = ""
    if text.endswith(";"):
        text, end = text[:-1], ";"
    line = text.rfind("\n") + 1
    # The last line may be a comment to its end (in MySQL with "#"): ours begins another one.
    separator = "\n" if text.find("--", line) >= 0 or text.find("#", line) >= 0 else " "
    return f"{text}{separator}{comment}{end}"


@lru_cache(1024)
def _parts(keys: Keys) -> tuple[str, str]:
    """What is written before the request id, and after it: keys are in alphabetical order."""
    before = [
        f"{name}='{_quoted(value)}'"
        for name, value in (("application", keys.application), ("framework", keys.framework))
        if value
    ]
    return ",".join(before), f"route='{_quoted(keys.route)}'" if keys.route else ""


@lru_cache(256)
def _quoted(value: str) -> str:
    # A lone surrogate has no UTF-8.
    return quote(value[:_LONGEST], safe="/", errors="replace")
