"""The answers of processes that are asked about jobs, see :mod:`c2cotel.debug.jobs`.

They come from other processes, perhaps of another version: what cannot be read is left out.
"""

import base64
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from c2cotel.broadcast.messages import Process, Replies
from c2cotel.debug.job_records import Job, Left, Participant, UnknownProcessError
from c2cotel.debug.parts import expanded
from c2cotel.debug.taking_part import names

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """A process that could take part.

    Attributes:
        place: Where its parts are, the same for those that share them; empty for its memory.
        keeps: Whether it has something that only itself can give.
        running: What it does now, for *left* seconds; it is not *settled* while it has not begun
            everywhere.
    """

    process: Participant
    place: str = ""
    keeps: bool = False
    running: Job | None = None
    left: float = 0.0
    settled: bool = True

    def __str__(self) -> str:
        return str(self.process)


@dataclass(frozen=True)
class Members:
    """All processes; *silent* are those that did not answer."""

    processes: tuple[Member, ...]
    silent: tuple[str, ...]


def read_members(replies: Replies) -> Members:
    """Who has answered, and what that process does."""
    found = tuple(
        Member(
            Participant(process.host, process.pid, process.token),
            str(answer.get("place", "")),
            answer.get("keeps") is True,
            _read_job(answer.get("running")),
            _number(answer.get("left_seconds")),
            answer.get("settled") is not False,
        )
        for process, answer in read_answers(replies)
    )
    return Members(found, tuple(str(process) for process in replies.silent))


def choose(members: Members, pid: int | None, host: str | None) -> list[Member]:
    """All of *members*, or the one that is meant.

    Raises:
        UnknownProcessError: it is not there, or there are several.
    """
    if pid is None:
        return list(members.processes)
    found = [
        member
        for member in members.processes
        if member.process.pid == pid and host in (None, member.process.host)
    ]
    wanted = f"{host}/{pid}" if host is not None else str(pid)
    if not found:
        there = names(members.processes)
        raise UnknownProcessError(f"{wanted}: no such process; there are {there}")
    if len(found) > 1 and host is None:
        raise UnknownProcessError(f"{wanted}: several processes; write one of {names(found)}")
    return found


def read_answers(replies: Replies) -> list[tuple[Process, dict[str, Any]]]:
    """The answers that can be of such a process, with whose they are."""
    return [
        (process, answer)
        for process, answer in zip(replies.answered, replies.answers, strict=True)
        if isinstance(answer, dict) and process.token
    ]


def _number(told: Any) -> float:
    return float(told) if isinstance(told, int | float) else 0.0


def _read_job(told: Any) -> Job | None:
    try:
        return None if told is None else msgspec.convert(told, Job)
    except msgspec.ValidationError as error:
        LOGGER.debug("Another process does something unknown: %s", error)
        return None


def read_left(told: Any) -> list[Left]:
    """What a host has."""
    try:
        return [] if told is None else msgspec.convert(told, list[Left])
    except msgspec.ValidationError as error:
        LOGGER.warning("What another host has left cannot be read: %s", error)
        return []


def read_bodies(replies: Replies) -> Iterable[tuple[str, bytes]]:
    """What processes have found, by the token of each."""
    for _, answer in read_answers(replies):
        sent = answer.get("sent")
        if isinstance(sent, dict):
            data = ((token, _decoded(text)) for token, text in sent.items())
            yield from unpacked(data)


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text)
    except (ValueError, TypeError):
        return b""


def unpacked(items: Iterable[tuple[str, bytes]]) -> Iterable[tuple[str, bytes]]:
    """What was found, as it was before it was compressed."""
    for token, data in items:
        try:
            yield token, expanded(data)
        except ValueError as error:
            LOGGER.warning("A part of a job is left out: %s", error)
