"""Where a function, or a few lines, spend their time: written to a file for SnakeViz or pstats.

::

    from c2cotel.profiler import Profile

    @Profile("/tmp/report.prof")
    def report(): ...

    with Profile("/tmp/import.prof", print_number=10):
        ...

The file is what cProfile writes. There is one at the path, whole at any moment: each use writes it
anew when it ends, also by an exception, and the last one to end stays.

What is profiled is what the thread does:

* a function until it returns; one that calls itself is one use;
* an ``async`` function and generators of both kinds while they run themselves, until their end:
  what waiting takes, or who uses what was yielded, is not theirs;
* a ``with`` block until its end; in ``async`` code, with whatever else its thread does meanwhile.

A thread has one profiler at a time, and from Python 3.12 on the whole process has: a use within
another one is a part of that one, and one beside it is not profiled. That is logged, the first time
of each folder, as is a file that cannot be written; the application goes on. From 3.12 on, too, all
threads are slower while one is profiled, and a thread that begins meanwhile, where there was none
but the profiled one, is taken for a part of it.
"""

import functools
import inspect
import logging
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from c2cotel.profile_recording import Awaited, Thread, Use, driven
from c2cotel_instrumentation.once import Once

__all__ = ["Profile"]

LOGGER = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])


class Profile:
    """Profile a function as its decorator, or what is done in a ``with`` block.

    One of them can be used many times, within itself and in several threads.

    Args:
        path: Of the file, as it is: ``~`` means nothing.
        print_number: So many functions are printed, too, those first that take longest with all
            that they call.
    """

    def __init__(self, path: str | os.PathLike[str], print_number: int = 0) -> None:
        if callable(path):
            raise TypeError(
                "Profile needs the path of a file: write for example @Profile('/tmp/my.prof')"
            )
        self.path = os.fsdecode(path)
        self.print_number = print_number
        self._thread = Thread()

    def __enter__(self) -> None:
        mine = self._thread
        mine.depth += 1
        if mine.use is None:
            mine.block = Use(self, mine)
            mine.block.go_on()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        mine = self._thread
        if mine.depth == 0:
            self.say("it was left by another thread than it was entered by, nothing is written")
            return
        mine.depth -= 1
        if mine.depth == 0 and mine.block is not None:
            block, mine.block = mine.block, None
            block.pause()
            block.end()

    def __call__(self, function: F) -> F:
        if isinstance(function, staticmethod | classmethod):
            raise TypeError(
                f"@Profile({self.path!r}) stands above @{type(function).__name__}: put it below"
            )
        if inspect.iscoroutinefunction(function):
            made: Callable[..., Any] = self._coroutine(function)
        elif inspect.isasyncgenfunction(function):
            made = self._async_generator(function)
        elif inspect.isgeneratorfunction(function):
            made = self._generator(function)
        else:
            made = self._function(function)
        functools.update_wrapper(made, function)
        # Pyramid does not look through what is wrapped for the arguments of a view.
        with suppress(TypeError, ValueError):  # of a function in C
            made.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return cast("F", made)

    def _function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return call

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            with self._use() as use:
                return await Awaited(use, function(*args, **kwargs))

        return call

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with self._use() as use:
                return (yield from driven(use, function(*args, **kwargs)))

        return call

    def _async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            with self._use() as use:
                generator = function(*args, **kwargs)
                step = generator.asend(None)
                try:
                    while True:
                        value = await Awaited(use, step)
                        try:
                            sent = yield value
                        except GeneratorExit:
                            raise
                        except BaseException as error:  # noqa: BLE001 - what is thrown in is for it
                            step = generator.athrow(error)
                        else:
                            step = generator.asend(sent)
                except StopAsyncIteration:
                    return
                finally:
                    await Awaited(use, generator.aclose())

        return call

    @contextmanager
    def _use(self) -> Iterator[Use]:
        """One that is profiled in steps, and written at the end of the last one."""
        use = Use(self, self._thread)
        try:
            yield use
        finally:
            use.end()

    def say(self, what: str, why: object = "", *, error: BaseException | None = None) -> None:
        """Log it, the first time."""
        # A block makes one of these each time, with a name of its own perhaps.
        if _new()((what, Path(self.path).parent)):
            text = f"{what}: {why}" if why else what
            LOGGER.warning(
                "Profile %s: %s. Further ones there are not logged.",
                self.path,
                text,
                exc_info=error,
            )


@functools.cache
def _new() -> Once:
    """Tells what has not been said."""
    return Once()
