"""What a process answers when it is asked about jobs, see :mod:`c2cotel.debug.jobs`."""

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.debug.job_records import AnnouncedError, BusyError, Job, Participant
from c2cotel.debug.parts import Parts
from c2cotel.debug.taking_part import TakingPart

if TYPE_CHECKING:
    from collections.abc import Callable

OK: Final = 200
BUSY: Final = 409
_REFUSED: Final = 400
# Compressed bytes in one answer; the broadcast lets 16 MB through, and base64 adds a third.
_MOST_AT_ONCE: Final = 8 * 1024 * 1024


class Answering:
    """The answers of one process, which takes part in jobs and keeps what they left."""

    def __init__(self, broadcaster: Broadcaster, parts: Parts, taking_part: TakingPart) -> None:
        self._broadcaster = broadcaster
        self._parts = parts
        self._taking_part = taking_part

    def told(self, what: str = "", **params: Any) -> dict[str, Any]:
        """What another process wants of this one, or itself."""
        answers: dict[str, Callable[..., dict[str, Any]]] = {
            "who": self._who,
            "announce": self._announce,
            "start": self._begin,
            "settle": self._settle,
            "stop": self._stop,
            "call_off": self._call_off,
            "list": self._list,
        }
        answer = answers.get(what)
        if answer is None:
            return {"status": _REFUSED, "message": f"{what[:80]!r} is not known here"}
        return {"status": OK, **answer(**params)}

    def _who(self) -> dict[str, Any]:
        share = self._taking_part.share
        return {
            "place": self._parts.place,
            "keeps": self._parts.has_own,
            "running": None if share is None else msgspec.to_builtins(share.job),
            "left_seconds": 0.0 if share is None else share.left,
            "settled": share is None or share.settled,
        }

    def _announce(self, job: Any, by: str) -> dict[str, Any]:
        ordered = msgspec.convert(job, Job)
        mine = self._mine(ordered)
        if mine is None or mine.token != by:
            return {}
        try:
            self._taking_part.announce(ordered, mine)
        except BusyError as error:
            return _busy(error)
        return {"mine": True}

    def _begin(self, job: Any) -> dict[str, Any]:
        ordered = msgspec.convert(job, Job)
        if (mine := self._mine(ordered)) is None:
            self._parts.note(ordered)
            return {}
        try:
            self._taking_part.begin(ordered, mine)
        except BusyError as error:
            return _busy(error)
        except ValueError as error:
            return {"status": _REFUSED, "message": f"{mine}: {error}"}
        return {}

    def _mine(self, job: Job) -> Participant | None:
        me = self._broadcaster.process.token
        return next((each for each in job.processes if each.token == me), None)

    def _settle(self, id: str) -> dict[str, Any]:  # noqa: A002
        self._taking_part.settle(id)
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

    def bodies(self, by: str, id: str, tokens: list[str]) -> dict[str, Any]:  # noqa: A002
        """What processes of this host have found, as many as go into one answer."""
        sent: dict[str, str] = {}
        if by == self._broadcaster.process.token:
            size = 0
            for token, data in self._parts.bodies(id, tokens):
                size += len(data)
                if sent and size > _MOST_AT_ONCE:
                    break
                sent[token] = base64.b64encode(data).decode()
        return {"status": OK, "sent": sent}


def _busy(error: BusyError) -> dict[str, Any]:
    soon = isinstance(error, AnnouncedError)
    return {"status": BUSY, "message": str(error), "soon": soon}
