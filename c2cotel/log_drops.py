"""Log lines that did not get through: counted, and said once."""

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from c2cotel_instrumentation.once import Once

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter


class Drops:
    """Counts, as ``c2c.log.dropped`` {record}, what *handler* could not bring *where*.

    The first of each process is said on stderr: the log itself is what does not work.
    """

    def __init__(self, handler: str, where: str) -> None:
        self.total = 0
        self._attributes = {"c2c.log.handler": handler}
        self._where = where
        self._counter: Counter | None = None
        self._pid = 0
        self._new = Once()

    def count(self, why: str, number: int = 1) -> None:
        """*number* lines are lost, *why* says for what reason."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self.total = 0
        self._say("lost", f"{why}. They are counted as c2c.log.dropped.")
        self.total += number
        self._add(number)

    def say(self, what: str) -> None:
        """Tell what is wrong, if none of it has been told in this process."""
        self._say("delayed", what)

    def _say(self, kind: str, what: str) -> None:
        if not self._new(kind):
            return
        # A worker may have none.
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(
                f"Log lines are {kind} on their way {self._where}: {what} "
                "This is not said again by this process.\n"
            )

    def _add(self, number: int) -> None:
        # Not before: where logging is set up, the telemetry may not be yet.
        from opentelemetry.metrics import get_meter

        if self._counter is None:
            self._counter = get_meter(__name__).create_counter(
                "c2c.log.dropped",
                unit="{record}",
                description="Log records that a handler could not bring where they should go.",
            )
        self._counter.add(number, self._attributes)
