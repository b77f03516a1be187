"""``request.dbsession``, on a primary database and its read-only replica.

In the main of an application, with ``pip install 'c2cotel[db]'``::

    dbsession = c2cotel.db.init(config, "sqlalchemy", "sqlalchemy_slave")

The engines are made of the settings that begin with ``sqlalchemy.`` and ``sqlalchemy_slave.``, or
of ``SQLALCHEMY_URL`` and so on where the ini says nothing (see :mod:`c2cotel.db.engines`). Without
a URL for the replica, or with the same one twice, there is one engine for both.

A session of a request is on one engine from its first statement to its last. The first of these
that holds decides (see :mod:`c2cotel.db.choice`):

==============================================  =======
the application is read-only for maintenance    replica
``force_master`` matches                        primary
``force_slave`` matches                         replica
the client has just written (a setting)         primary
``GET``, ``HEAD`` or ``OPTIONS``                replica
anything else                                   primary
==============================================  =======

Read-only for maintenance (see :mod:`c2cotel.db_maintenance`), transactions are read-only besides,
with psycopg, psycopg2 and SQLite: a session writes nothing either where one engine is both. That
holds for the sessions of requests and of the factory, whatever their execution options are; not for
those that are given a ``bind``, what :func:`get_session_factory` makes, an engine that is used
directly, or a transaction whose first statement is ``SET TRANSACTION READ WRITE``.

The patterns are regular expressions for the beginning of ``POST /api/hello``: the method, a blank,
the path. The session belongs to pyramid_tm's transaction: it is committed when the request ends
well, and closed in any case. Outside of a request, what :func:`init` returns is a factory::

    with factory() as session: ...                  # on the primary
    with factory(None, False) as session: ...       # on the replica

Tests give an engine of theirs as setting ``dbengine``, and a session as ``app.dbsession`` in the
environ of a request.

=================  =======  =========  ==============================================
name               kind     unit       attributes
=================  =======  =========  ==============================================
c2c.db.fallbacks   counter  {session}  c2c.engine: the replica that was not there
=================  =======  =========  ==============================================
"""

from c2cotel.db.choice import Readonly, readonly_of
from c2cotel.db.deprecated import create_session, setup_session
from c2cotel.db.engines import get_engine
from c2cotel.db.initialisation import init
from c2cotel.db.sessions import SessionFactory, get_session_factory
from c2cotel.db.transactions import get_tm_session, get_tm_session_pyramid

__all__ = [
    "Readonly",
    "SessionFactory",
    "create_session",
    "get_engine",
    "get_session_factory",
    "get_tm_session",
    "get_tm_session_pyramid",
    "init",
    "readonly_of",
    "setup_session",
]
