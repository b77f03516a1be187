"""The levels of the loggers of this process: what they are, and what they were configured to be.

An override is a level set over the configured one, until it is reset or expires. Whoever configures
logging meanwhile wins: what they set is then the configured level, and nothing puts it back.
"""

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from c2cotel.broadcast.switch import State

KIND = "logging_level"
LONGEST_NAME = 200
ROOT = ""


def checked_name(name: str) -> str:
    """The name of a logger as it is kept: that of the root is empty.

    Raises:
        ValueError: too long, or with characters that a line of a log cannot have.
    """
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(
            f"name={_cut(name)}: expected the name of a logger, "
            f"at most {LONGEST_NAME} printable characters; empty for the root"
        )
    # logging.getLogger takes this name for the root's, too.
    return ROOT if name == "root" else name


def level_number(level: Any) -> int:
    """The number of a level by its name, in any case; also one that ``addLevelName`` has named.

    Raises:
        ValueError: no level has this name; the message lists those there are.
    """
    known = logging.getLevelNamesMapping()
    if isinstance(level, str):
        if level in known:
            return known[level]
        for name, number in known.items():
            if name.lower() == level.lower():
                return number
    names = sorted(known, key=lambda name: (-known[name], name))
    raise ValueError(f"level={_cut(level)}: expected one of {', '.join(names)}")


def check(name: str, level: Any) -> str:
    """An override as the switch keeps it: the text of the level as it was given.

    Raises:
        ValueError: see :func:`checked_name` and :func:`level_number`.
    """
    if checked_name(name) != name:
        raise ValueError(f"name={_cut(name)}: the root's name is empty")
    level_number(level)
    return str(level)


def level_names() -> list[str]:
    """One name for each level there is, the gravest first."""
    numbers = sorted(set(logging.getLevelNamesMapping().values()), reverse=True)
    return [logging.getLevelName(number) for number in numbers]


def labels() -> dict[str, str]:
    """What each text of a level is counted as, by the text in lower case."""
    known = logging.getLevelNamesMapping()
    return {name.lower(): logging.getLevelName(number) for name, number in known.items()}


@dataclass(frozen=True)
class Level:
    """What a logger has, by name; ``NOTSET`` where it follows its parent."""

    level: str
    effective: str


@dataclass(frozen=True)
class Row:
    """One logger in the tree.

    Attributes:
        name: Empty for the root.
        configured: Its own level without the override, ``NOTSET`` where it follows its parent.
        effective: The level that counts now.
        override: What stands over the configured level.
        handlers: The classes of its handlers.
        notes: What else decides over its records, in words.
    """

    name: str
    configured: str
    effective: str
    override: "State[str] | None" = None
    handlers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return self.name or "root"


@dataclass(frozen=True)
class Tree:
    """The loggers found, not more than were asked for; *total* counts them all."""

    rows: list[Row]
    total: int


@dataclass(frozen=True)
class _Override:
    level: int
    configured: int


class Levels:
    """The loggers of one *manager*, and the levels that overrides hide."""

    def __init__(self, manager: logging.Manager) -> None:
        self._manager = manager
        self._overrides: dict[str, _Override] = {}

    def apply(self, name: str, level: str | None) -> None:
        """Set *level*, or put back what was configured before the first override.

        One call at a time, as the switch does.

        Raises:
            ValueError: no level is called so; nothing has changed.
        """
        if level is None:
            self._restore(name)
            return
        number = level_number(level)
        logger = self._manager.getLogger(name) if name else self._manager.root
        # Kept first: an override that is not known could never be taken back.
        self._overrides[name] = _Override(number, self._configured(name, logger))
        logger.setLevel(number)

    def _restore(self, name: str) -> None:
        override = self._overrides.pop(name, None)
        logger = self._find(name)
        # Another level than ours is somebody's who has configured logging since.
        if override is not None and logger is not None and logger.level == override.level:
            logger.setLevel(override.configured)

    def level(self, name: str) -> Level:
        """What the logger *name* has; it is not made for that."""
        logger = self._find(name)
        own = logger.level if logger is not None else logging.NOTSET
        return Level(logging.getLevelName(own), logging.getLevelName(self._effective(name)))

    def tree(self, states: "Mapping[str, State[str]]", search: str = "", limit: int = 300) -> Tree:
        """The loggers whose name has *search* in it, in any case, each after its parent.

        Those that are only a part of other names are among them; *states* are the overrides.
        """
        names = {ROOT, *tuple(self._manager.loggerDict), *states}
        names.discard("root")  # "root.x" has made it; no logger can have this name
        found = [name for name in names if search.lower() in (name or "root").lower()]
        found.sort(key=lambda name: name.split("."))
        return Tree([self.row(name, states.get(name)) for name in found[:limit]], len(found))

    def row(self, name: str, override: "State[str] | None" = None) -> Row:
        """What there is to know of the logger *name*; it is not made for that."""
        effective = logging.getLevelName(self._effective(name))
        logger = self._find(name)
        if logger is None:
            return Row(name, logging.getLevelName(logging.NOTSET), effective, override)
        notes = {
            "disabled": logger.disabled,
            "does not propagate": not logger.propagate,
            "has filters": bool(logger.filters),
        }
        return Row(
            name=name,
            configured=logging.getLevelName(self._configured(name, logger)),
            effective=effective,
            override=override,
            handlers=tuple(type(handler).__name__ for handler in tuple(logger.handlers)),
            notes=tuple(text for text, applies in notes.items() if applies),
        )

    def _configured(self, name: str, logger: logging.Logger) -> int:
        override = self._overrides.get(name)
        if override is not None and logger.level == override.level:
            return override.configured
        return logger.level

    def _find(self, name: str) -> logging.Logger | None:
        """The logger *name*, if there is one; a part of other names only has none."""
        found = self._manager.loggerDict.get(name) if name else self._manager.root
        return found if isinstance(found, logging.Logger) else None

    def _effective(self, name: str) -> int:
        while (logger := self._find(name)) is None:
            name = name.rpartition(".")[0]
        return logger.getEffectiveLevel()


@functools.cache
def levels() -> Levels:
    """Those of this process."""
    return Levels(logging.Logger.manager)


def _cut(value: Any) -> str:
    """*value* as a message shows it: on one line, and not more than a glance."""
    text = value if isinstance(value, str) else str(type(value).__name__)
    return repr(text[:80]) + ("…" if len(text) > 80 else "")  # noqa: PLR2004 - a glance
