"""What processes say to each other, and what of it is believed.

A question is the predecessor's, with keys of ours that it ignores::

    {"params": {…}, "answer_channel": "<prefix><channel><10 of [A-Z0-9]>",
     "skip": [token, …], "names": true, "context": {"traceparent": …}}

``skip`` are the processes that are asked in another way, ``names`` wants each answer to say whose
it is, ``context`` are the headers that an outgoing request would have. An answer is the JSON of
what the callback returned; to who wants names it is ``{"c2c_process": [host, pid, token],
"answer": …}``, or ``"skipped": true`` instead of the answer.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry import context, propagate

from c2cotel_instrumentation.redaction import redacted_text

LOGGER = logging.getLogger(__name__)

LONGEST: Final = 64 * 1024
"""Bytes of a question; longer ones are not read. What is sent leaves 8 kB of them."""

LONGEST_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of an answer: Redis cuts off who is sent 32 MB at once."""

LONGEST_CHANNEL: Final = 512

_MOST_HEADERS: Final = 16
_LONGEST_HEADER: Final = 8192
_LONGEST_TEXT: Final = 1000
_LONGEST_REASON: Final = 200
# Seconds between two warnings about messages that are ignored.
_QUIET: Final = 10.0

Callback = Callable[..., Any]


class IgnoredError(ValueError):
    """A message that nothing is done with; the text says why, without what is in it."""


@dataclass(frozen=True)
class Process:
    """A process as others see it.

    Attributes:
        host: The name of its host; ``?`` where nobody knows.
        pid: Its number there; 0 where nobody knows.
        token: Another one in each life of a process; empty for the predecessor's.
    """

    host: str
    pid: int
    token: str = ""

    def __str__(self) -> str:
        return f"{self.host}/{self.pid}"


UNKNOWN: Final = Process("?", 0)


@dataclass(frozen=True)
class Replies:
    """What came of a question.

    Attributes:
        answers: One from each process that answered: that of the asker, then those of its host,
            then those of others, each in order of arrival. Dictionaries have ``hostname`` and
            ``pid`` in them.
        silent: Who was asked and did not answer in time.
        answered: Who gave the answer of the same index.
    """

    answers: list[Any] = field(default_factory=list)
    silent: tuple[Process, ...] = ()
    answered: tuple[Process, ...] = ()


@dataclass(frozen=True)
class Question:
    """One that has been read.

    Attributes:
        answer_channel: Where the answer goes, as a whole name; ``None`` if nobody wants it.
        skip: Tokens of processes that are asked in another way.
        names: Whether the answer is to say whose it is.
        context: Headers, see :func:`headers_now`.
    """

    channel: str
    params: dict[str, Any]
    answer_channel: str | None = None
    skip: frozenset[str] = frozenset()
    names: bool = False
    context: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Heard:
    """An answer that has been read; *skipped* if it is none but says that none will come."""

    process: Process
    answer: Any = None
    skipped: bool = False


def read_question(channel: str, data: bytes, prefix: str = "") -> Question:
    """The question in *data*, which came on *channel*.

    Raises:
        IgnoredError: it is none.
    """
    document = read_object(data)
    params, target = document.get("params"), document.get("answer_channel")
    skip = document.get("skip", [])
    if not isinstance(params, dict):
        raise IgnoredError("its params are not an object of keyword arguments")
    if target is not None and not isinstance(target, str):
        raise IgnoredError("its answer_channel is not a text")
    if target is not None and (not target.startswith(prefix) or len(target) > LONGEST_CHANNEL):
        raise IgnoredError(f"its answer_channel does not begin with {prefix!r}, or is too long")
    if not isinstance(skip, list):
        raise IgnoredError("its skip is not a list")
    return Question(
        channel,
        params,
        target,
        frozenset(token for token in skip if isinstance(token, str)),
        document.get("names") is True,
        _headers(document.get("context")),
    )


