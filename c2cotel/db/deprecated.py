"""Scoped sessions on a primary and its replica, for applications that still have them.

Each is the thread's own; a tween around pyramid_tm's puts it on the engine that the request needs.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.orm import Session, scoped_session, sessionmaker

from c2cotel.db import engines
from c2cotel.db.choice import Pattern, Readonly, Rules, readonly_of, writes
from c2cotel.db.initialisation import chosen_engines, include_transactions
from c2cotel.db.read_only import read_only
from c2cotel.db.transactions import zope_sqlalchemy

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from sqlalchemy import Engine

Sessions: TypeAlias = "tuple[scoped_session[Session], Engine, Engine]"


def setup_session(
    config: "Configurator",
    master_prefix: str,
    slave_prefix: str | None = None,
    force_master: Iterable[Pattern] | None = None,
    force_slave: Iterable[Pattern] | None = None,
) -> Sessions:
    """A scoped session, the primary's engine and the replica's; deprecated for :func:`init`."""
    _warn("setup_session")
    settings = config.get_settings()
    primary, replica = chosen_engines(
        settings, engines.db_settings(settings), master_prefix, slave_prefix
    )
    return _scoped(config, master_prefix, (primary, replica), Rules(force_master, force_slave))


def create_session(  # noqa: PLR0913, PLR0917 - the predecessor's
    config: "Configurator | None",
    name: str,
    url: str,
    slave_url: str | None = None,
    force_master: Iterable[Pattern] | None = None,
    force_slave: Iterable[Pattern] | None = None,
    **engine_config: Any,
) -> Sessions:
    """The same, of URLs and options of ``create_engine``; without *config* no request chooses."""
    _warn("create_session")
    db = engines.db_settings({} if config is None else config.get_settings())
    primary = replica = engines.make(engines.given_by(name, {"url": url, **engine_config}), db)
    if slave_url and slave_url != url:
        options = {"url": slave_url, **engine_config}
        replica = engines.make(engines.given_by(f"{name}_slave", options), db)
    return _scoped(config, name, (primary, replica), Rules(force_master, force_slave))


def _warn(name: str) -> None:
    warnings.warn(
        f"c2cotel.db.{name} is deprecated: use c2cotel.db.init and request.dbsession.",
        DeprecationWarning,
        stacklevel=3,
    )


def _scoped(
    config: "Configurator | None", name: str, pair: tuple["Engine", "Engine"], rules: Rules
) -> Sessions:
    primary, replica = pair
    sessions = scoped_session(sessionmaker(bind=primary))
    # For the health checks.
    sessions.c2c_rw_bind, sessions.c2c_ro_bind = primary, replica  # type: ignore[attr-defined]
    zope_sqlalchemy().register(sessions)
    if config is not None:
        from pyramid.tweens import MAIN

        if replica is not primary:
            include_transactions(config)
        choosers = getattr(config.registry, "c2c_db_choosers", None)
        if choosers is None:
            choosers = config.registry.c2c_db_choosers = {}
        choosers[name] = Chooser(sessions, primary, replica, rules, readonly_of(config.registry))
        config.add_tween(f"c2cotel.db.tweens.{name}", over=("pyramid_tm.tm_tween_factory", MAIN))
    return sessions, primary, replica


class Chooser:
    """Puts the thread's session of *sessions* on the engine of a request, while that lasts."""

    def __init__(
        self,
        sessions: "scoped_session[Session]",
        primary: "Engine",
        replica: "Engine",
        rules: Rules,
        readonly: Readonly,
    ) -> None:
        self._sessions = sessions
        self._primary = primary
        self._replica = replica
        self._read_only = read_only(replica)
        self._rules = rules
        self._readonly = readonly

    def tween(self, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def choose(request: Any) -> Any:
            session = self._sessions()
            before, session.bind = session.bind, self._engine(request)
            try:
                if self._readonly.forced and (meanwhile := self._readonly.meanwhile) is not None:
                    # Nobody knows yet whether the request needs a session.
                    meanwhile(request, False)  # noqa: FBT003 - by position, as declared
                return handler(request)
            finally:
                session.bind = before

        return choose

    def _engine(self, request: Any) -> "Engine":
        if self._readonly.forced:
            return self._read_only
        forced = self._rules.forced(request)
        return self._primary if (writes(request) if forced is None else forced) else self._replica
