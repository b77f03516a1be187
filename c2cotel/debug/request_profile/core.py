"""The profiles of requests of this process: what is ordered, and what has been kept."""

import functools
import logging
import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from c2cotel.broadcast.agreement import Agreement, agreement
from c2cotel.broadcast.broadcaster import Broadcaster, broadcaster
from c2cotel.debug.job_records import Job, Participant
from c2cotel.debug.jobs import End, Jobs, Work
from c2cotel.debug.request_profile.orders import Claims, Order, check

if TYPE_CHECKING:
    from c2cotel.broadcast.switch import Switch

LOGGER = logging.getLogger(__name__)

KIND: Final = "request_profile"
CHANNEL: Final = "c2c_request_profile_taken"
PROFILE_ID: Final = "c2c.profile.id"

# Seconds that it may take to tell other hosts what has been taken.
_PATIENCE: Final = 2.0


class Kept(Jobs):
    """The profiles of all processes, where those of the processor are kept, too."""

    def __init__(self, broadcaster: Broadcaster, agreement: Agreement) -> None:
        super().__init__(
            "profiled_request",
            _begin,
            title="profile of a request",
            broadcaster=broadcaster,
            agreement=agreement,
        )

    @property
    def directory(self) -> Path | None:
        """That of the run, if there is one."""
        return self._broadcaster.directory

    @property
    def place(self) -> str:
        """What those that share it have in common."""
        return self._parts.place or self._broadcaster.process.token

    def keep(  # noqa: PLR0913 - what is known of it
        self, id_: str, about: dict[str, Any], body: bytes, *, at: float, seconds: float, actor: str
    ) -> None:
        """Keep *body*, what has been recorded of a request, and what lists show *about* it."""
        process = self._broadcaster.process
        mine = Participant(process.host, process.pid, process.token)
        job = Job(
            kind=self.kind,
            id=id_,
            order=about,
            seconds=seconds,
            at=at,
            actor=actor,
            processes=(mine,),
        )
        self._parts.note(job)
        self._parts.end(job, mine, "done", began=at, body=body)
        self._taking_part.tidy()


def _begin(_job: Job, _end: End) -> Work:
    raise ValueError("A request is profiled when it comes")


class Profiles:
    """Those of this process.

    Attributes:
        kept: What has been recorded, on all hosts.
        waiting: The order of which there may be something left to take.
    """

    def __init__(self, kept: Kept, broadcaster: Broadcaster) -> None:
        self.kept = kept
        self.waiting: Claims | None = None
        self._claims: Claims | None = None
        self._broadcaster = broadcaster
        renew = weakref.WeakMethod(self._renew)
        os.register_at_fork(after_in_child=lambda: (method := renew()) and method())

    def listen(self, agreement: Agreement) -> "Switch[dict[str, Any]]":
        """Follow what is ordered; gives the switch by which it is."""
        self.kept.listen()
        self._broadcaster.subscribe(CHANNEL, self._heard, prompt=True)
        return agreement.switch(KIND, check=check, apply=self._apply)

    @property
    def ordered(self) -> tuple[Order, int] | None:
        """What is ordered, and how many of it have been taken."""
        claims = self._claims
        return None if claims is None else (claims.order, claims.taken)

    def take(self, claims: Claims) -> int | None:
        """Take one of *claims*; None if none is left."""
        number = claims.take()
        if number is None:
            if self.waiting is claims:
                self.waiting = None
        # All others share the run directory.
        elif self.kept.directory is None or self._broadcaster.reachable is not None:
            threading.Thread(
                target=self._tell, args=(claims.order.id, number), name="c2cotel-taken", daemon=True
            ).start()
        return number

    def _apply(self, _: str, value: dict[str, Any] | None) -> None:
        before = self._claims
        order = None if value is None else Order(**value)
        if before is not None and before.order != order:
            before.forget()
        if order is None:
            self._claims = self.waiting = None
        elif before is None or before.order != order:
            self._claims = self.waiting = Claims(order, lambda: self.kept.directory)

    def _tell(self, order: str, number: int) -> None:
        try:
            told = {"order": order, "place": self.kept.place, "number": number}
            self._broadcaster.tell(CHANNEL, told, _PATIENCE, here=False)
        except Exception:  # other hosts take what has been taken here, at worst
            LOGGER.exception("Other hosts do not know what this one has profiled.")

    def _heard(self, order: str = "", place: str = "", number: int = 0, **_: Any) -> None:
        claims = self._claims
        if claims is not None and claims.order.id == order and place != self.kept.place:
            claims.heard(place, number)

    def _renew(self) -> None:
        if self._claims is not None:
            self._claims.renew()


@functools.cache
def profiles() -> Profiles:
    """Those of this process."""
    return Profiles(Kept(broadcaster(), agreement()), broadcaster())
