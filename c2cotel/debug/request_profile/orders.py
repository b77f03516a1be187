"""The next requests of a route that are to be profiled, and who takes which of them."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

LOGGER = logging.getLogger(__name__)

MOST: Final = 20
LONGEST_ROUTE: Final = 500
_ID_LENGTH: Final = 16


@dataclass(frozen=True)
class Order:
    """What an operator wants.

    Attributes:
        id: Tells it from others.
        requests: How many are to be profiled.
        route: Only those whose route's pattern is like that, ``*`` being any text; empty for all.
        actor: Who ordered it.
    """

    id: str
    requests: int
    route: str = ""
    actor: str = ""

    def is_for(self, pattern: str | None) -> bool:
        """Whether a request of the route with this *pattern* is one of them."""
        return not self.route or (pattern is not None and fnmatchcase(pattern, self.route))


def check(name: str, value: Any) -> dict[str, Any]:
    """The order as the switch keeps it.

    Raises:
        ValueError: something of it is not what it should be.
    """
    if name or not isinstance(value, dict):
        raise ValueError("expected the only order that there is")
    try:
        order = Order(**value)
    except TypeError as error:
        raise ValueError(f"expected id, requests, route and actor: {error}") from error
    number = isinstance(order.requests, int) and not isinstance(order.requests, bool)
    if not number or not 1 <= order.requests <= MOST:
        raise ValueError(f"requests={order.requests!r}: expected a number from 1 to {MOST}")
    if not isinstance(order.id, str) or not _is_id(order.id):
        raise ValueError(f"id: expected {_ID_LENGTH} hexadecimal digits")
    route = order.route
    if not isinstance(route, str) or len(route) > LONGEST_ROUTE or not route.isprintable():
        raise ValueError("route: expected the pattern of a route, for example /api/hello or /api/*")
    if not isinstance(order.actor, str):
        raise ValueError("actor: expected a text")  # noqa: TRY004 - as all else
    return asdict(order)


def _is_id(text: str) -> bool:
    return len(text) == _ID_LENGTH and not set(text) - set("0123456789abcdef")


class Claims:
    """Which requests of an order have been taken, on this host and elsewhere.

    Each is a file of the run directory, ``claim-<order>-<number>``, made by whoever takes it: of
    all processes of the host one. Processes of other hosts say what they take, so that together
    they take hardly more than were ordered. Without a run directory each process counts for itself,
    and says so likewise.
    """

    def __init__(self, order: Order, directory: Callable[[], Path | None]) -> None:
        self.order = order
        self._directory = directory
        self._mine: set[int] = set()
        self._elsewhere: dict[str, set[int]] = {}
        self._lock = threading.Lock()
        self.exhausted = False

    @property
    def taken(self) -> int:
        """How many have been."""
        with self._lock:
            here = sum(self._has(number) for number in range(self.order.requests))
            return min(here + self._others, self.order.requests)

    @property
    def _others(self) -> int:
        return sum(len(numbers) for numbers in self._elsewhere.values())

    def take(self) -> int | None:
        """Take one for a request of this process; None if none is left."""
        with self._lock:
            if self.exhausted:
                return None
            for number in range(self.order.requests - self._others):
                if self._make(number):
                    self._mine.add(number)
                    return number
            self.exhausted = True
            return None

    def give_back(self, number: int) -> None:
        """It was none of the order's, after all."""
        with self._lock:
            self._mine.discard(number)
            if (path := self._path(number)) is not None:
                with suppress(OSError):
                    path.unlink()
            self.exhausted = False

    def heard(self, place: str, number: int) -> None:
        """*number* has been taken at another *place*."""
        with self._lock:
            self._elsewhere.setdefault(place, set()).add(number)

    def forget(self) -> None:
        """The order is over: remove what is left of it."""
        with self._lock:
            self.exhausted = True
            for number in range(self.order.requests):
                if (path := self._path(number)) is not None:
                    with suppress(OSError):
                        path.unlink()

    def renew(self) -> None:
        """In a forked child, where the lock may be another thread's."""
        self._lock = threading.Lock()

    def _path(self, number: int) -> Path | None:
        directory = self._directory()
        return None if directory is None else directory / f"claim-{self.order.id}-{number}"

    def _has(self, number: int) -> bool:
        path = self._path(number)
        return number in self._mine or (path is not None and path.exists())

    def _make(self, number: int) -> bool:
        if number in self._mine:
            return False
        if (path := self._path(number)) is None:
            return True
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        except OSError as error:
            LOGGER.debug("Counted in this process alone: %s", error)
        return True
