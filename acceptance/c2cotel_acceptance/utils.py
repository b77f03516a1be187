"""Wait until something is true, try again, and compare what is nearly equal."""

import functools
import inspect
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

_T = TypeVar("_T")
_F = TypeVar("_F")
_LOG = logging.getLogger(__name__)


def retry_timeout(what: Callable[[], _T], timeout: float = 60, interval: float = 0.5) -> _T:
    """Call *what* until it returns something true, at most *timeout* seconds; return that.

    Exceptions count as "not yet". *interval* is the pause between two calls, in seconds.

    Raises:
        TimeoutError: it never was true. Caused by the last exception of *what*, if any.
    """
    __tracebackhide__ = True  # pytest shows the line that waits
    deadline = time.monotonic() + timeout
    while True:
        problem: Exception | None = None
        try:
            if result := what():
                return result
        except Exception as error:  # noqa: BLE001 - any failure may pass; the last one is told
            problem = error
        if time.monotonic() >= deadline:
            told = f": {type(problem).__name__}: {problem}" if problem else ""
            raise TimeoutError(f"Still not so after {timeout:g} s{told}") from problem
        time.sleep(interval)


def wait_url(url: str, timeout: float = 60) -> None:
    """Wait until a GET of *url* answers 200.

    Raises:
        TimeoutError: it did not within *timeout* seconds; the text has the last answer.
    """
    import requests

    __tracebackhide__ = True  # likewise

    def answers() -> bool:
        with requests.get(url, timeout=max(1.0, min(10.0, timeout)), stream=True) as response:
            if response.status_code != requests.codes.ok:
                text = next(response.iter_content(200), b"").decode(errors="replace")
                raise ConnectionError(f"{url} answers {response.status_code}: {text}")
        return True

    try:
        retry_timeout(answers, timeout, interval=0.1)
    except TimeoutError as error:
        # Its text says it all: pytest would show how requests and urllib3 came to it.
        raise TimeoutError(str(error)) from None


def retry(
    exc: type[BaseException] | tuple[type[BaseException], ...],
    tries: int = 3,
    delay: float = 0.5,
    backoff: float = 2,
) -> Callable[[_F], _F]:
    """Decorate a function: call it again when it raises *exc*, up to *tries* times in all.

    It waits *delay* seconds before the second call, and *backoff* times as long before each
    further one. The last call's exception is the caller's. Works on methods, above or below
    ``@classmethod`` and ``@staticmethod``, and on coroutine functions::

        @retry(requests.ConnectionError, tries=5)
        def test_it_answers(app_connection): ...
    """
    kinds = exc if isinstance(exc, tuple) else (exc,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise TypeError(f"retry({exc!r}): not an exception. Write for example @retry(OSError)")
    if tries < 1:
        raise ValueError(f"tries = {tries}: it has to be called at least once")
    if delay < 0 or backoff < 0:
        raise ValueError(f"delay = {delay}, backoff = {backoff}: nobody waits less than no time")

    def decorate(function: _F) -> _F:
        if isinstance(function, (classmethod, staticmethod)):
            return cast("_F", type(function)(decorate(function.__func__)))
        if not callable(function):
            raise TypeError(f"@retry stands above {function!r}, which is not a function")
        pauses = [delay * backoff**number for number in range(tries - 1)]
        if inspect.iscoroutinefunction(function):
            return cast("_F", _awaited_again(function, kinds, pauses))
        return cast("_F", _called_again(function, kinds, pauses))

    return decorate


def _called_again(
    function: Callable[..., Any], kinds: tuple[type[BaseException], ...], pauses: list[float]
) -> Callable[..., Any]:
    @functools.wraps(function)
    def again(*args: Any, **kwargs: Any) -> Any:
        for pause in pauses:
            try:
                return function(*args, **kwargs)
            except kinds as error:
                _LOG.info("%s: %r; again in %g s", function, error, pause)
            time.sleep(pause)
        return function(*args, **kwargs)

    return again


def _awaited_again(
    function: Callable[..., Any], kinds: tuple[type[BaseException], ...], pauses: list[float]
) -> Callable[..., Any]:
    import asyncio

    @functools.wraps(function)
    async def again(*args: Any, **kwargs: Any) -> Any:
        for pause in pauses:
            try:
                return await function(*args, **kwargs)
            except kinds as error:
                _LOG.info("%s: %r; again in %g s", function, error, pause)
            await asyncio.sleep(pause)
        return await function(*args, **kwargs)

    return again


def approx(struct: Any, **kwargs: Any) -> Any:
    """*struct*, in whose lists, tuples and dictionaries, however deep, each float is approximate.

    *kwargs* are those of ``pytest.approx``: ``rel``, ``abs``, ``nan_ok``. Everything else, whole
    numbers, text and keys, has to be equal::

        assert answer == approx({"type": "Point", "coordinates": [6.63, 46.52]}, abs=0.01)
    """
    import pytest

    match struct:
        case float() | complex():
            return pytest.approx(struct, **kwargs)
        case dict():
            return {key: approx(value, **kwargs) for key, value in struct.items()}
        case list():
            return [approx(value, **kwargs) for value in struct]
        case tuple():
            values = [approx(value, **kwargs) for value in struct]
            # A named tuple takes its fields one by one.
            return type(struct)(*values) if hasattr(struct, "_fields") else tuple(values)
    return struct
