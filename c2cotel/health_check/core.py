"""What a health check is, what comes of it, and which ones are asked for."""

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from c2cotel.health_check.texts import private_text, public_text

LIVES: Final = 1
"""The level of what the service cannot do without: load balancers and readiness ask for it."""

_LONGEST_NAME: Final = 200


class JsonCheckException(Exception):  # noqa: N818 - the seed's name
    """A check fails and has more to tell than a sentence: *json* becomes ``result``."""

    def __init__(self, message: str, json: Any) -> None:
        super().__init__(message)
        self.message = message
        self.json = json

    def json_info(self) -> Any:
        return self.json


class CheckFailedError(Exception):
    """A check of ours fails.

    Attributes:
        details: The same for the authorised, with hosts and whatever else is not for everybody.
        found: For the authorised only, what was found instead.
    """

    def __init__(self, message: str, *, details: str = "", found: Any = None) -> None:
        super().__init__(message)
        self.details = details
        self.found = found


class DuplicateCheckError(ValueError):
    """Two checks have one name; the message names both."""


@dataclass(frozen=True)
class Check:
    """One question about the health of the service.

    Attributes:
        name: Unique in the application.
        run: Raises if something is wrong, else returns None or what JSON has; it is given what
            the caller of the engine has for it, a request.
        level: From 1, what is vital, upwards.
        timeout: Seconds after which it has failed.
        group: For who asks about one part of the service only.
        give_up: Called by another thread, once, when the check is late: it may break what
            the check waits for. It must return at once, and not ask the engine anything.
        replaceable: It was added by itself; one of the same name takes its place.
    """

    name: str
    run: Callable[[Any], Any]
    level: int
    timeout: float
    group: str | None = None
    give_up: Callable[[], None] | None = None
    replaceable: bool = False

    @property
    def may_ask_itself(self) -> bool:
        """Whether *run* may need a thread of this application, as a request to it does."""
        return bool(getattr(self.run, "may_ask_itself", False))

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > _LONGEST_NAME or not self.name.isprintable():
            raise ValueError(
                f"{self.name[:_LONGEST_NAME]!r} is no name of a check: "
                f"write 1 to {_LONGEST_NAME} characters on one line."
            )
        if not callable(self.run):
            raise TypeError(f"The check {self.name}: {self.run!r} cannot be called.")
        if isinstance(self.level, bool) or not isinstance(self.level, int) or self.level < LIVES:
            raise ValueError(
                f"The check {self.name}: level {self.level!r}: write a whole number from 1 on. "
                "Level 0 is a ping without checks."
            )
        if not 0 < self.timeout < float("inf"):
            raise ValueError(
                f"The check {self.name}: timeout {self.timeout!r}: write seconds, for example 2.5."
            )


@dataclass(frozen=True)
class Finding:
    """What a check returns if not everybody may see everything.

    Attributes:
        result: For everybody.
        details: For the authorised, in place of it.
    """

    result: Any = None
    details: Any = None


@dataclass(frozen=True)
class Outcome:
    """What came of a check.

    Attributes:
        timing: Seconds that it took, or has taken so far.
        ended: When, on the monotonic clock, and *at* by the wall clock.
        result: JSON, None if there is none; *details* is for the authorised in place of it.
        message: Why it failed, for everybody; *private* for the authorised.
        stack: Where it failed, or where it is now.
    """

    check: Check
    ok: bool
    timing: float
    ended: float
    at: float
    result: bytes | None = None
    details: bytes | None = None
    message: str = ""
    private: str = ""
    stack: str = ""

    @property
    def name(self) -> str:
        return self.check.name

    @property
    def level(self) -> int:
        return self.check.level


def passed(value: Any) -> dict[str, Any]:
    """The part of an :class:`Outcome` that *value*, which a check returned, is.

    Raises:
        CheckFailedError: JSON cannot hold it.
    """
    finding = value if isinstance(value, Finding) else Finding(value)
    return {"ok": True, "result": _json(finding.result), "details": _json(finding.details)}


def failed(error: BaseException) -> dict[str, Any]:
    """The part of an :class:`Outcome` that *error*, which a check raised, is.

    It does not raise, whatever *error* is made of.
    """
    try:
        return _failed(error)
    # Also SystemExit, of a json_info(): without an outcome the check would seem to hang for ever.
    except BaseException:  # noqa: BLE001 - see above
        return nameless(type(error).__name__)


def nameless(kind: str) -> dict[str, Any]:
    """The part of an :class:`Outcome` that failed with what can only be called *kind*."""
    return {"ok": False, "message": kind, "private": kind}


def _failed(error: BaseException) -> dict[str, Any]:
    part: dict[str, Any] = {
        "ok": False,
        "message": public_text(error),
        "private": private_text(_details(error) or error),
        "stack": _stack(error),
    }
    try:
        if isinstance(error, JsonCheckException):
            part["result"] = _json(error.json_info())
        elif isinstance(error, CheckFailedError):
            part["details"] = _json(error.found)
    # Its json_info() is the application's.
    except Exception as unusable:  # noqa: BLE001 - see above
        part["private"] = f"{part['private']} ({private_text(unusable)})"
    return part


def _details(error: BaseException) -> str:
    details = error.details if isinstance(error, CheckFailedError) else ""
    return details if isinstance(details, str) else ""


def _json(value: Any) -> bytes | None:
    if value is None:
        return None
    try:
        return msgspec.json.encode(value)
    # Its own __str__, an endless structure, a lone surrogate: it is the application's.
    except Exception as error:
        raise CheckFailedError(
            f"The check returned a {type(value).__name__}, which cannot be written as JSON",
            details=f"The check returned a {type(value).__name__}, which cannot be written as "
            f"JSON: {error}. Return None, texts, numbers, lists and dictionaries of them.",
        ) from error


def _stack(error: BaseException) -> str:
    try:
        return private_text("".join(traceback.format_exception(error)))
    except Exception:  # noqa: BLE001 - the exception is the application's
        return f"{type(error).__name__}, whose traceback cannot be written"


def stack_of(thread: int | None) -> str:
    """Where the thread with this identity is now."""
    frame = sys._current_frames().get(thread or 0)  # noqa: SLF001 - documented, CPython's
    return private_text("".join(traceback.format_stack(frame))) if frame is not None else ""


class Checks:
    """The checks of one application, by name, in the order in which they were added."""

    def __init__(self) -> None:
        self._checks: dict[str, tuple[Check, str]] = {}

    def add(self, check: Check, where: str) -> None:
        """Add *check*; *where* tells a person which line did it.

        Raises:
            DuplicateCheckError: There is one of this name already.
        """
        before = self._checks.get(check.name)
        if before is not None:
            if check.replaceable:
                return
            if not before[0].replaceable:
                raise DuplicateCheckError(
                    f"Two health checks are called {check.name!r}: the one of {before[1]}, and "
                    f"the one of {where}. Give one of them another name."
                )
        self._checks[check.name] = (check, where)

    def __iter__(self) -> Iterator[Check]:
        return iter([check for check, _ in self._checks.values()])

    def __len__(self) -> int:
        return len(self._checks)

    def selected(
        self, max_level: int, names: str | None = None, group: str | None = None
    ) -> Iterable[Check]:
        """Those up to *max_level*, in *group*, and in the comma separated *names*."""
        # The name of a check may have commas in it, as the addresses of Sentinels do.
        wanted = None if names is None else f",{names},"
        return [
            check
            for check in self
            if check.level <= max_level
            and (group is None or check.group == group)
            and (wanted is None or f",{check.name}," in wanted)
        ]
