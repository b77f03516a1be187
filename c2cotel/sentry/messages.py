"""Texts of log records, but for the values that a word such as ``token`` goes before.

``"token %s of %s"`` says of itself that what comes is a secret, of which nothing can be seen once
it is filled in. So the values after such a word are left out, and those whose own name has one:
``%(token)s``.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from c2cotel.sentry.scrubbing import FILTERED
from c2cotel_instrumentation.redaction import names_secret

# https://docs.python.org/3/library/stdtypes.html#printf-style-string-formatting
_CONVERSION: Final = re.compile(
    r"""%(?:\((?P<name>[^()]*)\))?[#0\ +-]*
    (?P<width>\*|\d*)(?:\.(?P<precision>\*|\d*))?[hlL]?(?P<kind>.)""",
    re.DOTALL | re.VERBOSE,
)
_LONGEST: Final = 8192


def said(message: Any, arguments: Any) -> str:
    """*message* of a record with its *arguments*, cut where Sentry cuts; never raises."""
    try:
        text = str(message)
        if arguments:
            shown, hidden = _without_secrets(text)
            text = shown % _left(arguments, hidden) if hidden else text % arguments
    except Exception:  # noqa: BLE001 - arguments that do not fit, or that fail themselves
        text = message if isinstance(message, str) else type(message).__name__
    return text[:_LONGEST]


def has_secrets(message: Any) -> bool:
    """Whether arguments of *message* are left out."""
    return isinstance(message, str) and bool(_without_secrets(message)[1])


@lru_cache(512)
def _without_secrets(message: str) -> tuple[str, frozenset[int]]:
    """*message* with its secret values filtered, and which of the arguments those are.

    Names have no number: in a dictionary nothing is too much.
    """
    if not names_secret(message):
        return message, frozenset()
    parts, end, number, after = [], 0, 0, False
    hidden: set[int] = set()
    for found in _CONVERSION.finditer(message):
        before, end = message[end : found.start()], found.end()
        after = after or names_secret(before)
        if found["kind"] == "%":
            parts += [before, found[0]]
            continue
        taken = 1 + (found["width"] == "*") + (found["precision"] == "*")
        secret = after or names_secret(found["name"] or "")
        parts += [before, FILTERED if secret else found[0]]
        if secret:
            hidden.update(range(number, number + taken))
        number += taken
    return "".join([*parts, message[end:]]), frozenset(hidden)


def _left(arguments: Any, hidden: frozenset[int]) -> Any:
    if isinstance(arguments, Mapping):
        return arguments
    return tuple(value for number, value in enumerate(arguments) if number not in hidden)
