"""Take secrets out of what is sent to Sentry: by name, by shape and by value.

===========  ======================================================================================
by name      fields whose name says so: headers of credentials, cookies, ``secret``, ``password``…
by shape     parameters and passwords of URLs, statements in errors, ``password=…`` in a text
by value     every secret of the settings, wherever it stands
by sentence  what a log record fills in after such a word, see :mod:`c2cotel.sentry.messages`
===========  ======================================================================================
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from c2cotel import schema
from c2cotel.settings import Secret, Settings
from c2cotel_instrumentation.redaction import names_secret, redacted_query, redacted_text

FILTERED: Final = "[Filtered]"

# password='…', "token": "…", C2C_SECRET=…, --secret …: the name with what separates it, the value.
# Names are taken whole and looked at then, or one like "secretsecret…" would take for ever.
_NAME: Final = re.compile(r"""(?<![\w.-])([\w.-]++)(['"]?\s?[=:]\s?|\s++(?!-))""")
_VALUE: Final = re.compile(
    r"""\[Filtered\]|(?:(?:basic|bearer)\s++)?(?:'[^'\\\n]*(?:\\.[^'\\\n]*)*'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"|[^\s,;&)}\]'"]++)""",
    re.IGNORECASE | re.VERBOSE,
)
# Lines of source code and names of files: no values of this run are in there.
_SOURCE: Final = frozenset({"abs_path", "context_line", "filename", "post_context", "pre_context"})
_QUERIES: Final = frozenset({"query_string", "http.query", "url.query", "http.fragment"})
# Shorter ones would be found in words that are none of their business.
_SHORTEST: Final = 6
_DEEPEST: Final = 40


class Scrubber:
    """Knows the secrets of *settings*; :meth:`scrubbed` is what may be sent of an event."""

    def __init__(self, settings: Settings) -> None:
        found = sorted(set(_secrets(settings)), key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, found))) if found else None

    def scrubbed(self, event: dict[str, Any]) -> dict[str, Any]:
        """*event* (made of what JSON has) without secrets; the given one stays as it is."""
        return {key: self._named(key, value, 0) for key, value in event.items()}

    def _named(self, name: Any, value: Any, depth: int) -> Any:
        if isinstance(name, str):
            if name in _QUERIES and isinstance(value, str):
                return self._without_values(redacted_query(value))
            if name in _SOURCE:
                return self._within_source(value)
            if names_secret(name) and value and not isinstance(value, bool):
                return FILTERED
        return self._any(value, depth + 1)

    def _any(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if depth > _DEEPEST:
            return FILTERED
        if isinstance(value, dict):
            return {self._key(key): self._named(key, v, depth) for key, v in value.items()}
        if isinstance(value, list | tuple):
            return self._items(value, depth)
        return value

    def _items(self, items: Iterable[Any], depth: int) -> list[Any]:
        """The items; what follows ``--password`` among arguments of a command is one."""
        kept: list[Any] = []
        before: Any = None
        for item in items:
            if _is_header(item):
                kept.append([item[0], self._named(item[0], item[1], depth)])
            elif _is_flag(before) and isinstance(item, str):
                kept.append(FILTERED)
            else:
                kept.append(self._any(item, depth + 1))
            before = item
        return kept

    def _key(self, key: Any) -> Any:
        return self._without_values(key) if isinstance(key, str) else key

    def text(self, text: str) -> str:
        """*text* without what looks like a secret, or is one."""
        text = redacted_text(text)
        if names_secret(text):
            text = _without_assigned(text)
        return self._without_values(text)

    def _within_source(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._without_values(value)
        if isinstance(value, list):
            return [self._within_source(item) for item in value]
        return value

    def _without_values(self, text: str) -> str:
        return self._values.sub(FILTERED, text) if self._values else text


def _without_assigned(text: str) -> str:
    parts, done = [], 0
    for found in _NAME.finditer(text):
        name, separator = found.groups()
        if found.start() < done or (separator.isspace() and not name.startswith("-")):
            continue
        value = _VALUE.match(text, found.end())
        if value is not None and names_secret(name):
            parts += [text[done : found.end()], FILTERED]
            done = value.end()
    return "".join([*parts, text[done:]])


def _is_flag(item: Any) -> bool:
    """Whether *item* is an argument such as ``--password``, whose value is the next one."""
    return isinstance(item, str) and item.startswith("-") and names_secret(item)


def _is_header(item: Any) -> bool:
    """Whether *item* is a pair of name and value, as headers and parameters may be."""
    return isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str)  # noqa: PLR2004 - a pair


def _secrets(settings: Settings) -> Iterable[str]:
    for key in schema.keys(Settings):
        if key.secret:
            value: Any = settings
            for field in key.path:
                value = getattr(value, field)
            if isinstance(value, Secret) and len(value.reveal()) >= _SHORTEST:
                yield value.reveal()
