"""What this process answers: the callback of each channel, called in threads of their own."""

import logging
import threading
from typing import Final, NamedTuple

from c2cotel.broadcast import messages
from c2cotel.broadcast.local import Reply
from c2cotel.broadcast.messages import Callback, Ignored, Process, Question
from c2cotel.pool import DaemonPool

LOGGER = logging.getLogger(__name__)

_THREADS: Final = 8
_PROMPT_THREADS: Final = 2
_PENDING: Final = 100


class _Subscribed(NamedTuple):
    callback: Callback
    pool: DaemonPool


class Subscriptions:
    """Callbacks by their channels; they change in any thread.

    Those of prompt channels have threads that the others cannot keep busy.
    """

    def __init__(self, ignored: Ignored) -> None:
        self._ignored = ignored
        self._callbacks: dict[str, _Subscribed] = {}
        self._pool = DaemonPool(_THREADS, _PENDING, "c2cotel-broadcast")
        self._prompt = DaemonPool(_PROMPT_THREADS, _PENDING, "c2cotel-broadcast-prompt")
        self.renew()

    def renew(self) -> None:
        """In a forked child: the lock may have been held by a thread of the parent."""
        self._lock = threading.Lock()

    @property
    def channels(self) -> tuple[str, ...]:
        """Whatever has a callback."""
        return tuple(self._callbacks)

    def add(self, channel: str, callback: Callback, *, prompt: bool) -> None:
        """As :meth:`Broadcaster.subscribe`."""
        if not channel or len(channel) > messages.LONGEST_CHANNEL // 2:
            raise ValueError(f"{channel[:40]!r} is not the name of a channel: 1 to 256 characters.")
        subscribed = _Subscribed(callback, self._prompt if prompt else self._pool)
        with self._lock:
            self._callbacks = {**self._callbacks, channel: subscribed}

    def remove(self, channel: str) -> None:
        """Nothing answers on *channel* any more."""
        with self._lock:
            self._callbacks = {name: c for name, c in self._callbacks.items() if name != channel}

    def clear(self) -> None:
        """Nothing answers any more."""
        with self._lock:
            self._callbacks = {}

    def callback(self, channel: str) -> Callback | None:
        """What answers on *channel*."""
        known = self._callbacks.get(channel)
        return None if known is None else known.callback

    def is_answering(self) -> bool:
        """Whether this thread is one of those that call the callbacks."""
        return self._pool.is_mine() or self._prompt.is_mine()

    def deliver(self, question: Question, reply: Reply, me: Process) -> None:
        """Have *question* answered by a thread of ours."""
        subscribed = self._callbacks.get(question.channel)
        if subscribed is None:
            reply(None)
        elif not subscribed.pool.submit(self._answer, question, subscribed.callback, reply, me):
            LOGGER.warning(
                "A question on %s is not answered: %d others wait already.",
                question.channel,
                _PENDING,
            )
            reply(messages.refusal(503, "Too many questions wait already.", me))

    def deliver_here(self, question: Question, reply: Reply, me: Process) -> None:
        """Answer *question* in this thread."""
        if (subscribed := self._callbacks.get(question.channel)) is None:
            reply(None)
        else:
            self._answer(question, subscribed.callback, reply, me)

    def _answer(self, question: Question, callback: Callback, reply: Reply, me: Process) -> None:
        reply(messages.answer(question, callback, me, self._ignored))
