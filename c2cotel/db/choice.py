"""Which engine a request gets, primary or replica: the rules alone."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from c2cotel.settings import SettingsError

Pattern: TypeAlias = "str | re.Pattern[str]"

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass
class Readonly:
    """Whether all sessions of an application go to the replica, for maintenance of the primary.

    Attributes:
        forced: Whether they do; where one engine is both, they cannot write on it.
        meanwhile: Called with each request that gets a session while they do, and with whether that
            would be on the primary otherwise; may raise the answer to the request.
    """

    forced: bool = False
    meanwhile: Callable[[Any, bool], None] | None = None


def readonly_of(registry: Any) -> Readonly:
    """The one of this application, made when it is first asked for."""
    found: Readonly | None = getattr(registry, "c2c_db_readonly", None)
    if found is None:
        found = registry.c2c_db_readonly = Readonly()
    return found


class Rules:
    """``force_master`` and ``force_slave``, compiled.

    Raises:
        SettingsError: One of them is no list of regular expressions.
    """

    def __init__(
        self,
        force_master: Iterable[Pattern] | None = None,
        force_slave: Iterable[Pattern] | None = None,
    ) -> None:
        self._primary = _compiled("force_master", force_master)
        self._replica = _compiled("force_slave", force_slave)

    def forced(self, request: Any) -> bool | None:
        """Whether *request* is forced to the primary (True), the replica (False) or neither."""
        if not self._primary and not self._replica:
            return None
        line = f"{request.method} {request.path}"
        if any(pattern.match(line) for pattern in self._primary):
            return True
        if any(pattern.match(line) for pattern in self._replica):
            return False
        return None


def writes(request: Any) -> bool:
    """Whether *request* writes, going by its method."""
    return request.method not in _READING


def _compiled(name: str, patterns: Iterable[Pattern] | None) -> tuple[re.Pattern[str], ...]:
    if isinstance(patterns, str | bytes | re.Pattern):
        # Taken as a list, each of its letters would be a pattern.
        raise SettingsError(f"{name} = {patterns!r}: not a list. Write [{patterns!r}].")
    return tuple(_pattern(name, pattern) for pattern in patterns or ())


def _pattern(name: str, pattern: Pattern) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, TypeError, OverflowError, RecursionError) as error:
        raise SettingsError(
            f"{name}: {pattern!r} is not a regular expression ({error}). "
            "Write for example 'POST /api/hello', or put re.escape() around a path."
        ) from None
