"""Questions to processes of other hosts, and to those of the predecessor, through Redis."""

import json
import re
import secrets
import string
import time
from typing import TYPE_CHECKING, Any, Final

from c2cotel.broadcast.link import Link
from c2cotel.broadcast.messages import UNKNOWN, Heard, Ignored, IgnoredError, Process, read_answer

if TYPE_CHECKING:
    from redis.client import PubSub

PRESENCE: Final = "c2c_process/"
"""After the prefix, ``c2c_process/<host>/<pid>/<token>/<channel>`` is subscribed to by each process
that has subscribed to the channel: who is silent can be named."""

# Seconds that Redis has to confirm a subscription.
CONFIRMED_WITHIN: Final = 0.5
_SLICE: Final = 0.5
# Seconds to read what has come already, when the time is up.
_LAST: Final = 0.2
_SUFFIX: Final = string.ascii_uppercase + string.digits


class RemoteAsk:
    """One question through *link*; *skip* are the tokens of those that are asked otherwise."""

    def __init__(
        self, link: Link, prefix: str, channel: str, skip: list[str], ignored: Ignored
    ) -> None:
        self._link = link
        self._prefix = prefix
        self._channel = channel
        self._skip = frozenset(skip)
        self._ignored = ignored
        self._pubsub: PubSub | None = None
        self._answers_to = ""
        self._expected = 0
        self._heard: list[Heard] = []
        self._known: set[str] = set()
        self._skipped = 0
        self.sent = False
        """Whether Redis has taken the question."""

    def put(self, document: dict[str, Any], *, wants_answers: bool) -> None:
        """Ask; if Redis is away, nobody is asked, and that is said in the log."""
        import redis

        if not self._link.may_try():
            return
        try:
            with self._link.trying():
                if wants_answers:
                    self._subscribe()
                    document = {**document, "answer_channel": self._answers_to, "names": True}
                self._expected = self._link.client.publish(
                    self._prefix + self._channel, json.dumps(document)
                )
                self.sent = True
                if not self._link.attended:
                    self._link.is_back()
        except (redis.RedisError, OSError):
            self._give_up()

    def _subscribe(self) -> None:
        import redis

        suffix = "".join(secrets.choice(_SUFFIX) for _ in range(10))
        self._answers_to = f"{self._prefix}{self._channel}{suffix}"
        deadline = time.monotonic() + CONFIRMED_WITHIN
        self._pubsub = self._link.subscribed(self._answers_to)
        try:
            while (left := deadline - time.monotonic()) > 0:
                message = self._pubsub.get_message(timeout=left)
                if message and message["channel"] == self._answers_to.encode():
                    return
        except redis.ConnectionError:
            # The server may have closed it while it was kept; a new one tells the truth.
            self._link.close(self._pubsub)
            self._link.forget_kept()
            self._pubsub = self._link.subscribed(self._answers_to)
            self._pubsub.get_message(timeout=CONFIRMED_WITHIN)
            return
        raise redis.TimeoutError("it does not confirm a subscription")

    def collect(self, deadline: float) -> tuple[list[Heard], list[Process]]:
        """Wait for answers until *deadline* of the monotonic clock: these, and who is silent.

        What has come before is read even when the deadline has passed.
        """
        import redis

        if self._pubsub is None:
            return [], []
        try:
            with self._link.trying():
                self._read(self._pubsub, deadline)
                silent = self._silent()
                self._link.unsubscribe(self._pubsub, self._answers_to)
        except (redis.RedisError, OSError):
            self._give_up()
            return self._heard, []
        self._link.keep(self._pubsub)
        self._pubsub = None
        return self._heard, silent

    @property
    def _missing(self) -> int:
        return self._expected - len(self._heard) - self._skipped

    def _read(self, pubsub: "PubSub", deadline: float) -> None:
        while self._missing > 0:
            left = deadline - time.monotonic()
            message = pubsub.get_message(timeout=max(0.0, min(left, _SLICE)))
            if message is not None:
                self._take(message)
            elif left <= 0:
                return
            if left < -_LAST or not self._link.may_try():
                return

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] != "message" or message["channel"] != self._answers_to.encode():
            return
        try:
            heard = read_answer(message["data"])
        except IgnoredError as error:
            self._ignored(f"an answer on {self._channel}", error)
            return
        if token := heard.process.token:
            if token in self._known:
                return
            self._known.add(token)
        if heard.skipped:
            self._skipped += 1
        else:
            self._heard.append(heard)

    def _silent(self) -> list[Process]:
        """Who of those that Redis counted has not answered."""
        if self._missing <= 0:
            return []
        present = [p for p in self._present() if p.token not in self._known]
        # These are waited for elsewhere.
        elsewhere = sum(process.token in self._skip for process in present)
        named = [process for process in present if process.token not in self._skip]
        missing = self._missing - elsewhere
        return (named + [UNKNOWN] * missing)[: max(0, missing)]

    def _present(self) -> list[Process]:
        start = f"{self._prefix}{PRESENCE}"
        pattern = f"{_escaped(start)}*/{_escaped(self._channel)}"
        found = []
        for name in self._link.channels(pattern):
            parts = name.removeprefix(start).split("/", 3)
            if len(parts) == 4 and parts[1].isdigit() and parts[3] == self._channel:  # noqa: PLR2004
                found.append(Process(parts[0], int(parts[1]), parts[2]))
        return sorted(found, key=str)

    def _give_up(self) -> None:
        if self._pubsub is not None:
            self._link.close(self._pubsub)
            self._pubsub = None

    def close(self) -> None:
        """Harmless when it is done already."""
        self._give_up()


def presence(prefix: str, process: Process, channel: str = "") -> str:
    """The channel whose only subscriber is *process*."""
    return f"{prefix}{PRESENCE}{process.host}/{process.pid}/{process.token}/{channel}"


def _escaped(text: str) -> str:
    """*text* as a pattern of Redis that matches itself."""
    return re.sub(r"([\\*?\[\]^-])", r"\\\1", text)
