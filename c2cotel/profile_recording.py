"""One recording of :mod:`c2cotel.profiler`: by cProfile, in steps, then in a file."""

import errno
import marshal
import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

if TYPE_CHECKING:
    import cProfile

_IN_PLACE: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV})

_OURS: Final = (__file__, str(Path(__file__).with_name("profiler.py")))
# Those of ours that others call functions through.
_BETWEEN: Final = frozenset({"call", "driven", "__await__"})


class Target(Protocol):
    """Where a recording goes."""

    path: str
    print_number: int

    def say(self, what: str, why: object = "", *, error: BaseException | None = None) -> None: ...


class Thread(threading.local):
    """What a thread does for one Profile.

    Attributes:
        use: What is being recorded.
        block: That of the ``with`` blocks that are open, of which there are *depth*.
    """

    use: "Use | None" = None
    block: "Use | None" = None
    depth: int = 0


class Use:
    """One recording, with its pauses."""

    def __init__(self, target: Target, thread: Thread) -> None:
        self._target = target
        self._thread = thread
        self._recorder: cProfile.Profile | None = None

    def step(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call *function*, and record that."""
        self.go_on()
        try:
            return function(*args)
        finally:
            self.pause()

    def go_on(self) -> None:
        """Record this thread, unless that is being done already."""
        if self._thread.use is not None:
            return
        try:
            if self._enable():
                self._thread.use = self
        except Exception as error:  # noqa: BLE001 - of the profiler; the application goes on
            self._target.say("it cannot be recorded", error=error)

    def _enable(self) -> bool:
        # Here: only who profiles pays for it.
        import cProfile

        recorder = self._recorder or cProfile.Profile()
        busy = False
        if sys.version_info >= (3, 12):
            try:
                recorder.enable()
            except ValueError:
                busy = True
            else:
                _leave_out_other_threads(recorder, new=self._recorder is None)
        # It would be replaced by ours, without a word.
        elif not (busy := sys.getprofile() is not None):
            recorder.enable()
        if busy:
            self._target.say(
                "another profiler is active, and sees this if it is in this thread: it is not "
                "profiled by itself"
            )
            return False
        self._recorder = recorder
        return True

    def pause(self) -> None:
        if self._thread.use is self and self._recorder is not None:
            self._recorder.disable()
            self._thread.use = None

    def end(self) -> None:
        """Write what has been recorded, if anything has."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        recorded = _Recorded(recorder)
        try:
            # The same as cProfile's dump_stats() writes.
            _write(self._target.path, marshal.dumps(recorded.stats))
        except Exception as error:  # noqa: BLE001 - such as a full disk; the application goes on
            self._target.say("it cannot be written", error)
        try:
            if self._target.print_number > 0:
                _print(recorded, self._target.print_number)
        except Exception as error:  # noqa: BLE001 - such as a closed output; the application goes on
            self._target.say("it cannot be printed", error)


class _Recorded:
    """What *recorder* has seen, without how it was stopped; as pstats takes it."""

    def __init__(self, recorder: "cProfile.Profile") -> None:
        recorder.create_stats()
        found: dict[tuple[str, int, str], Any] = recorder.stats
        ours = {key for key in found if key[0] in _OURS and key[2] not in _BETWEEN}
        # Functions in C that these call.
        ours |= {
            key for key, (*_, callers) in found.items() if callers and ours.issuperset(callers)
        }
        self.stats = {
            key: (*numbers, {by: each for by, each in called.items() if by not in ours})
            for key, (*numbers, called) in found.items()
            if key not in ours
        }

    def create_stats(self) -> None:
        """There is nothing left to do."""


class Awaited:
    """An awaitable, profiled while it runs."""

    def __init__(self, use: Use, awaitable: Any) -> None:
        self._use = use
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        return driven(self._use, self._awaitable)


def driven(use: Use, inner: Any) -> Generator[Any, Any, Any]:
    """What *inner*, a generator or coroutine, does when it is driven; profiled while it runs."""
    send, sent = inner.send, None
    while True:
        try:
            value = use.step(send, sent)
        except StopIteration as end:
            return end.value
        try:
            sent = yield value
            send = inner.send
        except GeneratorExit:
            use.step(inner.close)
            raise
        except BaseException as error:  # noqa: BLE001 - what is thrown in is for it
            send, sent = inner.throw, error


def _write(path: str, data: bytes) -> None:
    """Write *data* under another name, then rename it: readers see all of it or the one before."""
    target = Path(path).resolve()
    # Not over /dev/null.
    if target.exists() and not target.is_file():
        target.write_bytes(data)
        return
    aside = target.with_name(f".c2c-{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        aside.write_bytes(data)
        aside.replace(target)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        # The folder is not ours to write in, or the file is a mount.
        if error.errno not in _IN_PLACE or not target.exists():
            raise
        target.write_bytes(data)


def _print(recorded: "_Recorded", number: int) -> None:
    import pstats

    # In one piece: other threads print, too.
    text, source = StringIO(), cast("Any", recorded)
    pstats.Stats(source, stream=text).sort_stats(pstats.SortKey.CUMULATIVE).print_stats(number)
    sys.stdout.write(text.getvalue())


def _leave_out_other_threads(recorder: "cProfile.Profile", *, new: bool) -> None:
    """Have *recorder* hear this thread alone.

    From Python 3.12 on it hears all threads and takes their calls for those of one.
    """
    if threading.active_count() == 1:
        return
    if sys.version_info >= (3, 12):
        monitoring, tool = sys.monitoring, sys.monitoring.PROFILER_ID
        for name in _EVENTS:
            event = getattr(monitoring.events, name)
            callback = monitoring.register_callback(tool, event, None)
            if callback is not None:
                monitoring.register_callback(tool, event, _in_this_thread(callback))
    if new:
        # What it has heard meanwhile.
        recorder.clear()


# Those that cProfile hears.
_EVENTS = (
    "PY_START",
    "PY_RESUME",
    "PY_THROW",
    "PY_RETURN",
    "PY_YIELD",
    "PY_UNWIND",
    "CALL",
    "C_RETURN",
    "C_RAISE",
)


def _in_this_thread(callback: Callable[..., Any]) -> Callable[..., None]:
    mine, ident = threading.get_ident(), threading.get_ident

    def heard(*event: Any) -> None:
        if ident() == mine:
            callback(*event)

    return heard
