"""What makes sessions: each on the engine that its request needs, for all of its life."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session, sessionmaker

from c2cotel.db.choice import Pattern, Readonly, Rules, writes
from c2cotel.db.fallback import Fallback, FallingBackSession
from c2cotel.db.read_only import read_only
from c2cotel.db.read_your_writes import ReadYourWrites
from c2cotel.db.transactions import listen

if TYPE_CHECKING:
    from sqlalchemy import Engine

_UNNAMED = "sqlalchemy"


class SessionFactory(sessionmaker[Session]):
    """A ``sessionmaker`` with two engines, chosen anew for each session and kept in it.

    Nothing that threads share changes when a session is made.

    Args:
        force_master: Patterns of requests whose sessions are on the primary.
        force_slave: Patterns of requests whose sessions are on the replica.
        ro_engine: The replica's.
        rw_engine: The primary's; the same one, if there is no replica.
        readonly: The application's; one of its own by default.
        fallback: What is done while the replica is down.
        read_your_writes: Whether clients that have written read from the primary, for a while.

    Raises:
        SettingsError: A pattern is no regular expression.
    """

    def __init__(  # noqa: PLR0913 - the first four are the seed's
        self,
        force_master: Iterable[Pattern] | None,
        force_slave: Iterable[Pattern] | None,
        ro_engine: "Engine",
        rw_engine: "Engine",
        *,
        readonly: Readonly | None = None,
        fallback: Fallback | None = None,
        read_your_writes: ReadYourWrites | None = None,
    ) -> None:
        super().__init__(class_=FallingBackSession if fallback else Session)
        listen(self)
        self.ro_engine = ro_engine
        self.rw_engine = rw_engine
        self.readonly = readonly or Readonly()
        self._read_only = read_only(ro_engine)
        self._rules = Rules(force_master, force_slave)
        self._fallback = fallback
        self._recent = read_your_writes
        if read_your_writes is not None:
            read_your_writes.listen(self)

    def engine_name(self, readwrite: bool) -> str:  # noqa: FBT001 - the seed's
        """The name of the primary's engine (True) or the replica's (False)."""
        return _name(self.rw_engine if readwrite else self.ro_engine)

    def __call__(
        self,
        request: Any = None,
        readwrite: bool | None = None,  # noqa: FBT001 - the seed's
        **local_kw: Any,
    ) -> Session:
        """A new session, for *request*; without one, on the primary.

        *readwrite* chooses the engine itself: the primary if true, the replica if false. Then there
        is no falling back. While the application is read-only, it is the replica whatever is asked,
        and nothing can be written there, even if it is the primary, too.
        The rest is for :class:`sqlalchemy.orm.Session`.
        """
        if "bind" in local_kw:
            return super().__call__(**local_kw)
        if self.readonly.forced:
            return self._in_maintenance(request, local_kw, readwrite=readwrite)
        if readwrite is not None or request is None:
            engine = self.ro_engine if readwrite is False else self.rw_engine
            return super().__call__(bind=engine, **local_kw)
        return self._of_request(request, local_kw)

    def _in_maintenance(
        self, request: Any, local_kw: dict[str, Any], *, readwrite: bool | None
    ) -> Session:
        if request is not None and (meanwhile := self.readonly.meanwhile) is not None:
            primary = self._rules.forced(request) if readwrite is None else readwrite
            meanwhile(request, writes(request) if primary is None else primary)
        return super().__call__(bind=self._read_only, **local_kw)

    def _of_request(self, request: Any, local_kw: dict[str, Any]) -> Session:
        recent, primary = self._recent, self._rules.forced(request)
        if primary is None:
            primary = writes(request) or (recent is not None and recent.applies(request))
        if primary:
            session = super().__call__(bind=self.rw_engine, **local_kw)
            if recent is not None:
                recent.watch(request, session)
            return session
        session = super().__call__(bind=self.ro_engine, **local_kw)
        if self._fallback is not None and isinstance(session, FallingBackSession):
            session.fallback = self._fallback
        return session

    def __getitem__(self, index: int) -> "SessionFactory":
        """Itself, as number 0: the seed's README takes it out of what ``init`` returns."""
        if index != 0:
            raise IndexError(f"[{index}]: there is one session factory only, [0].")
        return self

    def dispose(self) -> None:
        """Close the connections that both engines keep; they make new ones when needed."""
        for engine in {self.ro_engine, self.rw_engine}:
            engine.dispose()


def _name(engine: "Engine") -> str:
    return str(getattr(engine, "c2c_name", None) or _UNNAMED)


def get_session_factory(engine: "Engine") -> sessionmaker[Session]:
    """What makes sessions on *engine*, for scripts."""
    factory = sessionmaker(bind=engine)
    listen(factory)
    return factory
