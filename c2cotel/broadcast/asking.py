"""One question, in all the ways that it takes."""

import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from c2cotel.broadcast.link import Link
from c2cotel.broadcast.local import LocalAsk, request
from c2cotel.broadcast.messages import (
    LONGEST,
    Heard,
    Ignored,
    Process,
    Question,
    headers_now,
)
from c2cotel.broadcast.remote import RemoteAsk
from c2cotel.broadcast.sockets import Held

# Seconds that it may take to send a question that nobody is to answer.
_SENT_WITHIN: Final = 0.5
# Bytes that a message through Redis has more than one on this host: 20 for each process here.
_ROOM: Final = 8 * 1024


class Asking:
    """A question from this process to all; :meth:`collect` gives what came of it.

    Raises:
        TypeError, ValueError: *params* are not JSON, or have too many bytes.
    """

    def __init__(self, channel: str, params: dict[str, Any], *, wants_answers: bool) -> None:
        headers = headers_now()
        self._message = request(channel, params, headers, answer=wants_answers)
        if len(self._message) + _ROOM > LONGEST:
            raise ValueError(
                f"A question on {channel} has {len(self._message)} bytes; "
                f"{LONGEST - _ROOM} are the limit."
            )
        # What JSON makes of them: the same here as everywhere.
        self.question = Question(channel, json.loads(self._message)["params"], context=headers)
        self._wants_answers = wants_answers
        self._here: Here | None = None
        self._local: LocalAsk | None = None
        self._remote: RemoteAsk | None = None

    def here(self, process: Process) -> "Here":
        """Where the answer of this process goes."""
        self._here = Here(process)
        return self._here

    def local(self, directory: Path, process: Process, held: Held, ignored: Ignored) -> None:
        """Ask the other processes of this host."""
        self._local = LocalAsk(
            directory,
            process,
            self._message,
            wants_answers=self._wants_answers,
            held=held,
            ignored=ignored,
        )

    def remote(self, link: Link, prefix: str, process: Process, ignored: Ignored) -> None:
        """Ask those that listen on Redis, and have not been asked before."""
        question = self.question
        skip = [process.token, *(self._local.reached if self._local is not None else ())]
        self._remote = RemoteAsk(link, prefix, question.channel, skip, ignored)
        document = {"params": question.params, "skip": skip, "context": question.context}
        self._remote.put(document, wants_answers=self._wants_answers)

    @property
    def sent(self) -> bool:
        """Whether other hosts have been asked, if there is a way to them."""
        return self._remote is None or self._remote.sent

    def collect(self, deadline: float) -> tuple[list[Heard], list[Process]]:
        """Wait until *deadline* of the monotonic clock at most: the answers, and who is silent."""
        others = time.monotonic() + _SENT_WITHIN if not self._wants_answers else deadline
        # One after the other: what comes by the second way waits in its socket.
        told = [way.collect(others) for way in (self._local, self._remote) if way is not None]
        if self._here is not None:
            told.insert(0, self._here.collect(deadline))
        heard = [answer for answers, _ in told for answer in answers]
        silent = [process for _, missing in told for process in missing]
        return heard, silent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for way in (self._local, self._remote):
            if way is not None:
                way.close()


class Here:
    """The answer of this process to its own question."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._done = threading.Event()
        self._text: str | None = None

    def reply(self, text: str | None) -> None:
        self._text = text
        self._done.set()

    def collect(self, deadline: float) -> tuple[list[Heard], list[Process]]:
        if not self._done.wait(max(0.0, deadline - time.monotonic())):
            return [], [self._process]
        if self._text is None:
            return [], []
        return [Heard(self._process, json.loads(self._text))], []
