"""A job in all workers: told to all at once, done by each for itself, gathered afterwards.

A profile of the processor is one, a trace of the memory another. Whoever is asked for one asks who
is there, then tells all to begin, and who takes part; each leaves its part on its host
(:mod:`c2cotel.debug.parts`), so that a worker that has been replaced since is not missed, and one
that was killed is named.
"""

import base64
import secrets
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from c2cotel.broadcast.agreement import Agreement
from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.debug.gathered import Found, Listing, listing
from c2cotel.debug.job_answers import (
    Member,
    Members,
    choose,
    read_answers,
    read_bodies,
    read_left,
    read_members,
    unpacked,
)
from c2cotel.debug.job_records import BusyError, Job, Part, UnknownProcessError
from c2cotel.debug.parts import Parts
from c2cotel.debug.taking_part import Begin, End, TakingPart, Work, busy_text, names

__all__ = [
    "BusyError",
    "End",
    "Found",
    "Job",
    "Jobs",
    "Listing",
    "Member",
    "Members",
    "Part",
    "UnknownProcessError",
    "Work",
]

# Seconds that the answers of the other processes are waited for; of bodies, each time.
_PATIENCE: Final = 2.0
_PATIENCE_FOR_BODIES: Final = 15.0
# Where some have not answered before, and will not now: the others have shown that they do at once.
_HURRY: Final = 1.0
_HURRY_FOR_BODIES: Final = 5.0
# Compressed bytes in one answer; the broadcast lets 16 MB through, and base64 adds a third.
_MOST_AT_ONCE: Final = 8 * 1024 * 1024
_OK, _BUSY, _REFUSED = 200, 409, 400


