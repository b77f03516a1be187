"""Threads that wait for something, until their test is over."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from c2cotel.debug.stacks.frames import Sight, stack
from c2cotel.debug.stacks.waiting import Waiting, waiting
from c2cotel_acceptance.utils import retry_timeout

PATIENCE = 20.0


@dataclass
class Threads:
    """Starts threads; what is put on *end* lets them go on, what is on *after* comes after them."""

    end: ExitStack = field(default_factory=ExitStack)
    after: ExitStack = field(default_factory=ExitStack)
    started: list[threading.Thread] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def start(self, function: Callable[..., Any], *args: Any, name: str | None = None) -> int:
        """``ident`` of a thread that calls *function*."""

        def run() -> None:
            try:
                function(*args)
            except BaseException as error:  # noqa: BLE001 - the test is told
                self.errors.append(error)

        thread = threading.Thread(target=run, name=name, daemon=True)
        self.started.append(thread)
        thread.start()
        assert thread.ident is not None
        return thread.ident

    def seen(self, ident: int, *, in_request: bool = True) -> Waiting | None:
        frame = sys._current_frames().get(ident)
        return None if frame is None else waiting(stack(frame), Sight(), in_request=in_request)

    def waits(
        self, ident: int, kind: str, detail: str | None = None, *, in_request: bool = True
    ) -> Waiting:
        """What the thread waits for, once it waits for something of this *kind*."""

        def look() -> Waiting | None:
            found = self.seen(ident, in_request=in_request)
            if found is None or found.kind != kind or detail not in (None, found.detail):
                return None
            return found

        try:
            return retry_timeout(look, PATIENCE, 0.01)
        except Exception as error:
            raise AssertionError(self.seen(ident), self.errors) from error

    def finish(self) -> None:
        self.end.close()
        for thread in self.started:
            thread.join(PATIENCE)
            assert not thread.is_alive(), thread
        self.after.close()
        assert self.errors == []


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads()
    yield made
    made.finish()
