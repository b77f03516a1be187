"""The line of the application that a call came from."""

import sys
from types import FrameType
from typing import Final

# Who stands between the application and a library besides the library itself.
_BETWEEN: Final = frozenset({"c2cotel_instrumentation", "opentelemetry", "sentry_sdk", "wrapt"})
# Lines that are remembered: code that is made as it runs has no end of them.
_MOST: Final = 1000


class CallSites:
    """The lines outside of *libraries* (top-level packages) that have called them."""

    def __init__(self, *libraries: str) -> None:
        self._inside = _BETWEEN | set(libraries)
        self._seen: set[tuple[str, int]] = set()

    def new(self, past: str | None = None) -> str | None:
        """``file:line`` of the caller; None if it has been told before.

        What stands below the innermost frame of the module *past* is no caller: the application
        may have put some of its own code there.
        """
        frame = sys._getframe(1)  # noqa: SLF001 - the way to a caller without making a stack
        if past is not None:
            frame = _innermost(past, frame)
        while frame.f_globals.get("__name__", "").partition(".")[0] in self._inside:
            if frame.f_back is None:
                break
            frame = frame.f_back
        place = frame.f_code.co_filename, frame.f_lineno
        if place in self._seen or len(self._seen) >= _MOST:
            return None
        self._seen.add(place)
        return f"{place[0]}:{place[1]}"


def _innermost(module: str, frame: FrameType) -> FrameType:
    above: FrameType | None = frame
    while above is not None:
        if above.f_globals.get("__name__") == module:
            return above
        above = above.f_back
    return frame
