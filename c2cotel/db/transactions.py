"""Sessions that belong to a transaction of the ``transaction`` package.

:func:`zope.sqlalchemy.register` does that for one session by seven listeners, made and thrown away
with each request, which takes longer than all else that a session does before its first statement.
Here they are made once for each session factory, and do what the session's own
``ZopeTransactionEvents`` says.
"""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

from c2cotel.settings import SettingsError

if TYPE_CHECKING:
    from c2cotel.db.sessions import SessionFactory

_EVENTS: Final = "c2c_zope_events"
_LISTENED_TO: Final = "_c2c_listened_to"


def get_tm_session(session_factory: Callable[..., Session], transaction_manager: Any) -> Session:
    """A new session of *session_factory* that *transaction_manager* commits, aborts and closes.

    For scripts: ``with transaction.manager: session = get_tm_session(factory,
    transaction.manager)``. What is written without the ORM has to be told to it, by
    ``zope.sqlalchemy.mark_changed(session, transaction_manager)``.

    Raises:
        SettingsError: zope.sqlalchemy is not installed.
    """
    return _joined(session_factory(), session_factory, transaction_manager)


def get_tm_session_pyramid(
    session_factory: "SessionFactory", transaction_manager: Any, request: Any
) -> Session:
    """The same, on the engine that *request* needs."""
    return _joined(session_factory(request), session_factory, transaction_manager)


def listen(factory: "sessionmaker[Any]") -> None:
    """Listen to the sessions of *factory*, unless somebody does: those that are joined need it."""
    # Made by the factory, and its own.
    kind = factory.class_
    if _LISTENED_TO not in kind.__dict__:
        for name, listener in LISTENERS.items():
            event.listen(kind, name, listener)
        setattr(kind, _LISTENED_TO, True)


def zope_sqlalchemy() -> Any:
    """The library, or an error that says how to get it."""
    try:
        import zope.sqlalchemy
    except ImportError:
        raise SettingsError(
            "Sessions with transactions need zope.sqlalchemy: pip install 'c2cotel[db]'"
        ) from None
    return zope.sqlalchemy


def _joined(session: Session, factory: object, transaction_manager: Any) -> Session:
    if not isinstance(factory, sessionmaker):
        zope_sqlalchemy().register(session, transaction_manager=transaction_manager)
        return session
    listen(factory)
    session.info[_EVENTS] = _zope_events()(transaction_manager=transaction_manager)
    return session


@functools.cache
def _zope_events() -> Any:
    zope_sqlalchemy()
    from zope.sqlalchemy.datamanager import ZopeTransactionEvents

    return ZopeTransactionEvents


def _telling(name: str) -> Callable[..., None]:
    def tell(session: Session, *arguments: Any) -> None:
        # A session of the same factory may belong to nobody.
        if (events := session.info.get(_EVENTS)) is not None:
            getattr(events, name)(session, *arguments)

    return tell


def _telling_of(name: str) -> Callable[..., None]:
    def tell(context: Any) -> None:
        if (events := context.session.info.get(_EVENTS)) is not None:
            getattr(events, name)(context)

    return tell


# What zope.sqlalchemy.register listens to; the last three are not called with the session.
LISTENERS: Final[Mapping[str, Callable[..., None]]] = {
    "after_begin": _telling("after_begin"),
    "after_attach": _telling("after_attach"),
    "after_flush": _telling("after_flush"),
    "before_commit": _telling("before_commit"),
    "after_bulk_update": _telling_of("after_bulk_update"),
    "after_bulk_delete": _telling_of("after_bulk_delete"),
    "do_orm_execute": _telling_of("do_orm_execute"),
}
