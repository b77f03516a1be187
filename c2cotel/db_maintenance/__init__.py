"""The database made read-only while the service runs, for maintenance of the primary.

With ``C2C_DB_MAINTENANCE_VIEW_ENABLED``, ``{base_path}/db`` is the page and
``{base_path}/db/maintenance`` what c2cwsgiutils had:

===================  ===============================================================================
``?readonly=true``   from now on all sessions of :mod:`c2cotel.db` are on the replica, in every
                     process of the service, also in those that start later
``?readonly=false``  ends that
nothing              ``current_readonly``; ``null`` if nobody has ever set it
``?details=1``       besides, who has set it, and of each process whether it has followed and how
                     many connections to the primary are still in use
===================  ===============================================================================

Reading goes on. Who writes gets the database's error, also where there is no replica: transactions
are read-only then. With :mod:`c2cotel.errors` that is a 503. With ``C2C_DB_READONLY_ANSWER=503`` a
request that would have been on the primary (see :mod:`c2cotel.db`) gets a 503 as soon as it asks
for its session. ``C2C_DB_READONLY_RETRY_AFTER`` is told with both.

It is the application's own sessions that are held back: those of requests, of what
``c2cotel.db.init`` returns and of ``setup_session``. What uses an engine directly, or sets out to
write, still can (:mod:`c2cotel.db` says how): only the database itself refuses everybody.

A session that has begun before stays where it is until it ends: once ``in_use`` is 0 everywhere,
the primary can be stopped. Afterwards, its pool begins with new connections.

Redis remembers it. Without Redis it is the host's, and ends with the last process of the service:
workers that are restarted follow it, a service that is started anew does not.

What is measured is told in :mod:`c2cotel.db_maintenance.core`.
"""

from pyramid.config import Configurator

from c2cotel import broadcast
from c2cotel.broadcast.agreement import agreement
from c2cotel.db_maintenance import core, views
from c2cotel.pyramid import settings_of
from c2cotel.pyramid.console import console_of
from c2cotel.settings import SettingsError

__all__ = ["includeme"]


def includeme(config: Configurator) -> None:
    """Follow the switch and serve both views, if ``C2C_DB_MAINTENANCE_VIEW_ENABLED``."""
    settings = settings_of(config)
    if not settings.db_maintenance_view_enabled:
        return
    here = core.applications()
    try:
        readonly = here.follow(config.registry)
    except ImportError:
        raise SettingsError(
            "C2C_DB_MAINTENANCE_VIEW_ENABLED: needs SQLAlchemy: pip install 'c2cotel[db]'"
        ) from None
    readonly.meanwhile = views.Meanwhile(settings.db)
    switch = agreement().switch(core.KIND, check=core.check, apply=here.apply)
    here.tell()
    broadcast.subscribe(core.CHANNEL, here.here, prompt=True)
    config.registry.c2c_readonly = switch
    console_of(config.registry).notices.append(lambda: core.notice(switch.get()))
    config.add_c2c_view("db/maintenance", views.maintenance, changes=views.changes)
    config.add_c2c_view(
        "db",
        views.page,
        name="c2c_db_maintenance_page",
        title="Database maintenance",
        description="Make the database read-only, and see who still uses the primary.",
    )
