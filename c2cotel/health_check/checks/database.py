"""Whether a database answers: a session of its own, rolled back and closed in the same thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from c2cotel.health_check.core import CheckFailedError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_UNNAMED: Final = "sqlalchemy"
# Of the time a check has: the database's own error tells more than that nothing came, and that a
# lock is not to be had tells more than that the statement took too long.
_FOR_STATEMENTS: Final = 0.9
_FOR_LOCKS: Final = 0.8


class EngineType(Enum):
    """Which engines of a session are checked."""

    READ_ONLY = 1
    WRITE_ONLY = 2
    READ_AND_WRITE = 3


@dataclass(frozen=True)
class Binding:
    """A way to a database: the name of its engine, and what opens a session there."""

    name: str
    open: Callable[[], "Session"]

    @contextmanager
    def session(self, timeout: float) -> Iterator["Session"]:
        """A session whose statements end within *timeout* seconds, where the database can that."""
        session = self.open()
        try:
            _limit(session, timeout)
            yield session
        finally:
            try:
                session.rollback()
            except Exception:  # noqa: BLE001 - the connection has broken: it must not be used again
                session.invalidate()
            finally:
                session.close()


def bindings(session: Any, engine_type: EngineType = EngineType.READ_AND_WRITE) -> list[Binding]:
    """The ways to the databases of *session*, the replica first; one, if there is only one.

    *session* is a ``sessionmaker``, a ``scoped_session``, or what ``c2cotel.db.init`` returns.

    Raises:
        TypeError: It is something else.
    """
    if hasattr(session, "engine_name"):
        replica = Binding(session.engine_name(False), lambda: session(None, False))  # noqa: FBT003 - the seed's
        primary = Binding(session.engine_name(True), lambda: session(None, True))  # noqa: FBT003 - likewise
    else:
        # Not the thread's own session of a scoped one: nobody else would close that.
        factory = getattr(session, "session_factory", session)
        if not callable(factory) or not hasattr(factory, "kw"):
            raise TypeError(
                f"{session!r} makes no sessions: give a sessionmaker, a scoped_session, or what "
                "c2cotel.db.init() returns, after it has been set up."
            )
        engine = factory.kw.get("bind")
        replica = _bound(factory, getattr(session, "c2c_ro_bind", engine))
        primary = _bound(factory, getattr(session, "c2c_rw_bind", engine))
    if replica.name == primary.name or engine_type is EngineType.WRITE_ONLY:
        return [primary]
    return [replica] if engine_type is EngineType.READ_ONLY else [replica, primary]


def _bound(factory: Any, engine: Any) -> Binding:
    name = getattr(engine, "c2c_name", None) or _UNNAMED
    return Binding(name, (lambda: factory(bind=engine)) if engine is not None else factory)


def _limit(session: "Session", timeout: float) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import UnboundExecutionError

    # A session that is bound by its models has no connection before it knows which one.
    with suppress(UnboundExecutionError):
        if session.connection().dialect.name == "postgresql":
            # Until the end of the transaction; a pooled connection does not keep it.
            session.execute(
                text(
                    "SELECT set_config('statement_timeout', :statements, true), "
                    "set_config('lock_timeout', :locks, true)"
                ),
                {
                    "statements": str(max(1, int(timeout * _FOR_STATEMENTS * 1000))),
                    "locks": str(max(1, int(timeout * _FOR_LOCKS * 1000))),
                },
            )


def check(
    binding: Binding, query: Callable[["Session"], Any], timeout: float
) -> Callable[[Any], Any]:
    """A check that gives a session to *query*."""

    def run(_: Any) -> Any:
        with binding.session(timeout) as session:
            return query(session)

    return run


def answers(session: "Session") -> None:
    """The query of a check that is told none."""
    from sqlalchemy import literal, select

    session.execute(select(literal(1)))


def at_least_one(model: Any) -> Callable[["Session"], None]:
    """A query that fails where there is no *model*."""

    def query(session: "Session") -> None:
        from sqlalchemy import exists, select

        if not session.scalar(select(exists(select(model)))):
            raise CheckFailedError(f"{model.__name__} record not found")

    return query