def read_object(data: bytes) -> dict[str, Any]:
    """The JSON object in *data*.

    Raises:
        IgnoredError: there is none, or it is too long.
    """
    if len(data) > LONGEST:
        raise IgnoredError(f"it has {len(data)} bytes, {LONGEST} are the limit")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise IgnoredError("it is not JSON") from None
    if not isinstance(document, dict):
        raise IgnoredError("it is not a JSON object")
    return document


def _headers(given: object) -> dict[str, str]:
    if not isinstance(given, dict) or len(given) > _MOST_HEADERS:
        return {}
    return {
        name: value
        for name, value in given.items()
        if isinstance(value, str) and len(name) + len(value) <= _LONGEST_HEADER
    }


def headers_now() -> dict[str, str]:
    """What the headers of an outgoing request would say about the current one."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def answer(question: Question, callback: Callback, process: Process, ignored: "Ignored") -> str:
    """The JSON of what *callback* returns, in the Context of whoever asked."""
    token = context.attach(propagate.extract(question.context))
    try:
        return _encoded(callback(**question.params), process)
    except Exception as error:
        if isinstance(error, TypeError) and _is_of_the_call(error):
            why = f"its params are not those of the callback: {error!r}"
            ignored(f"channel {question.channel}", redacted_text(why)[:_LONGEST_REASON])
            return refusal(500, str(error), process)
        # The callback is the application's, and so is what it cannot stand.
        LOGGER.exception("The callback of broadcast channel %s failed.", question.channel)
        return refusal(500, str(error), process)
    finally:
        context.detach(token)


def _is_of_the_call(error: TypeError) -> bool:
    """Whether it was raised here by the call, not there by what is called.

    :func:`inspect.signature` would not tell for sure: a decorator may say that it is what it wraps,
    and ``self`` fits ``**params`` but not the call.
    """
    here = error.__traceback__
    return here is not None and here.tb_next is None


def _encoded(result: Any, process: Process) -> str:
    if isinstance(result, dict):
        result = {**result, "hostname": process.host, "pid": process.pid}
    try:
        text = json.dumps(result)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"The answer is not JSON: {error}") from error
    if len(text) > LONGEST_ANSWER:
        raise ValueError(f"The answer has {len(text)} bytes, {LONGEST_ANSWER} are the limit.")
    return text


def refusal(status: int, message: str, process: Process) -> str:
    """The JSON of an answer that is an error."""
    shown = redacted_text(message)[:_LONGEST_TEXT]
    named = {"hostname": process.host, "pid": process.pid}
    return json.dumps({"status": status, "message": shown, **named})


def with_name(text: str, process: Process) -> str:
    """*text*, the JSON of an answer, in an envelope that says whose it is."""
    return f'{{"c2c_process": {_name(process)}, "answer": {text}}}'


def skipped(process: Process) -> str:
    """What a process says that is asked in another way."""
    return f'{{"c2c_process": {_name(process)}, "skipped": true}}'


def _name(process: Process) -> str:
    return json.dumps([process.host, process.pid, process.token])


def read_answer(data: bytes) -> Heard:
    """The answer in *data*, with or without an envelope.

    Raises:
        IgnoredError: it is none.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise IgnoredError("it is not JSON") from None
    if not isinstance(document, dict):
        return Heard(UNKNOWN, document)
    match document.get("c2c_process"):
        case [str() as host, int() as pid, str() as token]:
            if document.get("skipped") is True:
                return Heard(Process(host, pid, token), skipped=True)
            return Heard(Process(host, pid, token), document.get("answer"))
    match document:
        case {"hostname": str() as host, "pid": int() as pid}:
            return Heard(Process(host, pid), document)
    return Heard(UNKNOWN, document)


class Ignored:
    """Says that a message is ignored, without filling the log."""

    def __init__(self) -> None:
        self._silent_until = 0.0
        self._more = 0

    def __call__(self, where: str, why: object) -> None:
        if time.monotonic() < self._silent_until:
            self._more += 1
            return
        more, self._more = self._more, 0
        self._silent_until = time.monotonic() + _QUIET
        LOGGER.warning(
            "A message of the broadcast is ignored (%s): %s.%s",
            where,
            why,
            f" So were {more} before it." if more else "",
        )
