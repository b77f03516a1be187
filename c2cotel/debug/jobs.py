"""A job in all workers: told to all at once, done by each for itself, gathered afterwards.

A profile of the processor is one, a trace of the memory another. Whoever is asked for one asks who
is there, announces the job to one of them, then tells all to begin, and who takes part; each leaves
its part on its host (:mod:`c2cotel.debug.parts`), so that a worker that has been replaced since is
not missed, and one that was killed is named.

Of several who ask at the same moment one comes first where it is announced, which is the same
process for all; whoever comes later waits until that job has begun everywhere, and is refused with
its name, or until it has been called off.
"""

import secrets
import time
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from c2cotel.broadcast.agreement import Agreement
from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.debug.answering import BUSY, OK, Answering
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
from c2cotel.debug.job_records import (
    AnnouncedError,
    BusyError,
    Job,
    Part,
    UnknownProcessError,
)
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
# Seconds between two looks whether another job, which is about to begin, has.
_SOON: Final = 0.05


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
        self._answering = Answering(broadcaster, self._parts, self._taking_part)
        # So a job is logged, counted and listed like all that operators do.
        self._switch = agreement.switch(kind, check=lambda _, value: value, apply=lambda *_: None)

    def listen(self) -> None:
        """Take part in what others order."""
        self._broadcaster.subscribe(self._channel, self._answering.told, prompt=True)
        self._broadcaster.subscribe(f"{self._channel}_bodies", self._answering.bodies)

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
        until = time.monotonic() + _PATIENCE
        while True:
            members = self.members()
            chosen = choose(members, pid, host)
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
            try:
                self._check_free(chosen)
                self._begin_everywhere(job, _HURRY if members.silent else _PATIENCE)
            except AnnouncedError:
                if time.monotonic() > until:
                    raise
                time.sleep(_SOON)
            else:
                break
        where = "all" if pid is None else names(chosen)
        told = {"id": job.id, "processes": where, **order}
        self._switch.set(told, ttl=max(seconds, 1.0), actor=actor, address=address)
        return job

    def _check_free(self, chosen: list[Member]) -> None:
        busy = [(str(each), each.running, each.left) for each in chosen if each.running]
        if busy:
            text = busy_text(self.title, busy)
            settled = any(each.settled for each in chosen if each.running)
            raise BusyError(text) if settled else AnnouncedError(text)

    def _begin_everywhere(self, job: Job, patience: float) -> None:
        params: dict[str, Any] = {"job": msgspec.to_builtins(job)}
        try:
            # The first that answers; the others leave the decision to it.
            for token in sorted(process.token for process in job.processes):
                if self._tell("announce", patience, **params, by=token):
                    break
            self._tell("start", patience, **params)
        except BaseException:
            self._broadcaster.tell(self._channel, {"what": "call_off", "id": job.id}, _PATIENCE)
            raise
        self._broadcaster.tell(self._channel, {"what": "settle", "id": job.id}, _PATIENCE)

    def _tell(self, what: str, patience: float, **params: Any) -> bool:
        """Have all do *what*; whether anybody says to be the one who is meant."""
        replies = self._broadcaster.ask(self._channel, {"what": what, **params}, patience)
        answers = [answer for _, answer in read_answers(replies)]
        for answer in answers:
            if answer.get("status") == OK:
                continue
            text = str(answer.get("message", "it cannot"))
            if answer.get("status") != BUSY:
                raise ValueError(text)
            raise AnnouncedError(text) if answer.get("soon") is True else BusyError(text)
        return any(answer.get("mine") is True for answer in answers)

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
