"""One process's part in the broadcast: whom it can ask, and what it answers.

Two ways are used together. All processes of this host are reached over sockets in the run
directory (:mod:`c2cotel.broadcast.local`), also while Redis is away. Where Redis is configured,
those of other hosts are reached through it (:mod:`c2cotel.broadcast.remote`); the question says
who has it already, so that each process hears it once.

Callbacks run in a few threads of their own (:mod:`c2cotel.broadcast.subscriptions`), not in those
that listen. At a fork the child closes
what it inherited. It listens by itself only if its parent did not, but was asked to: that is
gunicorn's master with ``--preload``.
"""

import atexit
import functools
import logging
import os
import secrets
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from opentelemetry.metrics import MeterProvider

from c2cotel.broadcast.asking import Asking
from c2cotel.broadcast.link import Link
from c2cotel.broadcast.listener import LocalListener
from c2cotel.broadcast.local import Reply
from c2cotel.broadcast.messages import Callback, Ignored, Process, Question, Replies
from c2cotel.broadcast.metrics import Numbers
from c2cotel.broadcast.sockets import Held
from c2cotel.broadcast.subscriber import Subscriber
from c2cotel.broadcast.subscriptions import Subscriptions
from c2cotel.forking import at_fork
from c2cotel.metrics import lineage
from c2cotel.pool import DaemonPool
from c2cotel.redis import Connections

LOGGER = logging.getLogger(__name__)

_PENDING: Final = 100
# Seconds that starting waits for Redis.
_FIRST_ATTEMPT: Final = 1.0


