"""Which request each thread of this process is answering, for whoever looks from another thread.

What is current in a thread (the Context, Pyramid's request) cannot be read from another one. Here a
thread writes down its request when it begins, and takes it away at the end; that is all it costs.
"""

import os
import weakref
from threading import get_ident
from typing import NamedTuple, Protocol

PROFILE_ID = "c2c.profile.id"
"""The attribute of the spans of requests that ran during a profile."""


class Answering(NamedTuple):
    """What is known of a request by now.

    Attributes:
        method: ``GET``.
        route: The pattern of its route, ``/hello/{name}``; None before it has one.
        trace_id: 32 hexadecimal digits; None without a trace.
        request_id: As in its log lines.
        since: When it began, as :func:`time.perf_counter` counts.
    """

    method: str
    route: str | None
    trace_id: str | None
    request_id: str
    since: float


class Request(Protocol):
    """What a thread writes down."""

    def answering(self) -> Answering: ...

    def set_attribute(self, name: str, value: str) -> None:
        """Of its span, if that records; raises nothing."""


class Running:
    """The requests of this process.

    Attributes:
        profile: What :meth:`mark` said, for requests that begin now.
    """

    def __init__(self) -> None:
        # Each thread has an entry of its own: nothing here needs a lock.
        self._requests: dict[int, Request] = {}
        self.profile: str | None = None
        forget = weakref.WeakMethod(self._forget_others)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def enter(self, request: Request) -> Request | None:
        """This thread answers *request* from now on. Give :meth:`leave` what is returned."""
        requests, me = self._requests, get_ident()
        outer = requests.get(me)
        requests[me] = request
        return outer

    def leave(self, outer: Request | None) -> None:
        if outer is None:
            self._requests.pop(get_ident(), None)
        else:
            self._requests[get_ident()] = outer

    def of(self, thread: int) -> Answering | None:
        """The request of the thread with this ``ident``; None if it has none now."""
        request = self._requests.get(thread)
        return None if request is None else request.answering()

    def all(self) -> dict[int, Answering]:
        """By ``ident`` of the thread."""
        return {thread: request.answering() for thread, request in self._requests.copy().items()}

    def mark(self, profile: str) -> None:
        """Have the spans of requests that run now, or begin from now on, name this profile."""
        self.profile = profile
        for request in self._requests.copy().values():
            request.set_attribute(PROFILE_ID, profile)

    def unmark(self, profile: str) -> None:
        """No more; another profile that has begun since is left alone."""
        if self.profile == profile:
            self.profile = None

    def _forget_others(self) -> None:
        """After a fork: the other threads are the parent's."""
        mine = self._requests.get(get_ident())
        self._requests = {} if mine is None else {get_ident(): mine}
        self.profile = None
