"""The thread that hears the questions that come through Redis, and keeps the connection."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from c2cotel.broadcast.link import Link
from c2cotel.broadcast.local import Reply
from c2cotel.broadcast.messages import (
    Ignored,
    IgnoredError,
    Process,
    Question,
    read_question,
    skipped,
    with_name,
)
from c2cotel.broadcast.remote import CONFIRMED_WITHIN, presence

if TYPE_CHECKING:
    from redis.client import PubSub

LOGGER = logging.getLogger(__name__)

# Seconds of silence after which the server is asked whether it is there, and has to say so.
_PING_AFTER: Final = 2.0
_PONG_WITHIN: Final = 1.0
_TICK: Final = 0.5


class Subscriber:
    """This process's subscriptions, on *link*.

    *channels* tells which there are to be; *deliver* is given each question and what to answer it
    with, and must not wait; *connected* is called in the thread each time Redis is there again.
    """

    def __init__(  # noqa: PLR0913 - what connects it to its process
        self,
        link: Link,
        prefix: str,
        process: Process,
        *,
        channels: Callable[[], Iterable[str]],
        deliver: Callable[[Question, Reply], None],
        connected: Callable[[], None],
        ignored: Ignored,
    ) -> None:
        self._link = link
        self._prefix = prefix
        self._process = process
        self._channels = channels
        self._deliver = deliver
        self._connected = connected
        self._ignored = ignored
        self._stopped = threading.Event()
        self._tried = threading.Event()
        self._confirmed: set[bytes] = set()
        self._changed = threading.Condition()
        self._asked: set[str] = set()
        self._thread = threading.Thread(
            target=self._run, name="c2cotel-broadcast-redis", daemon=True
        )

    def start(self, timeout: float) -> None:
        """Connect; waits at most *timeout* seconds for the first attempt."""
        self._link.attended = True
        self._thread.start()
        self._tried.wait(timeout)

    def stop(self) -> None:
        self._stopped.set()
        self._wake()
        if self._thread is not threading.current_thread():
            self._thread.join(_PONG_WITHIN + _TICK)
        self._link.attended = False

    def refresh(self, channel: str) -> None:
        """*channels* has changed; waits a moment until Redis knows that *channel* is among them."""
        if not self._link.reachable or threading.current_thread() is self._thread:
            return
        name = (self._prefix + channel).encode()
        self._wake()
        with self._changed:
            self._changed.wait_for(lambda: name in self._confirmed, CONFIRMED_WITHIN)

    def _wake(self) -> None:
        """The thread waits for a message: here is one."""
        import redis

        if self._link.reachable:
            with (
                suppress(redis.RedisError, OSError),
                self._link.trying(),
                suppress_instrumentation(),
            ):
                self._link.client.publish(presence(self._prefix, self._process), "")

    def _run(self) -> None:
        while not self._stopped.is_set():
            pubsub: PubSub | None = None
            try:
                pubsub = self._connect()
                self._confirm(pubsub)
                self._listen(pubsub)
            except Exception as error:
                # Whatever it was, only this thread can bring the connection back.
                self._link.is_away(error)
                LOGGER.debug("The connection to Redis is lost.", exc_info=True)
            finally:
                if pubsub is not None:
                    self._link.close(pubsub)
                self._tried.set()
            self._stopped.wait(self._link.connections.retry_delay)

    def _connect(self) -> "PubSub":
        """Subscribe to everything."""
        self._link.forget_kept()
        self._asked = self._wanted()
        with self._changed:
            self._confirmed.clear()
        return self._link.subscribed(*self._asked)

    def _confirm(self, pubsub: "PubSub") -> None:
        """Wait until the subscriptions are confirmed."""
        import redis

        deadline = time.monotonic() + CONFIRMED_WITHIN
        while len(self._confirmed) < len(self._asked):
            left = deadline - time.monotonic()
            if left <= 0:
                raise redis.TimeoutError("it does not confirm a subscription")
            self._handle(pubsub.get_message(timeout=left))

    def _wanted(self) -> set[str]:
        wanted = {presence(self._prefix, self._process)}
        for channel in self._channels():
            wanted |= {self._prefix + channel, presence(self._prefix, self._process, channel)}
        return wanted

    def _listen(self, pubsub: "PubSub") -> None:
        import redis

        self._is_there()
        tick = min(_TICK, self._link.connections.message_timeout)
        heard, pinged = time.monotonic(), 0.0
        while not self._stopped.is_set():
            self._update(pubsub)
            message = pubsub.get_message(timeout=tick)
            now = time.monotonic()
            if message is not None:
                heard, pinged = now, 0.0
                self._is_there()
                self._handle(message)
            elif pinged:
                if now > pinged + _PONG_WITHIN:
                    raise redis.TimeoutError(f"no answer to a ping within {_PONG_WITHIN:g} s")
            elif now > heard + _PING_AFTER or self._link.suspected.is_set():
                with suppress_instrumentation():
                    pubsub.ping()
                pinged = now

    def _is_there(self) -> None:
        if not self._link.reachable and self._link.is_back():
            self._tried.set()
            self._connected()

    def _update(self, pubsub: "PubSub") -> None:
        wanted = self._wanted()
        if wanted == self._asked:
            return
        if added := wanted - self._asked:
            with suppress_instrumentation():
                pubsub.subscribe(*added)
        if removed := self._asked - wanted:
            self._link.unsubscribe(pubsub, *removed)
        self._asked = wanted

    def _handle(self, message: dict[str, Any] | None) -> None:
        if message is None:
            return
        match message["type"]:
            case "subscribe":
                with self._changed:
                    self._confirmed.add(message["channel"])
                    self._changed.notify_all()
            case "unsubscribe":
                with self._changed:
                    self._confirmed.discard(message["channel"])
            case "message":
                self._hear(message["channel"].decode(errors="replace"), message["data"])

    def _hear(self, name: str, data: bytes) -> None:
        channel = name.removeprefix(self._prefix)
        if name.startswith(presence(self._prefix, self._process)):
            return  # it has woken the thread
        try:
            question = read_question(channel, data, self._prefix)
            if question.answer_channel in self._asked:
                # The answers would be questions to everybody.
                raise IgnoredError("its answer_channel is one for questions")  # noqa: TRY301
        except IgnoredError as error:
            self._ignored(f"channel {channel} of Redis", error)
            return
        if self._process.token not in question.skip:
            self._deliver(question, self._reply_to(question))
        elif question.answer_channel is not None:
            self._publish(question.answer_channel, skipped(self._process))

    def _reply_to(self, question: Question) -> Reply:
        def reply(text: str | None) -> None:
            # Who is not subscribed any more has been counted: something must be said.
            if question.answer_channel is None:
                return
            if text is None:
                text = skipped(self._process) if question.names else "null"
            elif question.names:
                text = with_name(text, self._process)
            self._publish(question.answer_channel, text)

        return reply

    def _publish(self, channel: str, text: str) -> None:
        import redis

        with (
            suppress(redis.RedisError, OSError),
            self._link.trying(),
            suppress_instrumentation(),
        ):
            self._link.client.publish(channel, text)
