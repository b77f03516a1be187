"""Values that are never shown, and texts that may have one in them."""

import re
from typing import Any

MASK = "***"

_WORD = re.compile(r"\S+")


class SettingsError(ValueError):
    """A setting has a value that nothing can be done with; the message says what would do."""


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
