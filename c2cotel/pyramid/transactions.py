"""Each request in a transaction of pyramid_tm, if that is installed (``c2cotel[db]``).

The transaction is committed when the request ends well and aborted when it fails, with all that
has joined it: sessions of :mod:`c2cotel.db`, those that the application has registered with
zope.sqlalchemy, mails of pyramid_mailer. What pyramid_tm reads in the ini (``tm.commit_veto``,
``tm.activate_hook``…) is as without c2cotel. An application that includes pyramid_tm itself,
before or after, has it once.

The manager is the thread's, which sessions join that are registered without saying which;
:func:`c2cotel.db.init` gives each request its own.
"""

from importlib.util import find_spec

from pyramid.config import Configurator

__all__ = ["includeme"]


def includeme(config: Configurator) -> None:
    """Include pyramid_tm, if it is installed."""
    if find_spec("pyramid_tm") is not None:
        config.include("pyramid_tm")
