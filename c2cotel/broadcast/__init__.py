"""Ask every process of the service, and gather what they answer.

A question goes to all processes of this host, over sockets in the run directory, and where Redis
is configured (``C2C_REDIS_URL`` or ``C2C_REDIS_SENTINELS``) to those of all hosts that share its
``C2C_BROADCAST_PREFIX``. Processes of c2cwsgiutils on the same Redis answer, too.

::

    from c2cotel import broadcast

    def caches(name):                    # in every process
        return {"size": len(CACHES[name])}

    broadcast.subscribe("caches", caches)

    broadcast.broadcast("caches", {"name": "tiles"}, expect_answers=True)
    # [{"size": 12, "hostname": "web-1", "pid": 17}, {"size": 9, …}]

Parameters and answers are JSON; parameters may have 56 kB, answers 16 MB. A callback that
raises answers ``{"status": 500, "message": …}``.
All of it works before ``includeme``: then this process is the only one that answers.

What is counted is told in :mod:`c2cotel.broadcast.metrics`.
"""

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from c2cotel import redis
from c2cotel.broadcast.broadcaster import Broadcaster, broadcaster
from c2cotel.broadcast.messages import Process, Replies
from c2cotel.metrics.directory import RunDirectoryError
from c2cotel.metrics.joining import shared
from c2cotel.settings import Loaded, load

if TYPE_CHECKING:
    from pyramid.config import Configurator

__all__ = [
    "Broadcaster",
    "Process",
    "Replies",
    "ask",
    "broadcast",
    "broadcaster",
    "cleanup",
    "decorator",
    "includeme",
    "subscribe",
    "unsubscribe",
]

LOGGER = logging.getLogger(__name__)


class Decorated(Protocol):
    """A function that runs in every process; keyword arguments only."""

    def __call__(self, **params: Any) -> list[Any] | None: ...


def subscribe(channel: str, callback: Callable[..., Any], *, prompt: bool = False) -> None:
    """Have *callback* answer what is asked on *channel*; it gets keyword arguments.

    A *prompt* one is called also while many others take long; it does not take long itself.
    """
    broadcaster().subscribe(channel, callback, prompt=prompt)


def unsubscribe(channel: str) -> None:
    """Do not answer on *channel* any more."""
    broadcaster().unsubscribe(channel)


def broadcast(
    channel: str,
    params: dict[str, Any] | None = None,
    expect_answers: bool = False,  # noqa: FBT001, FBT002 - as in the seed
    timeout: float = 10,
) -> list[Any] | None:
    """Have *channel*'s callback called in every process.

    With *expect_answers*, the answers that came within *timeout* seconds, then a ``None`` for each
    process that was silent; :func:`ask` tells which. Without it ``None``.

    Raises:
        TypeError, ValueError: *params* are not JSON, or have more than 56 kB, together with the
            headers that an outgoing request would have.
    """
    if not expect_answers:
        broadcaster().tell(channel, params, timeout)
        return None
    replies = broadcaster().ask(channel, params, timeout)
    return [*replies.answers, *(None for _ in replies.silent)]


def ask(channel: str, params: dict[str, Any] | None = None, timeout: float = 10) -> Replies:
    """Ask every process; tells who answered what, and who was silent.

    Raises:
        TypeError, ValueError: *params* are not JSON, or have more than 56 kB, together with the
            headers that an outgoing request would have.
    """
    return broadcaster().ask(channel, params, timeout)


def decorator(
    channel: str | None = None,
    expect_answers: bool = False,  # noqa: FBT001, FBT002 - as in the seed
    timeout: float = 10,
) -> Callable[[Callable[..., Any]], Decorated]:
    """Make a function run in every process when it is called; keyword arguments only.

    It returns what :func:`broadcast` does. The channel is ``c2c_decorated_<module>.<function>``
    if none is given.
    """

    def decorate(function: Callable[..., Any]) -> Decorated:
        name = channel or f"c2c_decorated_{function.__module__}.{function.__name__}"

        @functools.wraps(function)
        def wrapper(**params: Any) -> list[Any] | None:
            return broadcast(name, params, expect_answers, timeout)

        subscribe(name, function)
        return wrapper

    return decorate


def cleanup() -> None:
    """Stop listening and forget everything, as if nothing had been subscribed. For tests."""
    from c2cotel.broadcast.agreement import agreement

    broadcaster().stop()
    agreement.cache_clear()


def includeme(config: "Configurator | None" = None) -> None:
    """Listen: in the run directory, and on Redis if that is configured.

    What has been subscribed before is answered from now on. With gunicorn's ``--preload`` the
    master does not listen, its workers do.
    """
    settings = _settings(config).settings
    try:
        directory = shared().path
    except RunDirectoryError as error:
        LOGGER.warning("The processes of this host cannot ask each other: %s", error)
        directory = None
    broadcaster().start(directory, redis.shared(settings.redis), settings.broadcast.prefix)


def _settings(config: "Configurator | None") -> Loaded:
    known: Loaded | None = getattr(getattr(config, "registry", None), "c2c_settings", None)
    if known is None:
        known = load(ini=config.registry.settings if config is not None else {})
        known.raise_for_application()
    return known
