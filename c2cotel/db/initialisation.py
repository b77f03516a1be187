"""``c2cotel.db.init``: the engines, the session factory and ``request.dbsession``."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from c2cotel.db import engines
from c2cotel.db.choice import Pattern, readonly_of
from c2cotel.db.fallback import Fallback
from c2cotel.db.read_only import explain_replica
from c2cotel.db.read_your_writes import ReadYourWrites
from c2cotel.db.sessions import SessionFactory
from c2cotel.db.transactions import get_tm_session_pyramid, zope_sqlalchemy
from c2cotel.settings import Db, SettingsError

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from sqlalchemy import Engine

LOGGER = logging.getLogger(__name__)


def init(
    config: "Configurator",
    master_prefix: str,
    slave_prefix: str | None = None,
    force_master: Iterable[Pattern] | None = None,
    force_slave: Iterable[Pattern] | None = None,
) -> SessionFactory:
    """Give requests a ``dbsession``, and return what makes these sessions.

    *master_prefix* and *slave_prefix* are those of the settings of the primary and its replica;
    *force_master* and *force_slave* are the patterns that :mod:`c2cotel.db` tells of. The factory
    is also ``registry["dbsession_factory"]``.

    Raises:
        SettingsError: A setting or a pattern is wrong, or a library is missing.
    """
    zope_sqlalchemy()
    include_transactions(config)
    settings = config.get_settings()
    # Each request's own, rather than the thread's: what touches it outside of a request fails.
    settings.setdefault("tm.manager_hook", "pyramid_tm.explicit_manager")
    db = engines.db_settings(settings)
    primary, replica = chosen_engines(settings, db, master_prefix, slave_prefix)
    factory = SessionFactory(
        force_master,
        force_slave,
        replica,
        primary,
        readonly=readonly_of(config.registry),
        fallback=Fallback(replica, primary)
        if db.replica_down == "primary" and replica is not primary
        else None,
        read_your_writes=ReadYourWrites(db.read_your_writes)
        if db.read_your_writes and replica is not primary
        else None,
    )

    def dbsession(request: "Request") -> Session:
        given: Session | None = request.environ.get("app.dbsession")
        if given is not None:
            return given
        return get_tm_session_pyramid(factory, request.tm, request)

    config.registry["dbsession_factory"] = factory
    config.add_request_method(dbsession, name="dbsession", reify=True)
    return factory


def include_transactions(config: "Configurator") -> None:
    """Include pyramid_tm; harmless if the application has."""
    try:
        config.include("pyramid_tm")
    except ImportError:
        raise SettingsError(
            "request.dbsession needs pyramid_tm: pip install 'c2cotel[db]'"
        ) from None


def chosen_engines(
    settings: Any, db: Db, master_prefix: str, slave_prefix: str | None
) -> tuple["Engine", "Engine"]:
    """Those of the primary and the replica: two, or one that is both."""
    if (given := settings.get("dbengine")) is not None:
        if not hasattr(given, "c2c_name"):
            given.c2c_name = master_prefix
        return given, given
    primary_options = engines.read(settings, master_prefix)
    if primary_options.url is None:
        raise primary_options.missing(settings)
    primary = engines.make(primary_options, db)
    if slave_prefix is None:
        return primary, primary
    replica_options = engines.read(settings, slave_prefix)
    if replica_options.url is None:
        _tell_of_no_replica(settings, master_prefix, replica_options)
        return primary, primary
    if replica_options.url == primary_options.url:
        LOGGER.info("%s.url is that of %s: one engine is both.", slave_prefix, master_prefix)
        return primary, primary
    # Connections that the replica's last end has broken must not fail the next requests.
    defaults = {"pool_pre_ping": True} if db.replica_down == "primary" else {}
    replica = engines.make(replica_options, db, **defaults)
    explain_replica(replica)
    return primary, replica


def _tell_of_no_replica(settings: Any, master_prefix: str, replica: engines.Given) -> None:
    """Unless that is what is meant: all would be on the primary, and nobody would know why."""
    if replica.options:
        LOGGER.warning(
            "%s.url is missing: there is no replica, its other settings are ignored.",
            replica.name,
        )
    elif f"{replica.name}.url" not in settings:
        used = master_prefix.rstrip(".")
        if known := [name for name in engines.prefixes(settings) if name != used]:
            LOGGER.warning(
                "%s.url is missing: there is no replica. There is one for %s. If no replica is "
                "meant, write %s.url with nothing after the equals sign.",
                replica.name,
                ", ".join(known),
                replica.name,
            )