class Broadcaster:
    """Asks the other processes, and answers them; before :meth:`start` it is alone.

    Attributes:
        process: This process, as others see it.
        directory: Where the processes of this host meet; ``None`` if nowhere.
        redis: The clients of Redis; ``None`` if none is configured.
        prefix: What the names of channels and keys in Redis begin with.
    """

    def __init__(
        self, *, host: str | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._host = host or socket.gethostname()
        self._meter_provider = meter_provider
        self._on_start: list[Callable[[], None]] = []
        self._on_connected: list[Callable[[], None]] = []
        # One at a time, and never refused because of questions; of many that wait, one does.
        self._connected = DaemonPool(1, _PENDING, "c2cotel-broadcast-connected")
        self._held = Held()
        self._ignored = Ignored()
        self._subscriptions = Subscriptions(self._ignored)
        self._numbers: Numbers | None = None
        self._link: Link | None = None
        self._forget()
        self._become()
        at_fork(self._freeze, self._thaw, self._renew)
        ending = weakref.WeakMethod(self._end)
        atexit.register(lambda: (method := ending()) and method())

    def _forget(self) -> None:
        self.directory: Path | None = None
        self.redis: Connections | None = None
        self.prefix = ""
        self._started = False
        # Started, but not listening: a process forked from this one will.
        self._put_off = False

    def _become(self) -> None:
        """A process that does not listen yet."""
        self._pid = os.getpid()
        self.process = Process(self._host, self._pid, secrets.token_hex(8))
        self._lock = threading.RLock()
        self._listening = False
        self._local: LocalListener | None = None
        self._subscriber: Subscriber | None = None

    # Starting and stopping

    def start(self, directory: Path | None, redis: Connections | None, prefix: str) -> None:
        """Listen, so that others can ask this process; the second time nothing happens.

        A Redis that is away delays it by one second at most.
        """
        with self._lock:
            if self._started:
                if (directory, redis, prefix) != (self.directory, self.redis, self.prefix):
                    LOGGER.warning(
                        "The broadcast has been started before, and goes on with the run "
                        "directory, Redis and prefix that it was given then."
                    )
                return
            self.directory, self.redis, self.prefix = directory, redis, prefix
            self._link = Link(redis) if redis is not None else None
            self._started = True
            self._put_off = _will_fork()
        if self._put_off:
            # Registered last: in the child, whatever listening uses has been renewed before.
            listening = weakref.WeakMethod(self._listen_in_child)
            os.register_at_fork(after_in_child=lambda: (method := listening()) and method())
        else:
            self._listen()

    def _listen(self) -> None:
        if self.directory is not None:
            self._listen_in(self.directory)
        if self._link is not None:
            subscriber = Subscriber(
                self._link,
                self.prefix,
                self.process,
                channels=lambda: self._subscriptions.channels,
                deliver=self._deliver,
                connected=self._has_connected,
                ignored=self._ignored,
            )
            self._subscriber = subscriber
            subscriber.start(_FIRST_ATTEMPT)
        with self._lock:
            self._listening = True
            callbacks = tuple(self._on_start)
        for callback in callbacks:
            _call(callback)

    def _listen_in(self, directory: Path) -> None:
        local = LocalListener(
            directory, self.process, self._deliver, held=self._held, ignored=self._ignored
        )
        try:
            local.start()
        except (OSError, RuntimeError) as error:
            LOGGER.warning(
                "The other processes of this host cannot ask process %d: %s: %s. Let it write "
                "there, or set C2C_RUN_DIR to another directory.",
                self._pid,
                directory,
                error,
            )
            return
        self._local = local

    def stop(self) -> None:
        """Stop listening, and forget the subscriptions and everything else."""
        with self._lock:
            self._subscriptions.clear()
            self._on_start.clear()
            self._on_connected.clear()
            self._end()
            local, self._local = self._local, None
            subscriber, self._subscriber = self._subscriber, None
            link, self._link = self._link, None
            self._forget()
        if local is not None:
            local.stop()
        if subscriber is not None:
            subscriber.stop()
        if link is not None:
            link.close_all()
        self._held.close_all()
        self._become()

    def _end(self) -> None:
        """The process ends: nobody shall ask it any more."""
        if self._local is not None and self._pid == os.getpid():
            self._local.unlink()

    @property
    def reachable(self) -> bool | None:
        """Whether Redis answered the last time; ``None`` if none is configured."""
        return self._link.reachable if self._link is not None else None

    def redis_failed(self, error: BaseException) -> None:
        """Somebody else has found that Redis is away: nobody here need wait for it again."""
        if self._link is not None:
            self._link.is_away(error)

    def on_start(self, callback: Callable[[], None]) -> None:
        """Call *callback* in each process that listens, once others can reach it.

        At once if this one does; otherwise before :meth:`start` returns, or in a thread of a
        process that was forked with ``--preload``.
        """
        with self._lock:
            self._on_start.append(callback)
            listening = self._listening
        if listening:
            _call(callback)

    def on_connected(self, callback: Callable[[], None]) -> None:
        """Call *callback*, in a thread of its own, each time Redis has been (re)connected."""
        with self._lock:
            self._on_connected.append(callback)
        if self._subscriber is not None and self.reachable:
            self._connected.submit(callback)

    def _has_connected(self) -> None:
        for callback in tuple(self._on_connected):
            self._connected.submit(callback)

    # Forking

    def _freeze(self) -> None:
        self._held.freeze()
        if self._link is not None:
            self._link.freeze()

    def _thaw(self) -> None:
        self._held.thaw()
        if self._link is not None:
            self._link.thaw()

    def _renew(self) -> None:
        """In a forked child."""
        self._held.drop()
        self._subscriptions.renew()
        if self._link is not None:
            self._link.drop()
        self._become()

    def _listen_in_child(self) -> None:
        if self._put_off:
            self._put_off = False
            thread = threading.Thread(
                target=self._listen, name="c2cotel-broadcast-start", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                LOGGER.warning("Process %d cannot be asked: %s", self._pid, error)

    # Answering

    def subscribe(self, channel: str, callback: Callback, *, prompt: bool = False) -> None:
        """Have *callback* answer what is asked on *channel*; it gets keyword arguments.

        When it returns, other processes can ask this one. An earlier callback is replaced. A
        *prompt* one is called also while many others take long; it does not take long itself.
        """
        self._subscriptions.add(channel, callback, prompt=prompt)
        if self._subscriber is not None:
            self._subscriber.refresh(channel)

    def unsubscribe(self, channel: str) -> None:
        """Do not answer on *channel* any more."""
        self._subscriptions.remove(channel)

    def subscribed(self, channel: str) -> Callback | None:
        """What answers on *channel* in this process; nothing where only forked ones listen."""
        return None if self._put_off else self._subscriptions.callback(channel)

    def _deliver(self, question: Question, reply: Reply) -> None:
        self._subscriptions.deliver(question, reply, self.process)

    # Asking

    def ask(
        self,
        channel: str,
        params: dict[str, Any] | None = None,
        timeout: float = 10.0,
        *,
        here: bool = True,
    ) -> Replies:
        """Ask every process, and wait *timeout* seconds at most.

        *params* are the keyword arguments of the callbacks; they must survive ``json.dumps``.
        Without *here*, this process is not asked.

        Raises:
            TypeError, ValueError: they do not, or have more than 56 kB, together with the headers
                that an outgoing request would have.
        """
        began = time.monotonic()
        with self._asking(channel, params, here=here, wants_answers=True) as asking:
            heard, silent = asking.collect(began + timeout)
        replies = Replies(
            [each.answer for each in heard], tuple(silent), tuple(each.process for each in heard)
        )
        known = channel if self._subscriptions.callback(channel) is not None else None
        self._numbers = self._numbers or Numbers(self._meter_provider)
        self._numbers.asked(known, time.monotonic() - began, replies)
        if silent:
            LOGGER.warning(
                "No answer on %s within %g s from %s.",
                channel,
                timeout,
                ", ".join(str(process) for process in silent),
            )
        return replies

    def ask_host(
        self, directory: Path, channel: str, params: dict[str, Any], timeout: float
    ) -> Replies:
        """Ask the other processes that listen in *directory*; this one need not listen.

        Raises:
            TypeError, ValueError: as :meth:`ask`.
        """
        deadline = time.monotonic() + timeout
        with Asking(channel, params, wants_answers=True) as asking:
            asking.local(directory, self.process, self._held, self._ignored)
            heard, silent = asking.collect(deadline)
        return Replies(
            [each.answer for each in heard], tuple(silent), tuple(each.process for each in heard)
        )

    def tell(
        self,
        channel: str,
        params: dict[str, Any] | None = None,
        timeout: float = 10.0,
        *,
        here: bool = True,
    ) -> bool:
        """Have every process called, without waiting for the others.

        This one's callback has been called when it returns, unless it takes more than *timeout*
        seconds. False: Redis is away, and other hosts were not told.

        Raises:
            TypeError, ValueError: as :meth:`ask`.
        """
        deadline = time.monotonic() + timeout
        with self._asking(channel, params, here=here, wants_answers=False) as asking:
            asking.collect(deadline)
            return asking.sent

    @contextmanager
    def _asking(
        self, channel: str, params: dict[str, Any] | None, *, here: bool, wants_answers: bool
    ) -> Iterator[Asking]:
        """A question that has been put."""
        if self._pid != os.getpid():  # a fork that did not run Python's hooks
            self._renew()
            self._listen_in_child()
        with Asking(channel, params or {}, wants_answers=wants_answers) as asking:
            reply = asking.here(self.process).reply if here else None
            # In a thread of a pool all others may wait for the same: not for another thread.
            inline = self._subscriptions.is_answering()
            if reply and not inline:
                self._deliver(asking.question, reply)
            if self.directory is not None:
                asking.local(self.directory, self.process, self._held, self._ignored)
            if self._link is not None:
                asking.remote(self._link, self.prefix, self.process, self._ignored)
            if reply and inline:
                self._subscriptions.deliver_here(asking.question, reply, self.process)
            yield asking


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        # The other callbacks, and the process, do not depend on this one.
        LOGGER.exception("%r failed when the broadcast started.", callback)


def _will_fork() -> bool:
    """Whether this is gunicorn's master: it does not serve, its workers do."""
    if "gunicorn.arbiter" not in sys.modules:
        return False
    if not Path("/proc/self/stat").exists():
        return False
    with suppress(OSError):
        return lineage.origin() == lineage.of(os.getpid())
    return False


@functools.cache
def broadcaster() -> Broadcaster:
    """The one of this process."""
    return Broadcaster()