class Jobs:
    """The jobs of one kind, as one process sees them.

    Args:
        kind: Small letters and ``_``.
        begin: Does this process's share of a job: it is given the job and where to put what it
            finds, begins a thread, and gives how to end that early. It raises
            :class:`BusyError` or :class:`ValueError` where it cannot; then nothing begins anywhere.
        title: What such a job is called.
    """

    def __init__(
        self,
        kind: str,
        begin: Begin,
        *,
        title: str,
        broadcaster: Broadcaster,
        agreement: Agreement,
    ) -> None:
        self.kind = kind
        self.title = title
        self._broadcaster = broadcaster
        self._parts = Parts(kind, lambda: broadcaster.directory)
        self._taking_part = TakingPart(begin, self._parts, title)
        self._channel = f"c2c_jobs_{kind}"
        # So a job is logged, counted and listed like all that operators do.
        self._switch = agreement.switch(kind, check=lambda _, value: value, apply=lambda *_: None)

    def listen(self) -> None:
        """Take part in what others order."""
        self._broadcaster.subscribe(self._channel, self._told, prompt=True)
        self._broadcaster.subscribe(f"{self._channel}_bodies", self._asked_for)

    # Ordering

    def members(self, timeout: float = _PATIENCE) -> Members:
        """Who is there, and what they do."""
        replies = self._broadcaster.ask(self._channel, {"what": "who"}, timeout)
        return read_members(replies)

    def start(  # noqa: PLR0913 - what is known of an order
        self,
        order: dict[str, Any],
        *,
        seconds: float,
        pid: int | None = None,
        host: str | None = None,
        actor: str = "",
        address: str = "",
    ) -> Job:
        """Have all processes begin, or the one *pid* of *host*.

        Raises:
            BusyError: one of them does something of the kind already.
            UnknownProcessError: there is no such process.
            ValueError: one of them cannot, and says why.
        """
        members = self.members()
        chosen = choose(members, pid, host)
        busy = [(str(each), each.running, each.left) for each in chosen if each.running]
        if busy:
            raise BusyError(busy_text(self.title, busy))
        job = Job(
            kind=self.kind,
            id=secrets.token_hex(8),
            order=order,
            seconds=seconds,
            at=time.time(),
            actor=actor,
            address=address,
            processes=tuple(each.process for each in chosen),
            silent=members.silent if pid is None else (),
        )
        self._tell_to_begin(job, _HURRY if members.silent else _PATIENCE)
        where = "all" if pid is None else names(chosen)
        told = {"id": job.id, "processes": where, **order}
        self._switch.set(told, ttl=max(seconds, 1.0), actor=actor, address=address)
        return job

    def _tell_to_begin(self, job: Job, patience: float) -> None:
        params = {"what": "start", "job": msgspec.to_builtins(job)}
        replies = self._broadcaster.ask(self._channel, params, patience)
        for _, answer in read_answers(replies):
            if answer.get("status") == _OK:
                continue
            self._broadcaster.tell(self._channel, {"what": "call_off", "id": job.id}, _PATIENCE)
            text = str(answer.get("message", "it cannot"))
            raise BusyError(text) if answer.get("status") == _BUSY else ValueError(text)

    def stop(self, id_: str, *, actor: str = "", address: str = "") -> bool:
        """End the job *id_* early, wherever it runs; whether it ran anywhere."""
        replies = self._broadcaster.ask(self._channel, {"what": "stop", "id": id_}, _PATIENCE)
        stopped = any(answer.get("stopped") is True for _, answer in read_answers(replies))
        state = self._switch.get()
        if stopped and state is not None and state.value.get("id") == id_:
            self._switch.reset(actor=actor, address=address)
        return stopped

    # Gathering

    def found(self, members: Members | None = None) -> Listing:
        """What there is on all hosts, newest first; *members*, if they have been asked before."""
        return self._found(None, members or self.members())

    def find(self, id_: str) -> Found | None:
        """What there is of the job *id_*."""
        return next(iter(self._found(id_, self.members()).jobs), None)

    def bodies(self, found: Found) -> dict[str, bytes]:
        """What the processes have found, by the name of the process."""
        wanted = {
            part.process.token: str(part.process)
            for part in found.parts
            if part.size and part.state != "running"
        }
        bodies = dict(unpacked(self._parts.bodies(found.job.id, wanted)))
        if missing := wanted.keys() - bodies.keys():
            members = self.members()
            patience = _HURRY_FOR_BODIES if members.silent else _PATIENCE_FOR_BODIES
            for source in self._sources(members):
                while more := self._bodies_by(source, found.job.id, missing, patience):
                    bodies |= more
                    missing -= more.keys()
        return {wanted[token]: bodies[token] for token in wanted if token in bodies}

    def _bodies_by(
        self, source: str, id_: str, missing: AbstractSet[str], patience: float
    ) -> dict[str, bytes]:
        """As many of the bodies that are *missing* as the process *source* sends at once."""
        if not missing:
            return {}
        params = {"by": source, "id": id_, "tokens": sorted(missing)}
        channel = f"{self._channel}_bodies"
        replies = self._broadcaster.ask(channel, params, patience, here=False)
        return {token: body for token, body in read_bodies(replies) if token in missing}

    def _found(self, id_: str | None, members: Members) -> Listing:
        left = self._parts.left(id_)
        if sources := self._sources(members):
            params = {"what": "list", "id": id_, "by": sources}
            patience = _HURRY if members.silent else _PATIENCE
            replies = self._broadcaster.ask(self._channel, params, patience, here=False)
            for _, answer in read_answers(replies):
                left += read_left(answer.get("left"))
        return listing(left, members.silent)

    def _sources(self, members: Members) -> list[str]:
        """Tokens of one other process for each place, and of those that keep their own."""
        known = {self._parts.place}
        sources = []
        for member in members.processes:
            if member.process.token == self._broadcaster.process.token:
                continue
            if member.keeps or (member.place and member.place not in known):
                sources.append(member.process.token)
                known.add(member.place)
        return sources

    # Answering

    def _told(self, what: str = "", **params: Any) -> dict[str, Any]:
        """What another process wants of this one, or itself."""
        answers: dict[str, Callable[..., dict[str, Any]]] = {
            "who": self._who,
            "start": self._begin,
            "stop": self._stop,
            "call_off": self._call_off,
            "list": self._list,
        }
        answer = answers.get(what)
        if answer is None:
            return {"status": _REFUSED, "message": f"{what[:80]!r} is not known here"}
        return {"status": _OK, **answer(**params)}

    def _who(self) -> dict[str, Any]:
        share = self._taking_part.share
        return {
            "place": self._parts.place,
            "keeps": self._parts.has_own,
            "running": None if share is None else msgspec.to_builtins(share.job),
            "left_seconds": 0.0 if share is None else share.left,
        }

    def _begin(self, job: Any) -> dict[str, Any]:
        ordered = msgspec.convert(job, Job)
        me = self._broadcaster.process.token
        mine = next((each for each in ordered.processes if each.token == me), None)
        if mine is None:
            self._parts.note(ordered)
            return {}
        try:
            self._taking_part.begin(ordered, mine)
        except BusyError as error:
            return {"status": _BUSY, "message": str(error)}
        except ValueError as error:
            return {"status": _REFUSED, "message": f"{mine}: {error}"}
        return {}

    def _stop(self, id: str) -> dict[str, Any]:  # noqa: A002
        return {"stopped": self._taking_part.stop(id)}

    def _call_off(self, id: str) -> dict[str, Any]:  # noqa: A002
        self._taking_part.call_off(id)
        return {}

    def _list(self, id: str | None, by: list[str]) -> dict[str, Any]:  # noqa: A002
        if self._broadcaster.process.token not in by:
            return {}
        return {"left": msgspec.to_builtins(self._parts.left(id))}

    def _asked_for(self, by: str, id: str, tokens: list[str]) -> dict[str, Any]:  # noqa: A002
        """What processes of this host have found, as many as go into one answer."""
        sent: dict[str, str] = {}
        if by == self._broadcaster.process.token:
            size = 0
            for token, data in self._parts.bodies(id, tokens):
                size += len(data)
                if sent and size > _MOST_AT_ONCE:
                    break
                sent[token] = base64.b64encode(data).decode()
        return {"status": _OK, "sent": sent}
