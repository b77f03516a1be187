"""The levels of the loggers, seen and changed while the service runs.

With ``C2C_LOG_VIEW_ENABLED``, ``{base_path}/logging`` is the page and ``{base_path}/logging/level``
what c2cwsgiutils had:

=================================  ==============================================================
``?name=a``                        the level of the logger ``a``; ``name=`` is the root
``?name=a&level=DEBUG``            sets it in every process of the service, also in later ones
``?name=a&level=DEBUG&ttl=3600``   for an hour only; ``ttl=never`` is until somebody resets it
``?name=a&reset=1``                puts back what was configured
nothing                            all overrides
=================================  ==============================================================

Levels are the names that :mod:`logging` knows in the answering process, in any case. Whoever
configures logging while an override stands wins.
"""

from pyramid.config import Configurator

from c2cotel.broadcast.agreement import agreement
from c2cotel.logging_level import core, views
from c2cotel.pyramid import settings_of

__all__ = ["includeme"]


def includeme(config: Configurator) -> None:
    """Follow the overrides and serve both views, if ``C2C_LOG_VIEW_ENABLED``."""
    if not settings_of(config).log_view_enabled:
        return
    config.registry.c2c_logging_level = agreement().switch(
        core.KIND,
        check=core.check,
        apply=core.levels().apply,
        nameless="root",
        labels=core.labels(),
    )
    config.add_c2c_view("logging/level", views.level, changes=views.changes)
    config.add_c2c_view(
        "logging",
        views.page,
        name="c2c_logging_page",
        title="Log levels",
        description="What each logger lets through, to be changed for a while.",
    )
